//! YAML as a tree whose every part knows where it stands.

/// A place: line and column from 1, columns and length in characters of the first line. Ordered as in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Span {
    pub line: u32,
    pub column: u32,
    pub length: u32,
}

/// A value with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub span: Span,
    pub kind: NodeKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeKind {
    /// `plain`: written without quotes and not as a block, so that `null` or `12` may mean more than text.
    Scalar {
        text: String,
        plain: bool,
    },
    Seq(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key with its value, in file order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub key: String,
    pub key_span: Span,
    /// Written without quotes.
    pub key_plain: bool,
    /// Came from a merge key `<<`; its places are those of the map it was taken from.
    pub merged: bool,
    pub value: Node,
}

impl Node {
    /// What this is, for messages.
    pub fn type_name(&self) -> &'static str {
        match &self.kind {
            NodeKind::Scalar { .. } if self.is_null() => "nothing",
            NodeKind::Scalar { .. } => "a text",
            NodeKind::Seq(_) => "a list",
            NodeKind::Map(_) => "a map",
        }
    }

    /// A plain `null`, `~` or nothing at all.
    pub fn is_null(&self) -> bool {
        matches!(&self.kind, NodeKind::Scalar { text, plain: true } if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    pub fn entries(&self) -> &[Entry] {
        match &self.kind {
            NodeKind::Map(entries) => entries,
            NodeKind::Scalar { .. } | NodeKind::Seq(_) => &[],
        }
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    /// Where to point a finger for a JSON pointer (RFC 6901): at a scalar itself, at the key of a map or list, and at the
    /// last part that exists when the rest does not.
    pub fn place_of(&self, pointer: &str) -> Span {
        let mut place = self.span;
        let mut node = self;
        for part in pointer_parts(pointer) {
            let Some((key, child)) = node.child(&part) else { break };
            place = match child.kind {
                NodeKind::Scalar { .. } => child.span,
                NodeKind::Seq(_) | NodeKind::Map(_) => key.unwrap_or(child.span),
            };
            node = child;
        }
        place
    }

    /// A value by its key or index, with the place of the key.
    fn child(&self, part: &str) -> Option<(Option<Span>, &Node)> {
        match &self.kind {
            NodeKind::Map(_) => self.get(part).map(|entry| (Some(entry.key_span), &entry.value)),
            NodeKind::Seq(items) => Some((None, items.get(part.parse::<usize>().ok()?)?)),
            NodeKind::Scalar { .. } => None,
        }
    }
}

/// The parts of a JSON pointer (RFC 6901), unescaped.
pub fn pointer_parts(pointer: &str) -> impl Iterator<Item = String> {
    pointer.split('/').skip(1).map(|part| part.replace("~1", "/").replace("~0", "~"))
}
