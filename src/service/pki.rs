//! Certificates: the internal CA, whose key is in the token.
