//! YAML as a tree with the place of each value: strict, bounded, and read as Kubernetes tools read it.
//!
//! Invariants: a key stands once in a mapping; an alias means the node that was written before it, and no tree, aliases
//! resolved, has more than [`MAX_VALUES`] values or is deeper than [`MAX_DEPTH`]. What readers of YAML 1.1 (kubectl) and 1.2
//! take for different things is refused, because a hidden image would hide there: other line breaks than LF and CR LF,
//! content behind `---`, tags that make other values of a text, merge keys that override. Plain scalars that are no text to
//! every reader are no text here. Deliberately absent: what the values mean, and writing.

use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Tag};
use serde_json::{Map, Value};
use trust_image::workload::Step;

/// Values in one file, also when every alias is written out.
pub const MAX_VALUES: usize = 1_000_000;
/// Nesting.
pub const MAX_DEPTH: usize = 64;
/// Documents in one file.
pub const MAX_DOCUMENTS: usize = 10_000;

/// A place in a file, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct At {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

/// Why a file is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}:{}: {why}", at.line, at.column)]
pub struct YamlError {
    /// Where.
    pub at: At,
    /// What.
    pub why: Why,
}

/// The reasons.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// A line break or character that readers take for different things.
    #[error("the character U+{0:04X} is not read alike by all tools; remove it")]
    Character(u32),
    /// Something behind `---`.
    #[error("there is something behind `---`, which kubectl leaves out; put it on the next line")]
    Separator,
    /// `---` that begins no document.
    #[error("this `---` stands inside of a text, where kubectl begins a new document; indent it")]
    InsideText,
    /// Not YAML; the parser's words.
    #[error("this is not YAML: {0}")]
    Syntax(String),
    /// A key twice.
    #[error("the key `{0}` stands twice in one mapping")]
    KeyTwice(String),
    /// A key that is no scalar, or an alias.
    #[error("a key is not a plain or quoted text")]
    Key,
    /// A tag other than those of the core schema.
    #[error("the tag {0} is not read; write the value without it")]
    Tag(String),
    /// An alias inside of what it names, or of nothing.
    #[error("an alias names nothing that is complete before it")]
    Alias,
    /// `<<` with something else than mappings.
    #[error("a merge key `<<` takes a mapping, an alias of one, or a list of these")]
    Merge,
    /// `<<` with a key that is there already.
    #[error("the merge key `<<` brings `{0}` a second time; tools differ on which one counts, so write it once")]
    MergeTwice(String),
    /// Over [`MAX_VALUES`].
    #[error("more than {MAX_VALUES} values, aliases written out")]
    TooMany,
    /// Over [`MAX_DEPTH`].
    #[error("nested deeper than {MAX_DEPTH}")]
    TooDeep,
    /// Over [`MAX_DOCUMENTS`].
    #[error("more than {MAX_DOCUMENTS} documents")]
    TooManyDocuments,
}

/// How a scalar is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Without quotes.
    Plain,
    /// `'…'`
    Single,
    /// `"…"`
    Double,
    /// `|` or `>`
    Block,
}

/// The number of a node in its [`Tree`].
pub type NodeId = usize;

/// A value with its place.
#[derive(Debug, Clone)]
pub struct Node {
    /// What it is.
    pub content: Content,
    /// Where it begins.
    pub at: At,
    /// The index of its first character.
    pub index: usize,
}

/// What a node is.
#[derive(Debug, Clone)]
pub enum Content {
    /// A scalar; `is_text` if every reader takes it for text.
    Scalar {
        /// The text, escapes resolved.
        text: String,
        /// How it is written.
        style: Style,
        /// Whether every reader takes it for text.
        is_text: bool,
    },
    /// A sequence.
    Sequence(Vec<NodeId>),
    /// A mapping, in its order.
    Mapping(Vec<(Key, NodeId)>),
    /// The same as another node.
    Alias(NodeId),
}

/// A key of a mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Its text.
    pub text: String,
    /// Whether it is the merge key.
    pub is_merge: bool,
    /// Where it stands.
    pub at: At,
}

/// One file.
#[derive(Debug, Default)]
pub struct Tree {
    nodes: Vec<Node>,
    roots: Vec<NodeId>,
}

