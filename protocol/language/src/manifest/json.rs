//! JSON texts: strict reading in one pass, and the place of a JSON pointer found in the text again.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::{Document, DocumentPlace};
use crate::parse::shown;
use crate::tree::{Span, pointer_parts};

/// What makes a text unreadable, and where.
pub(super) struct Error {
    pub(super) line: u32,
    /// In characters, from 1.
    pub(super) column: u32,
    pub(super) message: String,
    pub(super) help: String,
}

/// The JSON texts of a file, one after the other; `before` is the length of a byte order mark. Nulls are empty.
pub(super) fn read(text: &[u8], before: usize) -> Result<Vec<Document>, Error> {
    let mut stream = serde_json::Deserializer::from_slice(text).into_iter::<Strict>();
    let mut documents = Vec::new();
    loop {
        let skipped = text[stream.byte_offset()..].iter().take_while(|byte| byte.is_ascii_whitespace());
        let offset = before + stream.byte_offset() + skipped.count();
        match stream.next() {
            None => return Ok(documents),
            Some(Ok(Strict(Value::Null))) => {}
            Some(Ok(Strict(value))) => {
                let place = DocumentPlace::Json { offset };
                documents.push(Document { value, place, warnings: Vec::new() });
            }
            Some(Err(error)) => return Err(problem(text, &error)),
        }
    }
}

fn problem(text: &[u8], error: &serde_json::Error) -> Error {
    let line = text.split(|byte| *byte == b'\n').nth(error.line().saturating_sub(1)).unwrap_or_default();
    let before = &line[..error.column().min(line.len())];
    let column = String::from_utf8_lossy(before).chars().count();
    let message = error.to_string();
    let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(words, _)| words).to_owned();
    let duplicate = message.contains("is here twice");
    Error {
        line: u32::try_from(error.line()).unwrap_or(u32::MAX),
        column: u32::try_from(column).unwrap_or(u32::MAX),
        message,
        help: if duplicate { "remove one of the two".to_owned() } else { String::new() },
    }
}

/// A JSON value none of whose maps has a key twice.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader).map(Self)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(serde_json::Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Strict(item)) = access.next_element()? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            // Before the value is read: the error has the position that the reader has reached.
            if map.contains_key(&key) {
                return Err(A::Error::custom(format_args!("the key `{}` is here twice", shown(&key))));
            }
            let Strict(value) = access.next_value()?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

/// What was found in a JSON text already, so that many lookups cost about one pass.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Starts of lines.
    lines: OnceCell<Vec<usize>>,
    /// By the start of a list or map.
    children: RefCell<BTreeMap<usize, Rc<Children>>>,
}

/// Starts of the values in a list or map.
#[derive(Debug)]
enum Children {
    List(Vec<usize>),
    /// With the starts of the keys.
    Map(BTreeMap<String, (usize, usize)>),
}

/// The place of a pointer in the JSON text that starts at `offset`; the text is valid.
pub(super) fn place_of(bytes: &[u8], offset: usize, pointer: &str, memory: &Memory) -> Span {
    let mut found = offset;
    let mut at = offset;
    for part in pointer_parts(pointer) {
        let known = memory.children.borrow().get(&at).cloned();
        let children = known.unwrap_or_else(|| {
            let read = Rc::new(Scanner { bytes, at }.children());
            memory.children.borrow_mut().insert(at, Rc::clone(&read));
            read
        });
        let child = match &*children {
            Children::List(items) => {
                part.parse::<usize>().ok().and_then(|index| items.get(index)).map(|it| (*it, *it))
            }
            Children::Map(entries) => entries.get(&part).copied(),
        };
        let Some((key, value)) = child else { break };
        found = if is_container(bytes, value) { key } else { value };
        at = value;
    }
    let mut scanner = Scanner { bytes, at: found };
    if is_container(bytes, found) {
        scanner.at += 1;
    } else {
        scanner.skip_value();
    }
    span(bytes, found, scanner.at, memory)
}

fn is_container(bytes: &[u8], at: usize) -> bool {
    matches!(bytes.get(at), Some(b'{' | b'['))
}

fn span(bytes: &[u8], start: usize, end: usize, memory: &Memory) -> Span {
    let lines = memory.lines.get_or_init(|| {
        let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
        std::iter::once(0).chain(ends.map(|(index, _)| index + 1)).collect()
    });
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let line = lines.partition_point(|it| *it <= start);
    let line_start = lines.get(line.saturating_sub(1)).copied().unwrap_or(0);
    let characters = |part: &[u8]| String::from_utf8_lossy(part).chars().filter(|c| *c != '\u{feff}').count();
    let (start, end) = (start.min(bytes.len()), end.min(bytes.len()));
    Span {
        line: number(line),
        column: number(characters(&bytes[line_start.min(start)..start]) + 1),
        length: number(characters(&bytes[start..end]).max(1)),
    }
}

/// Walks a valid JSON text.
struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Scanner<'_> {
    /// The values in the list or map that starts here; none of a scalar.
    fn children(mut self) -> Children {
        let (mut items, mut entries) = (Vec::new(), BTreeMap::new());
        let open = self.bytes.get(self.at).copied();
        if !matches!(open, Some(b'{' | b'[')) {
            return Children::List(items);
        }
        self.at += 1;
        self.skip_space();
        while !matches!(self.bytes.get(self.at), Some(b'}' | b']') | None) {
            let start = self.at;
            if open == Some(b'{') {
                self.skip_value();
                let key = serde_json::from_slice::<String>(&self.bytes[start..self.at]);
                self.skip_space();
                self.at += 1;
                self.skip_space();
                if let Ok(key) = key {
                    entries.insert(key, (start, self.at));
                }
            } else {
                items.push(start);
            }
            self.skip_value();
            self.skip_space();
            if self.bytes.get(self.at) == Some(&b',') {
                self.at += 1;
                self.skip_space();
            }
            if self.at == start {
                // Another file than the one that was read.
                break;
            }
        }
        if open == Some(b'{') { Children::Map(entries) } else { Children::List(items) }
    }

    fn skip_space(&mut self) {
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
    }

    /// Moves behind the value that starts here.
    fn skip_value(&mut self) {
        let mut depth = 0_usize;
        while let Some(byte) = self.bytes.get(self.at) {
            match byte {
                b'"' => {
                    self.skip_string();
                    if depth == 0 {
                        return;
                    }
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' if depth <= 1 => {
                    self.at += usize::from(depth == 1);
                    return;
                }
                b'}' | b']' => depth -= 1,
                b',' | b':' | b' ' | b'\t' | b'\r' | b'\n' if depth == 0 => return,
                _ => {}
            }
            self.at += 1;
        }
    }

    fn skip_string(&mut self) {
        self.at += 1;
        while let Some(byte) = self.bytes.get(self.at) {
            match byte {
                b'\\' => self.at += 2,
                b'"' => {
                    self.at += 1;
                    return;
                }
                _ => self.at += 1,
            }
        }
    }
}
