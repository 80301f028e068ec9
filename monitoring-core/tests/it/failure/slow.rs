//! A PostgreSQL that ends statements that take too long, as many a host has set it.

use monitoring_core::{CreateEventRequest, EventType, Monitoring};

use crate::support::database::Database;
use crate::support::until;

/// More than twenty events in one statement take longer than a statement may.
const SLOW_IN_BULK: &str = "
    CREATE FUNCTION public.take_long() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF (SELECT count(*) FROM inserted) > 20 THEN PERFORM pg_sleep(3600); END IF;
        RETURN NULL;
    END $$;
    CREATE TRIGGER take_long AFTER INSERT ON monitoring.events
        REFERENCING NEW TABLE AS inserted FOR EACH STATEMENT EXECUTE FUNCTION public.take_long()";

const STATEMENT_TIMEOUT: &str = "
    DO $$ BEGIN
        EXECUTE format('ALTER DATABASE %I SET statement_timeout = ''2s''', current_database());
    END $$";

#[tokio::test]
async fn a_batch_that_meets_the_statement_timeout_is_written_in_parts() {
    let Some(database) = Database::postgres().await else { return };
    database.execute(STATEMENT_TIMEOUT).await;
    let monitoring = Monitoring::builder().database_url(database.url()).start().await.unwrap();
    database.execute(SLOW_IN_BULK).await;
    for number in 0..60 {
        monitoring.recorder().event(CreateEventRequest {
            event_type: EventType::Log,
            source: "layer".to_owned(),
            message: Some(number.to_string()),
            level: None,
            tags: Default::default(),
            payload: Default::default(),
            timestamp: None,
        });
    }
    until("everything is written", async || monitoring.recorder().flush().await.is_ok()).await;
    let stored = database.number("SELECT count(*) FROM monitoring.events WHERE source = 'layer'").await;
    assert_eq!(stored, 60);
}
