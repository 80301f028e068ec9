//! The REST interface, one subject a file.
