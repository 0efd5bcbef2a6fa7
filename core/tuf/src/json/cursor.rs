//! A walk over a JSON document that checks everything and builds only what is asked for.
//!
//! INVARIANT: whoever has walked to the end without an error has seen a strict document; parts of it can be walked again
//! without a new check of the whole.

mod canonical;

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::hash::Hasher;
use std::ops::Range;

pub(crate) use canonical::canonical;

use super::scan::{self, Characters};
use super::{JsonError, JsonErrorKind, Value};
use crate::limits::{JSON_DEPTH, UNSORTED_MEMBERS};

#[derive(Clone, Copy)]
pub(crate) struct Cursor<'a> {
    text: &'a str,
    pos: usize,
    depth: usize,
    canonical: bool,
    // Values walked over by `skip`, and how many may be.
    skipped: usize,
    most: usize,
}

/// The name of a member as it stands in the document, without the marks around it.
#[derive(Clone, Copy, Default)]
pub(crate) struct Name<'a> {
    raw: &'a str,
    /// Where its opening mark stands.
    pub(crate) position: usize,
    escaped: bool,
}

impl<'a> Name<'a> {
    /// What it means.
    pub(crate) fn text(&self) -> Cow<'a, str> {
        if self.escaped { Cow::Owned(Characters::new(self.raw).collect()) } else { Cow::Borrowed(self.raw) }
    }

    /// What it means, if that stands there without escapes.
    pub(crate) fn plain(&self) -> Option<&'a str> {
        if self.escaped { None } else { Some(self.raw) }
    }

    /// Reads one again that stood in a document: with the marks around it and nothing else.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, JsonError> {
        Cursor::new(bytes)?.name()
    }

    /// The order of what the name means and a text.
    pub(super) fn compare(&self, text: &str) -> Ordering {
        if self.escaped { Characters::new(self.raw).cmp(text.chars()) } else { self.raw.cmp(text) }
    }

    /// The order of what the names mean, which is that of the canonical form.
    #[inline]
    pub(crate) fn order(&self, other: &Self) -> Ordering {
        if self.escaped || other.escaped {
            return Characters::new(self.raw).cmp(Characters::new(other.raw));
        }
        let (a, b) = (self.raw.as_bytes(), other.raw.as_bytes());
        match (a.first(), b.first()) {
            // Most names of one object differ at once.
            (Some(x), Some(y)) if x != y => x.cmp(y),
            _ => a.cmp(b),
        }
    }

    /// Equal for names that mean the same.
    fn hash(&self) -> u32 {
        let mut hasher = std::hash::DefaultHasher::new();
        if self.escaped {
            Characters::new(self.raw).for_each(|c| hasher.write_u32(u32::from(c)));
        } else {
            self.raw.chars().for_each(|c| hasher.write_u32(u32::from(c)));
        }
        // The lower half of it is a hash too.
        hasher.finish() as u32
    }
}

