//! The provisioning folder for Grafana, and that its dashboards show something.

use std::fs;
use std::process::Output;
use std::time::Duration;

use chrono::Utc;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::support::process::{command, text};
use crate::support::socket::{Client, Listening, basic};
use crate::support::{ADMIN, PASSWORD, TestDatabase, on_each_database};

on_each_database!(every_query_of_the_dashboards_finds_something);

const FILES: [&str; 4] = [
    "datasources/monitoring.yaml",
    "dashboards/monitoring.yaml",
    "dashboards/service.json",
    "dashboards/shop.json",
];
const PROMETHEUS: &str = "/monitoring/prometheus/api/v1";
/// What was counted is summed up every ten seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// `example-app grafana` in a folder: exit code, stdout, stderr.
fn grafana(folder: &TempDir, bind_addr: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = command(folder);
    command.env("BIND_ADDR", bind_addr).arg("grafana").args(arguments);
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.code(), text(stdout), text(stderr))
}

fn read(folder: &TempDir, file: &str) -> String {
    fs::read_to_string(folder.path().join("grafana").join(file)).unwrap()
}

#[test]
fn the_folder_has_a_data_source_and_dashboards_and_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let (code, stdout, stderr) = grafana(&folder, "0.0.0.0:8080", &["grafana"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    for file in FILES {
        assert!(stdout.contains(&format!("written    grafana/{file}\n")), "{stdout}");
    }
    assert!(stdout.contains("MONITORING_PASSWORD=") && stdout.contains("Register `grafana`"), "{stdout}");
    let datasource = read(&folder, FILES[0]);
    for line in [
        "uid: monitoring",
        "url: \"http://127.0.0.1:8080/api/v1/monitoring/prometheus\"",
        "url: \"http://127.0.0.1:8080/api/v1/monitoring/alertmanager\"",
        "basicAuthUser: grafana",
        "httpMethod: POST",
        "basicAuthPassword: $MONITORING_PASSWORD",
    ] {
        assert!(datasource.lines().any(|found| found.trim() == line), "{line} in\n{datasource}");
    }
    let provider = read(&folder, FILES[1]);
    assert!(provider.contains("path: $GF_PATHS_PROVISIONING/dashboards\n"), "{provider}");
    let uids: Vec<_> = dashboards(&folder).iter().map(|dashboard| dashboard["uid"].clone()).collect();
    assert_eq!(uids, ["monitoring-service", "monitoring-shop"]);
    assert!(!folder.path().join("data").exists(), "no shop was started");
}

#[test]
fn a_file_that_differs_is_left_alone_unless_forced() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(grafana(&folder, "127.0.0.1:3000", &["grafana"]).0, Some(0));
    let (code, stdout, _) = grafana(&folder, "127.0.0.1:3000", &["grafana"]);
    assert_eq!((code, stdout.matches("unchanged  grafana/").count()), (Some(0), 4), "{stdout}");

    let changed = folder.path().join("grafana").join(FILES[2]);
    fs::write(&changed, "mine").unwrap();
    fs::remove_file(folder.path().join("grafana").join(FILES[3])).unwrap();
    let (code, stdout, stderr) = grafana(&folder, "127.0.0.1:3000", &["grafana"]);
    assert_eq!((code, stdout.as_str()), (Some(2), ""));
    assert!(stderr.contains("grafana/dashboards/service.json is in the way"), "{stderr}");
    assert!(stderr.contains("--force"), "{stderr}");
    assert_eq!(fs::read_to_string(&changed).unwrap(), "mine");
    assert!(!folder.path().join("grafana").join(FILES[3]).exists(), "nothing was written");

    let (_, _, stderr) = grafana(&folder, "127.0.0.1:4000", &["grafana"]);
    assert!(stderr.contains("monitoring.yaml, grafana/dashboards/service.json are in the way"), "{stderr}");
    let (code, stdout, _) = grafana(&folder, "127.0.0.1:4000", &["--force", "grafana"]);
    assert_eq!((code, stdout.matches("written    ").count()), (Some(0), 3), "{stdout}");
    assert!(read(&folder, FILES[0]).contains("127.0.0.1:4000"));
    assert_ne!(fs::read_to_string(&changed).unwrap(), "mine");
}

#[test]
fn what_cannot_be_written_is_said_in_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("letter"), "Dear reader").unwrap();
    fs::create_dir_all(folder.path().join("odd/dashboards/shop.json")).unwrap();
    for (bind_addr, arguments, complaint) in [
        ("127.0.0.1:0", &["grafana"][..], "BIND_ADDR is 127.0.0.1:0: set the port"),
        ("localhost", &["grafana"], "BIND_ADDR: `localhost` is not an address"),
        ("127.0.0.1:3000", &["letter"], "letter/datasources/monitoring.yaml cannot be read"),
        ("127.0.0.1:3000", &["odd", "--force"], "odd/dashboards/shop.json cannot be read"),
    ] {
        let (code, stdout, stderr) = grafana(&folder, bind_addr, arguments);
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(stderr.contains(complaint), "{stderr}");
    }
    assert!(!folder.path().join("odd/datasources").exists() && !folder.path().join("grafana").exists());
}

