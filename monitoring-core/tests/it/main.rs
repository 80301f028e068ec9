//! Integration tests.

mod support;
