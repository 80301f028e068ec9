//! The monitoring, as embedded in the shop.

mod access;
mod business;
mod correlation;
mod demo;
mod shutdown;
mod tasks;
