//! The inventory that an agent is sent: its runners, whenever they are others.

use trimaran_engine::state::agent::Runner;
use trimaran_model::hash::spread;
use trimaran_model::time::Millis;
use trimaran_wire::codec::encode;
use trimaran_wire::v1::agent::{AgentDown, RunnerEntry};

use super::io::Output;
use super::pages::pages;
use super::rest::RestingRead;

/// What a session knows of its agent's inventory.
#[derive(Debug)]
pub(super) struct Inventory {
    /// A hash of the one that the agent was sent.
    sent: Option<u64>,
    pub(super) read: RestingRead,
}

impl Default for Inventory {
    fn default() -> Self {
        // An order may name a runner that has just come: the first read is never put off, and short ones do not rest.
        Self { sent: None, read: RestingRead::new(Millis(0)) }
    }
}

impl Inventory {
    /// Sends all runners of the agent, when they are others than before.
    pub(super) fn send(&mut self, revision: u64, runners: Vec<Runner>, out: &mut Vec<Output>) {
        let entry = |runner: Runner| RunnerEntry {
            name: runner.name.to_string(),
            labels: runner.selectable(),
            cordoned: runner.cordoned,
            drained: runner.drained,
        };
        let runners: Vec<RunnerEntry> = runners.into_iter().map(entry).collect();
        let hash = spread(&runners.iter().flat_map(encode).collect::<Vec<u8>>());
        if self.sent.replace(hash) != Some(hash) {
            let page = |(runners, last)| AgentDown::Inventory { revision, runners, last };
            out.extend(pages(runners, entry_bytes).map(page).map(Output::Send));
        }
    }
}

/// Key, value and length prefixes, generously.
fn entry_bytes(entry: &RunnerEntry) -> usize {
    let labels: usize = entry.labels.iter().map(|(key, value)| key.len() + value.len() + 8).sum();
    entry.name.len() + labels + 16
}

#[cfg(test)]
mod tests {
    use trimaran_wire::codec::Message as _;

    use super::*;

    #[test]
    fn an_inventory_of_any_size_goes_in_pages_that_fit_a_frame() {
        let labels = |n: usize| (0..n).map(|it| (format!("{it:0>128}"), "v".repeat(128))).collect();
        for (runners, labelled) in [(0, 0), (1, 64), (100_000, 0), (3000, 64)] {
            let entry = |it: usize| RunnerEntry {
                name: format!("host-{it:0>58}"),
                labels: labels(labelled),
                cordoned: false,
                drained: true,
            };
            let list: Vec<_> = (0..runners).map(entry).collect();
            let pages: Vec<_> = pages(list.clone(), entry_bytes).collect();
            for (page, _) in &pages {
                assert!(runners == 0 || !page.is_empty());
                let message = AgentDown::Inventory { revision: 1, runners: page.clone(), last: true };
                assert!(message.to_frame().body.len() <= trimaran_model::limits::AGENT_FRAME_BYTES_MAX);
            }
            let last: Vec<bool> = pages.iter().map(|(_, last)| *last).collect();
            assert!(last.ends_with(&[true]) && !last[..last.len() - 1].contains(&true));
            assert_eq!(pages.into_iter().map(|(page, _)| page).collect::<Vec<_>>().concat(), list);
        }
    }
}
