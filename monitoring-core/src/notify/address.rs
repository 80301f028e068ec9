//! Where receivers may be.
//!
//! Whoever may set a receiver makes this process send requests, from inside the network it runs in. Some
//! addresses there hand out credentials to whoever asks; no receiver is ever at one of these.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

use crate::config::ReceiverPolicy;

/// Names under which clouds offer credentials.
const METADATA_NAMES: [&str; 4] = ["metadata.google.internal", "metadata.goog", "metadata", "instance-data"];
/// Addresses outside of the link-local ranges where clouds do.
const METADATA_V4: [Ipv4Addr; 3] =
    [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(168, 63, 129, 16), Ipv4Addr::new(192, 0, 0, 192)];
const METADATA_V6: [Ipv6Addr; 2] =
    [Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254), Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42)];
/// All of what Amazon keeps for such services: `fd00:ec2::/32`.
const METADATA_V6_NET: [u16; 2] = [0xfd00, 0xec2];

/// Reads a receiver's address and checks all of it that can be known before it is looked up.
///
/// # Errors
///
/// What is wrong, without the address: it may be a secret.
pub(super) fn check_url(text: &str, policy: &ReceiverPolicy) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("is no URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("must start with https:// or http://".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold a user or password; there are fields for these".to_owned());
    }
    match url.host() {
        Some(Host::Ipv4(ip)) => check_ip(ip.into(), policy)?,
        Some(Host::Ipv6(ip)) => check_ip(ip.into(), policy)?,
        Some(Host::Domain(name)) => check_name(name, policy)?,
        None => return Err("must name a host".to_owned()),
    }
    Ok(url)
}

/// Checks the name of a host before it is looked up.
pub(super) fn check_name(name: &str, policy: &ReceiverPolicy) -> Result<(), String> {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    if METADATA_NAMES.contains(&name.as_str()) && !policy.allow_link_local {
        return Err("leads to credentials of the machine, which no receiver has to do with".to_owned());
    }
    let is_here = name == "localhost" || name.ends_with(".localhost");
    if is_here { check_ip(Ipv4Addr::LOCALHOST.into(), policy) } else { Ok(()) }
}

/// Checks an address that is about to be connected to.
pub(super) fn check_ip(ip: IpAddr, policy: &ReceiverPolicy) -> Result<(), String> {
    let refused = match plain(ip) {
        IpAddr::V4(ip) => refuses_v4(ip, policy),
        IpAddr::V6(ip) => refuses_v6(ip, policy),
    };
    refused
        .map_or(Ok(()), |why| Err(format!("leads to {why}, which the policy for receivers does not allow")))
}

/// The IPv4 address that an IPv6 address stands for.
fn plain(ip: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = ip else { return ip };
    let [.., high, low] = v6.segments();
    let v4 = || IpAddr::V4(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)));
    match v6.segments() {
        // Mapped, translated (RFC 6052) and, long deprecated, compatible.
        [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => v4(),
        // The same for local use (RFC 8215), where the address stands at the end of the shortest prefix only.
        [0x64, 0xff9b, 1, ..] => v4(),
        // 6to4 (RFC 3056), which has it in front.
        [0x2002, high, low, ..] => IpAddr::V4(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low))),
        [0, 0, 0, 0, 0, 0, high, low] if (high, low) > (0, 1) => v4(),
        _ => ip,
    }
}

fn refuses_v4(ip: Ipv4Addr, policy: &ReceiverPolicy) -> Option<&'static str> {
    if ip.octets()[0] == 0 {
        return Some("no host");
    }
    if ip.is_multicast() || ip.is_broadcast() || ip.octets()[0] >= 240 {
        return Some("many hosts or none");
    }
    if (ip.is_link_local() || METADATA_V4.contains(&ip)) && !policy.allow_link_local {
        return Some("a link-local or metadata address");
    }
    if ip.is_loopback() && !policy.allow_loopback {
        return Some("this machine");
    }
    let [first, second, ..] = ip.octets();
    let is_shared = first == 100 && (64..128).contains(&second);
    ((ip.is_private() || is_shared) && !policy.allow_private).then_some("a private network")
}

fn refuses_v6(ip: Ipv6Addr, policy: &ReceiverPolicy) -> Option<&'static str> {
    if ip.is_unspecified() {
        return Some("no host");
    }
    if ip.is_multicast() {
        return Some("many hosts");
    }
    let is_metadata = METADATA_V6.contains(&ip) || ip.segments()[..2] == METADATA_V6_NET;
    if (ip.is_unicast_link_local() || is_metadata) && !policy.allow_link_local {
        return Some("a link-local or metadata address");
    }
    if ip.is_loopback() && !policy.allow_loopback {
        return Some("this machine");
    }
    (ip.is_unique_local() && !policy.allow_private).then_some("a private network")
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRICT: ReceiverPolicy =
        ReceiverPolicy { allow_private: false, allow_loopback: false, allow_link_local: false };

    #[test]
    fn addresses_that_hand_out_credentials_are_refused_however_they_are_written() {
        let policy = ReceiverPolicy::default();
        for host in [
            "169.254.169.254",
            "0xa9fea9fe",
            "2852039166",
            "0251.0376.0251.0376",
            "[::ffff:169.254.169.254]",
            "[64:ff9b::a9fe:a9fe]",
            "[::a9fe:a9fe]",
            "[64:ff9b:1::a9fe:a9fe]",
            "[2002:a9fe:a9fe::1]",
            "[fd00:ec2::254]",
            "[fd00:ec2::23]",
            "[fd20:ce::254]",
            "[fd00:42::42]",
            "192.0.0.192",
            "[fe80::1]",
            "169.254.0.1",
            "100.100.100.200",
            "metadata.google.internal",
            "METADATA.google.internal.",
            "0.0.0.0",
            "[::]",
            "224.0.0.1",
            "[ff02::1]",
            "255.255.255.255",
        ] {
            let error = check_url(&format!("http://{host}/latest"), &policy).unwrap_err();
            assert!(error.starts_with("leads to"), "{host}: {error}");
        }
        let trusting = ReceiverPolicy { allow_link_local: true, ..policy };
        check_url("http://169.254.169.254/", &trusting).unwrap();
        check_url("http://0.0.0.0/", &trusting).unwrap_err();
    }

    #[test]
    fn private_networks_and_this_machine_are_allowed_unless_refused() {
        for host in [
            "10.0.0.7",
            "192.168.1.1",
            "172.16.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "localhost",
            "[::1]",
            "[fd12::1]",
            "a.localhost",
        ] {
            let url = format!("http://{host}:9093");
            check_url(&url, &ReceiverPolicy::default()).unwrap_or_else(|error| panic!("{host}: {error}"));
            check_url(&url, &STRICT).unwrap_err();
        }
        for host in ["203.0.113.9", "hooks.slack.com", "[2001:db8::1]"] {
            check_url(&format!("https://{host}/"), &STRICT).unwrap_or_else(|error| panic!("{host}: {error}"));
        }
    }

    #[test]
    fn only_plain_addresses_of_the_web_are_taken() {
        for url in
            ["ftp://a/", "file:///etc/passwd", "gopher://a", "a", "https://u:p@a/", "https://u@a/", "http://"]
        {
            let error = check_url(url, &ReceiverPolicy::default()).unwrap_err();
            assert!(!error.contains("u:p"), "{error}");
        }
    }
}
