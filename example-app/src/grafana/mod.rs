//! `example-app grafana DIR`: a provisioning folder that shows the monitoring in Grafana.
//!
//! | file | what it does |
//! |---|---|
//! | `datasource.yaml`, `provider.yaml` | where the data is, where the dashboards are |
//! | `service`, `shop` | what the dashboards show, as queries |
//! | `dashboard` | how Grafana writes a dashboard down |
//! | `folder` | puts it on the disk, over nothing that differs |
//!
//! It does not speak to Grafana, and no secret is written: the password of the data source is the
//! variable `MONITORING_PASSWORD` of Grafana's environment.

mod dashboard;
mod folder;
mod service;
mod shop;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

pub use folder::{GrafanaError, OnDifference, Written};

use crate::app::MONITORING_PATH;
use folder::File;

/// The account Grafana signs in with; somebody has to register it.
pub const ACCOUNT: &str = "grafana";

/// Writes the folder for a shop that listens at `bind_addr` on Grafana's own machine, and tells
/// what became of each file.
///
/// # Errors
///
/// When `bind_addr` has no port to tell Grafana of, when a file with other contents is there already
/// and `on_difference` does not say to replace it, or when the disk refuses. In the first two cases
/// nothing has been written.
pub fn write(
    folder: &Path,
    bind_addr: SocketAddr,
    on_difference: OnDifference,
) -> Result<Vec<Written>, GrafanaError> {
    if bind_addr.port() == 0 {
        return Err(GrafanaError::NoPort(bind_addr));
    }
    folder::write(folder, &files(bind_addr), on_difference)
}

fn files(bind_addr: SocketAddr) -> [File; 4] {
    let url = format!("http://{}{MONITORING_PATH}", reachable(bind_addr));
    let datasource = include_str!("datasource.yaml").replace("{url}", &url).replace("{user}", ACCOUNT);
    [
        File { path: "datasources/monitoring.yaml", text: datasource },
        File { path: "dashboards/monitoring.yaml", text: include_str!("provider.yaml").to_owned() },
        File { path: "dashboards/service.json", text: service::dashboard().to_json() },
        File { path: "dashboards/shop.json", text: shop::dashboard().to_json() },
    ]
}

/// Where to find, on the same machine, who listens at an address.
fn reachable(bind_addr: SocketAddr) -> SocketAddr {
    let ip = match bind_addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, bind_addr.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_source_is_where_the_shop_can_be_reached() {
        for (bind_addr, url) in [
            ("127.0.0.1:3000", "http://127.0.0.1:3000/api/v1/monitoring/prometheus"),
            ("0.0.0.0:80", "http://127.0.0.1:80/api/v1/monitoring/prometheus"),
            ("[::]:8080", "http://[::1]:8080/api/v1/monitoring/prometheus"),
            ("192.0.2.7:8080", "http://192.0.2.7:8080/api/v1/monitoring/prometheus"),
        ] {
            let [datasource, ..] = files(bind_addr.parse().unwrap());
            assert!(datasource.text.contains(&format!("    url: \"{url}\"\n")), "{}", datasource.text);
            assert!(!datasource.text.contains('{'), "{}", datasource.text);
        }
    }
}
