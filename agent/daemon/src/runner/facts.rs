//! What a runner says of its host: facts that targets select by, as by labels.

use std::collections::BTreeMap;
use std::fs;

use trimaran_host::shim::Controllers;
use trimaran_model::id::label_error;

/// `os`, `arch`, `kernel` and `boot` as the system says them, `zone` as the runner's settings do, in `cgroup` what control
/// groups of services can limit, and `user` where the runner is root. What can't be read or is no label is left out.
pub(super) fn facts(zone: Option<&str>, controllers: Controllers, is_root: bool) -> BTreeMap<String, String> {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").ok();
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let found = [
        ("arch", Some(std::env::consts::ARCH.to_owned())),
        ("cgroup", Some(limitable(controllers))),
        ("boot", booted_at(&fs::read_to_string("/proc/stat").unwrap_or_default())),
        ("kernel", kernel.map(|text| text.trim().to_owned())),
        ("os", os(&release)),
        ("user", is_root.then(|| "root".to_owned())),
        ("zone", zone.map(str::to_owned)),
    ];
    let found = found.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
    found.filter(|(key, value)| label_error(key, value).is_none()).collect()
}

/// `memory,cpu,tasks`, or `none` where no controller is delegated to the runner.
fn limitable(Controllers { memory, cpu, tasks }: Controllers) -> String {
    let all = [("memory", memory), ("cpu", cpu), ("tasks", tasks)];
    let found: Vec<&str> = all.into_iter().filter(|(_, there)| *there).map(|(name, _)| name).collect();
    if found.is_empty() { "none".to_owned() } else { found.join(",") }
}

/// `debian-12`: the system's id and version.
fn os(release: &str) -> Option<String> {
    let field = |name: &str| {
        let line = release.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
        Some(line.trim_matches('"').to_owned())
    };
    let id = field("ID")?;
    Some(match field("VERSION_ID") {
        Some(version) => format!("{id}-{version}"),
        None => id,
    })
}

/// The system's start in seconds since the Unix epoch.
fn booted_at(stat: &str) -> Option<String> {
    stat.lines().find_map(|line| line.strip_prefix("btime ")).map(|text| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_labels() {
        let found = facts(Some("eu-1a"), Controllers::default(), true);
        assert_eq!(found["arch"], std::env::consts::ARCH);
        assert_eq!(found["zone"], "eu-1a");
        assert!(found["boot"].parse::<u64>().expect("seconds") > 0);
        assert_eq!((&*found["cgroup"], &*found["user"]), ("none", "root"));
        let some = Controllers { memory: true, cpu: false, tasks: true };
        let found = facts(Some(&"z".repeat(1000)), some, false);
        assert!(!found.contains_key("zone") && !found.contains_key("user"), "one would be no label");
        assert_eq!(found["cgroup"], "memory,tasks");
    }

    #[test]
    fn the_system_is_its_id_and_version() {
        assert_eq!(os("NAME=\"Debian\"\nID=debian\nVERSION_ID=\"12\"\n").as_deref(), Some("debian-12"));
        assert_eq!(os("ID=arch\n").as_deref(), Some("arch"));
        assert_eq!(os(""), None);
        assert_eq!(booted_at("cpu 1\nbtime 1700000000\n").as_deref(), Some("1700000000"));
    }
}
