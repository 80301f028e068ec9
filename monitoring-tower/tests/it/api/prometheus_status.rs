//! `/prometheus/api/v1/status` and `targets`: what tools read before they ask anything.

use chrono::DateTime;
use serde_json::{Value, json};

use super::prometheus::{API, data, record_orders};
use crate::support::{MODERATOR, Service, on_both_databases};

on_both_databases! {
    targets_config_and_flags_are_there_and_empty
    the_running_system_is_described
    series_are_counted_by_what_they_have
}

async fn get(service: &Service, path: &str) -> Value {
    data(&service.get(&format!("{API}{path}"), MODERATOR).await)
}

async fn targets_config_and_flags_are_there_and_empty(service: &Service) {
    let targets = json!({"activeTargets": [], "droppedTargets": [], "droppedTargetCounts": {}});
    assert_eq!(get(service, "/targets").await, targets);
    assert_eq!(get(service, "/status/config").await, json!({"yaml": ""}));
    assert_eq!(get(service, "/status/flags").await, json!({}));
}

async fn the_running_system_is_described(service: &Service) {
    let build = get(service, "/status/buildinfo").await;
    for name in ["version", "revision", "branch", "buildUser", "buildDate", "goVersion"] {
        assert!(build[name].is_string(), "{name}: {build}");
    }
    let runtime = get(service, "/status/runtimeinfo").await;
    for name in ["startTime", "lastConfigTime"] {
        let time = DateTime::parse_from_rfc3339(runtime[name].as_str().unwrap()).unwrap();
        assert!(time <= chrono::Utc::now(), "{name}: {runtime}");
    }
    for name in ["CWD", "GOGC", "GODEBUG"] {
        assert!(runtime[name].is_string(), "{name}: {runtime}");
    }
    for name in ["corruptionCount", "goroutineCount", "GOMAXPROCS", "GOMEMLIMIT"] {
        assert!(runtime[name].is_u64(), "{name}: {runtime}");
    }
    assert_eq!(runtime["reloadConfigSuccess"], true);
    let days = runtime["storageRetention"].as_str().unwrap().strip_suffix('d').unwrap();
    assert!(days.parse::<u32>().unwrap() > 0, "{runtime}");
}

async fn series_are_counted_by_what_they_have(service: &Service) {
    record_orders(service).await;
    let figures = get(service, "/status/tsdb?limit=1000").await;
    let head = &figures["headStats"];
    assert!(head["numSeries"].as_u64().unwrap() >= 2, "{figures}");
    assert!(head["numLabelPairs"].as_u64().unwrap() >= 3, "{figures}");
    assert!(["chunkCount", "minTime", "maxTime"].iter().all(|name| head[name].is_i64()), "{figures}");
    for (list, name, value) in [
        ("seriesCountByMetricName", "orders_total", 2),
        ("labelValueCountByLabelName", "shop", 2),
        ("seriesCountByLabelValuePair", "shop=a", 1),
    ] {
        let entries = figures[list].as_array().unwrap();
        assert!(entries.contains(&json!({"name": name, "value": value})), "{list}: {entries:?}");
    }
    assert_eq!(figures["memoryInBytesByLabelName"], json!([]));
    let few = get(service, "/status/tsdb?limit=1").await;
    assert_eq!(few["seriesCountByLabelValuePair"].as_array().unwrap().len(), 1);
}
