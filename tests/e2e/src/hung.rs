//! A cluster whose API takes connections and never says anything, as a target of the lab's agent.

use std::net::{TcpListener, TcpStream};

use crate::artifacts::sha256;
use crate::lab::Lab;

/// A Flink cluster that hangs until the process ends.
#[derive(Debug)]
pub struct HungCluster {
    address: String,
}

impl HungCluster {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        std::thread::spawn(move || {
            let mut held: Vec<TcpStream> = Vec::new();
            while let Ok((connection, _)) = listener.accept() {
                held.push(connection);
            }
        });
        Self { address }
    }

    /// Makes it target `streams` of the lab's agent and starts a run of a job for each number; the runs.
    pub fn give_jobs(&self, lab: &Lab, jobs: usize) -> Vec<String> {
        let folder = lab.folder.path();
        let jar = folder.join("job-v1.jar");
        std::fs::write(&jar, b"a jar").expect("a file");
        let target = format!(
            "trimaran: v1\ntarget: streams\nagent: lab\nclass: staging\n\
             flink: {{ urls: [\"http://{}\"], savepoints: \"file:///tmp/savepoints\" }}\n",
            self.address
        );
        std::fs::write(folder.join("streams.yaml"), target).expect("a file");
        lab.ok(&["apply", "streams.yaml"]);
        let artifact = format!("job=v1@sha256:{}", sha256(&jar).expect("a jar"));
        let deploy = |number: usize| {
            let text = format!(
                "trimaran: v1\npipeline: clicks-{number}\nowner: bench\nartifacts:\n  job: {{ path: \"{}\" }}\n\
                 workload:\n  flink: {{ jar: job, entry_class: com.corp.Clicks }}\n\
                 environments:\n- {{ name: staging, targets: [streams] }}\n",
                folder.join("job-{version}.jar").display()
            );
            std::fs::write(folder.join("clicks.yaml"), text).expect("a file");
            let shown = lab.json(&["deploy", "-f", "clicks.yaml", "--artifact", &artifact, "--detach"]);
            shown["run"].as_str().expect("a run has a name").to_owned()
        };
        (0..jobs).map(deploy).collect()
    }
}
