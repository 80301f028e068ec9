//! A PostgreSQL that goes away under load and comes back.

use std::time::Duration;

use monitoring_core::{IngestSettings, Monitoring};
use sqlx::{Connection as _, PgConnection};

use super::load::Load;
use super::reckoning::reckon;
use crate::support::own_server::{Order, OwnServer};
use crate::support::until;

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_under_load_loses_and_doubles_nothing() {
    away_and_back(Order::StopFast, Order::Start).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_immediate_stop_under_load_loses_and_doubles_nothing() {
    away_and_back(Order::StopImmediately, Order::Start).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_under_load_loses_and_doubles_nothing() {
    away_and_back(Order::Kill, Order::Start).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_answers_nothing_for_a_while_loses_and_doubles_nothing() {
    away_and_back(Order::Freeze, Order::Thaw).await;
}

async fn away_and_back(away: Order, back: Order) {
    let Some(mut server) = OwnServer::start() else { return };
    let monitoring = start(&server).await;
    let load = Load::start(monitoring.recorder());
    until("callers are answered", async || load.answered() > 50).await;
    assert!(monitoring.is_ready().await);

    tokio::task::block_in_place(|| server.tell(away));
    until("it is no longer ready", async || !monitoring.is_ready().await).await;
    let (recorded, failed) = (load.recorded(), load.failed());
    until("callers hear of it", async || load.failed() > failed).await;
    until("the layer goes on", async || load.recorded() > recorded + 1_000).await;

    tokio::task::block_in_place(|| server.tell(back));
    until("it is ready again", async || monitoring.is_ready().await).await;
    let answered = load.answered();
    until("callers are answered again", async || load.answered() > answered + 50).await;
    let done = load.stop().await;
    reckon(&monitoring, &server.url, &done).await;
    assert_eq!(monitoring.shutdown(Duration::from_secs(10)).await.unwritten, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_terminated_mid_batch_lose_and_double_nothing() {
    let Some(server) = OwnServer::start() else { return };
    let monitoring = start(&server).await;
    let load = Load::start(monitoring.recorder());
    let mut administrator = PgConnection::connect(&server.url).await.unwrap();
    let mut terminated = 0;
    for _ in 0..60 {
        let recorded = load.recorded();
        until("the layer goes on", async || load.recorded() > recorded + 50).await;
        terminated += sqlx::query_scalar::<_, i64>(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
             WHERE application_name = 'monitoring' AND state <> 'idle'",
        )
        .fetch_one(&mut administrator)
        .await
        .unwrap();
    }
    assert!(terminated > 0, "some were at work");
    let done = load.stop().await;
    reckon(&monitoring, &server.url, &done).await;
}

async fn start(server: &OwnServer) -> Monitoring {
    let mut ingest = IngestSettings::default();
    ingest.metrics_interval = Duration::from_millis(300);
    ingest.flush_interval = Duration::from_millis(20);
    ingest.write_timeout = Duration::from_secs(2);
    Monitoring::builder().database_url(&server.url).ingest(ingest).start().await.unwrap()
}
