//! Progress while a run is followed: a picture redrawn in place on a terminal, one line a change elsewhere.
//!
//! The picture takes its place again whatever was written into it, such as the `^C` and line ends that a terminal
//! echoes, as long as they are fewer lines than the picture has: the cursor goes back to the picture's first column, and everything below is erased. While
//! a picture is shown the terminal does not echo.
//!
//! Deliberately not here: what a run looks like ([`crate::ui`]), and the result at the end.

use std::collections::BTreeMap;

use trimaran_wire::document::RunDocument;

use super::echo::NoEcho;
use crate::ui::{Since, Terminal, Ui, View, reason_line, run_lines_since, visible_width, words};

/// Progress on stderr. A program that asked for a document gets nothing there but an error, which is a document too.
pub(super) struct Screen {
    silent: bool,
    /// Whether pictures are drawn, rather than lines written.
    draws: bool,
    /// The picture that stands on the terminal; empty when none does.
    drawn: Vec<String>,
    /// The last line of each stage and of the run, without its name.
    reported: BTreeMap<String, String>,
    /// The status that each instance had last and since when.
    statuses: BTreeMap<(String, String), String>,
    since: Since,
    /// Held while pictures are drawn.
    _no_echo: Option<NoEcho>,
}

impl Screen {
    pub(super) fn of(ui: &Ui) -> Self {
        let draws = ui.stdout.is_terminal && ui.stderr.redraws;
        Self {
            silent: !ui.is_for_people(),
            draws,
            drawn: Vec::new(),
            reported: BTreeMap::new(),
            statuses: BTreeMap::new(),
            since: Since::new(),
            _no_echo: draws.then(NoEcho::start).flatten(),
        }
    }

    /// Whether the picture has times that grow without an event.
    pub(super) fn ticks(&self) -> bool {
        self.draws && !self.silent
    }

    pub(super) fn show(&mut self, ui: &Ui, run: &RunDocument) {
        if self.silent {
            return;
        }
        let terminal = Terminal::of(&std::io::stderr());
        let view = View::of(&terminal);
        if self.draws {
            self.note_instances(run, &view);
            let text = self.picture(run, &view, terminal.rows);
            if !text.is_empty() {
                ui.raw(&text);
            }
        } else {
            self.changes(run, &view).iter().for_each(|line| ui.note(line));
        }
    }

    /// Remembers since when each instance has its status.
    fn note_instances(&mut self, run: &RunDocument, view: &View) {
        for stage in &run.stages {
            for instance in &stage.instances {
                let key = (stage.name.clone(), instance.name.clone());
                if self.statuses.get(&key) != Some(&instance.status) {
                    self.statuses.insert(key.clone(), instance.status.clone());
                    self.since.insert(key, view.now.to_string());
                }
            }
        }
    }

    /// What draws the picture over the last one; nothing when it is the same.
    fn picture(&mut self, run: &RunDocument, view: &View, rows: usize) -> String {
        let mut lines = run_lines_since(run, view, &self.since);
        let fitting = Fitting::of(&lines, view.columns, rows);
        if fitting.lines < lines.len() {
            let left = lines.len() - fitting.lines;
            lines.truncate(fitting.lines);
            lines.push(format!("({left} more lines)"));
        }
        if lines == self.drawn {
            return String::new();
        }
        let text = format!("{}{}\n", self.erase(view.columns), lines.join("\n"));
        self.drawn = lines;
        text
    }

    /// A line for each stage that changed, and one for the run.
    fn changes(&mut self, run: &RunDocument, view: &View) -> Vec<String> {
        let mut lines = Vec::new();
        for stage in &run.stages {
            let reason = stage.reasons.first();
            let why = reason.map(|reason| format!("  {}", reason_line(reason, view))).unwrap_or_default();
            let wave = stage.wave.as_ref().filter(|wave| wave.total > 0 && stage.status != "pending");
            let wave = wave.map(|wave| format!(" {}/{}", wave.done, wave.total)).unwrap_or_default();
            lines.extend(self.change(&stage.name, format!("{}{wave}{why}", words(&stage.status))));
        }
        lines.extend(self.change(&run.run, words(&run.status)));
        lines
    }

    fn change(&mut self, name: &str, text: String) -> Option<String> {
        if self.reported.get(name) == Some(&text) {
            return None;
        }
        let line = format!("{name}: {text}");
        self.reported.insert(name.to_owned(), text);
        Some(line)
    }

