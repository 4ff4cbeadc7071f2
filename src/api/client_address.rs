//! The address of the client, seen through trusted proxies.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::{ConnectInfo, Request};
use ipnet::IpNet;

/// The address that the request came from.
///
/// `X-Forwarded-For` counts only if the connection comes from a trusted proxy. Then the last
/// address that is not a trusted proxy's is the client's: it may have written any earlier one
/// itself.
pub(super) fn client_address(request: &Request, trusted: &[IpNet]) -> IpAddr {
    let peer = request
        .extensions()
        .get::<ConnectInfo<SocketAddr>>()
        .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |info| {
            info.0.ip().to_canonical()
        });
    let forwarded = request.headers().get_all("x-forwarded-for");
    let hops: Vec<&str> = forwarded
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .collect();
    let is_proxy = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
    let mut address = peer;
    for hop in hops.iter().rev() {
        if !is_proxy(&address) {
            break;
        }
        match hop.trim().parse::<IpAddr>() {
            Ok(before) => address = before.to_canonical(),
            Err(_) => break,
        }
    }
    address
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::HeaderValue;

    use super::*;

    fn came_from(peer: &str, forwarded: &[&str], trusted: &[&str]) -> String {
        let mut request = Request::new(Body::empty());
        let peer: IpAddr = peer.parse().expect("an address");
        request
            .extensions_mut()
            .insert(ConnectInfo(SocketAddr::from((peer, 1234))));
        for value in forwarded {
            request
                .headers_mut()
                .append("x-forwarded-for", HeaderValue::from_str(value).expect("a header"));
        }
        let trusted: Vec<IpNet> = trusted
            .iter()
            .map(|network| network.parse().expect("a network"))
            .collect();
        client_address(&request, &trusted).to_string()
    }

    #[test]
    fn only_a_trusted_proxy_names_the_client() {
        let ours = ["10.0.0.0/8"];
        for (peer, forwarded, trusted, wanted) in [
            ("192.0.2.1", vec!["198.51.100.1"], &ours[..], "192.0.2.1"),
            ("10.0.0.1", vec!["198.51.100.1"], &[], "10.0.0.1"),
            ("10.0.0.1", vec!["198.51.100.1"], &ours, "198.51.100.1"),
            (
                "10.0.0.1",
                vec!["203.0.113.7, 198.51.100.1, 10.0.0.2"],
                &ours,
                "198.51.100.1",
            ),
            (
                "10.0.0.1",
                vec!["203.0.113.7", "198.51.100.1"],
                &ours,
                "198.51.100.1",
            ),
            ("10.0.0.1", vec!["nonsense"], &ours, "10.0.0.1"),
            ("10.0.0.1", vec![], &ours, "10.0.0.1"),
            ("::ffff:10.0.0.1", vec!["2001:db8::1"], &ours, "2001:db8::1"),
        ] {
            assert_eq!(
                came_from(peer, &forwarded, trusted),
                wanted,
                "{peer} {forwarded:?}"
            );
        }
    }
}
