//! Bytes to trees: size, encoding and syntax, with budgets for everything that a file can blow up.

use std::collections::BTreeMap;

use granit_parser::{Event, Parser, ScalarStyle, Span as EventSpan};
use trimaran_model::error_code;
use trimaran_model::limits;

use crate::diagnostic::Sink;
use crate::tree::{Entry, Node, NodeKind, Span};

/// Bounds of one file.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub bytes: usize,
    pub nodes: usize,
    pub depth: usize,
    /// Nodes that aliases may add.
    pub alias_nodes: usize,
}

impl Limits {
    /// Pipeline and target files.
    pub const SPEC: Self = Self {
        bytes: limits::SPEC_FILE_BYTES_MAX,
        nodes: limits::SPEC_NODES_MAX,
        depth: limits::SPEC_DEPTH_MAX,
        alias_nodes: limits::SPEC_ALIAS_NODES_MAX,
    };
}

const START: Span = Span { line: 1, column: 1, length: 1 };

/// The documents of a file. A syntax error ends the reading; what came before is returned.
pub fn parse(bytes: &[u8], limits: &Limits, sink: &mut Sink) -> Vec<Node> {
    if bytes.len() > limits.bytes {
        let message = format!("the file is larger than {} bytes", limits.bytes);
        sink.error(error_code::TOO_LARGE, START, message, "split it, or keep generated parts out of it");
        return Vec::new();
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.strip_prefix('\u{feff}').unwrap_or(text),
        Err(error) => {
            let span = position(&bytes[..error.valid_up_to()]);
            sink.error(error_code::NOT_YAML, span, "the file is not UTF-8 here", "save the file as UTF-8");
            return Vec::new();
        }
    };
    if control_characters(text, sink) {
        return Vec::new();
    }
    let mut reader =
        Reader { limits, sink, nodes: 0, alias_nodes: 0, anchors: BTreeMap::new(), stopped: false };
    reader.documents(text)
}

/// Line and column behind some valid text.
fn position(before: &[u8]) -> Span {
    let text = String::from_utf8_lossy(before);
    let line = text.matches('\n').count() + 1;
    let column = text.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    Span { line: number(line), column: number(column), length: 1 }
}

fn number(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// Characters that YAML does not allow (YAML 1.2, 5.1), NUL among them.
fn control_characters(text: &str, sink: &mut Sink) -> bool {
    let mut found = false;
    for (index, line) in text.split('\n').enumerate() {
        let bad = line.chars().position(|c| c.is_control() && !matches!(c, '\t' | '\r' | '\u{85}'));
        if let Some(column) = bad {
            let span = Span { line: number(index + 1), column: number(column + 1), length: 1 };
            let c = line.chars().nth(column).unwrap_or('\0');
            let message = format!("the control character U+{:04X} is not allowed", u32::from(c));
            sink.error(
                error_code::NOT_YAML,
                span,
                message,
                "remove the character; it may be invisible in your editor",
            );
            found = true;
        }
    }
    found
}

fn span(event: EventSpan) -> Span {
    let length = if event.start.line() == event.end.line() {
        event.end.col().saturating_sub(event.start.col())
    } else {
        1
    };
    Span {
        line: number(event.start.line()),
        column: number(event.start.col() + 1),
        length: number(length.max(1)),
    }
}

struct Reader<'a> {
    limits: &'a Limits,
    sink: &'a mut Sink,
    nodes: usize,
    alias_nodes: usize,
    /// Anchored nodes with their size.
    anchors: BTreeMap<usize, (Node, usize)>,
    stopped: bool,
}

/// A collection under construction.
struct Open {
    node: Node,
    anchor: usize,
    nodes_before: usize,
    /// Of a map: the key that waits for its value.
    key: Option<(String, Span, bool)>,
}

