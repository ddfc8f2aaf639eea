//! The documentation as a test: what a page's blocks hold, and whether a command did what its block says.
//!
//! The first word behind the fence says what a block is, further words what is special about it:
//!
//! | block | meaning |
//! |---|---|
//! | `yaml` | whole documents of the language, without errors |
//! | `yaml bad` or `yaml bad=TR1203` | documents that `lint` refuses, with this code among the errors |
//! | `yaml spec` | the file of `trimaran-agent host apply` |
//! | `yaml kubernetes` | objects of Kubernetes; the language has no say in them |
//! | `console` | commands behind `$ `, each with the output that follows it |
//! | `console background` | commands of a terminal of their own, which run until the page ends |
//! | `json` | one JSON value |
//! | `sh`, `text` | read by people |
//!
//! `file=NAME` on any block: the commands below find it as this file. In the output of a command a line `...` stands
//! for any number of lines, `[..]` for any text in a line, and `? N` for the exit code where it is not 0. A command
//! continues in the next line when that starts with `> `.
//!
//! Deliberately not here: which cluster the commands talk to. Whoever follows a page runs them.

use std::fmt;

/// A page in the order of its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    pub blocks: Vec<Block>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Where its fence is, from 1.
    pub line: usize,
    pub kind: Kind,
    /// What is between the fences.
    pub text: String,
    /// The file that commands further down find it as.
    pub file: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    Yaml(Yaml),
    Console { steps: Vec<Step>, background: bool },
    Json,
    Sh,
    Text,
}

/// What a YAML block is to be read as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Yaml {
    Good,
    /// With a code that has to be among the errors.
    Bad(Option<String>),
    HostSpec,
    Kubernetes,
}

/// A command and what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub line: usize,
    pub command: String,
    pub output: Vec<String>,
    pub exit: i32,
}

/// A place of a page, and what is wrong there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageError {
    pub line: usize,
    pub why: String,
}

impl fmt::Display for PageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.why)
    }
}

impl std::error::Error for PageError {}

/// Reads a page. Every block has to say what it is.
pub fn page(markdown: &str) -> Result<Page, PageError> {
    let mut blocks = Vec::new();
    let mut open: Option<(usize, &str, String)> = None;
    for (index, line) in markdown.lines().enumerate() {
        let number = index + 1;
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(info)) => open = Some((number, info.trim(), String::new())),
            (None, None) => {}
            (Some(_), Some("")) => {
                if let Some((start, info, text)) = open.take() {
                    blocks.push(block(start, info, text)?);
                }
            }
            (Some((_, _, text)), _) => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    match open {
        Some((line, ..)) => Err(PageError { line, why: "the block does not end".to_owned() }),
        None => Ok(Page { blocks }),
    }
}

fn block(line: usize, info: &str, text: String) -> Result<Block, PageError> {
    let bad = |why: String| PageError { line, why };
    let mut words = info.split_whitespace();
    let language = words.next().unwrap_or_default();
    let (mut file, mut yaml, mut background) = (None, Yaml::Good, false);
    for word in words {
        let (key, value) = match word.split_once('=') {
            Some((key, value)) => (key, Some(value.to_owned())),
            None => (word, None),
        };
        match (language, key, value) {
            (_, "file", Some(name)) => file = Some(name),
            ("yaml", "bad", code) => yaml = Yaml::Bad(code),
            ("yaml", "spec", None) => yaml = Yaml::HostSpec,
            ("yaml", "kubernetes", None) => yaml = Yaml::Kubernetes,
            ("console", "background", None) => background = true,
            _ => return Err(bad(format!("`{word}` is not known behind `{language}`"))),
        }
    }
    let kind = match language {
        "yaml" => Kind::Yaml(yaml),
        "console" => Kind::Console { steps: steps(line, &text)?, background },
        "json" => Kind::Json,
        "sh" => Kind::Sh,
        "text" => Kind::Text,
        _ => {
            return Err(bad(format!(
                "`{language}` is not known; a block is yaml, console, json, sh or text"
            )));
        }
    };
    Ok(Block { line, kind, text, file })
}

/// The commands of a console block.
fn steps(fence: usize, text: &str) -> Result<Vec<Step>, PageError> {
    let mut steps: Vec<Step> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let number = fence + index + 1;
        if let Some(command) = line.strip_prefix("$ ") {
            steps.push(Step { line: number, command: command.to_owned(), output: Vec::new(), exit: 0 });
            continue;
        }
        let bad = |why: &str| PageError { line: number, why: why.to_owned() };
        let step = steps.last_mut().ok_or_else(|| bad("output without a command before it"))?;
        if let Some(more) = line.strip_prefix("> ").filter(|_| step.output.is_empty()) {
            step.command.push('\n');
            step.command.push_str(more);
        } else if let Some(exit) = line.strip_prefix("? ") {
            step.exit = exit.parse().map_err(|_| bad("an exit code is a number"))?;
        } else {
            step.output.push(line.to_owned());
        }
    }
    if steps.is_empty() {
        return Err(PageError { line: fence, why: "the block has no command".to_owned() });
    }
    Ok(steps)
}

impl Page {
    /// The same page with other words, such as a directory of the test's own for one that a reader would use.
    pub fn with(markdown: &str, words: &[(&str, &str)]) -> Result<Self, PageError> {
        let text = words.iter().fold(markdown.to_owned(), |text, (from, to)| text.replace(from, to));
        page(&text)
    }

