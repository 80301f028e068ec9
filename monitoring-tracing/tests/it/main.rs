//! The layer as a host installs it, seen through what reaches the queue.

mod support;

/// The name lets `cargo nextest run monitoring` find them.
#[path = "."]
mod monitoring {
    mod events;
    mod filters;
    mod recursion;
    mod redaction;
    mod spans;
}