impl<'a> Cursor<'a> {
    /// Over a whole document, or over a part of one that was walked before.
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Self, JsonError> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Self { text, pos: 0, depth: 0, canonical: true, skipped: 0, most: usize::MAX }),
            Err(e) => Err(JsonError { kind: JsonErrorKind::Utf8, offset: e.valid_up_to() }),
        }
    }

    /// Refuses a document with more values than this, as far as they are walked over by `skip`.
    pub(crate) fn at_most(mut self, most: usize) -> Self {
        self.most = most;
        self
    }

    pub(crate) fn position(&self) -> usize {
        self.pos
    }

    /// Forgets what was seen before: from here on, is everything canonical?
    pub(crate) fn watch_canonical(&mut self) {
        self.canonical = true;
    }

    pub(crate) fn is_canonical(&self) -> bool {
        self.canonical
    }

    pub(crate) fn error(&self, kind: JsonErrorKind) -> JsonError {
        JsonError { kind, offset: self.pos }
    }

    pub(crate) fn end(&mut self) -> Result<(), JsonError> {
        self.space();
        if self.pos == self.text.len() { Ok(()) } else { Err(self.error(JsonErrorKind::Trailing)) }
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.pos).copied()
    }

    #[inline]
    fn space(&mut self) {
        if self.peek().is_some_and(|byte| byte <= b' ') {
            self.space_at_length();
        }
    }

    #[cold]
    fn space_at_length(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.canonical = false;
            self.pos += 1;
        }
    }

    /// Skips white space, then takes `byte` if it comes next.
    #[inline]
    fn take(&mut self, byte: u8) -> bool {
        self.space();
        let there = self.peek() == Some(byte);
        if there {
            self.pos += 1;
        }
        there
    }

    #[inline]
    fn want(&mut self, byte: u8) -> Result<(), JsonError> {
        if self.take(byte) { Ok(()) } else { Err(self.error(JsonErrorKind::Syntax)) }
    }

    /// Whether this byte comes next, behind white space.
    pub(crate) fn is_at(&mut self, byte: u8) -> bool {
        self.space();
        self.peek() == Some(byte)
    }

    #[inline]
    fn enter(&mut self) -> Result<(), JsonError> {
        self.depth += 1;
        if self.depth > JSON_DEPTH { Err(self.error(JsonErrorKind::TooDeep)) } else { Ok(()) }
    }

    /// Walks an object: `member` is called with each name and must walk over the value.
    #[inline]
    pub(crate) fn object<E: From<JsonError>>(
        &mut self,
        mut member: impl FnMut(&mut Self, &str) -> Result<(), E>,
    ) -> Result<(), E> {
        self.members(|c, name| match name.plain() {
            Some(name) => member(c, name),
            None => member(c, &name.text()),
        })?;
        Ok(())
    }

    /// The same, with the names as they stand there. Gives whether they are in the order of the canonical form.
    #[inline]
    pub(crate) fn members<E: From<JsonError>>(
        &mut self,
        mut member: impl FnMut(&mut Self, Name<'a>) -> Result<(), E>,
    ) -> Result<bool, E> {
        if !self.take(b'{') {
            return Err(self.wrong_type("an object").into());
        }
        self.enter()?;
        let start = self.pos;
        let mut sorted = true;
        if !self.take(b'}') {
            let mut previous: Option<Name<'a>> = None;
            loop {
                let name = self.name()?;
                self.want(b':')?;
                if let Some(before) = &previous {
                    match before.order(&name) {
                        Ordering::Less => {}
                        Ordering::Equal => return Err(self.error(JsonErrorKind::DuplicateMember).into()),
                        Ordering::Greater => sorted = false,
                    }
                }
                member(self, name)?;
                previous = Some(name);
                if !self.take(b',') {
                    break;
                }
            }
            self.want(b'}')?;
        }
        if !sorted {
            self.canonical = false;
            self.refuse_duplicates(start)?;
        }
        self.depth -= 1;
        Ok(sorted)
    }

    /// Members in order cannot repeat unseen; for an object that is not in order, look at all names once more. What is
    /// kept for each is small, because the file may be hostile: a hash, and where it stands.
    #[cold]
    fn refuse_duplicates(&self, start: usize) -> Result<(), JsonError> {
        let mut again = Cursor { pos: start, ..*self };
        let mut names: Vec<(u32, u32)> = Vec::new();
        loop {
            let name = again.name()?;
            let position = u32::try_from(name.position).map_err(|_| self.error(JsonErrorKind::TooMany))?;
            if names.len() >= UNSORTED_MEMBERS {
                return Err(self.error(JsonErrorKind::TooMany));
            }
            names.push((name.hash(), position));
            again.want(b':')?;
            again.space();
            again.pos = scan::value_end(self.text.as_bytes(), again.pos);
            if !again.take(b',') {
                break;
            }
        }
        let name = |position: u32| {
            let there = Cursor { pos: position as usize, ..*self }.name();
            there.unwrap_or_default()
        };
        let order = |a: u32, b: u32| name(a).order(&name(b));
        names.sort_unstable_by(|(hash, a), (other, b)| hash.cmp(other).then_with(|| order(*a, *b)));
        let same = |pair: &[(u32, u32)]| matches!(pair, [(h, a), (i, b)] if h == i && order(*a, *b).is_eq());
        if names.windows(2).any(same) { Err(self.error(JsonErrorKind::DuplicateMember)) } else { Ok(()) }
    }

    /// Walks an array: `item` is called for each element and must walk over it.
    #[inline]
    pub(crate) fn array<E: From<JsonError>>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        if !self.take(b'[') {
            return Err(self.wrong_type("an array").into());
        }
        self.enter()?;
        if !self.take(b']') {
            loop {
                item(self)?;
                if !self.take(b',') {
                    break;
                }
            }
            self.want(b']')?;
        }
        self.depth -= 1;
        Ok(())
    }

    /// Reads a string.
    #[inline]
    pub(crate) fn string(&mut self) -> Result<Cow<'a, str>, JsonError> {
        Ok(self.name()?.text())
    }

    /// Reads a string, whether it is a name or not.
    #[inline]
    fn name(&mut self) -> Result<Name<'a>, JsonError> {
        if !self.take(b'"') {
            return Err(self.wrong_type("a string"));
        }
        let start = self.pos;
        self.pos = scan::plain_end(self.text.as_bytes(), start);
        let escaped = self.peek() != Some(b'"');
        if escaped {
            self.escapes()?;
        }
        let raw = self.text.get(start..self.pos).unwrap_or_default();
        self.pos += 1;
        Ok(Name { raw, position: start - 1, escaped })
    }

    /// Goes on to the mark that ends a string with escapes in it.
    #[cold]
    fn escapes(&mut self) -> Result<(), JsonError> {
        loop {
            match self.peek() {
                Some(b'"') => return Ok(()),
                Some(b'\\') => {
                    self.pos += 1;
                    self.escape()?;
                }
                Some(_) => return Err(self.error(JsonErrorKind::BadString)),
                None => return Err(self.error(JsonErrorKind::Syntax)),
            }
            self.pos = scan::plain_end(self.text.as_bytes(), self.pos);
        }
    }

    fn escape(&mut self) -> Result<(), JsonError> {
        let kind = self.peek().ok_or_else(|| self.error(JsonErrorKind::Syntax))?;
        self.pos += 1;
        match kind {
            // The canonical form escapes these two and nothing else.
            b'"' | b'\\' => return Ok(()),
            b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
            b'u' => match self.hex4()? {
                0xd800..=0xdbff => {
                    let next = self.text.as_bytes().get(self.pos..).unwrap_or_default();
                    if !next.starts_with(b"\\u") {
                        return Err(self.error(JsonErrorKind::BadString));
                    }
                    self.pos += 2;
                    if !(0xdc00..=0xdfff).contains(&self.hex4()?) {
                        return Err(self.error(JsonErrorKind::BadString));
                    }
                }
                0xdc00..=0xdfff => return Err(self.error(JsonErrorKind::BadString)),
                _ => {}
            },
            _ => return Err(self.error(JsonErrorKind::BadString)),
        }
        self.canonical = false;
        Ok(())
    }

    fn hex4(&mut self) -> Result<u32, JsonError> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|b| char::from(b).to_digit(16));
            code = code * 16 + digit.ok_or_else(|| self.error(JsonErrorKind::BadString))?;
            self.pos += 1;
        }
        Ok(code)
    }

    /// Takes a number of at most 18 digits in its one spelling; if anything else is there, nothing is taken.
    #[inline]
    fn short_number(&mut self) -> Option<u64> {
        let rest = self.text.as_bytes().get(self.pos..)?;
        let (mut value, mut digits) = (0_u64, 0_usize);
        for byte in rest {
            match byte {
                b'0'..=b'9' if digits < 18 => value = value * 10 + u64::from(byte - b'0'),
                b'0'..=b'9' | b'.' | b'e' | b'E' => return None,
                _ => break,
            }
            digits += 1;
        }
        if digits == 0 || (digits > 1 && rest.first() == Some(&b'0')) {
            return None;
        }
        self.pos += digits;
        Some(value)
    }

    /// Reads an integer.
    pub(crate) fn integer(&mut self) -> Result<i128, JsonError> {
        self.space();
        if let Some(value) = self.short_number() {
            return Ok(i128::from(value));
        }
        let negative = self.take(b'-');
        if !matches!(self.peek(), Some(b'0'..=b'9')) {
            return Err(if negative { self.error(JsonErrorKind::NotAnInteger) } else { self.wrong_type("an integer") });
        }
        let digits = self.pos;
        let mut value: i128 = 0;
        while let Some(b @ b'0'..=b'9') = self.peek() {
            // 20 digits hold every u64; a longer run is outside before it can overflow an i128.
            if self.pos - digits >= 20 {
                return Err(self.error(JsonErrorKind::NotAnInteger));
            }
            value = value * 10 + i128::from(b - b'0');
            self.pos += 1;
        }
        let leading_zero = self.pos - digits > 1 && self.text.as_bytes().get(digits) == Some(&b'0');
        let fraction = matches!(self.peek(), Some(b'.' | b'e' | b'E'));
        let minus_zero = negative && value == 0;
        let value = if negative { -value } else { value };
        let fits = i64::try_from(value).is_ok() || u64::try_from(value).is_ok();
        if leading_zero || fraction || minus_zero || !fits {
            return Err(self.error(JsonErrorKind::NotAnInteger));
        }
        Ok(value)
    }

    /// Reads an integer from 0 to 2^64−1.
    #[inline]
    pub(crate) fn u64(&mut self) -> Result<u64, JsonError> {
        self.space();
        if let Some(value) = self.short_number() {
            return Ok(value);
        }
        let value = self.integer()?;
        u64::try_from(value).map_err(|_| self.error(JsonErrorKind::Expected("an integer that is not negative")))
    }

    pub(crate) fn bool(&mut self) -> Result<bool, JsonError> {
        self.space();
        match self.peek() {
            Some(b't') => self.word("true").map(|()| true),
            Some(b'f') => self.word("false").map(|()| false),
            _ => Err(self.wrong_type("true or false")),
        }
    }

    fn word(&mut self, word: &str) -> Result<(), JsonError> {
        let rest = self.text.as_bytes().get(self.pos..).unwrap_or_default();
        if !rest.starts_with(word.as_bytes()) {
            return Err(self.error(JsonErrorKind::Syntax));
        }
        self.pos += word.len();
        Ok(())
    }

    /// A JSON value of another type, or no JSON at all?
    #[cold]
    fn wrong_type(&self, wanted: &'static str) -> JsonError {
        self.error(match self.peek() {
            Some(b'{' | b'[' | b'"' | b't' | b'f' | b'n' | b'-' | b'0'..=b'9') => JsonErrorKind::Expected(wanted),
            _ => JsonErrorKind::Syntax,
        })
    }

    /// Walks over any value, checks it whole and says where it lies.
    #[inline]
    pub(crate) fn skip(&mut self) -> Result<Range<usize>, JsonError> {
        self.space();
        let start = self.pos;
        self.walk()?;
        Ok(start..self.pos)
    }

    fn walk(&mut self) -> Result<(), JsonError> {
        self.space();
        self.skipped = self.skipped.saturating_add(1);
        if self.skipped > self.most {
            return Err(self.error(JsonErrorKind::TooMany));
        }
        match self.peek() {
            Some(b'"') => self.name().map(drop),
            Some(b'{') => self.members(|c, _| c.walk()).map(drop),
            Some(b'[') => self.array(Self::walk),
            Some(b't' | b'f') => self.bool().map(drop),
            Some(b'n') => self.word("null"),
            Some(b'-' | b'0'..=b'9') => match self.short_number() {
                Some(_) => Ok(()),
                None => self.integer().map(drop),
            },
            _ => Err(self.error(JsonErrorKind::Syntax)),
        }
    }

    /// Reads a string; any other value is walked over and is `None`.
    pub(crate) fn string_if_any(&mut self) -> Result<Option<Cow<'a, str>>, JsonError> {
        if self.is_at(b'"') { self.string().map(Some) } else { self.skip().map(|_| None) }
    }

    /// Reads the value that begins here as a tree.
    pub(crate) fn value_at(&mut self, position: usize) -> Result<Value, JsonError> {
        self.pos = position;
        self.value()
    }

    /// Reads any value as a tree.
    pub(crate) fn value(&mut self) -> Result<Value, JsonError> {
        self.space();
        Ok(match self.peek() {
            Some(b'{') => {
                let mut members = BTreeMap::new();
                self.object(|c, name| -> Result<(), JsonError> {
                    let value = c.value()?;
                    members.insert(name.to_owned(), value);
                    Ok(())
                })?;
                Value::Object(members)
            }
            Some(b'[') => {
                let mut items = Vec::new();
                self.array(|c| -> Result<(), JsonError> {
                    items.push(c.value()?);
                    Ok(())
                })?;
                Value::Array(items)
            }
            Some(b'"') => Value::String(self.string()?.into_owned()),
            Some(b't' | b'f') => Value::Bool(self.bool()?),
            Some(b'n') => {
                self.word("null")?;
                Value::Null
            }
            Some(b'-' | b'0'..=b'9') => Value::Int(self.integer()?),
            _ => return Err(self.error(JsonErrorKind::Syntax)),
        })
    }
}
