//! The command line: the only place that wires the rooms together. One file per command.

mod admin;
mod assembly;
mod audit;
mod backup;
mod certificate;
mod check_config;
mod client;
pub mod configuration;
mod dev;
pub mod exit;
mod gauges;
mod hsm;
mod init;
pub mod lock;
mod migrate;
mod orphans;
mod output;
mod probe;
pub mod process;
mod restore;
mod serve;
mod server_certificate;
mod welcome;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use exit::Failure;

/// Secure Key Manager: a self-hosted key service whose keys never leave a PKCS#11 token.
#[derive(Debug, Parser)]
#[command(name = "skm", version, about, after_help = exit::HELP, arg_required_else_help = true)]
struct Arguments {
    /// The configuration file [default: ./skm.toml, else /etc/skm/skm.toml]
    #[arg(long, global = true, env = "SKM_CONFIG", hide_env_values = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service
    Serve(serve::Arguments),
    /// Prepare token, database and certificate authority
    Init(init::Arguments),
    /// Bring the database's schema up to this version
    Migrate,
    /// Copy database and token into an empty directory
    Backup(backup::BackupArguments),
    /// Bring a backup back onto a clean host
    Restore(restore::RestoreArguments),
    /// Say whether the configuration is right, or everything that is wrong with it
    CheckConfig(check_config::Arguments),
    /// The server's certificate and the certificate authorities
    Certificate(certificate::Arguments),
    /// Read and verify the audit log
    #[command(subcommand)]
    Audit(audit::Arguments),
    /// Look at the token
    #[command(subcommand)]
    Hsm(hsm::Arguments),
    /// Manage projects, appkeys, accounts, roles and access keys, through the running server or without one
    Admin(admin::Arguments),
    /// Use a running service, as any of its clients would
    Client(Box<client::Arguments>),
    /// Print the version
    Version,
}

/// Runs the program with this process's arguments.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match process::harden().map_err(Failure::from).and_then(|()| run(arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            for line in failure.lines() {
                output::problem(line);
            }
            failure.exit().into()
        }
    }
}

fn run(arguments: Arguments) -> Result<(), Failure> {
    let config = arguments.config.as_deref();
    match arguments.command {
        Command::Serve(arguments) => serve::run(config, &arguments),
        Command::Init(arguments) => init::run(config, &arguments),
        Command::Migrate => migrate::run(config),
        Command::Backup(arguments) => backup::back_up(config, &arguments),
        Command::Restore(arguments) => restore::restore(config, &arguments),
        Command::CheckConfig(arguments) => check_config::run(config, &arguments),
        Command::Certificate(arguments) => certificate::run(config, &arguments),
        Command::Audit(arguments) => audit::run(config, &arguments),
        Command::Hsm(arguments) => hsm::run(config, &arguments),
        Command::Admin(arguments) => admin::run(config, arguments),
        Command::Client(arguments) => client::run(&arguments),
        Command::Version => Ok(output::line(concat!("skm ", env!("CARGO_PKG_VERSION")))?),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
