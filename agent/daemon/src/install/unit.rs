//! The text of a unit (systemd.service(5)), with the reason of each line that is not usual.

use std::path::{Path, PathBuf};

use trimaran_model::error_code;
use trimaran_model::report::Report;

use crate::run::Role;
use crate::settings::Settings;

/// What a unit is made of. Paths are absolute.
#[derive(Debug)]
pub(super) struct Unit {
    pub(super) role: Role,
    pub(super) binary: PathBuf,
    pub(super) name: String,
    pub(super) data_dir: PathBuf,
    pub(super) token_file: Option<PathBuf>,
    pub(super) config: Option<PathBuf>,
    pub(super) settings: Settings,
}

/// The name of a role's unit.
pub(super) fn name(role: Role) -> String {
    format!("trimaran-{}.service", role.as_str())
}

/// Where a role keeps its data unless it is said.
pub(super) fn data_dir(role: Role) -> PathBuf {
    Path::new("/var/lib/trimaran").join(role.as_str())
}

/// Files that a role may have open: sessions of an agent, services of a runner.
const OPEN_FILES: u32 = 1_048_576;

const RUNNER: &str = "\
# The runner alone is ended: services go on under their shims, and the next runner finds them.
KillMode=process
# The groups of services, with their limits, are the runner's own affair.
Delegate=yes
# A service that is out of memory is not the end of the runner, nor of the others.
OOMPolicy=continue
# Counts all services, which have limits of their own.
TasksMax=infinity
";

const AGENT: &str = "\
NoNewPrivileges=yes
PrivateTmp=yes
ProtectHome=read-only
ProtectSystem=full
";

impl Unit {
    pub(super) fn text(&self) -> Result<String, Report> {
        let command = self.command()?.join(" ");
        let (title, after, own) = match self.role {
            // Services start again without network.
            Role::Runner => ("runner", "local-fs.target", RUNNER),
            Role::Agent => ("agent", "network-online.target", AGENT),
        };
        let wants = match self.role {
            Role::Runner => String::new(),
            Role::Agent => format!("Wants={after}\n"),
        };
        Ok(format!(
            "# Written by `trimaran-agent install`, which replaces it; changes belong into a drop-in (systemctl edit).\n\
             [Unit]\n\
             Description=Trimaran {title} {}\n\
             {wants}After={after}\n\
             StartLimitIntervalSec=60\n\
             StartLimitBurst=30\n\
             \n\
             [Service]\n\
             Type=exec\n\
             ExecStart={command}\n\
             Restart=always\n\
             RestartSec=1\n\
             # Another process has taken its name over: two would fight.\n\
             RestartPreventExitStatus=6\n\
             UMask=0077\n\
             LimitNOFILE={OPEN_FILES}\n\
             {own}\
             \n\
             [Install]\n\
             WantedBy=multi-user.target\n",
            self.name
        ))
    }

    fn command(&self) -> Result<Vec<String>, Report> {
        let path = |path: &Path| path.display().to_string();
        let mut words = vec![path(&self.binary), "run".to_owned()];
        let mut flag = |name: &str, value: String| words.extend([format!("--{name}"), value]);
        flag("role", self.role.as_str().to_owned());
        flag("name", self.name.clone());
        flag("data-dir", path(&self.data_dir));
        let Settings { endpoints, listen, address, secrets, zone } = &self.settings;
        endpoints.iter().for_each(|endpoint| flag("endpoint", endpoint.clone()));
        listen.iter().for_each(|listen| flag("listen", listen.to_string()));
        address.iter().for_each(|address| flag("address", address.to_string()));
        secrets.iter().for_each(|secrets| flag("secrets", path(secrets)));
        zone.iter().for_each(|zone| flag("zone", zone.clone()));
        self.config.iter().for_each(|config| flag("config", path(config)));
        self.token_file.iter().for_each(|file| flag("token-file", path(file)));
        words.iter().map(|word| quoted(word)).collect()
    }
}

/// A word as systemd reads it back: in quotes where it has to be, with what means something doubled.
fn quoted(word: &str) -> Result<String, Report> {
    if word.chars().any(char::is_control) {
        return Err(Report::new(
            error_code::USAGE,
            format!("`{}` can't stand in a unit", word.escape_debug()),
        ));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@,+[]=".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return Ok(word.to_owned());
    }
    let mut text = String::from("\"");
    for c in word.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            // Specifiers and variables.
            '%' | '$' => text.extend([c, c]),
            other => text.push(other),
        }
    }
    text.push('"');
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(role: Role) -> Unit {
        let secrets = (role == Role::Runner).then(|| PathBuf::from("/etc/trimaran/my secrets"));
        Unit {
            role,
            // A program that is there, for who checks the unit.
            binary: PathBuf::from("/bin/true"),
            name: "web-1".to_owned(),
            data_dir: data_dir(role),
            token_file: Some(PathBuf::from("/run/100%$token")),
            config: None,
            settings: Settings { endpoints: vec!["[::1]:7800".to_owned()], secrets, ..Settings::default() },
        }
    }

    #[test]
    fn a_runners_unit_spares_its_services() {
        let text = unit(Role::Runner).text().expect("a unit");
        for line in ["KillMode=process", "Delegate=yes", "OOMPolicy=continue", "RestartPreventExitStatus=6"] {
            assert!(text.lines().any(|it| it == line), "{line}: {text}");
        }
        let command = "ExecStart=/bin/true run --role runner --name web-1 --data-dir /var/lib/trimaran/runner \
                       --endpoint [::1]:7800 --secrets \"/etc/trimaran/my secrets\" --token-file \"/run/100%%$$token\"";
        assert!(text.lines().any(|it| it == command), "{text}");
        assert!(!text.contains("network"), "services start without network: {text}");
    }

    #[test]
    fn systemd_understands_the_units() {
        for role in [Role::Agent, Role::Runner] {
            let folder = tempfile::tempdir().expect("a directory");
            let file = folder.path().join(name(role));
            std::fs::write(&file, unit(role).text().expect("a unit")).expect("writable");
            let output = std::process::Command::new("systemd-analyze")
                .args(["verify", "--man=no", "--recursive-errors=no"])
                .arg(&file)
                .output()
                .expect("systemd-analyze is there");
            let words = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && words.trim().is_empty(), "{role:?}: {words}");
        }
    }

    #[test]
    fn what_no_unit_can_hold_is_refused() {
        assert!(quoted("a\nExecStartPre=/bin/sh").is_err());
        assert_eq!(quoted("a \"b\" \\").expect("quoted"), "\"a \\\"b\\\" \\\\\"");
        assert_eq!(quoted("").expect("quoted"), "\"\"");
    }
}
