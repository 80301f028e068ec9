//! Totals are exact, whoever adds to them at once.

use std::time::Duration;

use chrono::TimeDelta;
use monitoring_core::services;
use monitoring_core::{CreateMetricRequest, Monitoring};
#[cfg(feature = "postgres")]
use sqlx::Connection as _;

use super::fixture::{
    at, counter, create, create_all, gauge, histogram, scrape, start, start_later, start_time,
};
use crate::support::database::{Database, on_each_database};

const PROCESSES: usize = 3;
const TASKS: usize = 4;
const CALLS: usize = 12;
/// More than the age at which totals are folded.
const LATER: Duration = Duration::from_secs(600);

on_each_database! {
    concurrent_writers_add_up,
    totals_stay_exact_while_they_are_folded,
    a_late_increment_counts,
    a_late_reading_does_not_replace_a_newer_one,
    folding_keeps_the_newest_reading,
    a_histograms_buckets_add_up,
    what_the_host_rolls_back_leaves_no_trace,
    what_the_host_commits_counts,
    a_sum_past_the_largest_number_does_not_stop_folding,
}

/// What one task of the crowd records, and its part in the totals.
fn requests_of(task: usize) -> Vec<CreateMetricRequest> {
    let shard = ["a", "b"][task % 2];
    vec![
        counter("jobs_total", &[("shard", shard)], (task + 1) as f64),
        histogram("job_seconds", &[("shard", shard)], 0.25),
    ]
}

