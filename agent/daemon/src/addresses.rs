//! Addresses: all of a name, of both families, and from which local one they are reached.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Every address of `HOST:PORT`, in the order of the resolver (getaddrinfo(3)); never none.
pub(crate) async fn of_name(name: &str) -> io::Result<Vec<SocketAddr>> {
    let found: Vec<SocketAddr> = tokio::net::lookup_host(name).await?.collect();
    if found.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    }
    Ok(found)
}

/// Any local address that can reach the endpoints: of both families, unless all of them are written as IPv4 or this
/// host has no IPv6.
pub(crate) fn any_local(endpoints: &[String]) -> SocketAddr {
    let is_v4 = |endpoint: &String| endpoint.parse::<SocketAddr>().is_ok_and(|address| address.is_ipv4());
    let both = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
    if !endpoints.iter().all(is_v4) && std::net::UdpSocket::bind(both).is_ok() {
        return both;
    }
    SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))
}

/// The local address from which an endpoint is reached; nothing is sent to find it.
pub(crate) async fn towards(endpoint: &str) -> io::Result<IpAddr> {
    let mut failed = None;
    for address in of_name(endpoint).await? {
        match local_address(address).await {
            Ok(local) => return Ok(local),
            Err(error) => failed = Some(error),
        }
    }
    Err(failed.expect("a name has at least one address"))
}

async fn local_address(remote: SocketAddr) -> io::Result<IpAddr> {
    let any: IpAddr = match remote {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = tokio::net::UdpSocket::bind((any, 0)).await?;
    socket.connect(remote).await?;
    Ok(socket.local_addr()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_have_addresses_of_both_families() {
        let any =
            |endpoints: &[&str]| any_local(&endpoints.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>());
        assert!(any(&["127.0.0.1:7700", "10.0.0.1:7700"]).is_ipv4());
        let has_v6 = std::net::UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).is_ok();
        for endpoints in [["c1:7700"].as_slice(), &["[::1]:7700"], &["127.0.0.1:7700", "c1:7700"]] {
            assert_eq!(any(endpoints).is_ipv6(), has_v6, "{endpoints:?}");
        }
    }

    #[tokio::test]
    async fn the_own_address_is_of_the_endpoints_family() {
        assert_eq!(towards("127.0.0.1:7700").await.expect("loopback").to_string(), "127.0.0.1");
        assert!(towards("no-such-name.invalid:1").await.is_err());
    }
}
