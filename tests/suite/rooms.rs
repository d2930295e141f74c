//! The rooms import only what they may.
