//! Starts everything, in order.

use std::sync::Arc;

use super::{Inner, Monitoring, MonitoringBuilder};
use crate::error::{Error, Result};
use crate::evaluation::Evaluator;
use crate::ingest::{Database, Pipeline, Recorder, Writer};
use crate::model::{Invalid, MetricMetadata, check_address};
use crate::notify::Deliverer;
use crate::query::PromQuery;
use crate::retention;
use crate::services;
use crate::store::{Access, Context, Loans, Pool};
use crate::tasks::{
    Stop, Supervisor, analyze_incidents, announce, evaluate_rules, run_deliveries, run_notifications,
    run_pipeline, run_upkeep, take_back,
};

impl MonitoringBuilder {
    /// Checks the settings, brings the schema up to date and starts the pipeline.
    ///
    /// # Errors
    ///
    /// A setting makes no sense, the database cannot be reached, its schema is newer than this
    /// library, the recorder belongs to another `Monitoring`, or other settings are the
    /// [process's default](Self::process_default) already.
    pub async fn start(self) -> Result<Monitoring> {
        let context = Arc::new(Context::new(self.settings)?);
        if let Some(address) = &self.address {
            let mut invalid = Invalid::default();
            check_address(address, &mut invalid);
            invalid.or(())?;
        }
        let database = self.database.ok_or_else(|| {
            Invalid::field("database_url", "no database; call `database_url` or pass a pool")
        })?;
        let pool = database.open(&context)?;
        pool.migrate().await?;
        prepare_partitions(&pool).await?;
        describe_metrics(&pool).await?;
        let recorder = self
            .recorder
            .unwrap_or_else(|| Recorder::with_capacity(context.settings.ingest.queue_records_max));
        let supervisor = Supervisor::default();
        let deliverer = Deliverer::counting(pool.clone(), self.notifiers, recorder.clone())?;
        let pipeline = start_pipeline(&supervisor, &pool, &recorder)?;
        // Last, so that a start that failed leaves no settings behind.
        if self.process_default {
            pool.bare_connections().choose(&context)?;
        } else {
            pool.bare_connections().pass_over(&context);
        }
        let started_at = context.settings.clock.now();
        let promql = PromQuery::new(pool.clone(), self.query_limits);
        let evaluator = Arc::new(Evaluator::new(pool.clone(), &promql));
        let retains = !self.retains_on_demand;
        supervisor.keep_up("upkeep", pool.clone(), move |pool, stop| run_upkeep(pool, retains, stop));
        supervisor.keep_up("deliver", deliverer.clone(), run_deliveries);
        let parts = (pool.clone(), deliverer.clone());
        supervisor.keep_up("notifications", parts, |(pool, deliverer), stop| {
            run_notifications(pool, deliverer, stop)
        });
        if let Some(address) = self.address {
            let parts = (pool.clone(), address);
            supervisor.keep_up("presence", parts, |(pool, address), stop| announce(pool, address, stop));
        }
        let parts = (pool.clone(), promql.clone());
        supervisor.keep_up("analysis", parts, |(pool, promql), stop| analyze_incidents(pool, promql, stop));
        if !context.settings.evaluates_on_demand {
            let parts = (pool.clone(), evaluator.clone());
            supervisor.keep_up("alert evaluation", parts, |(pool, evaluator), stop| {
                evaluate_rules(pool, evaluator, stop)
            });
        }
        let (loans, returned) = Loans::of(pool.clone());
        supervisor.spawn("loans", take_back(returned, supervisor.stop_token()));
        let inner =
            Inner { pool, loans, recorder, promql, deliverer, evaluator, started_at, supervisor, pipeline };
        Ok(Monitoring { inner: Arc::new(inner) })
    }
}

/// Partitions that cannot be made right now are no reason not to start: the default partition
/// takes their rows until upkeep succeeds.
async fn prepare_partitions(pool: &Pool) -> Result<()> {
    match retention::prepare(pool).await {
        Err(error) if error.is_transient() => {
            tracing::warn!(target: "monitoring::internal", %error, "partitions could not be prepared yet");
            Ok(())
        }
        outcome => Ok(outcome?),
    }
}

/// Nor are help texts: without them the metrics are the same.
async fn describe_metrics(pool: &Pool) -> Result<()> {
    let descriptions = &pool.context().settings.descriptions;
    if descriptions.is_empty() {
        return Ok(());
    }
    let written = async {
        let mut connection = pool.acquire(Access::Write).await?;
        for MetricMetadata { name, help, unit } in descriptions {
            services::describe_metric(&mut connection, name, help, unit).await?;
        }
        Ok(())
    };
    match written.await {
        Err(Error::Store(error)) if error.is_transient() => {
            tracing::warn!(target: "monitoring::internal", %error, "metrics could not be described");
            Ok(())
        }
        outcome => outcome,
    }
}

fn start_pipeline(supervisor: &Supervisor, pool: &Pool, recorder: &Recorder) -> Result<Stop> {
    let context = pool.context();
    let requests = recorder.attach(context).ok_or_else(|| {
        Invalid::field("recorder", "belongs to another Monitoring; each needs a recorder of its own")
    })?;
    let settings = context.settings.ingest.clone();
    let pipeline = Pipeline::new(recorder.clone(), context.clone(), tokio::time::Instant::now());
    let writer = Writer::new(Database::new(pool.clone()), &context.settings);
    let stop = Stop::new(supervisor.stop_token());
    supervisor.spawn("ingest", run_pipeline(pipeline, writer, requests, settings, stop.clone()));
    Ok(stop)
}
