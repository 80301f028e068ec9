//! What each receiver makes of a message: functions from values to values.

mod alertmanager;
mod email;
mod pagerduty;
mod slack;
mod text;
mod webhook;

#[cfg(feature = "notify")]
pub(super) use alertmanager::alertmanager;
#[cfg(feature = "email")]
pub(super) use email::{EmailText, email};
#[cfg(feature = "notify")]
pub(super) use pagerduty::pagerduty;
#[cfg(feature = "notify")]
pub(super) use slack::slack;
#[cfg(feature = "notify")]
pub(super) use webhook::webhook;

#[cfg(test)]
pub(super) mod fixture;