impl Tree {
    /// Reads a file without its byte order mark.
    pub fn read(text: &str) -> Result<Tree, YamlError> {
        let separators = check_text(text)?;
        let mut builder = Builder::default();
        let mut parser = Parser::new_from_str(text);
        loop {
            match parser.next_event() {
                None => break,
                Some(Ok((event, span))) => builder.event(event, span.start)?,
                Some(Err(error)) => {
                    let why = Why::Syntax(error.info().to_owned());
                    return Err(YamlError { at: place(*error.marker()), why });
                }
            }
        }
        // kubectl cuts a file at these lines before it reads it.
        match separators.into_iter().find(|line| !builder.begun.contains(line)) {
            Some(line) => Err(YamlError { at: At { line, column: 1 }, why: Why::InsideText }),
            None => Ok(builder.tree),
        }
    }

    /// The documents.
    pub fn roots(&self) -> &[NodeId] {
        &self.roots
    }

    /// A node.
    pub fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(id)
    }

    /// The documents as JSON values. Scalars that are not text to every reader are no strings in them.
    pub fn values(&self) -> Result<Vec<Value>, YamlError> {
        let mut left = MAX_VALUES;
        self.roots.iter().map(|root| self.value(*root, 0, &mut left)).collect()
    }

    fn value(&self, id: NodeId, depth: usize, left: &mut usize) -> Result<Value, YamlError> {
        let (id, node) = self.followed(id);
        let Some(node) = node else { return Ok(Value::Null) };
        let refuse = |why| Err(YamlError { at: node.at, why });
        if depth > MAX_DEPTH {
            return refuse(Why::TooDeep);
        }
        let Some(rest) = left.checked_sub(1) else { return refuse(Why::TooMany) };
        *left = rest;
        Ok(match &node.content {
            Content::Scalar { text, is_text: true, .. } => Value::String(text.clone()),
            Content::Scalar { text, .. } if is_null(text) => Value::Null,
            // A number, a truth value, or what only some take for one: no text, and nothing more is asked of it.
            Content::Scalar { .. } => Value::Bool(false),
            Content::Sequence(items) => {
                let items = items.iter().map(|item| self.value(*item, depth.saturating_add(1), left));
                Value::Array(items.collect::<Result<_, _>>()?)
            }
            Content::Mapping(_) => {
                let mut map = Map::new();
                for (key, value) in self.members(id)? {
                    map.insert(key.to_owned(), self.value(value, depth.saturating_add(1), left)?);
                }
                Value::Object(map)
            }
            Content::Alias(_) => Value::Null,
        })
    }

    /// The node itself, or the one that it is an alias of.
    fn followed(&self, id: NodeId) -> (NodeId, Option<&Node>) {
        match self.nodes.get(id) {
            // An alias of an alias cannot be written.
            Some(Node { content: Content::Alias(of), .. }) => (*of, self.nodes.get(*of)),
            node => (id, node),
        }
    }

    /// The members of a mapping, those of its merge keys as well.
    fn members(&self, id: NodeId) -> Result<Vec<(&str, NodeId)>, YamlError> {
        let (_, Some(Node { content: Content::Mapping(pairs), .. })) = self.followed(id) else { return Ok(Vec::new()) };
        let mut members: Vec<(&str, NodeId)> = Vec::new();
        for (key, value) in pairs.iter().filter(|(key, _)| !key.is_merge) {
            members.push((key.text.as_str(), *value));
        }
        if pairs.iter().all(|(key, _)| !key.is_merge) {
            return Ok(members);
        }
        let mut known: std::collections::HashSet<&str> = members.iter().map(|(key, _)| *key).collect();
        for (key, value) in pairs.iter().filter(|(key, _)| key.is_merge) {
            for source in self.merged(*value, key.at)? {
                let (_, Some(Node { content: Content::Mapping(pairs), .. })) = self.followed(source) else {
                    return Err(YamlError { at: key.at, why: Why::Merge });
                };
                for (inner, value) in pairs {
                    if inner.is_merge {
                        // Merged from what is itself merged: tools differ, and nobody writes it.
                        return Err(YamlError { at: inner.at, why: Why::Merge });
                    }
                    if !known.insert(&inner.text) {
                        return Err(YamlError { at: key.at, why: Why::MergeTwice(shown(&inner.text)) });
                    }
                    members.push((inner.text.as_str(), *value));
                }
            }
        }
        Ok(members)
    }

    /// The mappings that a merge key names.
    fn merged(&self, value: NodeId, at: At) -> Result<Vec<NodeId>, YamlError> {
        match self.followed(value) {
            (id, Some(Node { content: Content::Mapping(_), .. })) => Ok(vec![id]),
            (_, Some(Node { content: Content::Sequence(items), .. })) if items.len() <= MAX_DEPTH => Ok(items.clone()),
            _ => Err(YamlError { at, why: Why::Merge }),
        }
    }

    /// The node at the end of these steps, aliases and merge keys followed: where its text is written.
    pub fn find(&self, root: NodeId, steps: &[Step]) -> Option<NodeId> {
        let mut at = root;
        for step in steps {
            let (id, node) = self.followed(at);
            at = match (step, &node?.content) {
                (Step::Index(index), Content::Sequence(items)) => *items.get(*index)?,
                (Step::Member(name), Content::Mapping(_)) => {
                    self.members(id).ok()?.into_iter().find(|(key, _)| *key == name.as_ref())?.1
                }
                _ => return None,
            };
        }
        Some(self.followed(at).0)
    }
}

