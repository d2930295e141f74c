//! The API's own description: that it is whole, that it is served and can be read, that it is true.

mod document;
mod page;
mod schemathesis;
