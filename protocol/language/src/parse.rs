//! Bytes to trees: size, encoding and syntax, with budgets for everything that a file can blow up.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

use granit_parser::{Event, Parser, ScalarStyle, Span as EventSpan, Tag};
use trimaran_model::error_code::{self, ErrorCode};
use trimaran_model::limits;

use crate::diagnostic::Sink;
use crate::tree::{Entry, Node, NodeKind, Span};

/// Bounds of one file.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub bytes: usize,
    pub nodes: usize,
    pub depth: usize,
    /// Weight that anchors may hold, and that aliases may add; see [`weight`].
    pub alias_nodes: usize,
    /// Whether `<<` merges maps (YAML 1.1). Otherwise it is an error.
    pub merge_keys: bool,
    /// Whether tags such as `!!str` may be written.
    pub tags: bool,
}

impl Limits {
    /// Pipeline and target files.
    pub const SPEC: Self = Self {
        bytes: limits::SPEC_FILE_BYTES_MAX,
        nodes: limits::SPEC_NODES_MAX,
        depth: limits::SPEC_DEPTH_MAX,
        alias_nodes: limits::SPEC_ALIAS_NODES_MAX,
        merge_keys: false,
        tags: false,
    };

    /// Manifests and objects of Kubernetes.
    pub const MANIFEST: Self = Self {
        bytes: limits::MANIFEST_FILE_BYTES_MAX,
        nodes: limits::MANIFEST_NODES_MAX,
        depth: limits::MANIFEST_DEPTH_MAX,
        alias_nodes: limits::MANIFEST_ALIAS_NODES_MAX,
        merge_keys: true,
        tags: true,
    };
}

/// The first character of a file.
pub(crate) const START: Span = Span { line: 1, column: 1, length: 1 };

/// The documents of a file. A syntax error ends the reading, which the sink notes; what came before is returned.
pub fn parse(bytes: &[u8], limits: &Limits, sink: &mut Sink) -> Vec<Node> {
    let Some(text) = text(bytes, limits, sink) else {
        sink.cut();
        return Vec::new();
    };
    let mut reader = Reader {
        text,
        lines: OnceCell::new(),
        limits,
        sink,
        nodes: 0,
        weight: 0,
        anchored: 0,
        aliased: 0,
        anchors: BTreeMap::new(),
        stopped: false,
    };
    reader.documents()
}

/// Checks size, encoding and characters.
fn text<'a>(bytes: &'a [u8], limits: &Limits, sink: &mut Sink) -> Option<&'a str> {
    if bytes.len() > limits.bytes {
        let message = format!("the file is larger than {} bytes", limits.bytes);
        sink.error(error_code::TOO_LARGE, START, message, "split it, or keep generated parts out of it");
        return None;
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => {
            let text = text.strip_prefix('\u{feff}').unwrap_or(text);
            (!control_characters(text, sink)).then_some(text)
        }
        Err(error) => {
            let span = position(&bytes[..error.valid_up_to()]);
            sink.error(error_code::NOT_YAML, span, "the file is not UTF-8 here", "save the file as UTF-8");
            None
        }
    }
}

/// What a scalar costs when it is repeated: one for the node, and one for each 64 bytes of text.
fn weight(text: &str) -> usize {
    1 + text.len() / 64
}

