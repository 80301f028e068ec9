//! What changed, and where? Explains an incident from what was recorded around it.
//!
//! `read` reads a bounded part of it, and [`analyzed`] puts all together. Everything else here is a
//! function of values, and the same values always have the same explanation. Nothing here knows what a
//! fault is called; it compares the time since the onset with the time before it.

mod bubble_up;
mod calls;
mod candidate;
mod changes;
mod explain;
mod input;
mod left_out;
mod losses;
mod lost;
mod onset;
mod rank;
mod read;
mod related;
mod requests;
mod run;
mod sample;
mod series_ended;
mod series_shift;
mod span_tree;
mod spans;
mod statistics;
mod stopped;
mod tell;
mod tell_places;
mod template;
mod templates_changed;
mod traffic_shift;
mod waits;
mod weighted;

pub(crate) use run::{Made, analyzed, is_due, is_watched, keep};

#[cfg(test)]
mod made;
/// The shop with faults planted in it, which tests of the HTTP API share.
#[cfg(test)]
#[path = "../../tests/it/support/planted/mod.rs"]
mod planted;
#[cfg(test)]
mod tests;
