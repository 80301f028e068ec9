//! Processes that share a database.

use chrono::{DateTime, Utc};

use super::Invalid;

/// Longest address: a DNS name of 253 characters, a colon and a port.
const ADDRESS_CHARS_MAX: usize = 259;

/// A process that can be scraped.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Replica {
    /// Where: a host and a port, such as `10.0.0.5:3000`.
    pub address: String,
    /// When it started.
    pub started_at: DateTime<Utc>,
    /// When it last said that it is there.
    pub seen_at: DateTime<Utc>,
}

/// Checks that scrapers can read an address: a host and a port and nothing else.
pub(crate) fn check_address(address: &str, invalid: &mut Invalid) {
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
    let is_host = |host: &str| {
        let is_bracketed = host.starts_with('[') && host.ends_with(']') && host.len() > 2;
        let is_plain = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
        let is_v6 = |host: &str| host[1..host.len() - 1].parse::<std::net::Ipv6Addr>().is_ok();
        if is_bracketed { is_v6(host) } else { is_plain && !host.is_empty() }
    };
    let is_address = address.rsplit_once(':').is_some_and(|(host, port)| is_host(host) && is_port(port));
    if !is_address || address.len() > ADDRESS_CHARS_MAX {
        invalid.push("address", "must be a host and a port, such as 10.0.0.5:3000");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_good(address: &str) -> bool {
        let mut invalid = Invalid::default();
        check_address(address, &mut invalid);
        invalid.errors().is_empty()
    }

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for good in ["10.0.0.5:3000", "shop-7.internal:80", "[::1]:3000", "localhost:65535"] {
            assert!(is_good(good), "{good}");
        }
        let too_long = format!("{}:80", "a".repeat(300));
        for bad in [
            "",
            "10.0.0.5",
            ":80",
            "a:0",
            "a:99999",
            "http://a:80",
            "a:80/x",
            "a b:80",
            "::1:80",
            "[x]:1",
            &too_long,
        ] {
            assert!(!is_good(bad), "{bad}");
        }
    }
}
