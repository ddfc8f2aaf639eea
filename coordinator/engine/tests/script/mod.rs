//! The commands of scripts and how their results are printed.

mod show;

use trimaran_engine::Outcome;
use trimaran_engine::mutant::{self, Mutant};
use trimaran_engine::state::assignment::LiveAssignment;
use trimaran_sim::lab::{Lab, agent, failure, operator, request, run_id, stage_id, system};
use trimaran_sim::plan;
use trimaran_wire::v1::agent::{AgentVerdict, HostCounts, HostFinding};
use trimaran_wire::v1::assignment::{WireFailure, WireOutcome};
use trimaran_wire::v1::command::{Command, CommandBody, RunnerChange, TokenGrant, WireMemberChange};
use trimaran_wire::v1::common::WireInstallation;
use trimaran_wire::v1::release::WireRelease;

/// One script at work.
pub(crate) struct Script {
    lab: Lab,
    /// A defect was switched on, so a replay without it is another history.
    defect: bool,
}

/// A command line: its words in order, and `key=value` among them.
struct Line<'a> {
    words: Vec<&'a str>,
    more: Vec<String>,
}

impl<'a> Line<'a> {
    fn word(&self, index: usize) -> &'a str {
        self.words.get(index).copied().unwrap_or_else(|| panic!("word {index} of {:?}", self.words))
    }

    fn value(&self, key: &str) -> Option<&'a str> {
        self.words.iter().find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    }

    /// Words from `index` on that are no `key=value`.
    fn text(&self, index: usize) -> String {
        let plain = self.words.iter().skip(index).filter(|word| !word.contains('='));
        plain.copied().collect::<Vec<_>>().join(" ")
    }

    fn number(&self, index: usize) -> u64 {
        self.word(index).parse().unwrap_or_else(|_| panic!("`{}` is a number", self.word(index)))
    }
}

impl Script {
    pub(crate) fn new() -> Self {
        Self { lab: Lab::new(), defect: false }
    }

    /// What it has done.
    pub(crate) fn lab(&self) -> &Lab {
        &self.lab
    }