    /// Removes what was drawn, so that the next picture or the result takes its place.
    pub(super) fn clear(&mut self, ui: &Ui) {
        let erase = self.erase(Terminal::of(&std::io::stderr()).columns);
        if !erase.is_empty() {
            ui.raw(&erase);
        }
    }

    /// To the first column of the picture's first row, whatever column the cursor is in, and everything away below it.
    /// A terminal that became narrower shows the picture in more rows than before.
    fn erase(&mut self, columns: usize) -> String {
        match std::mem::take(&mut self.drawn).iter().map(|line| rows_of(line, columns)).sum() {
            0usize => String::new(),
            rows => format!("\r\u{1b}[{rows}A\u{1b}[J"),
        }
    }
}

/// Rows that a line takes on a terminal of this width.
fn rows_of(line: &str, columns: usize) -> usize {
    visible_width(line).div_ceil(columns.max(1)).max(1)
}

/// How much of a picture fits a terminal. What has scrolled out at the top can't be removed any more, so a picture is
/// never higher than the terminal.
#[derive(Debug, PartialEq, Eq)]
struct Fitting {
    /// So many lines of the picture; when that is not all of them, a last one says so.
    lines: usize,
    /// Rows of the terminal, since a long line takes more than one, and the last line one.
    rows: usize,
}

impl Fitting {
    fn of(lines: &[String], width: usize, height: usize) -> Self {
        let rows = |line: &String| rows_of(line, width);
        let all: usize = lines.iter().map(rows).sum();
        // The cursor stands below the picture.
        let available = height.saturating_sub(1).max(1);
        if all <= available {
            return Self { lines: lines.len(), rows: all };
        }
        let mut fitting = Self { lines: 0, rows: 1 };
        for line in lines {
            if fitting.rows + rows(line) > available {
                break;
            }
            fitting.lines += 1;
            fitting.rows += rows(line);
        }
        fitting
    }
}

#[cfg(test)]
mod tests {
    use trimaran_wire::document::{ReasonDocument, RollbackDocument};

    use super::*;
    use crate::samples;

    fn screen(draws: bool) -> Screen {
        Screen {
            silent: false,
            draws,
            drawn: Vec::new(),
            reported: BTreeMap::new(),
            statuses: BTreeMap::new(),
            since: Since::new(),
            _no_echo: None,
        }
    }

    fn running() -> RunDocument {
        let mut run = samples::run("running");
        run.stages[1].status = "running".to_owned();
        run.stages[1].started_at = Some(samples::START.to_owned());
        run.stages[1].wave = Some(samples::wave(1, 1, 4));
        run.stages[1].instances = vec![samples::instance("host-4", "updating", None, "")];
        run
    }

    /// A terminal of the size, `seconds` after the samples began.
    fn view(columns: usize, seconds: u8) -> View {
        let now = format!("2026-01-01T00:00:{seconds:02}Z").parse().expect("a time");
        View { now, ..View::terminal(columns) }
    }

    #[test]
    fn the_picture_shows_what_each_host_does_and_for_how_long() {
        let picture = |view: &View| {
            let mut screen = screen(true);
            screen
                .note_instances(&running(), &View { now: samples::START.parse().expect("a time"), ..*view });
            screen.picture(&running(), view, 24)
        };
        insta::assert_snapshot!(samples::at_widths(picture));
    }

    /// What a run looks like in the states in which people look at it.
    fn pictures(runs: &[RunDocument]) -> String {
        samples::at_widths(|view| {
            let pictures = runs.iter().map(|run| screen(true).picture(run, view, 60));
            pictures.collect::<Vec<_>>().join("\n")
        })
    }

    #[test]
    fn pictures_of_what_waits_for_a_human_fit_any_terminal() {
        let clears = |mut reason: ReasonDocument, command: &str| {
            reason.clears = command.to_owned();
            reason
        };
        let mut approval = samples::run("waiting");
        approval.stages[1].name = "prod/approve".to_owned();
        approval.stages[1].status = "waiting".to_owned();
        let mut reason = clears(
            samples::reason("approval", "`prod` waits for one of: promote, roll_back"),
            "trimaran approve web#9/prod/approve --option promote",
        );
        reason.next_check = Some("2026-01-01T00:58:30.000Z".to_owned());
        approval.stages[1].reasons = vec![reason];
        let mut paused = samples::run("waiting");
        let busy = "host-3: preflight_port: process 25782 (python3.11) listens on 127.0.77.3:18083";
        paused.stages[1].status = "waiting".to_owned();
        paused.stages[1].wave = Some(samples::wave(1, 0, 4));
        paused.stages[1].started_at = Some(samples::START.to_owned());
        paused.stages[1].reasons =
            vec![clears(samples::reason("paused_fault", busy), "trimaran resume web#9/prod/lab-prod")];
        let mut queued = samples::run("queued");
        let first = "waiting for `web#8` of the same pipeline to finish; position 1 in the queue";
        queued.reasons = vec![samples::reason("concurrency", first)];
        queued.stages.iter_mut().for_each(|stage| stage.status = "queued".to_owned());
        insta::assert_snapshot!(pictures(&[approval, paused, queued]));
    }