    /// Does what the page says, in its order, up to the first thing that is different: `write` makes a file,
    /// `run` a command and returns its exit code and output, stdout before stderr. Blocks in the background are left to the caller.
    pub fn follow(
        &self,
        mut write: impl FnMut(&str, &str),
        mut run: impl FnMut(&str) -> (i32, String),
    ) -> Result<(), PageError> {
        for block in &self.blocks {
            if let Some(name) = &block.file {
                write(name, &block.text);
            }
            let Kind::Console { steps, background: false } = &block.kind else { continue };
            for step in steps {
                let (exit, output) = run(&step.command);
                step.check(exit, &output).map_err(|why| PageError { line: step.line, why })?;
            }
        }
        Ok(())
    }
}

impl Step {
    /// Whether a run of the command ended and spoke as the page says; what was different otherwise.
    pub fn check(&self, exit: i32, output: &str) -> Result<(), String> {
        let lines: Vec<&str> = output.lines().map(str::trim_end).collect();
        let expected: Vec<&str> = self.output.iter().map(|line| line.trim_end()).collect();
        if exit == self.exit && lines_match(&expected, &lines) {
            return Ok(());
        }
        Err(format!(
            "`{}` exited with {exit}, expected {}\n--- expected\n{}\n--- found\n{}",
            self.command,
            self.exit,
            expected.join("\n"),
            lines.join("\n")
        ))
    }
}

/// Each expected line meets one line, `...` any number of them.
fn lines_match(expected: &[&str], found: &[&str]) -> bool {
    // `reached[n]`: the expected lines so far can meet the first n found ones.
    let mut reached = vec![false; found.len() + 1];
    reached[0] = true;
    for line in expected {
        let mut next = vec![false; found.len() + 1];
        for n in 0..=found.len() {
            next[n] = if *line == "..." {
                reached[n] || (n > 0 && next[n - 1])
            } else {
                n > 0 && reached[n - 1] && line_matches(line, found[n - 1])
            };
        }
        reached = next;
    }
    reached[found.len()]
}

/// `[..]` meets any text.
fn line_matches(expected: &str, found: &str) -> bool {
    let parts: Vec<&str> = expected.split("[..]").collect();
    let [first, middle @ .., last] = parts.as_slice() else { return expected == found };
    let inner = found.strip_prefix(first).and_then(|rest| rest.strip_suffix(last));
    let Some(mut rest) = inner else { return false };
    middle.iter().all(|part| match rest.find(part) {
        Some(at) => {
            rest = &rest[at + part.len()..];
            true
        }
        None => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "\
# Title

```yaml file=a.yaml
trimaran: v1
```

Words.

```console
$ echo one && echo two
one
...
$ printf '%s\\n' \\
> three
three
$ false
? 1
```

```yaml bad=TR1203
x
```

```console background
$ sleep 100
```
";

    #[test]
    fn blocks_are_found_with_their_marks_and_places() {
        let page = page(PAGE).expect("a page");
        let kinds: Vec<(usize, Option<&str>)> =
            page.blocks.iter().map(|block| (block.line, block.file.as_deref())).collect();
        assert_eq!(kinds, [(3, Some("a.yaml")), (9, None), (20, None), (24, None)]);
        assert_eq!(page.blocks[2].kind, Kind::Yaml(Yaml::Bad(Some("TR1203".to_owned()))));
        let Kind::Console { steps, background } = &page.blocks[1].kind else { panic!("{page:?}") };
        assert!(!background);
        let commands: Vec<_> =
            steps.iter().map(|step| (step.line, step.command.as_str(), step.exit)).collect();
        let expected =
            [(10, "echo one && echo two", 0), (13, "printf '%s\\n' \\\nthree", 0), (16, "false", 1)];
        assert_eq!(commands, expected);
    }

    #[test]
    fn a_page_is_followed_by_a_real_shell() {
        let folder = tempfile::tempdir().expect("a directory");
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("written");
        let run = |command: &str| {
            let output = std::process::Command::new("sh").args(["-c", command]).output().expect("a shell");
            (output.status.code().expect("a code"), String::from_utf8(output.stdout).expect("UTF-8"))
        };
        assert_eq!(page(PAGE).expect("a page").follow(write, run), Ok(()));
        assert!(folder.path().join("a.yaml").exists());
        let other = Page::with(PAGE, &[("echo one", "echo eins")]).expect("a page");
        let error = other.follow(write, run).expect_err("another output");
        assert_eq!(error.line, 10);
        assert!(error.why.contains("--- found\neins\ntwo"), "{error}");
    }

    #[test]
    fn blocks_that_say_nothing_are_refused() {
        for (text, line) in [
            ("```\n$ x\n```\n", 1),
            ("\n```yaml what\nx\n```\n", 2),
            ("```console\nx\n```\n", 2),
            ("```console\n```\n", 1),
            ("```console\n$ x\n? y\n```\n", 3),
            ("```yaml\nx: y\n", 1),
            ("```toml\n```\n", 1),
        ] {
            assert_eq!(page(text).expect_err(text).line, line, "{text}");
        }
    }

    #[test]
    fn wildcards_stand_for_text_and_lines() {
        for (expected, found, meets) in [
            ("a\nb", "a\nb", true),
            ("a", "a\nb", false),
            ("...", "", true),
            ("...\nb", "a\na\nb", true),
            ("...\nb", "a\nb\nc", false),
            ("a\n...\nc\n...", "a\nb\nc\nc\nd", true),
            ("x[..]z", "xyz", true),
            ("x[..]y[..]z", "x--y--z", true),
            ("x[..]y[..]z", "x--z", false),
            ("[..]", "", false),
            ("ab[..]ba", "aba", false),
        ] {
            let lines = |text: &'static str| text.lines().collect::<Vec<_>>();
            assert_eq!(lines_match(&lines(expected), &lines(found)), meets, "{expected:?} {found:?}");
        }
    }
}