/// What readers of YAML take for different things. Gives the lines that begin with `---`.
fn check_text(text: &str) -> Result<Vec<usize>, YamlError> {
    let mut separators = Vec::new();
    for (number, line) in text.split('\n').enumerate() {
        let line = line.strip_suffix('\r').unwrap_or(line);
        let bad = |c: char| (c.is_control() && c != '\t') || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}');
        let number = number.saturating_add(1);
        if let Some(column) = line.chars().position(bad) {
            let code = line.chars().nth(column).map_or(0, u32::from);
            let at = At { line: number, column: column.saturating_add(1) };
            return Err(YamlError { at, why: Why::Character(code) });
        }
        if let Some(rest) = line.strip_prefix("---") {
            let blank = rest.trim_matches([' ', '\t']);
            let is_comment = blank.starts_with('#') && rest.starts_with([' ', '\t']);
            if !blank.is_empty() && !is_comment {
                return Err(YamlError { at: At { line: number, column: 4 }, why: Why::Separator });
            }
            separators.push(number);
        }
    }
    Ok(separators)
}

fn place(marker: Marker) -> At {
    At { line: marker.line().max(1), column: marker.col().saturating_add(1) }
}

fn shown(text: &str) -> String {
    trust_reader::verdict::printable(text).chars().take(64).collect()
}

fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

/// Whether a plain scalar is text to readers of YAML 1.1 as well as 1.2. What may be a number, a time or a truth value to
/// one of them is not.
fn is_plain_text(text: &str) -> bool {
    const WORDS: [&str; 8] = ["y", "n", "yes", "no", "on", "off", "true", "false"];
    if is_null(text) || WORDS.contains(&text.to_ascii_lowercase().as_str()) {
        return false;
    }
    let first = text.bytes().next().unwrap_or(b'0');
    let numeric =
        |b: u8| b.is_ascii_hexdigit() || matches!(b, b'x' | b'X' | b'o' | b'O' | b'_' | b'+' | b'-' | b'.' | b':');
    let special = matches!(text.trim_start_matches(['+', '-']).to_ascii_lowercase().as_str(), ".inf" | ".nan");
    let may_be_number = matches!(first, b'0'..=b'9' | b'+' | b'-' | b'.') && text.bytes().all(numeric);
    !may_be_number && !special && text != "<<" && text != "="
}

/// What is open while events come.
enum Open {
    Sequence(NodeId, Vec<NodeId>),
    Mapping { id: NodeId, pairs: Vec<(Key, NodeId)>, key: Option<Key>, known: std::collections::HashSet<String> },
}

#[derive(Default)]
struct Builder {
    tree: Tree,
    open: Vec<Open>,
    anchors: HashMap<usize, NodeId>,
    complete: std::collections::HashSet<NodeId>,
    /// Lines on which a document begins with `---`.
    begun: std::collections::HashSet<usize>,
}

