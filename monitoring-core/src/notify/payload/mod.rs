//! What each receiver makes of a message: functions from values to values.

#[cfg(any(test, feature = "notify"))]
mod alertmanager;
#[cfg(any(test, feature = "email"))]
mod email;
#[cfg(any(test, feature = "notify"))]
mod pagerduty;
#[cfg(any(test, feature = "notify"))]
mod slack;
#[cfg(any(test, feature = "notify", feature = "email"))]
mod text;
#[cfg(any(test, feature = "notify"))]
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
