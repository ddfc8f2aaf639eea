//! What happened, in words and as a number: equal seeds give equal traces.

use std::collections::VecDeque;
use std::fmt::Write as _;

use trimaran_model::hash::splitmix;

/// Lines that are kept for a violation.
const KEPT: usize = 80;

/// A trace. Every line counts for the hash; the last ones, or all of them when asked for, are kept as text.
#[derive(Debug, Default)]
pub struct Trace {
    hash: u64,
    whole: bool,
    lines: VecDeque<String>,
}

impl Trace {
    /// `whole`: every line is kept.
    pub fn new(whole: bool) -> Self {
        Self { whole, ..Self::default() }
    }

    /// Adds a line of virtual time `at`, in milliseconds.
    pub fn line(&mut self, at: u64, what: std::fmt::Arguments<'_>) {
        let mut line = String::new();
        write!(line, "{:>9}.{:03} {what}", at / 1000, at % 1000).expect("a string takes everything");
        for byte in line.bytes() {
            self.hash = splitmix(self.hash ^ u64::from(byte));
        }
        if !self.whole && self.lines.len() >= KEPT {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// The kept lines.
    pub fn text(&self) -> String {
        self.lines.iter().map(|line| format!("{line}\n")).collect()
    }
}

/// The name of a variant, as its `Debug` begins: `StartRun`.
pub fn variant(value: &impl std::fmt::Debug) -> String {
    struct Name(String);
    impl std::fmt::Write for Name {
        fn write_str(&mut self, text: &str) -> std::fmt::Result {
            let end = text.find(|it: char| !it.is_alphanumeric()).unwrap_or(text.len());
            self.0.push_str(&text[..end]);
            if end < text.len() { Err(std::fmt::Error) } else { Ok(()) }
        }
    }
    let mut name = Name(String::new());
    // It ends with an error behind the name, so that the rest is not rendered.
    let _ = write!(name, "{value:?}");
    name.0
}
