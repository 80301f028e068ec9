//! The routing as it was last compiled.

use std::sync::{Arc, Mutex, PoisonError};

use super::Router;
use crate::model::StoredRouting;

/// Remembers what a routing was compiled to.
#[derive(Debug, Default)]
pub(crate) struct CompiledRouting(Mutex<Option<(i64, Arc<Option<Router>>)>>);

impl CompiledRouting {
    /// The routing, compiled.
    pub(crate) fn of(&self, routing: &StoredRouting) -> Arc<Option<Router>> {
        let mut compiled = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*compiled {
            Some((version, router)) if *version == routing.version => router.clone(),
            _ => {
                let router = Router::compile(&routing.routing).unwrap_or_else(|invalid| {
                    tracing::error!(target: "monitoring::internal", %invalid,
                        "the routing of alerts makes no sense, so nobody is told of any");
                    None
                });
                let router = Arc::new(router);
                *compiled = Some((routing.version, router.clone()));
                router
            }
        }
    }
}
