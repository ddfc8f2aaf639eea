//! The order in which hosts are updated: by rendezvous hash of service and host.
//!
//! It stays the same for all waves and attempts of a service, so a repetition meets the same first hosts, and
//! differs between services, so that one host is not the first of everything.

use trimaran_model::id::{HostName, PipelineName};

/// The hosts in the order of their updates for a service.
pub fn in_order<'a>(
    service: &PipelineName,
    hosts: impl IntoIterator<Item = &'a HostName>,
) -> Vec<&'a HostName> {
    let mut hosts: Vec<&HostName> = hosts.into_iter().collect();
    hosts.sort_by_cached_key(|host| (rank(service, host), (*host).clone()));
    hosts
}

/// The hash of `SERVICE/HOST`: names that differ in one digit spread.
pub(crate) fn rank(service: &PipelineName, host: &HostName) -> u64 {
    let (service, host) = (service.as_str().as_bytes(), host.as_str().as_bytes());
    trimaran_model::hash::spread(service.iter().chain(b"/").chain(host))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_service_has_its_own_stable_order() {
        let hosts: BTreeSet<HostName> = (0..20).map(|n| format!("host-{n}").parse().unwrap()).collect();
        let orders: Vec<Vec<&HostName>> =
            ["web", "api", "mail"].map(|it| in_order(&it.parse().unwrap(), &hosts)).into();
        assert_eq!(orders[0], in_order(&"web".parse().unwrap(), hosts.iter().rev()));
        let first: BTreeSet<_> = orders.iter().map(|order| order[0]).collect();
        assert_eq!(first.len(), 3, "{orders:?}");
        let mut without = hosts.clone();
        without.remove(orders[0][3]);
        let rest: Vec<_> = orders[0].iter().copied().filter(|host| *host != orders[0][3]).collect();
        assert_eq!(in_order(&"web".parse().unwrap(), &without), rest, "a host that leaves moves no other");
    }
}
