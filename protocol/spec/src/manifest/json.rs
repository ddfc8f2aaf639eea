//! JSON texts: strict reading in one pass, and the place of a JSON pointer found in the text again.

use std::fmt;

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
    let mut index = 0;
    loop {
        let skipped = text[stream.byte_offset()..].iter().take_while(|byte| byte.is_ascii_whitespace());
        let offset = before + stream.byte_offset() + skipped.count();
        match stream.next() {
            None => return Ok(documents),
            Some(Ok(Strict(Value::Null))) => {}
            Some(Ok(Strict(value))) => {
                documents.push(Document { value, place: DocumentPlace::Json { index, offset } });
            }
            Some(Err(error)) => return Err(problem(text, &error)),
        }
        index += 1;
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
        while let Some((key, Strict(value))) = access.next_entry::<String, Strict>()? {
            if map.contains_key(&key) {
                return Err(A::Error::custom(format_args!("the key `{}` is here twice", shown(&key))));
            }
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

/// The place of a pointer in the JSON text that starts at `offset`; the text is valid.
pub(super) fn place_of(bytes: &[u8], offset: usize, pointer: &str) -> Span {
    let mut scanner = Scanner { bytes, at: offset };
    let mut found = offset;
    for part in pointer_parts(pointer) {
        let Some((key, value)) = scanner.descend(&part) else { break };
        let container = matches!(bytes.get(value), Some(b'{' | b'['));
        found = if container { key.unwrap_or(value) } else { value };
        scanner.at = value;
    }
    scanner.at = found;
    let end = if matches!(bytes.get(found), Some(b'{' | b'[') | None) {
        found + 1
    } else {
        scanner.skip_value();
        scanner.at
    };
    span(bytes, found, end)
}

fn span(bytes: &[u8], start: usize, end: usize) -> Span {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let before = &bytes[..start.min(bytes.len())];
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |index| index + 1);
    let characters = |part: &[u8]| String::from_utf8_lossy(part).chars().filter(|c| *c != '\u{feff}').count();
    Span {
        line: number(line),
        column: number(characters(&before[line_start..]) + 1),
        length: number(characters(&bytes[start.min(bytes.len())..end.min(bytes.len())]).max(1)),
    }
}

/// Walks a valid JSON text.
struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Scanner<'_> {
    /// Starts of the key, in a map, and of the value of one part below the value that starts here.
    fn descend(&mut self, part: &str) -> Option<(Option<usize>, usize)> {
        let open = *self.bytes.get(self.at)?;
        self.at += 1;
        self.skip_space();
        let wanted = part.parse::<usize>().ok();
        let mut index = 0;
        while !matches!(self.bytes.get(self.at)?, b'}' | b']') {
            let start = self.at;
            if open == b'{' {
                self.skip_value();
                let key: Option<String> = serde_json::from_slice(&self.bytes[start..self.at]).ok();
                self.skip_space();
                self.at += 1;
                self.skip_space();
                if key.as_deref() == Some(part) {
                    return Some((Some(start), self.at));
                }
            } else if open != b'[' {
                return None;
            } else if wanted == Some(index) {
                return Some((None, self.at));
            }
            self.skip_value();
            self.skip_space();
            if self.bytes.get(self.at) == Some(&b',') {
                self.at += 1;
                self.skip_space();
            }
            index += 1;
        }
        None
    }

    fn skip_space(&mut self) {
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
    }

    /// To behind the value that starts here.
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
