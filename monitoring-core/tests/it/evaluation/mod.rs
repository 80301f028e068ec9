//! Rules are evaluated over what is stored, minute by minute by hand.

mod analysis;
mod backtest;
mod faults;
mod groups;
mod incidents;
mod lifecycle;
mod recording;
mod replicas;
mod run;
