//! The token room, against a real SoftHSM2.
