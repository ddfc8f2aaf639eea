//! ansible-core with the same steps: fetch, unpack, switch a link, restart, wait for health, ten batches.
//!
//! It comes from PyPI into a virtual environment in the cache. Each host is a local connection with a folder and
//! an address of its own, as the runners of a lab are.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const VERSION: &str = "2.18.8";

const PLAYBOOK: &str = "\
- hosts: all
  gather_facts: false
  serial: 10%
  tasks:
    - file: { path: \"{{ home }}/release-{{ version }}\", state: directory }
    - copy: { src: \"{{ archive }}\", dest: \"{{ home }}/web.tar.zst\" }
    - unarchive: { src: \"{{ home }}/web.tar.zst\", dest: \"{{ home }}/release-{{ version }}\", remote_src: true }
    - file: { src: \"{{ home }}/release-{{ version }}\", dest: \"{{ home }}/current\", state: link, force: true }
    - shell: |
        if [ -f {{ home }}/pid ]; then kill -TERM $(cat {{ home }}/pid); while kill -0 $(cat {{ home }}/pid); do sleep 0.05; done; fi
        cd {{ home }}/current && TRIMARAN_ADDRESS={{ address }} setsid nohup bin/web --port 19098 >{{ home }}/log 2>&1 </dev/null &
        echo $! >{{ home }}/pid
    - uri: { url: \"http://{{ address }}:19098/healthz\" }
      register: health
      until: health.status == 200
      retries: 50
      delay: 1
    - wait_for: { timeout: \"{{ min_healthy }}\" }
";

/// The time of the second of two rollouts, or why it was not measured.
pub(crate) fn rollout(
    archive: &Path,
    folder: &Path,
    hosts: u8,
    min_healthy: Duration,
) -> Result<Duration, String> {
    let playbook = install()?;
    let work = folder.join("ansible");
    let mut inventory = String::from("[all]\n");
    for host in 1..=hosts {
        let home = work.join(host.to_string());
        std::fs::create_dir_all(&home).map_err(|error| error.to_string())?;
        inventory.push_str(&format!(
            "h{host} ansible_connection=local home={} address=127.0.98.{host}\n",
            home.display()
        ));
    }
    let write =
        |name: &str, text: &str| std::fs::write(work.join(name), text).map_err(|error| error.to_string());
    write("inventory", &inventory)?;
    write("play.yaml", PLAYBOOK)?;
    let play = |version: &str| {
        let begin = Instant::now();
        let output = Command::new(&playbook)
            .current_dir(&work)
            .env("ANSIBLE_NOCOWS", "1")
            // Discovery may find a Python that only pretends to be there.
            .env("ANSIBLE_PYTHON_INTERPRETER", playbook.with_file_name("python"))
            .args(["-i", "inventory", "-f", "50", "play.yaml", "-e"])
            .arg(format!(
                "archive={} version={version} min_healthy={}",
                archive.display(),
                min_healthy.as_secs()
            ))
            .output()
            .map_err(|error| error.to_string())?;
        // The first host's words say what failed; the others repeat them.
        let words = || {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            text.lines().find(|line| line.starts_with("fatal:")).unwrap_or("no host says why").to_owned()
        };
        if output.status.success() { Ok(begin.elapsed()) } else { Err(words()) }
    };
    let result = play("v1").and_then(|_| play("v2"));
    for host in 1..=hosts {
        if let Ok(pid) = std::fs::read_to_string(work.join(host.to_string()).join("pid"))
            && let Ok(pid) = pid.trim().parse()
        {
            trimaran_e2e::lab::signal(pid, "KILL");
        }
    }
    result
}

/// Path of `ansible-playbook`, installed when it is missing.
fn install() -> Result<PathBuf, String> {
    let cache = std::env::var_os("TRIMARAN_CACHE").ok_or("TRIMARAN_CACHE is not set; run `make bench`")?;
    let venv = PathBuf::from(cache).join("ansible");
    let playbook = venv.join("bin/ansible-playbook");
    if !playbook.exists() {
        let run = |program: &Path, arguments: &[&str]| {
            let output = Command::new(program).args(arguments).output().map_err(|error| error.to_string())?;
            let words = || String::from_utf8_lossy(&output.stderr).trim().to_owned();
            if output.status.success() { Ok(()) } else { Err(words()) }
        };
        run(Path::new("python3"), &["-m", "venv", &venv.display().to_string()])?;
        run(&venv.join("bin/pip"), &["install", "--quiet", &format!("ansible-core=={VERSION}")])?;
    }
    Ok(playbook)
}
