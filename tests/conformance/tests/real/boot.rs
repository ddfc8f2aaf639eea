//! A machine that was shut down and starts again without any network: its runner starts the services.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::lab::{Lab, agent, run, until, words_of};
use crate::runner::Fleet;

/// From the start of the runner to services that run.
const BOOT_LIMIT: Duration = Duration::from_secs(5);

#[test]
fn services_run_soon_after_a_boot_without_network_and_agent() {
    run(async {
        let lab = Lab::new();
        // The runner's identity; the agent itself is gone.
        drop(Fleet::new(&lab, Vec::new()));
        let spec = lab.spec("v1", "good");
        lab.apply(&spec, 0);
        assert_eq!(lab.run(&["stop-all"]).status.code(), Some(0), "the shutdown");
        assert!(lab.alive().is_empty());
        // A process tree and a network of its own, where nothing is but loopback.
        let data = lab.data().display().to_string();
        let began = Instant::now();
        let mut machine = Command::new("unshare")
            .args(["--net", "--pid", "--mount-proc", "--fork", "--kill-child"])
            .args(["sh", "-c", "ip link set lo up && exec \"$@\"", "sh"])
            .arg(agent())
            .args(["run", "--role", "runner", "--name", "host-1", "--data-dir", &data])
            .args(["--endpoint", "agent.no-such-name.invalid:7800"])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("unshare(1) is there");
        until("the service is started", || (lab.starts().get("v1") == Some(&2)).then_some(()));
        let took = began.elapsed();
        // Also the commands on the machine need neither.
        let healthy = || {
            let output = lab.run(&["status", "-o", "json"]);
            let (out, _) = words_of(&output);
            (out.contains("\"state\": \"healthy\"") && out.contains("\"running\": true")).then_some(())
        };
        until("the runner finds it healthy", healthy);
        machine.kill().expect("it runs");
        machine.wait().expect("a child");
        assert!(took < BOOT_LIMIT, "{took:?}");
    });
}
