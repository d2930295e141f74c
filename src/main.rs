//! The `skm` program: everything it does is in the library's `cli` room.

fn main() -> std::process::ExitCode {
    skm::cli::main()
}
