//! Revoked keys as this member knows them: for its own handshakes, and for the agents whose runners had them.
//!
//! Each revocation has a number in the state. An agent says up to which one it knows them and is sent the later ones
//! that concern it, so that a reconnect costs what is new and not the whole list.
//!
//! Not here: what revokes a key and whom it concerns (the engine).

use std::collections::BTreeMap;
use std::ops::Bound;

use parking_lot::{Mutex, MutexGuard};
use trimaran_engine::state::token::{Audience, Revoked};
use trimaran_model::id::AgentName;
use trimaran_model::time::WallTime;
use trimaran_query as query;
use trimaran_transport::{CertificateInfo, RevokedKeys};
use trimaran_wire::v1::agent::RevokedKey;

use crate::node::Node;
use crate::rows::View;

/// Whether a certificate is refused. What a removed coordinator signed goes on for the keys that were enrolled, whoever
/// signed them.
pub(crate) fn is_refused(keys: &RevokedKeys, node: &Node, certificate: &CertificateInfo) -> bool {
    let enrolled = || {
        let (identity, key) = (&certificate.identity, certificate.spki);
        View::new(node).read(|rows| query::is_enrolled(rows, identity, key)).unwrap_or(false)
    };
    keys.contains(certificate) || (keys.refuses_issuer(certificate) && !enrolled())
}

/// The revocations that count now.
#[derive(Debug, Default)]
pub(crate) struct Revocations {
    /// Of everyone, for handshakes.
    pub(crate) keys: RevokedKeys,
    for_agents: Mutex<ForAgents>,
}

/// Keys by the number of their revocation.
#[derive(Debug, Default)]
struct ForAgents {
    one: BTreeMap<AgentName, BTreeMap<u64, RevokedKey>>,
    all: BTreeMap<u64, RevokedKey>,
    /// Of removed coordinators: few, and for years.
    issuers: BTreeMap<u64, RevokedKey>,
}

impl Revocations {
    /// Adds what was revoked; those that are known change nothing.
    pub(crate) fn add(&self, now: WallTime, revoked: impl IntoIterator<Item = Revoked>) {
        let mut handshakes = Vec::new();
        let mut agents = self.lock();
        for Revoked { id, key, audience } in revoked {
            handshakes.push((key.0, id.until));
            let of_agent = matches!(audience, Audience::Runners { .. });
            let entry = RevokedKey { key: key.0, until_ms: id.until.0, of_agent };
            let concerned = match audience {
                Audience::Coordinators => continue,
                Audience::Agent { name } | Audience::Runners { agent: name } => {
                    agents.one.entry(name).or_default()
                }
                Audience::Agents => &mut agents.all,
                Audience::Issuer => &mut agents.issuers,
            };
            concerned.insert(id.number, entry);
        }
        agents.forget(now);
        drop(agents);
        self.keys.extend(now, handshakes);
    }

    /// At most `max` keys that concern the agent, of the numbers above `known` and in their order, and the last of these
    /// numbers.
    pub(crate) fn after(&self, agent: &AgentName, known: u64, max: usize) -> (u64, Vec<RevokedKey>) {
        let agents = self.lock();
        let above = (Bound::Excluded(known), Bound::Unbounded);
        let own = agents.one.get(agent).into_iter().flat_map(|keys| keys.range(above).take(max));
        let issuers = agents.issuers.range(above).take(max);
        let mut found: Vec<_> = own.chain(agents.all.range(above).take(max)).chain(issuers).collect();
        found.sort_unstable_by_key(|(number, _)| **number);
        found.truncate(max);
        let up_to = found.last().map_or(known, |(number, _)| **number);
        (up_to, found.into_iter().map(|(_, key)| *key).collect())
    }

    fn lock(&self) -> MutexGuard<'_, ForAgents> {
        self.for_agents.lock()
    }
}

