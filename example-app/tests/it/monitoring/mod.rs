//! The monitoring, as embedded in the shop.

mod access;
mod business;
mod correlation;
mod demo;
mod grafana;
mod readme;
mod shutdown;
mod tasks;
