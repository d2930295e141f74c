//! A SoftHSM2 token of its own, on tmpfs.