impl ForAgents {
    /// Forgets what is over. Numbers grow with time, and so do ends, as keys of runners live equally long: the first
    /// ones are over first, but for those that were sent to all agents later.
    fn forget(&mut self, now: WallTime) {
        self.issuers.retain(|_, key| key.until_ms >= now.0);
        let over = |keys: &BTreeMap<u64, RevokedKey>| {
            keys.first_key_value().is_some_and(|(_, key)| key.until_ms < now.0)
        };
        for keys in self.one.values_mut().chain([&mut self.all]) {
            while over(keys) {
                keys.pop_first();
            }
        }
        self.one.retain(|_, keys| !keys.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use trimaran_engine::state::token::RevokedId;
    use trimaran_engine::{Engine, Event, Outcome};
    use trimaran_model::id::Digest;
    use trimaran_model::limits::REVOKED_PER_MESSAGE_MAX;
    use trimaran_wire::codec::Message as _;
    use trimaran_wire::v1::agent::AgentDown;
    use trimaran_wire::v1::command::{Command, CommandBody, Entry, TokenGrant};
    use trimaran_wire::v1::common::WireIdentity;

    use super::*;

    fn revoked(number: u8, until: i64, audience: Audience) -> Revoked {
        let id = RevokedId { until: WallTime(until), number: number.into() };
        Revoked { id, key: Digest([number; 32]), audience }
    }

    fn named(name: &str) -> AgentName {
        name.parse().expect("a name")
    }

    #[test]
    fn an_agent_gets_what_concerns_it_once_and_in_order() {
        let log = Revocations::default();
        let of = |name: &str| Audience::Agent { name: named(name) };
        let all = [
            revoked(1, 100, of("lab")),
            revoked(2, 100, Audience::Coordinators),
            revoked(3, 100, Audience::Agents),
            revoked(4, 100, of("other")),
            revoked(5, 100, of("lab")),
            revoked(6, 900, Audience::Issuer),
            revoked(7, 100, Audience::Runners { agent: named("other") }),
        ];
        log.add(WallTime(0), all.clone());
        log.add(WallTime(0), all);
        let got = |agent: &str, known, max| {
            let (up_to, keys) = log.after(&named(agent), known, max);
            (up_to, keys.iter().map(|it| it.key[0]).collect::<Vec<_>>())
        };
        assert_eq!(got("lab", 0, 10), (6, vec![1, 3, 5, 6]));
        assert_eq!(got("lab", 0, 2), (3, vec![1, 3]), "a page");
        assert_eq!(got("lab", 3, 2), (6, vec![5, 6]), "the next one");
        assert_eq!(got("lab", 6, 2), (6, vec![]), "nothing is new");
        assert_eq!(got("other", 0, 10), (7, vec![3, 4, 6, 7]));
        let (_, keys) = log.after(&named("other"), 0, 10);
        let of_agents: Vec<bool> = keys.iter().map(|it| it.of_agent).collect();
        assert_eq!(of_agents, [false, false, false, true], "it passes its own earlier key on to its runners");
        assert_eq!(got("third", 0, 10), (6, vec![3, 6]));
        assert_eq!(log.keys.len(), 7, "handshakes refuse all of them");
        log.add(WallTime(101), []);
        assert_eq!(got("lab", 0, 10), (6, vec![6]), "the others' certificates have ended");
        log.add(WallTime(901), []);
        assert_eq!(got("lab", 0, 10), (0, vec![]));
        assert!(log.keys.is_empty());
    }

    /// Every runner of a fleet is enrolled anew within an hour, in which each agent loses its session 60 times and its
    /// process once: all that all agents are sent of revocations, in bytes of their frames.
    #[test]
    fn a_fleet_that_is_enrolled_anew_costs_its_agents_little() {
        let full = std::env::var_os("TRIMARAN_FULL").is_some();
        let (agents, runners) = (20, if full { 100_000 } else { 4000 });
        let mut fleet = Fleet::new(agents);
        (0..runners).step_by(100).for_each(|first| fleet.enroll(first..first + 100));
        assert_eq!(fleet.received, vec![0; agents], "no one was replaced yet");
        for (round, first) in (0..runners).step_by(100).enumerate() {
            fleet.enroll(first..first + 100);
            if round.is_multiple_of((runners / 100 / 60).max(1)) {
                (0..agents).for_each(|agent| fleet.receive(agent));
            }
            if round == runners / 200 {
                // The process forgets; its journal does not hold keys.
                fleet.known = vec![0; agents];
            }
        }
        let known: Vec<usize> =
            (0..agents).map(|agent| fleet.log.after(&fleet.names[agent], 0, runners).1.len()).collect();
        assert_eq!(known.iter().sum::<usize>(), runners, "each key concerns one agent");
        let bytes: usize = fleet.received.iter().sum();
        let bar = (10 << 20) * runners / 100_000;
        assert!(bytes <= bar, "{bytes} bytes for {runners} runners on {agents} agents, the bar is {bar}");
        assert!(bytes > runners * 32, "every agent was sent its keys");
    }

    /// An engine, and the sessions of agents as their coordinator sees them.
    struct Fleet {
        engine: Engine,
        index: u64,
        log: Revocations,
        names: Vec<AgentName>,
        /// What each agent knows, and the bytes that it was sent.
        known: Vec<u64>,
        received: Vec<usize>,
    }

    impl Fleet {
        fn new(agents: usize) -> Self {
            let names: Vec<AgentName> = (0..agents).map(|it| named(&format!("agent-{it}"))).collect();
            let (known, received) = (vec![0; agents], vec![0; agents]);
            let (engine, log) = (Engine::new(), Revocations::default());
            let mut fleet = Self { engine, index: 0, log, names, known, received };
            let bootstrap = CommandBody::Bootstrap {
                cluster: "c".to_owned(),
                wall_ms: 1_700_000_000_000,
                incarnation: 1,
                admin_token_sha256: [1; 32],
                admin: "admin".to_owned(),
            };
            let grants: Vec<_> =
                fleet.names.iter().map(|name| TokenGrant::Agent { name: name.to_string() }).collect();
            fleet.apply(vec![bootstrap]);
            for grant in grants {
                let bodies = fleet.tokens([grant]);
                fleet.apply(bodies);
            }
            fleet
        }

        /// A token and its use for each grant.
        fn tokens(&self, grants: impl IntoIterator<Item = TokenGrant>) -> Vec<CommandBody> {
            let number = |it: usize| {
                let mut bytes = [3; 32];
                bytes[..8].copy_from_slice(&self.index.to_be_bytes());
                bytes[8..16].copy_from_slice(&(it as u64).to_be_bytes());
                bytes
            };
            let both = |(it, grant)| {
                let token_sha256 = number(it);
                [
                    CommandBody::CreateToken { token_sha256, grant },
                    CommandBody::UseToken { token_sha256, spki_sha256: token_sha256, name: None },
                ]
            };
            grants.into_iter().enumerate().flat_map(both).collect()
        }

        /// Enrols runners; each agent whose runner was replaced is sent what it does not know, as its session does.
        fn enroll(&mut self, runners: std::ops::Range<usize>) {
            let agents = self.names.len();
            let grant = |it: usize| TokenGrant::Runner {
                name: format!("host-{it}"),
                agent: self.names[it % agents].to_string(),
                labels: BTreeMap::new(),
            };
            let bodies = self.tokens(runners.map(grant));
            self.apply(bodies);
        }

        fn apply(&mut self, bodies: Vec<CommandBody>) {
            self.index += 1;
            let command = |body| Command { identity: WireIdentity::System, request: None, body };
            let commands = bodies.into_iter().map(command).collect();
            let applied = self.engine.apply(self.index, &Entry { now_ms: self.index, commands });
            assert!(
                applied.outcomes.iter().all(|it| !matches!(it, Outcome::Refused(_))),
                "{:?}",
                applied.outcomes
            );
            for event in applied.events {
                let Event::Revoked(revoked) = event else { continue };
                let Audience::Agent { name } = revoked.audience.clone() else { panic!("{revoked:?}") };
                self.log.add(self.engine.wall(), [revoked]);
                let agent = self.names.iter().position(|it| *it == name).expect("one of them");
                self.receive(agent);
            }
        }

        /// The agent's session begins, or is woken.
        fn receive(&mut self, agent: usize) {
            loop {
                let (up_to, keys) =
                    self.log.after(&self.names[agent], self.known[agent], REVOKED_PER_MESSAGE_MAX);
                if keys.is_empty() {
                    return;
                }
                self.known[agent] = up_to;
                self.received[agent] +=
                    AgentDown::Revoked { up_to, keys, issuers: Vec::new() }.to_frame().encode().len();
            }
        }
    }
}
