//! Coordinators of two builds in one cluster: each is upgraded and goes back to the build before at any moment, under all other
//! faults, until an operator raises the feature level. Operators ask for what the newer level brings all the time.
//!
//! Checked: a build meets nothing that it does not know before the level is raised, and nothing takes the level back. Who went
//! back to the build before just when the level was raised ends, and is upgraded again. After [`Cluster::heal`] every
//! coordinator has the newer build, the level is raised, and what it brings works.

use std::collections::BTreeMap;

use trimaran_engine::Outcome;
use trimaran_member::{EngineMachine as _, Proposed};
use trimaran_model::feature_level::{FIRST, Levels, MANY_RUNNERS, SUPPORTED};
use trimaran_wire::v1::command::{CommandBody, TokenGrant};

use super::{Cluster, Event, NODES, membership};
use crate::lab::{operator, system};
use crate::random::Random;
use crate::world::Asker;

/// The build before the present one.
const BEFORE: Levels = Levels { min: FIRST, max: FIRST };
/// Milliseconds between changes of builds, about.
const CHANGE_INTERVAL: u64 = 2500;
/// One of so many moves of an operator raises the level while a build before is in use.
const FINALIZE_ONE_OF: u64 = 12;
/// How often what the newer level brings is done before operators ask for it no more.
const TOKENS_ENOUGH: u64 = 4;

pub(super) struct Upgrade {
    random: Random,
    /// The highest level that any coordinator had, in this incarnation of the state.
    level: u16,
    tokens: u64,
    /// How often what the newer level brings was done.
    granted: u64,
}

impl Upgrade {
    fn new(seed: u64) -> Self {
        Self { random: Random::new(seed ^ 0x0B_01_1D_ED), level: FIRST, tokens: 0, granted: 0 }
    }
}

impl Cluster {
    /// From now on coordinators of two builds work together.
    pub fn mix_builds(&mut self, seed: u64) {
        let mut upgrade = Upgrade::new(seed);
        for node in &mut self.nodes {
            node.levels = if upgrade.random.below(2) == 0 { BEFORE } else { SUPPORTED };
        }
        self.upgrade = Some(upgrade);
        self.at(CHANGE_INTERVAL, Event::Build);
    }

    /// The levels of a build for a coordinator that begins anew.
    pub(super) fn build_of_new(&mut self) -> Levels {
        let Some(it) = self.upgrade.as_mut().filter(|it| it.level == FIRST && !self.healing) else {
            return SUPPORTED;
        };
        if it.random.below(2) == 0 { BEFORE } else { SUPPORTED }
    }

    /// One coordinator is started with the other build. No one goes back once the level is known to be raised.
    pub(super) fn change_build(&mut self) {
        let Some(it) = self.upgrade.as_mut().filter(|_| !self.healing) else { return };
        let delay = CHANGE_INTERVAL / 2 + it.random.below(CHANGE_INTERVAL);
        let node = usize::try_from(it.random.below(NODES as u64)).expect("small");
        let levels = match (self.nodes[node].levels == BEFORE, it.level) {
            (true, _) => Some(SUPPORTED),
            (false, FIRST) => Some(BEFORE),
            (false, _) => None,
        };
        if let Some(levels) = levels {
            self.start_with(node, levels);
        }
        self.at(delay, Event::Build);
    }

    fn start_with(&mut self, node: usize, levels: Levels) {
        self.note(format_args!("the build of {node} supports {levels}"));
        self.seen.builds += 1;
        self.crash(node);
        self.nodes[node].levels = levels;
    }

    /// Everyone gets the newer build.
    pub(super) fn upgrade_all(&mut self) {
        if self.upgrade.is_some() {
            let before: Vec<usize> = (0..NODES).filter(|node| self.nodes[*node].levels == BEFORE).collect();
            before.into_iter().for_each(|node| self.start_with(node, SUPPORTED));
        }
    }

    /// Whether a coordinator ends rightly, because the level was raised above what its build supports; it is upgraded then.
    pub(super) fn ends_as_too_old(&mut self, node: usize) -> bool {
        let too_old = self.upgrade.as_ref().is_some_and(|it| it.level > self.nodes[node].levels.max);
        if too_old {
            self.seen.too_old += 1;
            self.start_with(node, SUPPORTED);
        }
        too_old
    }

    /// The state is another one: that of a backup.
    pub(super) fn level_restored(&mut self, level: u16) {
        if let Some(it) = &mut self.upgrade {
            (it.level, it.granted) = (level, 0);
        }
    }

    /// Notes the level that a coordinator has after a step.
    pub(super) fn note_level(&mut self, node: usize) {
        let level = self.nodes[node].member.as_ref().map(|member| member.state_machine().engine().level());
        if let (Some(it), Some(level)) = (&mut self.upgrade, level) {
            it.level = it.level.max(level);
        }
    }

    /// Coordinators say what their builds support, and an operator asks for what the newer level brings, or raises it.
    pub(super) fn upgrade_moves(&mut self) {
        let Some(it) = &self.upgrade else { return };
        if self.healing && it.level == MANY_RUNNERS && it.granted >= TOKENS_ENOUGH {
            return;
        }
        for node in 0..NODES {
            let (id, levels) = (self.nodes[node].id, self.nodes[node].levels);
            let Some(member) = &self.nodes[node].member else { continue };
            let known = member.state_machine().engine().member(id).filter(|it| !it.removed);
            if known.is_some_and(|it| it.levels != levels) {
                self.ask(node, system(membership::row(id, levels)), Asker::Internal);
            }
        }
        let node = self.any_node();
        let Some(it) = &mut self.upgrade else { return };
        it.tokens += 1;
        let body = if it.random.below(if self.healing { 2 } else { FINALIZE_ONE_OF }) == 0 {
            CommandBody::Finalize
        } else {
            let grant = TokenGrant::Runners {
                group: "web".to_owned(),
                agent: "lab".to_owned(),
                labels: BTreeMap::new(),
                uses: 2,
                ttl_ms: 1000,
            };
            let mut token_sha256 = [0xEE; 32];
            token_sha256[..8].copy_from_slice(&it.tokens.to_be_bytes());
            CommandBody::CreateToken { token_sha256, grant }
        };
        self.ask(node, operator("admin", body), Asker::Upgrade);
    }

    pub(super) fn upgrade_answered(&mut self, answer: &Proposed) {
        match answer {
            Proposed::Done { outcome: Outcome::Finalized { level: MANY_RUNNERS }, .. } => {
                self.seen.finalized += 1
            }
            Proposed::Done { outcome: Outcome::Token { .. }, .. } => {
                self.seen.tokens_for_many += 1;
                self.upgrade.iter_mut().for_each(|it| it.granted += 1);
            }
            Proposed::Done { outcome: Outcome::Refused(_), .. } => self.seen.level_refused += 1,
            _ => {}
        }
    }

    /// At the end the level is raised everywhere.
    pub(super) fn check_level(&self) {
        let Some(it) = &self.upgrade else { return };
        assert!(it.granted > 0, "what the newer level brings is done at last");
        for node in &self.nodes {
            let member = node.member.as_ref().expect("a healed coordinator runs");
            assert_eq!(member.state_machine().engine().level(), MANY_RUNNERS, "the level of {}", node.id);
        }
    }
}
