//! Messages with values of the object in them: `the job is ${status.jobStatus.state}`.

use cel::Value as Cel;

use crate::custom::expression::{Answer, Expression, Fault};
use crate::custom::view::View;
use crate::judgment::quote;

#[derive(Debug)]
pub(super) struct Template {
    parts: Vec<Part>,
}

#[derive(Debug)]
enum Part {
    Text(String),
    Value(Expression),
}

impl Template {
    pub(super) fn parse(text: &str) -> Result<Self, Fault> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, from)) = rest.split_once("${") {
            parts.push(Part::Text(before.to_owned()));
            let Some(end) = closing(from) else {
                return Err(Fault {
                    line: 1,
                    column: 1,
                    what: "a `${` has no `}`".to_owned(),
                    help: "close it, or write the sign without the bracket".to_owned(),
                });
            };
            parts.push(Part::Value(Expression::compile(&from[..end])?));
            rest = &from[end + 1..];
        }
        parts.push(Part::Text(rest.to_owned()));
        Ok(Self { parts })
    }

    pub(super) fn expressions(&self) -> impl Iterator<Item = &Expression> {
        self.parts.iter().filter_map(|part| match part {
            Part::Value(expression) => Some(expression),
            Part::Text(_) => None,
        })
    }

    /// The message. What is not there is left out, and so is the sign before it.
    pub(super) fn fill(&self, view: &View) -> String {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(part) => text.push_str(part),
                Part::Value(expression) => match expression.evaluate(view) {
                    Answer::Value(value) => text.push_str(&shown(&value)),
                    Answer::Missing => {}
                    Answer::Error(_) => text.push('?'),
                },
            }
        }
        quote(text.trim_end_matches([' ', ':', ',', ';']))
    }
}

/// Where the bracket ends that is open at the start of `text`.
fn closing(text: &str) -> Option<usize> {
    let mut open = 0usize;
    for (index, c) in text.char_indices() {
        match c {
            '{' => open += 1,
            '}' if open == 0 => return Some(index),
            '}' => open -= 1,
            _ => {}
        }
    }
    None
}

fn shown(value: &Cel) -> String {
    match value {
        Cel::String(text) => quote(text),
        Cel::Int(number) => number.to_string(),
        Cel::UInt(number) => number.to_string(),
        Cel::Float(number) => number.to_string(),
        Cel::Bool(truth) => truth.to_string(),
        Cel::List(list) => {
            let items = list.iter().map(shown).filter(|item| !item.is_empty());
            let items: Vec<String> = items.take(LIST_SHOWN).collect();
            quote(&items.join(", "))
        }
        _ => String::new(),
    }
}

/// Entries of a list that a message names.
const LIST_SHOWN: usize = 8;
