//! The layer as a host installs it, seen through what reaches the queue.

mod events;
mod filters;
mod recursion;
mod redaction;
mod spans;
mod support;