impl Builder {
    fn event(&mut self, event: Event<'_>, marker: Marker) -> Result<(), YamlError> {
        let at = place(marker);
        let refuse = |why| Err(YamlError { at, why });
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let is_key = matches!(self.open.last(), Some(Open::Mapping { key: None, .. }));
                let is_core_text = match &tag {
                    None => None,
                    Some(tag) => {
                        Some(core_tag(tag).ok_or_else(|| YamlError { at, why: Why::Tag(shown(&tag.to_string())) })?)
                    }
                };
                let style = match style {
                    ScalarStyle::Plain => Style::Plain,
                    ScalarStyle::SingleQuoted => Style::Single,
                    ScalarStyle::DoubleQuoted => Style::Double,
                    ScalarStyle::Literal | ScalarStyle::Folded => Style::Block,
                };
                if is_key {
                    if anchor != 0 || style == Style::Block || tag.is_some() {
                        return refuse(Why::Key);
                    }
                    return self.key(text.into_owned(), style, at);
                }
                let is_text = match is_core_text {
                    Some(word) => word == "str",
                    None => style != Style::Plain || is_plain_text(&text),
                };
                let id = self.add(Content::Scalar { text: text.into_owned(), style, is_text }, marker, anchor)?;
                self.done(id);
            }
            Event::Alias(anchor) => {
                if matches!(self.open.last(), Some(Open::Mapping { key: None, .. })) {
                    return refuse(Why::Key);
                }
                let of = self.anchors.get(&anchor).copied().filter(|id| self.complete.contains(id));
                let Some(of) = of else { return refuse(Why::Alias) };
                let id = self.add(Content::Alias(of), marker, 0)?;
                self.done(id);
            }
            Event::SequenceStart(anchor, tag) => {
                self.begin(at, tag.as_deref(), "seq")?;
                let id = self.add(Content::Sequence(Vec::new()), marker, anchor)?;
                self.open.push(Open::Sequence(id, Vec::new()));
            }
            Event::MappingStart(anchor, tag) => {
                self.begin(at, tag.as_deref(), "map")?;
                let id = self.add(Content::Mapping(Vec::new()), marker, anchor)?;
                self.open.push(Open::Mapping { id, pairs: Vec::new(), key: None, known: Default::default() });
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let (id, content) = match self.open.pop() {
                    Some(Open::Sequence(id, items)) => (id, Content::Sequence(items)),
                    Some(Open::Mapping { id, pairs, .. }) => (id, Content::Mapping(pairs)),
                    None => return Ok(()),
                };
                if let Some(node) = self.tree.nodes.get_mut(id) {
                    node.content = content;
                }
                self.done(id);
            }
            Event::DocumentStart(is_explicit) => {
                // Anchors belong to their document.
                self.anchors.clear();
                if is_explicit {
                    self.begun.insert(at.line);
                }
            }
            Event::DocumentEnd | Event::StreamStart | Event::StreamEnd | Event::Nothing => {}
        }
        Ok(())
    }

    /// A sequence or mapping begins.
    fn begin(&self, at: At, tag: Option<&Tag>, core: &str) -> Result<(), YamlError> {
        if self.open.len() >= MAX_DEPTH {
            return Err(YamlError { at, why: Why::TooDeep });
        }
        if matches!(self.open.last(), Some(Open::Mapping { key: None, .. })) {
            return Err(YamlError { at, why: Why::Key });
        }
        match tag {
            Some(tag) if core_tag(tag) != Some(core) => Err(YamlError { at, why: Why::Tag(shown(&tag.to_string())) }),
            _ => Ok(()),
        }
    }

    fn key(&mut self, text: String, style: Style, at: At) -> Result<(), YamlError> {
        let Some(Open::Mapping { key, known, .. }) = self.open.last_mut() else { return Ok(()) };
        let is_merge = text == "<<";
        // In quotes some tools take it for a merge key, and others not.
        if is_merge && style != Style::Plain {
            return Err(YamlError { at, why: Why::Merge });
        }
        if !known.insert(text.clone()) {
            return Err(YamlError { at, why: Why::KeyTwice(shown(&text)) });
        }
        *key = Some(Key { text, is_merge, at });
        Ok(())
    }

    fn add(&mut self, content: Content, marker: Marker, anchor: usize) -> Result<NodeId, YamlError> {
        let id = self.tree.nodes.len();
        let at = place(marker);
        if id >= MAX_VALUES {
            return Err(YamlError { at, why: Why::TooMany });
        }
        self.tree.nodes.push(Node { content, at, index: marker.index() });
        if anchor != 0 {
            self.anchors.insert(anchor, id);
        }
        if self.open.is_empty() {
            if self.tree.roots.len() >= MAX_DOCUMENTS {
                return Err(YamlError { at, why: Why::TooManyDocuments });
            }
            self.tree.roots.push(id);
        }
        Ok(id)
    }

    /// A node is whole: it goes into what is open around it.
    fn done(&mut self, id: NodeId) {
        self.complete.insert(id);
        match self.open.last_mut() {
            Some(Open::Sequence(_, items)) => items.push(id),
            Some(Open::Mapping { pairs, key, .. }) => {
                if let Some(key) = key.take() {
                    pairs.push((key, id));
                }
            }
            None => {}
        }
    }
}

/// The word of a tag of the core schema.
fn core_tag(tag: &Tag) -> Option<&str> {
    const WORDS: [&str; 7] = ["str", "int", "float", "bool", "null", "seq", "map"];
    let is_core = tag.is_yaml_core_schema();
    WORDS.into_iter().find(|word| is_core && tag.suffix == *word)
}

#[cfg(test)]
#[path = "yaml_tests.rs"]
mod tests;
