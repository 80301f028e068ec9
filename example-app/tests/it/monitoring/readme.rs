//! What the README tells people to configure, configured.

use std::fs;
use std::process::Command;

use serde_json::json;

use crate::support::process::text;
use crate::support::prometheus::{Prometheus, is_installed};
use crate::support::socket::Listening;
use crate::support::{PASSWORD, TestDatabase, on_each_database};

on_each_database!(prometheus_configured_as_the_readme_says_scrapes_federates_and_reads);

const README: &str = include_str!("../../../../README.md");
const PASSWORD_FILE: &str = "/etc/prometheus/shop.password";

/// The configurations of Prometheus: scrape, service discovery, federation, remote write and read.
fn configurations() -> [&'static str; 4] {
    let blocks: Vec<_> =
        README.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    blocks.try_into().expect("four blocks of YAML")
}

#[test]
fn promtool_accepts_every_configuration_in_the_readme() {
    if !is_installed("promtool") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("prometheus.yml");
    for configuration in configurations() {
        fs::write(&file, configuration).unwrap();
        let output = Command::new("promtool").args(["check", "config"]).arg(&file).output().unwrap();
        assert!(output.status.success(), "{configuration}\n{}{}", text(output.stdout), text(output.stderr));
    }
}

async fn prometheus_configured_as_the_readme_says_scrapes_federates_and_reads(database: TestDatabase) {
    if !is_installed("prometheus") {
        return;
    }
    let shop = Listening::start(&database).await;
    shop.register("prometheus", PASSWORD).await;
    let client = shop.log_in("prometheus", PASSWORD).await;
    assert_eq!(client.post("/orders", json!({ "product": "mug", "quantity": 1 })).await.status, 201);
    shop.monitoring.recorder().flush().await.unwrap();

    let folder = tempfile::tempdir().unwrap();
    let password_file = folder.path().join("shop.password");
    fs::write(&password_file, PASSWORD).unwrap();
    for (configuration, query) in configurations().into_iter().zip([
        "orders_total{job=\"shop\"}",
        "orders_total{job=\"shop-replicas\"}",
        "orders_total{job=\"shop-federation\"}",
        "orders_total{product=\"mug\"}",
    ]) {
        let configuration = configuration
            .replace("127.0.0.1:3000", &shop.address)
            .replace(PASSWORD_FILE, &password_file.display().to_string());
        let quickly = "global: {scrape_interval: 1s, scrape_timeout: 1s}\n";
        let mut server = Prometheus::start(&format!("{quickly}{configuration}"));
        server.wait_for(&query.replace('"', "%22"), "1").await;
    }
    shop.stop().await;
}
