//! A shop with services, traffic and noise, and faults planted in it: only data, of no crate's types,
//! so that unit tests take it as it is and tests of the HTTP API send it.

mod beside;
mod cases;
mod changed;
mod dice;
mod exhausted;
mod failing;
mod fault;
mod harmless;
mod recorded;
mod requests;
mod silent;
mod world;

#[allow(unused_imports, reason = "not every test binary needs all of it")]
pub(crate) use cases::{CASES, Case};
#[allow(unused_imports, reason = "not every test binary needs all of it")]
pub(crate) use recorded::{Planted, PlantedEvent, PlantedSeries, Size};
#[allow(unused_imports, reason = "not every test binary needs all of it")]
pub(crate) use world::{plant, plant_late};