impl Reader<'_> {
    fn documents(&mut self, text: &str) -> Vec<Node> {
        let mut documents = Vec::new();
        let mut stack: Vec<Open> = Vec::new();
        for event in Parser::new_from_str(text) {
            let (event, place) = match event {
                Ok(event) => event,
                Err(error) => {
                    self.syntax_error(text, &error);
                    return documents;
                }
            };
            let place = span(place);
            match event {
                Event::DocumentStart(..) => self.anchors.clear(),
                Event::Scalar(value, style, anchor, _) => {
                    let plain = style == ScalarStyle::Plain;
                    let node =
                        Node { span: place, kind: NodeKind::Scalar { text: value.into_owned(), plain } };
                    self.count(place, 1);
                    self.anchor(anchor, &node, 1);
                    self.add(&mut stack, &mut documents, node);
                }
                Event::Alias(anchor) => self.alias(&mut stack, &mut documents, anchor, place),
                Event::SequenceStart(_, anchor, _) => {
                    self.open(&mut stack, NodeKind::Seq(Vec::new()), anchor, place)
                }
                Event::MappingStart(_, anchor, _) => {
                    self.open(&mut stack, NodeKind::Map(Vec::new()), anchor, place)
                }
                Event::SequenceEnd | Event::MappingEnd => {
                    if let Some(open) = stack.pop() {
                        let size = self.nodes - open.nodes_before;
                        self.anchor(open.anchor, &open.node, size);
                        self.add(&mut stack, &mut documents, open.node);
                    }
                }
                _ => {}
            }
            if self.stopped {
                return Vec::new();
            }
        }
        documents
    }

    fn syntax_error(&mut self, text: &str, error: &granit_parser::ScanError) {
        let mark = error.marker();
        let line = number(mark.line().max(1));
        let place = Span { line, column: number(mark.col() + 1), length: 1 };
        let line_text = text.lines().nth(mark.line().saturating_sub(1)).unwrap_or("");
        let indent: String = line_text.chars().take_while(|c| c.is_whitespace()).collect();
        if let Some(tab) = indent.chars().position(|c| c == '\t') {
            let place = Span { line, column: number(tab + 1), length: 1 };
            return self.sink.error(
                error_code::TAB,
                place,
                "a tab is used for indentation",
                "indent with spaces",
            );
        }
        let message = format!("this is not valid YAML: {}", error.info());
        self.sink.error(error_code::NOT_YAML, place, message, "");
    }

    fn count(&mut self, place: Span, nodes: usize) {
        self.nodes += nodes;
        if self.nodes > self.limits.nodes {
            self.stop(place, format!("the file has more than {} values", self.limits.nodes));
        }
    }

    fn stop(&mut self, place: Span, message: String) {
        if !std::mem::replace(&mut self.stopped, true) {
            self.sink.error(error_code::OVER_LIMIT, place, message, "");
        }
    }

    fn open(&mut self, stack: &mut Vec<Open>, kind: NodeKind, anchor: usize, place: Span) {
        self.count(place, 1);
        if stack.len() >= self.limits.depth {
            self.stop(place, format!("values are nested more than {} deep", self.limits.depth));
        }
        stack.push(Open { node: Node { span: place, kind }, anchor, nodes_before: self.nodes, key: None });
    }

    fn anchor(&mut self, anchor: usize, node: &Node, size: usize) {
        if anchor != 0 {
            self.anchors.insert(anchor, (node.clone(), size));
        }
    }

    fn alias(&mut self, stack: &mut [Open], documents: &mut Vec<Node>, anchor: usize, place: Span) {
        let size = self.anchors.get(&anchor).map_or(1, |(_, size)| *size + 1);
        self.alias_nodes += size;
        if self.alias_nodes > self.limits.alias_nodes {
            return self.stop(place, format!("aliases repeat more than {} values", self.limits.alias_nodes));
        }
        let node = self.anchors.get(&anchor).map(|(node, _)| Node { span: place, ..node.clone() });
        let nothing = Node { span: place, kind: NodeKind::Scalar { text: String::new(), plain: true } };
        self.count(place, size);
        self.add(stack, documents, node.unwrap_or(nothing));
    }

    /// Puts a finished node where it belongs.
    fn add(&mut self, stack: &mut [Open], documents: &mut Vec<Node>, node: Node) {
        let Some(open) = stack.last_mut() else { return documents.push(node) };
        match (&mut open.node.kind, open.key.take()) {
            (NodeKind::Seq(items), _) => items.push(node),
            (NodeKind::Map(entries), Some((key, key_span, key_plain))) => {
                let first = entries.iter().find(|entry| entry.key == key).map(|entry| entry.key_span);
                if let Some(first) = first {
                    let message =
                        format!("the key `{}` is here twice; first in line {}", shown(&key), first.line);
                    self.sink.error(error_code::DUPLICATE_KEY, key_span, message, "remove one of the two");
                } else if key == "<<" && key_plain {
                    let help = "write the keys out; merge keys are not part of the language";
                    self.sink.error(
                        error_code::UNKNOWN_KEY,
                        key_span,
                        "the merge key `<<` is not allowed",
                        help,
                    );
                } else {
                    entries.push(Entry { key, key_span, key_plain, value: node });
                }
            }
            (NodeKind::Map(_), None) => match node.kind {
                NodeKind::Scalar { text, plain } => open.key = Some((text, node.span, plain)),
                NodeKind::Seq(_) | NodeKind::Map(_) => {
                    self.sink.error(error_code::WRONG_TYPE, node.span, "a key has to be a text", "");
                    open.key = Some((String::new(), node.span, false));
                }
            },
            (NodeKind::Scalar { .. }, _) => {}
        }
    }
}

/// Text of a file inside of a message: short, and without control characters.
pub fn shown(text: &str) -> String {
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(60).collect();
    if text.chars().count() > 60 { format!("{clean}…") } else { clean }
}