    #[test]
    fn pictures_of_a_run_that_goes_back_fit_any_terminal() {
        let cause =
            "host-3: probe_failed: not healthy for 2s within 8s of its start: HTTP 404 (last of 38 probes)";
        let rollback = RollbackDocument {
            cause: cause.to_owned(),
            to: Some("ef".repeat(32)),
            version: Some("v9".to_owned()),
        };
        let mut back = samples::run("rolling_back");
        back.stages[1].status = "rolling_back".to_owned();
        back.stages[1].started_at = Some(samples::START.to_owned());
        back.stages[1].wave = Some(samples::wave(1, 1, 4));
        back.stages[1].instances = vec![
            samples::instance("host-3", "failed", Some("probe_failed"), "HTTP 404 (last of 38 probes)"),
            samples::instance("host-4", "reverting", None, ""),
        ];
        back.rollback = Some(rollback);
        let mut done = RunDocument { status: "rolled_back".to_owned(), ..back.clone() };
        done.finished_at = Some("2026-01-01T00:00:08.500Z".to_owned());
        done.stages[1].status = "rolled_back".to_owned();
        done.stages[1].finished_at.clone_from(&done.finished_at);
        done.stages[1].instances.clear();
        done.stages[1].reasons = vec![samples::reason("probe_failed", &cause.replace("probe_failed: ", ""))];
        insta::assert_snapshot!(pictures(&[back, done]));
    }

    #[test]
    fn the_next_picture_takes_the_place_of_the_last_one_from_its_first_column() {
        let mut screen = screen(true);
        let first = screen.picture(&running(), &view(100, 10), 24);
        assert!(!first.contains('\u{1b}'), "{first:?}");
        assert_eq!(screen.picture(&running(), &view(100, 10), 24), "", "nothing changed");
        let second = screen.picture(&running(), &view(100, 11), 24);
        assert!(second.starts_with("\r\u{1b}[4A\u{1b}[J"), "{second:?}");
        // On a terminal that became narrower the last picture takes more rows.
        let rows: usize = screen.drawn.iter().map(|line| rows_of(line, 20)).sum();
        assert!(rows > 4, "{rows}");
        assert!(screen.picture(&running(), &view(20, 12), 50).starts_with(&format!("\r\u{1b}[{rows}A")));
    }

    #[test]
    fn a_pipe_gets_a_line_for_each_change() {
        let mut screen = screen(false);
        let lines = screen.changes(&running(), &View::pipe());
        assert_eq!(lines, ["staging/lab-staging: succeeded", "prod/lab-prod: running 1/4", "web#9: running"]);
        assert!(screen.changes(&running(), &View::pipe()).is_empty());
    }

    fn fitting(widths: &[usize], width: usize, height: usize) -> (usize, usize) {
        let lines: Vec<String> = widths.iter().map(|width| "x".repeat(*width)).collect();
        let it = Fitting::of(&lines, width, height);
        (it.lines, it.rows)
    }

    #[test]
    fn long_lines_take_more_than_one_row() {
        assert_eq!(fitting(&[10, 67, 5], 60, 24), (3, 4));
        assert_eq!(fitting(&[60, 120, 0], 60, 24), (3, 4), "an empty line is a row");
        assert_eq!(Fitting::of(&["\u{65e5}".repeat(40)], 60, 24).rows, 2, "wide characters take two columns");
    }

    #[test]
    fn a_picture_is_never_higher_than_the_terminal() {
        assert_eq!(fitting(&[5; 9], 60, 10), (9, 9));
        assert_eq!(fitting(&[5; 10], 60, 10), (8, 9), "the last row says how many are left");
        assert_eq!(fitting(&[5, 600, 5], 60, 10), (1, 2));
        assert_eq!(fitting(&[5; 3], 0, 0), (0, 1), "a terminal without a size");
    }
}
