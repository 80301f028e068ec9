//! Starting it.

use monitoring_core::{IngestSettings, Monitoring, MonitoringBuilder, Recorder, Result, Retention};

use super::metrics;
use crate::database::Database;
use crate::settings::MonitoringSettings;

/// Starts the monitoring in the shop's database, with a small pool of its own so that neither
/// waits for the other's connections. What `recorder` has gathered so far is written first.
pub(crate) async fn start(
    database: &Database,
    settings: &MonitoringSettings,
    recorder: Recorder,
) -> Result<Monitoring> {
    let mut ingest = IngestSettings::default();
    ingest.metrics_interval = settings.metrics_interval;
    let mut builder = Monitoring::builder()
        .ingest(ingest)
        .recorder(recorder)
        .retention(retention(settings))
        .alert_evaluation_interval(settings.alert_evaluation_interval)
        .buckets(metrics::PAYMENT_AMOUNT_CENTS, metrics::PAYMENT_AMOUNT_BUCKETS)
        // The shop logs on its own connections, inside its own transactions.
        .process_default();
    if let Some(address) = &settings.address {
        builder = builder.address(address);
    }
    if let Some(folder) = &settings.archive_dir {
        builder = builder.archive(folder);
    }
    if let Some(url) = &settings.external_url {
        builder = builder.external_url(url);
    }
    in_database(metrics::described(builder), database).start().await
}

fn in_database(builder: MonitoringBuilder, database: &Database) -> MonitoringBuilder {
    match database {
        Database::Postgres(pool) => builder.postgres(pool),
        Database::Sqlite(pool) => builder.sqlite(pool),
    }
}

fn retention(settings: &MonitoringSettings) -> Retention {
    Retention::days(settings.event_retention_days.get(), settings.metric_retention_days.get())
}
