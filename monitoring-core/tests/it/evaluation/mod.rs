//! Rules are evaluated over what is stored, minute by minute by hand.

mod backtest;
mod groups;
mod incidents;
mod lifecycle;
mod recording;
mod replicas;
mod run;