    /// Runs a whole script and gives it back with what its commands give now.
    pub(crate) fn run(&mut self, text: &str) -> String {
        let mut out = String::new();
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            out.push_str(line);
            out.push('\n');
            let Some(command) = line.strip_prefix("> ") else { continue };
            let mut more = Vec::new();
            while let Some(next) = lines.next_if(|next| next.starts_with("| ")) {
                out.push_str(next);
                out.push('\n');
                more.push(next[2..].to_owned());
            }
            for given in self.command(command, more) {
                out.push_str(&given);
                out.push('\n');
            }
            // What it gave before.
            while lines.next_if(|next| !next.is_empty() && !next.starts_with("> ")).is_some() {}
        }
        if !self.defect {
            assert_eq!(self.lab.replayed().hash(), self.lab.engine.hash(), "a replay gives another state");
        }
        out
    }

    fn command(&mut self, text: &str, more: Vec<String>) -> Vec<String> {
        let line = Line { words: text.split_whitespace().collect(), more };
        match line.word(0) {
            "cluster" => self.cluster(&line),
            "pipeline" => {
                self.lab.pipelines.insert(line.word(1).to_owned(), line.more);
                Vec::new()
            }
            "target" => {
                self.lab.target(text.strip_prefix("target").expect("the word before"));
                Vec::new()
            }
            "runner" => {
                self.lab.runner(line.word(1), line.word(2), line.word(3));
                Vec::new()
            }
            "time" => show::events(&self.lab.pass(plan::millis(line.word(1)))),
            "together" => {
                let commands = line.more.iter().map(|text| self.parse(text)).collect();
                let applied = self.lab.apply(commands);
                let mut out: Vec<String> = applied.outcomes.iter().map(show::outcome).collect();
                out.extend(show::events(&applied.events));
                out
            }
            "work" => show::work(&self.lab),
            "run" => show::run(&self.lab, line.word(1)),
            "why" => show::why(&self.lab, line.word(1)),
            "plan" => {
                let overrides: Vec<String> = line.value("override").map(str::to_owned).into_iter().collect();
                show::plan(&self.lab, self.lab.deploy(line.word(1), line.word(2), &overrides))
            }
            "status" => show::status(&self.lab),
            "audit" => show::audit(&self.lab),
            "alarms" => show::alarms(&self.lab),
            "agents" => show::agents(&self.lab),
            "history" => show::history(&self.lab, line.word(1)),
            "mutant" => {
                self.defect = true;
                mutant::set(Mutant::ALL.iter().copied().find(|it| it.as_str() == line.word(1)));
                Vec::new()
            }
            _ => {
                let command = self.parse(text);
                let done = self.lab.run(command);
                let mut out = vec![show::outcome(&done.outcome)];
                if !matches!(done.outcome, Outcome::Refused(_)) {
                    out.extend(show::events(&done.events));
                }
                out
            }
        }
    }

    fn cluster(&mut self, line: &Line<'_>) -> Vec<String> {
        let count = |key: &str| line.value(key).map_or(2, |text| text.parse().expect("a count"));
        self.lab = Lab::with_hosts(count("staging"), count("prod"));
        Vec::new()
    }

    /// A command of an operator, an agent or the system.
    fn parse(&self, text: &str) -> Command {
        let line = Line { words: text.split_whitespace().collect(), more: Vec::new() };
        let mut command = match self.of_agent(&line).or_else(|| self.of_system(&line)) {
            Some(command) => command,
            None => operator(line.value("as").unwrap_or("op1"), self.of_operator(&line)),
        };
        if let Some(number) = line.value("request") {
            let (number, body) = number.split_once('/').unwrap_or((number, "1"));
            let made = line.value("made").map_or(0, signed);
            let made = self.lab.engine.wall().0 + made;
            let body = body.parse().expect("a small number");
            command.request = Some(request(made, number.parse().expect("a number"), body));
        }
        command
    }

    fn of_operator(&self, line: &Line<'_>) -> CommandBody {
        let run_and_stage = |text: &str| match text.split_once('/') {
            Some((run, stage)) => (run_id(run), Some(stage_id(stage))),
            None => (run_id(text), None),
        };
        match line.word(0) {
            "deploy" => {
                let overrides: Vec<String> = line.value("override").map(str::to_owned).into_iter().collect();
                self.lab.deploy(line.word(1), line.word(2), &overrides)
            }
            "approve" => {
                let (run, stage) = run_and_stage(line.word(1));
                CommandBody::Approve {
                    run,
                    stage,
                    option: line.value("option").map(str::to_owned),
                    plan_digest: line.value("digest").map(|_| [9; 32]),
                    comment: String::new(),
                }
            }
            "cancel" => CommandBody::Cancel { run: run_id(line.word(1)) },
            "resume" => {
                let (run, stage) = run_and_stage(line.word(1));
                CommandBody::Resume { run, stage }
            }
            "rollback" => CommandBody::Rollback {
                pipeline: line.word(1).to_owned(),
                environment: line.word(2).to_owned(),
                to: line.value("to").map(|version| {
                    let target = line.value("target").expect("target= beside to=");
                    let environments = vec![format!("any targets={target}")];
                    plan::plan(line.word(1), &environments, version).environments[0].stages[0].release_digest
                }),
                from: line.value("from").map(str::to_owned),
                restore_from: line.value("state").map(str::to_owned),
                reason: String::new(),
                overrides: line.value("override").map(str::to_owned).into_iter().collect(),
            },
            "runners" => CommandBody::Runners {
                names: vec![line.word(2).to_owned()],
                change: match line.word(1) {
                    "remove" => RunnerChange::Remove,
                    "cordon" => RunnerChange::Cordon,
                    "uncordon" => RunnerChange::Uncordon,
                    "drain" => RunnerChange::Drain,
                    other => panic!("`{other}` is no change of a runner"),
                },
            },
            "resume_cluster" => CommandBody::ResumeCluster {
                epoch: line.value("epoch").map(|it| it.parse().expect("an epoch")),
                incarnation: line.number(1),
            },
            "adopt" => {
                let environments = vec![format!("{} targets={}", line.word(2), line.word(3))];
                let plan = plan::plan(line.word(1), &environments, line.word(4));
                let mut release = WireRelease::clone(&plan.environments[0].stages[0].release);
                if let Some(target) = line.value("of") {
                    release.target = target.to_owned();
                }
                CommandBody::Adopt {
                    installation: installation(line),
                    environment: line.word(2).to_owned(),
                    release,
                }
            }
            "reapply" => CommandBody::Reapply {
                installation: installation(line),
                environment: line.word(2).to_owned(),
            },
            "finalize" => CommandBody::Finalize,
            "back_up" => CommandBody::BackUp { coordinator: line.word(1).to_owned() },
            "token" => CommandBody::CreateToken {
                token_sha256: [u8::try_from(line.number(1)).expect("a small number"); 32],
                grant: grant(line),
            },
            other => panic!("`{other}` is no command"),
        }
    }

    fn of_system(&self, line: &Line<'_>) -> Option<Command> {
        let (name, number) = (|| line.word(1).to_owned(), |index| line.number(index));
        Some(system(match line.word(0) {
            "lost" => CommandBody::AgentLost {
                agent: name(),
                attach: self.lab.last_attach(line.word(1), number(2)),
            },
            "wall" => CommandBody::WallOffset {
                offset_ms: self.lab.engine.wall().0 - i64::try_from(self.lab.engine.now().0).expect("small")
                    + signed(line.word(1)),
                jump: line.words.contains(&"jump"),
            },
            "use" => CommandBody::UseToken {
                token_sha256: [u8::try_from(number(1)).expect("a small number"); 32],
                spki_sha256: [u8::try_from(number(2)).expect("a small number"); 32],
                name: line.value("name").map(str::to_owned),
            },
            "member" => CommandBody::Member {
                name: name(),
                raft_id: line.words.get(2).map_or(1, |_| number(2)),
                disk: [1; 16],
                address: "127.0.0.1:7700".to_owned(),
                certificate_sha256: [0; 32],
                issuer_sha256: [u8::try_from(line.words.get(2).map_or(1, |_| number(2))).expect("small"); 32],
                levels: (1, line.value("levels").map_or(2, |it| it.parse().expect("a level"))),
            },
            "recover" => CommandBody::Recover { raft_id: number(1), incarnation: number(2) },
            "restore" => CommandBody::Restore { raft_id: number(1) },
            "remove_member" => {
                CommandBody::ChangeMember { change: WireMemberChange::Remove, raft_id: number(1) }
            }
            _ => return None,
        }))
    }

    fn of_agent(&self, line: &Line<'_>) -> Option<Command> {
        let live =
            || self.lab.live(line.word(1)).unwrap_or_else(|| panic!("nothing works on {}", line.word(1)));
        let failed = || failure(line.word(3), &line.text(4), Some(line.word(2)));
        let ended = |outcome: WireOutcome| {
            let mut command = self.lab.result(&live(), outcome);
            if let (CommandBody::Result { progress, .. }, Some(done)) =
                (&mut command.body, line.value("done"))
            {
                progress.done = done.parse().expect("a count");
            }
            command
        };
        let by = |row: &LiveAssignment, mut command: Command| {
            command.identity = trimaran_wire::v1::common::WireIdentity::Agent(
                line.value("by").unwrap_or(row.agent.as_str()).to_owned(),
            );
            command
        };
        Some(match line.word(0) {
            "attach" => {
                let body = CommandBody::Attach {
                    incarnation: line.number(2),
                    coordinator: "c1".to_owned(),
                    address: "127.0.0.1:7701".to_owned(),
                    epoch_seen: line.value("epoch").map_or(1, |it| it.parse().expect("an epoch")),
                    incarnation_seen: line.value("incarnation").map_or(0, |it| it.parse().expect("a number")),
                    platforms: vec!["hosts".to_owned()],
                };
                agent(line.word(1), body)
            }
            "detach" => {
                let goodbye = line.words.contains(&"goodbye");
                let attach = self.lab.last_attach(line.word(1), line.number(2));
                agent(
                    line.word(1),
                    CommandBody::Detach { attach, goodbye, seen_ms: self.lab.engine.wall().0 },
                )
            }
            "done" => ended(WireOutcome::Done),
            "fail" => ended(WireOutcome::Failed(failed())),
            "fault" => ended(WireOutcome::Fault(failed())),
            "stopped" => ended(WireOutcome::Stopped),
            "progress" => {
                let row = live();
                let mut progress = trimaran_sim::lab::progress(&row, &WireOutcome::Stopped);
                progress.done = line.value("done").map_or(0, |text| text.parse().expect("a count"));
                progress.failed = line
                    .value("failed")
                    .map(|text| text.split(',').map(str::to_owned).collect())
                    .unwrap_or_default();
                by(&row, agent(row.agent.as_str(), trimaran_sim::lab::commit(progress)))
            }
            "again" => {
                let row = self.lab.known.get(&line.number(1));
                let row = row.unwrap_or_else(|| panic!("no assignment {}", line.number(1)));
                by(row, self.lab.result(row, WireOutcome::Done))
            }
            "verdict" => {
                let target = line.word(1).to_owned();
                let pipeline = line.value("pipeline").unwrap_or("web").to_owned();
                let fence = self.lab.known.values().filter(|row| {
                    let id = &row.order.installation;
                    id.target.as_str() == target && id.pipeline.as_str() == pipeline
                });
                let fence = fence.map(|row| row.order.fence.0).max().unwrap_or(0);
                let failure: Option<WireFailure> =
                    (line.words.len() > 4).then(|| failure(line.word(4), &line.text(5), Some(line.word(3))));
                let down = line.value("down").map(|it| it.parse().expect("`down` is a number"));
                let down = down.unwrap_or(u32::from(failure.is_some()));
                let body = CommandBody::Verdict(AgentVerdict {
                    installation: WireInstallation { pipeline, target },
                    fence,
                    verdict: line.word(2).to_owned(),
                    failure,
                    down,
                    hosts: counts(line, down),
                    blind_since_ms: line.value("blind").map(|it| it.parse().expect("a time in milliseconds")),
                });
                agent("lab", body)
            }
            _ => return None,
        })
    }
}

