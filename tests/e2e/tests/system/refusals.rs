//! What is refused before anything that runs is touched, and probes that must not count as health.

use std::io::Write as _;
use std::time::Duration;

use trimaran_e2e::artifacts::padded;
use trimaran_e2e::lab::{Lab, binaries, is_alive};
use trimaran_e2e::web::{Shape, Web, stages, starts};
use trimaran_test_support::tmpfs::{Tmpfs, as_root};
use trimaran_test_support::wait::until;

#[test]
fn a_file_that_changes_after_the_plan_is_refused_on_every_host_with_both_digests() {
    let lab = Lab::fresh(3);
    let web = Web::new(&lab, Shape::default(), &[("v1", "good"), ("v2", "good")]);
    web.deploy_until(&lab, "v1", "succeeded");
    let planned = web.artifact("v2");
    web.pack("v2", "fail-health");
    let changed = web.artifact("v2");
    assert_ne!(planned, changed);
    let shown = lab.json(&["deploy", "-f", web.file(), "--artifact", &planned, "--detach"]);
    let run = shown["run"].as_str().expect("a name").to_owned();
    lab.wait_finished(&run, Duration::from_secs(60));
    let why = lab.ok(&["why", &run]);
    for artifact in [&planned, &changed] {
        let digest = &artifact[artifact.len() - 64..];
        assert!(why.contains(&digest[..12]), "{why} has {digest}");
    }
    for start in starts(&lab) {
        assert_eq!(start.version, "v1");
        assert!(is_alive(start.pid), "what ran keeps running");
    }
}

#[test]
fn probes_that_hang_or_redirect_are_failures_and_a_long_answer_is_none() {
    let lab = Lab::fresh(3);
    let builds = [
        ("v1", "good"),
        ("hangs", "hang-health"),
        ("redirects", "redirect-health"),
        ("sickens", "healthy-for 2000"),
        ("floods", "flood-health"),
    ];
    let shape = Shape { min_healthy: "3s", deadline: "6s", ..Shape::default() };
    let web = Web::new(&lab, shape, &builds);
    web.deploy_until(&lab, "v1", "succeeded");
    for (version, _) in &builds[1..4] {
        let shown = web.deploy_until(&lab, version, "rolled_back");
        let bad = stages(&shown).find(|stage| stage["status"] == "rolled_back").expect("a bad stage");
        assert!(!bad["reasons"].as_array().expect("reasons").is_empty(), "{version}: {bad:#}");
    }
    // Its status is 200; what follows the first 64 KiB is not read.
    web.deploy_until(&lab, "floods", "succeeded");
}

#[test]
fn hostile_archives_leave_the_running_service_alone_and_nothing_behind() {
    let lab = Lab::fresh(3);
    let web = Web::new(&lab, Shape::default(), &[("v1", "good")]);
    web.deploy_until(&lab, "v1", "succeeded");
    for (version, write) in HOSTILE {
        let mut bytes = Vec::new();
        write(&mut bytes);
        let packed = zstd::encode_all(bytes.as_slice(), 3).expect("compressed");
        std::fs::write(web.build(version), packed).expect("a file");
        let run = web.deploy(&lab, version);
        lab.wait_finished(&run, Duration::from_secs(60));
        let why = lab.ok(&["why", &run]);
        assert!(why.contains("unpack_"), "{version}: {why}");
        for start in starts(&lab) {
            assert_eq!(start.version, "v1");
            assert!(is_alive(start.pid), "{version}: what ran keeps running");
        }
    }
    assert!(!std::path::Path::new("/tmp/trimaran-escaped").exists());
}

#[test]
fn a_disk_that_is_too_small_is_reported_with_numbers_and_leaves_the_service_alone() {
    // Declared first, so that it is unmounted behind the lab's end.
    let _disk;
    let lab = Lab::fresh(3);
    let web = Web::new(&lab, Shape::default(), &[("v1", "good")]);
    _disk = mount_small_disk(&lab, "host-1", 64);
    web.deploy_until(&lab, "v1", "succeeded");
    padded(&web.build("v2"), "v2", "good", &binaries().join("demo-service"), 80 << 20).expect("an archive");
    let run = web.deploy(&lab, "v2");
    let reason = until("the host says what is wrong", Duration::from_secs(60), || {
        let why = lab.ok(&["why", &run]);
        why.contains("preflight_disk").then_some(why)
    });
    assert!(reason.contains("host-1: preflight_disk") && reason.contains("bytes"), "{reason}");
    let running = starts(&lab).into_iter().find(|start| start.host == "host-1").expect("v1 runs");
    assert!(is_alive(running.pid) && running.version == "v1");
    lab.ok(&["cancel", &run]);
}