/// Every task of every process records on its own connection; each call is a writer of its own.
async fn record_at_once(processes: &[Monitoring]) {
    let mut tasks = tokio::task::JoinSet::new();
    for process in processes {
        for task in 0..TASKS {
            let process = process.clone();
            tasks.spawn(async move {
                for _ in 0..CALLS {
                    create_all(&process, requests_of(task)).await;
                }
            });
        }
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

async fn assert_crowd_was_counted(monitoring: &Monitoring) {
    let scrape = scrape(monitoring).await;
    for (shard, parity) in [("a", 0), ("b", 1)] {
        let tasks: Vec<_> = (0..TASKS).filter(|task| task % 2 == parity).collect();
        let increments: usize = tasks.iter().map(|task| task + 1).sum();
        let jobs = scrape.value(&format!("jobs_total{{shard=\"{shard}\"}}"));
        assert_eq!(jobs, (increments * PROCESSES * CALLS) as f64);
        let measured = (tasks.len() * PROCESSES * CALLS) as f64;
        assert_eq!(scrape.value(&format!("job_seconds_count{{shard=\"{shard}\"}}")), measured);
        assert_eq!(scrape.value(&format!("job_seconds_sum{{shard=\"{shard}\"}}")), measured / 4.0);
        let bucket = format!("job_seconds_bucket{{shard=\"{shard}\",le=\"0.25\"}}");
        assert_eq!(scrape.value(&bucket), measured);
    }
}

async fn start_processes(database: &Database) -> Vec<Monitoring> {
    let mut processes = Vec::new();
    for _ in 0..PROCESSES {
        processes.push(start(database).await);
    }
    processes
}

async fn fold(monitoring: &Monitoring) -> u64 {
    let mut conn = monitoring.acquire().await.unwrap();
    services::fold_metric_totals(&mut conn).await.unwrap()
}

async fn concurrent_writers_add_up(database: &Database) {
    let processes = start_processes(database).await;
    record_at_once(&processes).await;
    assert_crowd_was_counted(&processes[0]).await;
}

async fn totals_stay_exact_while_they_are_folded(database: &Database) {
    let processes = start_processes(database).await;
    let folders = [start_later(database, LATER).await, start_later(database, LATER).await];
    let fold_until = |monitoring: Monitoring, mut stop: tokio::sync::watch::Receiver<bool>| async move {
        let mut folded = 0;
        while !*stop.borrow_and_update() {
            folded += fold(&monitoring).await;
            tokio::task::yield_now().await;
        }
        folded
    };
    let (done, stop) = tokio::sync::watch::channel(false);
    let folding: Vec<_> =
        folders.iter().map(|folder| tokio::spawn(fold_until(folder.clone(), stop.clone()))).collect();
    record_at_once(&processes).await;
    done.send(true).unwrap();
    let mut folded = 0;
    for folding in folding {
        folded += folding.await.unwrap();
    }
    assert_crowd_was_counted(&processes[0]).await;
    folded += fold(&folders[0]).await;
    assert_crowd_was_counted(&processes[0]).await;
    // Each call adds a row to each of its series: two of its own, and two that count them.
    assert_eq!(folded, (PROCESSES * TASKS * CALLS * 4) as u64);
    assert_eq!(fold(&folders[0]).await, 0, "what is folded is not folded again");
}

async fn a_late_increment_counts(database: &Database) {
    let monitoring = start(database).await;
    create(&monitoring, counter("orders_total", &[], 2.0)).await;
    let late = at(start_time() - TimeDelta::days(60), counter("orders_total", &[], 3.0));
    create(&monitoring, late).await;
    assert_eq!(scrape(&monitoring).await.value("orders_total"), 5.0);
}

async fn a_late_reading_does_not_replace_a_newer_one(database: &Database) {
    let monitoring = start(database).await;
    create(&monitoring, gauge("temperature", &[], 20.0)).await;
    create(&monitoring, at(start_time() - TimeDelta::hours(1), gauge("temperature", &[], 10.0))).await;
    assert_eq!(scrape(&monitoring).await.value("temperature"), 20.0);
    let (old, new) = (start_time() + TimeDelta::seconds(1), start_time() + TimeDelta::seconds(2));
    let both = vec![at(new, gauge("temperature", &[], 22.0)), at(old, gauge("temperature", &[], 21.0))];
    create_all(&monitoring, both).await;
    assert_eq!(scrape(&monitoring).await.value("temperature"), 22.0);
}

async fn folding_keeps_the_newest_reading(database: &Database) {
    let monitoring = start(database).await;
    let later = start_later(database, LATER).await;
    for (minute, value) in [(3, 3.0), (1, 1.0), (2, 2.0)] {
        let time = start_time() + TimeDelta::minutes(minute);
        create(&monitoring, at(time, gauge("temperature", &[], value))).await;
    }
    assert!(fold(&later).await >= 3);
    assert_eq!(scrape(&monitoring).await.value("temperature"), 3.0);
    create(&monitoring, at(start_time(), gauge("temperature", &[], 0.0))).await;
    fold(&later).await;
    assert_eq!(scrape(&monitoring).await.value("temperature"), 3.0);
}

async fn a_histograms_buckets_add_up(database: &Database) {
    let monitoring =
        super::fixture::builder(database).buckets("size", vec![1.0, 10.0]).start().await.unwrap();
    for value in [0.5, 1.0, 5.0, 10.0, 11.0, 1e9] {
        create(&monitoring, histogram("size", &[], value)).await;
    }
    let scrape = scrape(&monitoring).await;
    assert_eq!(scrape.value("size_bucket{le=\"1\"}"), 2.0);
    assert_eq!(scrape.value("size_bucket{le=\"10\"}"), 4.0);
    assert_eq!(scrape.value("size_bucket{le=\"+Inf\"}"), 6.0);
    assert_eq!(scrape.value("size_sum"), 1e9 + 27.5);
    assert_eq!(scrape.value("size_count"), 6.0);
}

async fn what_the_host_rolls_back_leaves_no_trace(database: &Database) {
    let monitoring = start(database).await;
    in_host_transaction(database, false).await;
    let scrape = scrape(&monitoring).await;
    assert!(!scrape.has("orders_total"));
    assert_eq!(scrape.value("monitoring_total_metrics"), 0.0);
}

async fn what_the_host_commits_counts(database: &Database) {
    let monitoring = start(database).await;
    in_host_transaction(database, true).await;
    let scrape = scrape(&monitoring).await;
    assert_eq!(scrape.value("orders_total"), 2.0);
    assert_eq!(scrape.value("monitoring_total_metrics"), 1.0);
}

/// Records on a connection of the host's own, inside its transaction.
async fn in_host_transaction(database: &Database, commit: bool) {
    let request = counter("orders_total", &[], 2.0);
    macro_rules! record {
        ($connection:ty) => {{
            let mut connection = <$connection as sqlx::Connection>::connect(&database.url()).await.unwrap();
            let mut transaction = sqlx::Connection::begin(&mut connection).await.unwrap();
            services::create_metric(&mut *transaction, request).await.unwrap();
            if commit { transaction.commit().await.unwrap() } else { transaction.rollback().await.unwrap() }
        }};
    }
    match database {
        #[cfg(feature = "sqlite")]
        Database::Sqlite(_) => record!(sqlx::SqliteConnection),
        #[cfg(feature = "postgres")]
        Database::Postgres(_) => record!(sqlx::PgConnection),
    }
}

async fn a_sum_past_the_largest_number_does_not_stop_folding(database: &Database) {
    let monitoring = start(database).await;
    let later = start_later(database, LATER).await;
    for _ in 0..3 {
        create(&monitoring, counter("absurd_total", &[], f64::MAX)).await;
    }
    create(&monitoring, counter("orders_total", &[], 1.0)).await;
    assert!(fold(&later).await > 0);
    let scrape = scrape(&monitoring).await;
    assert_eq!(scrape.value("orders_total"), 1.0);
    assert!(scrape.value("absurd_total") >= f64::MAX);
}

/// A writer of its own for each call is what this is for.
#[cfg(feature = "postgres")]
#[tokio::test]
async fn a_hosts_open_transaction_blocks_nobody() {
    let Some(database) = Database::postgres().await else { return };
    let monitoring = start(&database).await;
    let mut connection = sqlx::PgConnection::connect(&database.url()).await.unwrap();
    let mut open = connection.begin().await.unwrap();
    services::create_metric(&mut *open, counter("orders_total", &[], 2.0)).await.unwrap();

    let others = async {
        create(&monitoring, counter("orders_total", &[], 3.0)).await;
        fold(&start_later(&database, LATER).await).await;
        scrape(&monitoring).await.value("orders_total")
    };
    let seen = tokio::time::timeout(Duration::from_secs(20), others).await;
    assert_eq!(seen.expect("nobody waits for the open transaction"), 3.0);

    open.commit().await.unwrap();
    assert_eq!(scrape(&monitoring).await.value("orders_total"), 5.0);
}
