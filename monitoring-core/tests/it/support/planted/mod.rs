//! A shop with services, traffic and noise, and faults planted in it: only data, of no crate's types,
//! so that unit tests take it as it is and tests of the HTTP API send it.

mod cases;
mod world;

#[allow(unused_imports, reason = "not every test binary needs all of it")]
pub(crate) use cases::{CASES, Case};
#[allow(unused_imports, reason = "not every test binary needs all of it")]
pub(crate) use world::{Planted, PlantedEvent, PlantedSeries, Size, plant, plant_late};