/// What a verdict says of the hosts: with any of these words, otherwise nothing.
fn counts(line: &Line<'_>, down: u32) -> Option<HostCounts> {
    let count = |word: &str| line.value(word).map(|it| it.parse::<u32>().expect("a count"));
    let said =
        ["members", "degraded", "mending", "lost", "orphan"].into_iter().any(|it| line.value(it).is_some());
    let members = count("members").unwrap_or(0);
    let finding = |host: &str, code: &str| HostFinding {
        host: host.to_owned(),
        code: code.to_owned(),
        message: "it runs something".to_owned(),
        since_ms: 0,
    };
    said.then(|| HostCounts {
        settled: true,
        members,
        updated: members.saturating_sub(down),
        degraded: count("degraded").unwrap_or(0),
        mending: count("mending").unwrap_or(0),
        lost: count("lost").unwrap_or(0),
        findings: line.value("orphan").map(|host| finding(host, "orphan")).into_iter().collect(),
        ..HostCounts::default()
    })
}

/// `web prod lab-prod` behind the verb.
fn installation(line: &Line<'_>) -> WireInstallation {
    WireInstallation { pipeline: line.word(1).to_owned(), target: line.word(3).to_owned() }
}

fn grant(line: &Line<'_>) -> TokenGrant {
    let name = line.word(3).to_owned();
    match line.word(2) {
        "agent" => TokenGrant::Agent { name },
        "runner" => TokenGrant::Runner { name, agent: line.word(4).to_owned(), labels: Default::default() },
        "operator" => TokenGrant::Operator { name, role: line.word(4).to_owned() },
        "coordinator" => TokenGrant::Coordinator { name },
        "runners" => TokenGrant::Runners {
            group: name,
            agent: line.word(4).to_owned(),
            labels: Default::default(),
            uses: line.value("uses").map_or(1, |it| it.parse().expect("a count")),
            ttl_ms: 3_600_000,
        },
        other => panic!("`{other}` is no grant"),
    }
}

/// `+2h`, `-2h`.
fn signed(text: &str) -> i64 {
    let length = |text: &str| i64::try_from(plan::millis(text)).expect("a length");
    match text.strip_prefix('-') {
        Some(back) => -length(back),
        None => length(text.trim_start_matches('+')),
    }
}
