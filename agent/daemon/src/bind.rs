//! The local address of a process that dials.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// Any local address that can reach the endpoints: IPv6 only where one of them is written so.
pub(crate) fn any_address(endpoints: &[String]) -> SocketAddr {
    if endpoints.iter().any(|endpoint| endpoint.starts_with('[')) {
        SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))
    } else {
        SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))
    }
}
