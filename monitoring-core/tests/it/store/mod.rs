//! What a store promises, on both databases.

mod archive;
mod event_filters;
mod event_pages;
mod event_stream;
mod events;
mod migrations;
mod partitions;
mod plans;
mod pool;
mod retention;
mod transactions;
