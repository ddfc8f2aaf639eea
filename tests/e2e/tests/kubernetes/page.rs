//! The pages about Kubernetes, followed as a reader would.

use std::path::Path;
use std::process::{Command, Stdio};

use trimaran_e2e::lab::{Lab, binaries};
use trimaran_test_env::kubernetes::Cluster;
use trimaran_test_support::docs::Page;

/// Runs every command of a page, with the names that the page has for what belongs to its reader.
fn follow(lab: &Lab, cluster: &Cluster, name: &str, words: &[(&str, &str)]) {
    let folder = lab.folder.path();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../ops/docs/kubernetes").join(name);
    let markdown = std::fs::read_to_string(&path).expect("the page");
    let page = Page::with(&markdown, words).unwrap_or_else(|error| panic!("{name}: {error}"));
    let write = |file: &str, text: &str| {
        let path = folder.join(file);
        std::fs::create_dir_all(path.parent().expect("a file is in a folder")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    };
    let programs = cluster.programs();
    let known = std::env::var("PATH").unwrap_or_default();
    let search = format!("{}:{}:{known}", binaries().display(), programs.display());
    let run = |command: &str| {
        let output = Command::new("sh")
            .args(["-c", command])
            .current_dir(folder)
            .env("PATH", &search)
            .env("KUBECONFIG", cluster.kubeconfig())
            .env("TRIMARAN_CONFIG", folder.join("config.toml"))
            .env("TRIMARAN_CONTEXT", "dev")
            .stdin(Stdio::null())
            .output()
            .expect("sh runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap_or(-1), text(&output.stdout) + &text(&output.stderr))
    };
    page.follow(write, run).unwrap_or_else(|error| panic!("{name}: {error}"));
}

#[test]
fn the_page_works_as_it_is_written() {
    let lab = Lab::fresh(1);
    let cluster = Cluster::start();
    let (image, good) = cluster.publish_pinned("shop/web:1", &["VERSION=v1"]);
    let (_, bad) = cluster.publish_pinned("shop/web:2", &["VERSION=v2", "CRASH=0s"]);
    let repository = image.rsplit_once(':').expect("an image has a tag").0;
    let place = lab.folder.path().display().to_string();
    let words = [
        ("/etc/trimaran", place.as_str()),
        ("registry.corp/shop/web", repository),
        (&format!("sha256:{}", "1".repeat(64)), good.as_str()),
        (&format!("sha256:{}", "2".repeat(64)), bad.as_str()),
    ];
    follow(&lab, &cluster, "deploy.md", &words);
}

#[test]
fn the_page_about_agents_in_pods_works_as_it_is_written() {
    let lab = Lab::fresh(1);
    let cluster = Cluster::start();
    follow(&lab, &cluster, "agent.md", &[]);
    for file in ["agent.yaml", "agent-volume.yaml"] {
        let manifest = std::fs::read_to_string(lab.folder.path().join(file)).expect("the page has it");
        // Names of fields that the server does not know are errors.
        let applied =
            cluster.try_kubectl(&["apply", "--dry-run=server", "--validate=strict", "-f", "-"], &manifest);
        assert!(applied.status.success(), "{file}: {}", String::from_utf8_lossy(&applied.stderr));
    }
    crate::pod::run(&lab, &cluster);
}
