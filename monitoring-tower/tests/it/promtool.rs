//! `promtool query` asks us as it asks a Prometheus.

use std::net::SocketAddr;

use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use http::HeaderValue;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::process::Command;

use crate::support::prometheus::is_installed;
use crate::support::{ALICE, MOUNT, Service, on_both_databases};

on_both_databases! {
    promtool_asks_us_as_it_asks_prometheus
}

/// The service on a socket, for somebody who cannot say who they are.
async fn serve(service: &Service) -> SocketAddr {
    async fn as_alice(mut request: Request, next: Next) -> Response {
        request.headers_mut().insert("authorization", HeaderValue::from_static("Bearer alice"));
        next.run(request).await
    }
    let app = service.app.clone().layer(from_fn(as_alice));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

/// What `promtool query` says, line by line.
async fn promtool(args: &[&str]) -> Vec<String> {
    let output = Command::new("promtool").arg("query").args(args).output().await.expect("it is installed");
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{args:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
    said.lines().map(str::to_owned).collect()
}

async fn promtool_asks_us_as_it_asks_prometheus(service: &Service) {
    if !is_installed("promtool") {
        return;
    }
    let order = |shop: &str, value: u32| json!({"name": "orders_total", "metric_type": "counter", "value": value, "labels": {"shop": shop}});
    service.post("/metrics", ALICE, json!([order("a\"b", 3), order("c", 4)])).await.data();
    let address = serve(service).await;
    let server = format!("http://{address}{MOUNT}/prometheus");
    let found = promtool(&["instant", &server, "sort_desc(orders_total)"]).await;
    let found: Vec<_> = found.iter().map(|line| line.split_once(" @[").expect("its time").0).collect();
    assert_eq!(found, [r#"orders_total{shop="c"} => 4"#, r#"orders_total{shop="a\"b"} => 3"#]);
    let of_minute = ["range", "--start=60", "--end=180", "--step=1m"];
    let found = promtool(&[&of_minute[..], &[&server, "vector(time() / 40)"]].concat()).await;
    assert_eq!(found, ["{} =>", "1.5 @[60]", "3 @[120]", "4.5 @[180]"]);
    let found = promtool(&["series", "--match=orders_total", "--match=nothing", &server]).await;
    let series = [r#"{__name__="orders_total", shop="a\"b"}"#, r#"{__name__="orders_total", shop="c"}"#];
    assert_eq!(found, series);
    assert_eq!(promtool(&["labels", &server, "shop"]).await, ["a\"b", "c"]);
    let refused =
        Command::new("promtool").args(["query", "instant", &server, "rate(up"]).output().await.unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && said.contains("parse error: "), "{said}");
}