async fn every_query_of_the_dashboards_finds_something(database: TestDatabase) {
    let folder = tempfile::tempdir().unwrap();
    let (code, _, stderr) = grafana(&folder, "127.0.0.1:3000", &["grafana"]);
    assert_eq!(code, Some(0), "{stderr}");
    let shop = Listening::start(&database).await;
    a_day_in_the_shop(&shop).await;
    shop.register("grafana", PASSWORD).await;
    let client = shop.client(2, basic("grafana", PASSWORD));
    let version = data(&client, "/status/buildinfo", "").await["version"].clone();
    let version = format!("prometheusVersion: {}", version.as_str().unwrap());
    assert!(read(&folder, FILES[0]).contains(&version), "{version}");

    let queries = queries(&dashboards(&folder));
    assert!(queries.len() > 25, "{queries:#?}");
    let deadline = Instant::now() + PATIENCE;
    for query in queries {
        while !finds_something(&client, &query).await {
            assert!(Instant::now() < deadline, "{query} finds nothing");
            sleep(Duration::from_millis(200)).await;
        }
    }
    let routes = "match[]=http_server_request_duration_seconds_count";
    let routes = data(&client, &format!("/label/http_route/values?{routes}"), "").await;
    assert!(routes.as_array().unwrap().contains(&json!("/api/v1/payments")), "{routes}");
    shop.stop().await;
}

/// What the demonstration's customers do: buy, guess, have an empty card, find the gateway broken.
async fn a_day_in_the_shop(shop: &Listening) {
    let admin = shop.log_in(ADMIN, PASSWORD).await;
    for product in ["mug", "kettle", "espresso-beans"] {
        assert_eq!(buy(&admin, product, "tok_visa").await, 201);
    }
    assert_eq!(buy(&admin, "mug", "tok_declined").await, 402);
    let faults = json!({ "gateway_delay_ms": 0, "gateway_failure_ratio": 1.0 });
    assert_eq!(admin.put("/faults", faults).await.status, 200);
    assert_eq!(buy(&admin, "mug", "tok_visa").await, 502);
    let guess = json!({ "username": ADMIN, "password": "letmein12345" });
    assert_eq!(shop.client(3, "").post("/auth/login", guess).await.status, 401);
    shop.monitoring.recorder().flush().await.unwrap();
}

async fn buy(client: &Client<'_>, product: &str, card: &str) -> u16 {
    let order = client.post("/orders", json!({ "product": product, "quantity": 1 })).await.json();
    let payment = json!({ "order_id": order["data"]["id"], "card_token": card });
    client.post("/payments", payment).await.status
}

fn dashboards(folder: &TempDir) -> Vec<Value> {
    FILES[2..].iter().map(|file| serde_json::from_str(&read(folder, file)).unwrap()).collect()
}

/// All queries, with Grafana's variables filled in as it does.
fn queries(dashboards: &[Value]) -> Vec<String> {
    let mut queries = Vec::new();
    for panel in dashboards.iter().flat_map(|dashboard| dashboard["panels"].as_array().unwrap()) {
        let targets = panel["targets"].as_array().map_or(&[][..], Vec::as_slice);
        assert_eq!(targets.is_empty(), panel["type"] == "row", "{panel}");
        for target in targets {
            assert_eq!(target["datasource"]["uid"], "monitoring");
            let query = target["expr"].as_str().unwrap();
            let query =
                query.replace("$__rate_interval", "1m").replace("$__range", "1h").replace("$route", ".*");
            assert!(!query.contains('$'), "{query}");
            queries.push(query);
        }
    }
    queries
}

/// Whether a query has a result at this moment and a picture of the last minutes.
async fn finds_something(client: &Client<'_>, query: &str) -> bool {
    let now = Utc::now().timestamp();
    let query = format!("query={}", percent_encoded(query));
    let instant = data(client, "/query", &query).await;
    let range = format!("{query}&start={}.123&end={now}.123&step=15", now - 300);
    let range = data(client, "/query_range", &range).await;
    let is_there = |data: &Value, field: &str| {
        let series = data["result"].as_array().unwrap().iter();
        series.flat_map(|series| series[field].as_array().unwrap()).next().is_some()
    };
    is_there(&instant, "value") && is_there(&range, "values")
}

/// The data of an answer that is a success; asked by POST if there is a form.
async fn data(client: &Client<'_>, path: &str, form: &str) -> Value {
    let path = format!("{PROMETHEUS}{path}");
    let answer = if form.is_empty() { client.get(&path).await } else { client.post_form(&path, form).await };
    assert_eq!(answer.status, 200, "{path} {form}\n{}", answer.body);
    let mut json = answer.json();
    assert_eq!(json["status"], "success");
    json["data"].take()
}

fn percent_encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}