/// Whether a tag leaves the meaning of a scalar to its text: none, or one of the core types but text.
/// `None` for `!!binary`, whose text is not its value.
fn plain(style: ScalarStyle, tag: Option<&Tag>) -> Option<bool> {
    let Some(tag) = tag else { return Some(style == ScalarStyle::Plain) };
    if tag.suffix_in_namespace("tag:yaml.org,2002:").as_deref() == Some("binary") {
        return None;
    }
    Some(matches!(tag.core_suffix(), Some("bool" | "float" | "int" | "null")))
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

/// Characters that YAML does not allow (YAML 1.2, 5.1), NUL among them, the first of each line. A carriage
/// return alone is a line end to YAML and to no other reader.
fn control_characters(text: &str, sink: &mut Sink) -> bool {
    let mut found = false;
    for (index, line) in text.split('\n').enumerate() {
        let line = line.strip_suffix('\r').unwrap_or(line);
        let bad = |c: char| c.is_control() && !matches!(c, '\t' | '\u{85}');
        let Some((column, c)) = line.chars().enumerate().find(|(_, c)| bad(*c)) else { continue };
        found = true;
        let place = Span { line: number(index + 1), column: number(column + 1), length: 1 };
        let (message, help) = match c {
            '\r' => ("a carriage return stands alone here".to_owned(), "end lines with LF or CRLF"),
            _ => (
                format!("the control character U+{:04X} is not allowed", u32::from(c)),
                "remove the character; it may be invisible in your editor",
            ),
        };
        sink.error(error_code::NOT_YAML, place, message, help);
        if sink.is_full() {
            break;
        }
    }
    found
}

/// The place itself, or the end of the last line with text when it lies behind it: what is missing at the end of
/// a file is shown there.
fn inside(text: &str, place: Span) -> Span {
    let length = |line: &str| line.trim_end_matches('\r').chars().count();
    let at = place.line as usize - 1;
    let within = text.split('\n').nth(at).is_some_and(|line| place.column as usize <= length(line));
    let rest_is_empty = text.split('\n').skip(at).all(|line| line.trim().is_empty());
    if within || !rest_is_empty {
        return place;
    }
    let last = text.split('\n').enumerate().filter(|(_, line)| !line.trim().is_empty()).last();
    let (index, line) = last.unwrap_or((0, ""));
    Span { line: number(index + 1), column: number(length(line) + 1), length: 1 }
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
    text: &'a str,
    /// Of `text`, for findings that the parser does not place.
    lines: OnceCell<Vec<&'a str>>,
    limits: &'a Limits,
    sink: &'a mut Sink,
    nodes: usize,
    /// Of all scalars and collections so far.
    weight: usize,
    /// Held by anchors; nested anchors hold what is inside of them again.
    anchored: usize,
    /// Added by aliases.
    aliased: usize,
    /// Anchored nodes with their weight.
    anchors: BTreeMap<usize, (Node, usize)>,
    stopped: bool,
}

/// A collection under construction.
struct Open {
    node: Node,
    anchor: usize,
    weight_before: usize,
    /// Of a map: the key that waits for its value.
    key: Option<(String, Span, bool)>,
    /// The keys of a map that is too large to be searched for each of them.
    keys: BTreeSet<String>,
    /// Of a map: the key was no text, so its value is left out.
    skip: bool,
}

/// Maps of more keys than this have a set of them.
const SEARCHED_MAX: usize = 32;

impl Reader<'_> {
    fn documents(&mut self) -> Vec<Node> {
        let mut documents = Vec::new();
        // Those that a syntax error can no longer reach.
        let mut ended = 0;
        let mut stack: Vec<Open> = Vec::new();
        // Comments are not needed, and would be bounded by their number.
        let options = granit_parser::options! { emit_comments: false };
        for event in Parser::new_from_str_with_options(self.text, options) {
            let (event, place) = match event {
                Ok(event) => event,
                Err(error) => {
                    self.syntax_error(&error);
                    documents.truncate(ended);
                    return documents;
                }
            };
            let nothing = place.start == place.end;
            let place = span(place);
            match event {
                Event::DocumentStart(..) => self.anchors.clear(),
                Event::DocumentEnd => ended = documents.len(),
                Event::Scalar(value, style, anchor, tag) => {
                    let plain = self.plain(style, tag.as_deref(), place);
                    let weight = weight(&value);
                    // Only a value that is not written at all has no length.
                    let span = Span { length: if nothing { 0 } else { place.length }, ..place };
                    let node = Node { span, kind: NodeKind::Scalar { text: value.into_owned(), plain } };
                    self.count(place, 1, weight);
                    self.anchor(anchor, &node, weight);
                    self.add(&mut stack, &mut documents, node);
                }
                Event::Alias(anchor) => self.alias(&mut stack, &mut documents, anchor, place),
                Event::SequenceStart(_, anchor, tag) => {
                    self.tag(tag.as_deref(), place);
                    self.open(&mut stack, NodeKind::Seq(Vec::new()), anchor, place);
                }
                Event::MappingStart(_, anchor, tag) => {
                    self.tag(tag.as_deref(), place);
                    self.open(&mut stack, NodeKind::Map(Vec::new()), anchor, place);
                }
                Event::SequenceEnd | Event::MappingEnd => {
                    if let Some(open) = stack.pop() {
                        let weight = self.weight - open.weight_before + 1;
                        self.anchor(open.anchor, &open.node, weight);
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

    /// Whether a scalar may mean more than its text.
    fn plain(&mut self, style: ScalarStyle, tag: Option<&Tag>, place: Span) -> bool {
        self.tag(tag, place);
        plain(style, tag).unwrap_or_else(|| {
            // Where no tag is allowed that was said already.
            if self.limits.tags {
                let help = "write the text itself, or base64 text where base64 is expected";
                self.sink.error(error_code::NOT_YAML, place, "the tag `!!binary` is not supported", help);
            }
            false
        })
    }

    fn syntax_error(&mut self, error: &granit_parser::ScanError) {
        self.sink.cut();
        let mark = error.marker();
        let line = number(mark.line().max(1));
        let line_text = self.text.split('\n').nth(line as usize - 1).unwrap_or("");
        let indent = line_text.chars().take_while(|c| c.is_whitespace());
        if let Some(tab) = indent.enumerate().find(|(_, c)| *c == '\t').map(|(column, _)| column) {
            let place = Span { line, column: number(tab + 1), length: 1 };
            let message = "a tab is used for indentation";
            return self.sink.error(error_code::TAB, place, message, "indent with spaces");
        }
        let place = inside(self.text, Span { line, column: number(mark.col() + 1), length: 1 });
        if error.info().contains("recursion limit") {
            let message = format!("values are nested more than {} deep", self.limits.depth);
            return self.sink.error(error_code::OVER_LIMIT, place, message, "");
        }
        let message = format!("this is not valid YAML: {}", error.info());
        // In `{ path: /srv/web-{version} }` the inner brace ends the text.
        let mut around = line_text.chars().skip(mark.col().saturating_sub(1));
        let inside_a_text = around.next().is_some_and(|c| !c.is_whitespace()) && around.next() == Some('{');
        let help = if inside_a_text { "put quotes around a text with braces: \"web-{version}\"" } else { "" };
        self.sink.error(error_code::NOT_YAML, place, message, help);
    }

    fn tag(&mut self, tag: Option<&Tag>, place: Span) {
        if let Some(tag) = tag
            && !self.limits.tags
        {
            let written = tag.original();
            let message = format!("the tag `{}` is not part of the language", shown(&written));
            let place = self.before(place, &written).unwrap_or(place);
            self.sink.error(error_code::TAG, place, message, "remove it");
        }
    }

    /// Where `what` is written last before a place: on its line, or on the one above it.
    fn before(&self, place: Span, what: &str) -> Option<Span> {
        let lines = self.lines.get_or_init(|| self.text.split('\n').collect());
        let index = place.line as usize - 1;
        let line = lines.get(index)?;
        let end = line.char_indices().nth(place.column as usize - 1).map_or(line.len(), |(at, _)| at);
        let above = index.checked_sub(1).and_then(|above| Some((place.line - 1, *lines.get(above)?)));
        [Some((place.line, &line[..end])), above].into_iter().flatten().find_map(|(line, text)| {
            let column = text[..text.rfind(what)?].chars().count() + 1;
            Some(Span { line, column: number(column), length: number(what.chars().count()) })
        })
    }

    fn count(&mut self, place: Span, nodes: usize, weight: usize) {
        self.nodes += nodes;
        self.weight += weight;
        if self.nodes > self.limits.nodes {
            self.stop(
                error_code::OVER_LIMIT,
                place,
                format!("the file has more than {} values", self.limits.nodes),
            );
        }
    }

    fn stop(&mut self, code: ErrorCode, place: Span, message: String) {
        if !std::mem::replace(&mut self.stopped, true) {
            self.sink.cut();
            self.sink.error(code, place, message, "");
        }
    }

    fn open(&mut self, stack: &mut Vec<Open>, kind: NodeKind, anchor: usize, place: Span) {
        self.count(place, 1, 1);
        if stack.len() >= self.limits.depth {
            self.stop(
                error_code::OVER_LIMIT,
                place,
                format!("values are nested more than {} deep", self.limits.depth),
            );
        }
        stack.push(Open {
            node: Node { span: place, kind },
            anchor,
            weight_before: self.weight,
            key: None,
            keys: BTreeSet::new(),
            skip: false,
        });
    }

    fn anchor(&mut self, anchor: usize, node: &Node, weight: usize) {
        if anchor == 0 {
            return;
        }
        self.anchored += weight;
        if self.anchored > self.limits.alias_nodes {
            return self.stop(
                error_code::OVER_LIMIT,
                node.span,
                format!("anchors hold more than {} values", self.limits.alias_nodes),
            );
        }
        self.anchors.insert(anchor, (node.clone(), weight));
    }

    fn alias(&mut self, stack: &mut [Open], documents: &mut Vec<Node>, anchor: usize, place: Span) {
        if stack.iter().any(|open| open.anchor == anchor) {
            let message = "the alias repeats the value that it is a part of".to_owned();
            return self.stop(error_code::SELF_ALIAS, place, message);
        }
        let weight = self.anchors.get(&anchor).map_or(1, |(_, weight)| *weight);
        self.aliased += weight;
        if self.aliased > self.limits.alias_nodes {
            return self.stop(
                error_code::OVER_LIMIT,
                place,
                format!("aliases repeat more than {} values", self.limits.alias_nodes),
            );
        }
        let node = self.anchors.get(&anchor).map(|(node, _)| Node { span: place, ..node.clone() });
        let nothing = Node { span: place, kind: NodeKind::Scalar { text: String::new(), plain: true } };
        self.count(place, weight, weight);
        self.add(stack, documents, node.unwrap_or(nothing));
    }

    /// Puts a finished node where it belongs.
    fn add(&mut self, stack: &mut [Open], documents: &mut Vec<Node>, node: Node) {
        let Some(open) = stack.last_mut() else { return documents.push(node) };
        match (&mut open.node.kind, open.key.take()) {
            (NodeKind::Seq(items), _) => items.push(node),
            (NodeKind::Map(_), _) if open.skip => open.skip = false,
            (NodeKind::Map(_), Some(key)) => self.entry(open, key, node),
            (NodeKind::Map(_), None) => match node.kind {
                NodeKind::Scalar { text, plain } => open.key = Some((text, node.span, plain)),
                NodeKind::Seq(_) | NodeKind::Map(_) => {
                    self.sink.error(error_code::WRONG_TYPE, node.span, "a key has to be a text", "");
                    open.skip = true;
                }
            },
            (NodeKind::Scalar { .. }, _) => {}
        }
    }

    fn entry(&mut self, open: &mut Open, key: (String, Span, bool), mut value: Node) {
        let (key, key_span, key_plain) = key;
        if value.span.length == 0 {
            // Nothing has no place of its own.
            value.span = key_span;
        }
        let NodeKind::Map(entries) = &mut open.node.kind else { return };
        if key == "<<" && key_plain {
            return self.merge(entries, key_span, value);
        }
        let many = entries.len() > SEARCHED_MAX;
        if many && open.keys.is_empty() {
            open.keys = entries.iter().map(|entry| entry.key.clone()).collect();
        }
        let known =
            if many { !open.keys.insert(key.clone()) } else { entries.iter().any(|entry| entry.key == key) };
        if known && self.sink.is_full() {
            return;
        }
        let same = known.then(|| entries.iter_mut().find(|entry| entry.key == key)).flatten();
        match same {
            // A merged key gives way to one that is written out after it.
            Some(entry) if entry.merged => *entry = Entry { key, key_span, key_plain, merged: false, value },
            Some(first) => {
                let line = first.key_span.line;
                let message = format!("the key `{}` is here twice; first in line {line}", shown(&key));
                self.sink.error(error_code::DUPLICATE_KEY, key_span, message, "remove one of the two");
            }
            None => entries.push(Entry { key, key_span, key_plain, merged: false, value }),
        }
    }

    /// `<<` with a map or a list of maps, of which the first wins. As the YAML library of Kubernetes does, and
    /// unlike the text of the specification, merged keys replace those that stand before the `<<`.
    fn merge(&mut self, entries: &mut Vec<Entry>, key_span: Span, value: Node) {
        if !self.limits.merge_keys {
            let help = "write the keys out; merge keys are not part of the language";
            let message = "the merge key `<<` is not allowed";
            return self.sink.error(error_code::UNKNOWN_KEY, key_span, message, help);
        }
        let maps = match value.kind {
            NodeKind::Seq(items) => items,
            NodeKind::Map(_) | NodeKind::Scalar { .. } => vec![value],
        };
        let mut place: BTreeMap<String, usize> =
            entries.iter().enumerate().map(|(index, entry)| (entry.key.clone(), index)).collect();
        for map in maps.into_iter().rev() {
            let NodeKind::Map(merged) = map.kind else {
                let message = "`<<` needs a map or a list of maps";
                return self.sink.error(error_code::WRONG_TYPE, map.span, message, "");
            };
            for entry in merged {
                let entry = Entry { merged: true, ..entry };
                match place.get(&entry.key) {
                    Some(index) => entries[*index] = entry,
                    None => {
                        place.insert(entry.key.clone(), entries.len());
                        entries.push(entry);
                    }
                }
            }
        }
    }
}

/// Text of a file inside of a message: short, and without control characters.
pub fn shown(text: &str) -> String {
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(60).collect();
    if text.chars().count() > 60 { format!("{clean}…") } else { clean }
}