/// A file system of its own below a runner's directory.
fn mount_small_disk(lab: &Lab, name: &str, mib: u32) -> Tmpfs {
    let folder = lab.part(name).data_dir;
    let aside = folder.with_extension("aside");
    lab.kill(name);
    std::fs::rename(&folder, &aside).expect("renamed");
    std::fs::create_dir(&folder).expect("a folder");
    let disk = Tmpfs::mount(folder.clone(), &format!("size={mib}m,mode=700"));
    as_root(&["cp", "-a", &format!("{}/.", text(&aside)), &text(&folder)]);
    lab.start_part(name);
    disk
}

fn text(path: &std::path::Path) -> String {
    path.display().to_string()
}

type Hostile = (&'static str, fn(&mut Vec<u8>));

const HOSTILE: &[Hostile] = &[
    ("dotdot", |out| raw_entry(out, "../../../../tmp/trimaran-escaped", b'0', "", b"x")),
    ("absolute", |out| raw_entry(out, "/tmp/trimaran-escaped", b'0', "", b"x")),
    ("link", |out| {
        raw_entry(out, "here", b'2', "/tmp", b"");
        raw_entry(out, "here/trimaran-escaped", b'0', "", b"x");
    }),
    ("device", |out| raw_entry(out, "null", b'3', "", b"")),
    ("truncated", |out| {
        raw_entry(out, "file", b'0', "", &[b'x'; 4096]);
        out.truncate(1500);
    }),
];

/// One entry as no honest archiver writes it.
fn raw_entry(out: &mut Vec<u8>, name: &str, kind: u8, link: &str, data: &[u8]) {
    let mut header = [0u8; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[100..108].copy_from_slice(b"0000644\0");
    header[108..116].copy_from_slice(b"0000000\0");
    header[116..124].copy_from_slice(b"0000000\0");
    header[124..136].copy_from_slice(format!("{:011o}\0", data.len()).as_bytes());
    header[136..148].copy_from_slice(b"00000000000\0");
    header[156] = kind;
    header[157..157 + link.len()].copy_from_slice(link.as_bytes());
    header[257..265].copy_from_slice(b"ustar\x0000");
    header[148..156].copy_from_slice(b"        ");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    out.write_all(&header).expect("memory");
    out.write_all(data).expect("memory");
    out.resize(out.len().div_ceil(512) * 512, 0);
}

#[test]
fn an_agent_drives_every_platform_and_manifests_that_are_missing_are_named_by_their_path() {
    let lab = Lab::fresh(1);
    let files = lab.folder.path();
    let target = "trimaran: v1\ntarget: shop\nagent: lab\nclass: staging\nkubernetes: { namespace: shop }\n";
    let pipeline = "trimaran: v1\npipeline: shop\nowner: team-shop\nartifacts: {}\nworkload: { kubernetes: { manifests: objects.yaml } }\n\
                    environments: [{ name: staging, targets: [shop] }]\n";
    std::fs::write(files.join("target.yaml"), target).expect("a file");
    std::fs::write(files.join("shop.yaml"), pipeline).expect("a file");
    let path = |name: &str| files.join(name).display().to_string();
    lab.ok(&["apply", &path("target.yaml")]);
    for command in ["plan", "deploy"] {
        let refused = lab.run(&[command, "-f", &path("shop.yaml")]);
        let stderr = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(11), "{command}: {stderr}");
        let words = "there are no manifests at";
        assert!(stderr.contains(words) && stderr.contains("objects.yaml"), "{command}: {stderr}");
    }
    let agents = lab.json(&["agent", "list"]);
    assert_eq!(
        agents["agents"][0]["platforms"],
        serde_json::json!(["hosts", "kubernetes", "flink"]),
        "{agents:#}"
    );
}
