//! Agents that are replaced in the middle of an upgrade: one that lost its directory, and one that only stood still.

use std::time::Duration;

use trimaran_e2e::clicks::Shape;
use trimaran_e2e::lab::{is_alive, signal};
use trimaran_test_support::seed;
use trimaran_test_support::wait::until;

use crate::Streams;

/// The agent and its directory are gone where a stop is about to be sent; its replacement knows from the log what was begun,
/// takes the jar that the JobManager still holds, and the run says so ever after.
#[test]
fn an_agent_whose_directory_is_gone_is_replaced_in_mid_upgrade() {
    let it = Streams::new(&Shape { window: "2s", ..Shape::default() });
    let lab = &it.lab;
    it.clicks.deploy_until(lab, "v1", "succeeded");
    lab.kill("lab");
    let stop = [("TRIMARAN_FAILPOINT_STOP".to_owned(), "before stop".to_owned())];
    let still = lab.start_part_in("lab", &[], &stop);
    let run = it.clicks.deploy(lab, "v2");
    until("the agent stands still", Duration::from_secs(60), || is_stopped(still).then_some(()));
    // A job that was stopped never runs again; one that fails over does, and would be found by what it repeats.
    until("v1 runs: it was not stopped yet", Duration::from_secs(30), || {
        let jobs = it.clicks.jobs();
        let is_running = it.clicks.running_jobs().len() == 1;
        if !is_running {
            eprintln!("{jobs:?}");
        }
        is_running.then_some(())
    });

    let agent = lab.part("lab");
    signal(still, "KILL");
    until("the agent is gone", Duration::from_secs(5), || (!is_alive(still)).then_some(()));
    std::fs::remove_dir_all(&agent.data_dir).expect("removed");
    std::fs::create_dir(&agent.data_dir).expect("made again");
    let token = lab.json(&["agent", "enroll", "lab"])["token"].as_str().expect("a token").to_owned();
    let file = lab.folder.path().join("token");
    std::fs::write(&file, token).expect("a file");
    lab.start_part_with("lab", &["--token-file", &file.display().to_string()]);
    let shown = lab.wait_finished(&run, Duration::from_secs(180));
    assert_eq!(shown["status"], "succeeded", "{shown:#}");
    let (message, held) =
        (&shown["stages"][0]["instances"][0]["message"], "the jar is the one that the JobManager holds");
    assert!(message.as_str().is_some_and(|it| it.contains(held)), "{shown:#}");
    assert!(it.why(&shown).contains(held), "{}", it.why(&shown));
    it.assert_runs("v2");
    it.assert_whole();
    assert_eq!((it.clicks.records().repeated(), it.clicks.running_jobs().len()), (0, 1));
}

/// An agent stands still where it has decided to send a run, is replaced, and goes on when the upgrade is done: its run has
/// the id of the job that runs, and nothing comes of it.
#[test]
fn an_agent_that_stands_still_before_a_run_is_replaced_and_goes_on() {
    if !seed::is_full() {
        return;
    }
    let it = Streams::new(&Shape { window: "2s", ..Shape::default() });
    let lab = &it.lab;
    it.clicks.deploy_until(lab, "v1", "succeeded");
    lab.kill("lab");
    let stop = [("TRIMARAN_FAILPOINT_STOP".to_owned(), "before run".to_owned())];
    let still = lab.start_part_in("lab", &[], &stop);
    let run = it.clicks.deploy(lab, "v2");
    until("the agent stands still", Duration::from_secs(60), || is_stopped(still).then_some(()));
    assert_eq!(it.clicks.running_jobs().len(), 0, "v1 was stopped and v2 not begun");

    let part = lab.part("lab");
    let folder = lab.folder.path().join("replacement");
    std::fs::create_dir(&folder).expect("a directory");
    let token = lab.json(&["agent", "enroll", "lab"])["token"].as_str().expect("a token").to_owned();
    let file = lab.folder.path().join("token");
    std::fs::write(&file, token).expect("a file");
    // The same agent in another directory; its runners are of no matter here.
    let own = part.data_dir.display().to_string();
    let mut argv: Vec<String> = part.argv.clone();
    if let Some(at) = argv.iter().position(|word| word == "--listen") {
        argv.drain(at..at + 2);
    }
    for word in argv.iter_mut().filter(|word| **word == own) {
        *word = folder.display().to_string();
    }
    argv.extend(["--token-file".to_owned(), file.display().to_string()]);
    lab.start_argv(&argv, &folder);
    let shown = lab.wait_finished(&run, Duration::from_secs(150));
    assert_eq!(shown["status"], "succeeded", "{shown:#}");
    let jobs = it.clicks.running_jobs();
    assert_eq!(jobs.len(), 1);

    signal(still, "CONT");
    until("the replaced agent ends", Duration::from_secs(60), || (!is_alive(still)).then_some(()));
    it.clicks.wait_for_records(400);
    assert_eq!(it.clicks.running_jobs(), jobs, "it has started nothing");
    it.assert_runs("v2");
    it.assert_whole();
    assert_eq!(it.clicks.records().repeated(), 0);
    let pid = std::fs::read_to_string(folder.join("pid")).expect("the replacement runs");
    signal(pid.trim().parse().expect("a process id"), "TERM");
}

/// Whether a process was stopped by a signal.
fn is_stopped(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('T'))
}
