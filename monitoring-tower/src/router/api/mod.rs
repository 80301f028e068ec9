//! Handlers, one subject a file: take the request apart, ask a service, wrap the answer.

pub(super) mod alerts;
pub(super) mod analyses;
pub(super) mod audit;
pub(super) mod events;
pub(super) mod health;
pub(super) mod incidents;
pub(super) mod metrics;
pub(super) mod notifications;
pub(super) mod receivers;
pub(super) mod recording_rules;
pub(super) mod routing;
pub(super) mod rule_groups;
pub(super) mod rules;
pub(super) mod silences;
pub(super) mod stats;
pub(super) mod timeline;

use monitoring_core::{Error, Invalid, Result};

use super::error::Answer;

/// The only item of a batch of one. Its errors are those of the item, not of `[0]`.
fn only<T>(batch: Result<Vec<T>>) -> Answer<T> {
    match batch {
        Ok(items) => Ok(items.into_iter().next().expect("a batch of one stores one")),
        Err(Error::Invalid(invalid)) => Err(without_index(&invalid).into()),
        Err(error) => Err(error.into()),
    }
}

fn without_index(invalid: &Invalid) -> Invalid {
    let mut bare = Invalid::default();
    for error in invalid.errors() {
        let field = error.field.strip_prefix("[0].").unwrap_or(&error.field);
        bare.push(field, &error.message);
    }
    bare
}
