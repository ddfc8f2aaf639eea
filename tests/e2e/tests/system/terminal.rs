//! A run that is followed on a real terminal: a window that gets narrower, and a terminal that only writes lines.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use trimaran_e2e::lab::{Lab, binaries};
use trimaran_e2e::web::{Shape, Web};
use trimaran_test_support::wait::until;

/// Longer than a deploy of these labs takes.
const LIMIT: Duration = Duration::from_secs(60);

/// Columns of the window that got narrower: less than the longest line of a picture has.
const COLUMNS: usize = 60;

/// A command on a terminal of its own, made by `script`; what it wrote is in a file.
struct OnTerminal {
    child: Child,
    written: PathBuf,
    device: PathBuf,
}

impl OnTerminal {
    fn start(lab: &Lab, command: &str, kind: &str) -> Self {
        let folder = lab.folder.path();
        let (written, device) =
            (folder.join(format!("screen-{kind}")), folder.join(format!("device-{kind}")));
        let line = format!(
            "tty > '{}' && stty rows 40 cols 200 && exec '{}' {command}",
            device.display(),
            binaries().join("trimaran").display()
        );
        let child = Command::new("script")
            .args(["--quiet", "--flush", "--return", "--command", &line])
            .arg(&written)
            .current_dir(folder)
            .env("TRIMARAN_CONFIG", folder.join("config.toml"))
            .env("TRIMARAN_CONTEXT", "dev")
            .env("TERM", kind)
            // Some take it as a wish for colours; what the terminal understands decides.
            .env("CI", "true")
            .env_remove("NO_COLOR")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("script runs");
        Self { child, written, device }
    }

    /// What the command wrote, without the lines that `script` writes around it.
    fn text(&self) -> String {
        let all = read(&self.written);
        let (_, text) = all.split_once('\n').unwrap_or_default();
        text.rsplit_once("\nScript done on ").map_or(text, |(text, _)| text).to_owned()
    }

    /// Types on the terminal.
    fn press(&mut self, keys: &str) {
        let keyboard = self.child.stdin.as_mut().expect("a pipe");
        keyboard.write_all(keys.as_bytes()).and_then(|()| keyboard.flush()).expect("the terminal is there");
    }

    /// Gives the terminal another width, as a window does: the kernel then signals it.
    fn resize(&self, columns: usize) {
        let device = read(&self.device);
        let done = Command::new("stty").args(["-F", device.trim(), "cols", &columns.to_string()]).status();
        assert!(done.expect("stty runs").success(), "{device}");
    }

    /// All that was written until the end, and the exit code.
    fn finish(mut self) -> (String, Option<i32>) {
        let status = until("the command ends", LIMIT, || self.child.try_wait().expect("a child"));
        (self.text(), status.code())
    }
}

impl Drop for OnTerminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}

/// Columns of a line without its control sequences.
fn width(line: &str) -> usize {
    let mut text = line.trim_end_matches('\r').chars();
    let mut columns = 0;
    while let Some(c) = text.next() {
        match c {
            '\u{1b}' => while text.next().is_some_and(|c| !c.is_ascii_alphabetic()) {},
            '\r' => columns = 0,
            _ => columns += 1,
        }
    }
    columns
}

/// With the service: its server of artifacts ends when it is dropped.
fn lab_with_run() -> (Lab, Web, String) {
    let lab = Lab::fresh(3);
    // Long enough to see several pictures of each stage.
    let shape = Shape { min_healthy: "3s", ..Shape::default() };
    let web = Web::new(&lab, shape, &[("v1", "good")]);
    let run = web.deploy(&lab, "v1");
    (lab, web, run)
}

#[test]
fn pictures_take_each_others_place_in_a_window_that_got_narrower() {
    let (lab, _web, run) = lab_with_run();
    let followed = OnTerminal::start(&lab, &format!("watch {run}"), "xterm");
    until("a picture is drawn", LIMIT, || followed.text().contains("running").then_some(()));
    let before = followed.text().len();
    followed.resize(COLUMNS);
    let (text, code) = followed.finish();
    assert_eq!(code, Some(0), "{text}");
    let after = text.get(before..).expect("text goes on");
    // The picture that was there may still be of the old width. Each later one takes the place of the one before: the
    // cursor goes up as many rows as its lines take at the new width.
    let mut replaced = 0;
    for (picture, rest) in after.split("\u{1b}[J").skip(2).filter_map(|text| text.rsplit_once("\r\u{1b}[")) {
        let up: usize = rest.trim_end_matches('A').parse().expect("a number of rows");
        let rows: usize = picture.lines().map(|line| width(line).div_ceil(COLUMNS).max(1)).sum();
        assert_eq!(up, rows, "{picture:?}");
        replaced += 1;
    }
    assert!(replaced > 2, "{replaced} pictures: {after:?}");
    assert!(after.contains("succeeded"), "{after}");
}

#[test]
fn a_terminal_that_can_not_move_its_cursor_gets_lines() {
    let (lab, _web, run) = lab_with_run();
    let (text, code) = OnTerminal::start(&lab, &format!("watch {run}"), "dumb").finish();
    assert_eq!(code, Some(0), "{text}");
    assert!(!text.contains('\u{1b}'), "no control sequences: {text:?}");
    assert!(
        text.contains("staging/lab-staging: running") && text.contains(&format!("{run}: succeeded")),
        "{text}"
    );
}

#[test]
fn neither_enter_nor_ctrl_c_tears_the_picture() {
    let (lab, _web, run) = lab_with_run();
    let mut followed = OnTerminal::start(&lab, &format!("watch {run}"), "xterm");
    let pictures = |followed: &OnTerminal| followed.text().matches("\u{1b}[J").count();
    until("a picture is drawn", LIMIT, || followed.text().contains("running").then_some(()));
    followed.press("\n\n");
    let seen = pictures(&followed);
    until("two more are drawn", LIMIT, || (pictures(&followed) > seen + 1).then_some(()));
    followed.press("\u{3}");
    let (text, code) = followed.finish();
    assert_eq!(code, Some(130), "{text}");
    assert!(!text.contains("^C") && !text.contains("\n\r\n"), "keys are not shown: {text:?}");
    let (before, end) = text.rsplit_once("\u{1b}[J").expect("the picture is removed");
    let (_, up) = before.rsplit_once('\r').expect("from its first column");
    assert!(up.starts_with("\u{1b}[") && up.ends_with('A'), "{up:?}");
    let words = format!("stopped watching; the run continues. Watch again: `trimaran watch {run}`");
    assert!(end.starts_with(&run) && end.trim_end().ends_with(&words), "{text:?}");
}
