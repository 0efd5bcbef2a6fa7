//! A walk over a JSON document that checks everything and builds only what is asked for.
//!
//! INVARIANT: whoever has walked to the end without an error has seen a strict document; spans that were handed out
//! can be walked again without a new check of the whole.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use super::{JsonError, JsonErrorKind, Value};
use crate::limits::JSON_DEPTH;

pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    pos: usize,
    depth: usize,
    canonical: bool,
    // Values walked over by `skip`, and how many may be.
    skipped: usize,
    most: usize,
}

impl<'a> Cursor<'a> {
    /// Over a whole document.
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Self, JsonError> {
        if let Err(e) = std::str::from_utf8(bytes) {
            return Err(JsonError { kind: JsonErrorKind::Utf8, offset: e.valid_up_to() });
        }
        Ok(Self { bytes, pos: 0, depth: 0, canonical: true, skipped: 0, most: usize::MAX })
    }

    /// Over a value inside a document that was walked before; `bytes` is the whole document.
    pub(crate) fn within(bytes: &'a [u8], span: Range<usize>) -> Self {
        Self {
            bytes: bytes.get(..span.end).unwrap_or(&[]),
            pos: span.start,
            depth: 0,
            canonical: true,
            skipped: 0,
            most: usize::MAX,
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
        if self.pos == self.bytes.len() { Ok(()) } else { Err(self.error(JsonErrorKind::Trailing)) }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.pos).copied()
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.canonical = false;
            self.pos += 1;
        }
    }

    /// Skips white space, then takes `byte` if it comes next.
    fn take(&mut self, byte: u8) -> bool {
        self.space();
        let there = self.peek() == Some(byte);
        if there {
            self.pos += 1;
        }
        there
    }

    fn want(&mut self, byte: u8) -> Result<(), JsonError> {
        if self.take(byte) { Ok(()) } else { Err(self.error(JsonErrorKind::Syntax)) }
    }

    fn enter(&mut self) -> Result<(), JsonError> {
        self.depth += 1;
        if self.depth > JSON_DEPTH { Err(self.error(JsonErrorKind::TooDeep)) } else { Ok(()) }
    }

    /// Walks an object: `member` is called with each name and must walk over the value.
    pub(crate) fn object<E: From<JsonError>>(
        &mut self,
        mut member: impl FnMut(&mut Self, &str) -> Result<(), E>,
    ) -> Result<(), E> {
        if !self.take(b'{') {
            return Err(self.wrong_type("an object").into());
        }
        self.enter()?;
        let start = self.pos;
        let mut previous: Option<Cow<'a, str>> = None;
        let mut sorted = true;
        if !self.take(b'}') {
            loop {
                let name = self.string()?;
                self.want(b':')?;
                if let Some(before) = &previous {
                    match before.as_bytes().cmp(name.as_bytes()) {
                        std::cmp::Ordering::Less => {}
                        std::cmp::Ordering::Equal => return Err(self.error(JsonErrorKind::DuplicateMember).into()),
                        std::cmp::Ordering::Greater => sorted = false,
                    }
                }
                member(self, &name)?;
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
        Ok(())
    }

    /// Members in order cannot repeat unseen; for an object that is not in order, look at all names once more.
    fn refuse_duplicates(&self, start: usize) -> Result<(), JsonError> {
        let mut again =
            Cursor { bytes: self.bytes, pos: start, depth: 0, canonical: true, skipped: 0, most: usize::MAX };
        let mut names = Vec::new();
        loop {
            names.push(again.string()?);
            again.want(b':')?;
            again.step_over()?;
            if !again.take(b',') {
                break;
            }
        }
        names.sort_unstable();
        if names.windows(2).any(|pair| matches!(pair, [a, b] if a == b)) {
            return Err(self.error(JsonErrorKind::DuplicateMember));
        }
        Ok(())
    }

    /// Steps over a value that was checked before.
    fn step_over(&mut self) -> Result<(), JsonError> {
        let mut open = 0_usize;
        loop {
            self.space();
            match self.peek() {
                Some(b'"') => {
                    self.string()?;
                }
                Some(b'{' | b'[') => {
                    open += 1;
                    self.pos += 1;
                    continue;
                }
                Some(b'}' | b']') => {
                    open = open.saturating_sub(1);
                    self.pos += 1;
                }
                Some(b',' | b':') if open > 0 => {
                    self.pos += 1;
                    continue;
                }
                Some(b'a'..=b'z' | b'0'..=b'9' | b'-') => {
                    while let Some(b'a'..=b'z' | b'0'..=b'9' | b'-') = self.peek() {
                        self.pos += 1;
                    }
                }
                Some(_) => return Err(self.error(JsonErrorKind::Syntax)),
                None => return Err(self.error(JsonErrorKind::Syntax)),
            }
            if open == 0 {
                return Ok(());
            }
        }
    }

    /// Walks an array: `item` is called for each element and must walk over it.
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
    pub(crate) fn string(&mut self) -> Result<Cow<'a, str>, JsonError> {
        if !self.take(b'"') {
            return Err(self.wrong_type("a string"));
        }
        let start = self.pos;
        loop {
            match self.peek() {
                Some(b'"') => {
                    let raw = self.slice(start, self.pos)?;
                    self.pos += 1;
                    return Ok(Cow::Borrowed(raw));
                }
                Some(b'\\') => return self.escaped_string(start).map(Cow::Owned),
                Some(0..=0x1f) => return Err(self.error(JsonErrorKind::BadString)),
                Some(_) => self.pos += 1,
                None => return Err(self.error(JsonErrorKind::Syntax)),
            }
        }
    }

    fn slice(&self, start: usize, end: usize) -> Result<&'a str, JsonError> {
        let bytes = self.bytes.get(start..end).unwrap_or(&[]);
        std::str::from_utf8(bytes).map_err(|_| self.error(JsonErrorKind::Utf8))
    }

    fn escaped_string(&mut self, start: usize) -> Result<String, JsonError> {
        let mut out = self.slice(start, self.pos)?.to_owned();
        loop {
            let run = self.pos;
            while !matches!(self.peek(), None | Some(b'"' | b'\\' | 0..=0x1f)) {
                self.pos += 1;
            }
            out.push_str(self.slice(run, self.pos)?);
            match self.peek() {
                Some(b'"') => {
                    self.pos += 1;
                    return Ok(out);
                }
                Some(b'\\') => {
                    self.pos += 1;
                    let c = self.escape()?;
                    out.push(c);
                }
                Some(_) => return Err(self.error(JsonErrorKind::BadString)),
                None => return Err(self.error(JsonErrorKind::Syntax)),
            }
        }
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        let kind = self.peek().ok_or_else(|| self.error(JsonErrorKind::Syntax))?;
        self.pos += 1;
        // The canonical form escapes these two and nothing else.
        if !matches!(kind, b'"' | b'\\') {
            self.canonical = false;
        }
        Ok(match kind {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let first = self.hex4()?;
                let code = match first {
                    0xd800..=0xdbff => {
                        if self.peek() != Some(b'\\') || self.bytes.get(self.pos + 1) != Some(&b'u') {
                            return Err(self.error(JsonErrorKind::BadString));
                        }
                        self.pos += 2;
                        let second = self.hex4()?;
                        if !(0xdc00..=0xdfff).contains(&second) {
                            return Err(self.error(JsonErrorKind::BadString));
                        }
                        0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00)
                    }
                    code => code,
                };
                char::from_u32(code).ok_or_else(|| self.error(JsonErrorKind::BadString))?
            }
            _ => return Err(self.error(JsonErrorKind::BadString)),
        })
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

    /// Reads an integer.
    pub(crate) fn integer(&mut self) -> Result<i128, JsonError> {
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
        let leading_zero = self.pos - digits > 1 && self.bytes.get(digits) == Some(&b'0');
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
    pub(crate) fn u64(&mut self) -> Result<u64, JsonError> {
        let value = self.integer()?;
        u64::try_from(value).map_err(|_| self.error(JsonErrorKind::Expected("an integer that is not negative")))
    }

    pub(crate) fn bool(&mut self) -> Result<bool, JsonError> {
        self.space();
        match self.peek() {
            Some(b't') => self.word(b"true").map(|()| true),
            Some(b'f') => self.word(b"false").map(|()| false),
            _ => Err(self.wrong_type("true or false")),
        }
    }

    fn word(&mut self, word: &[u8]) -> Result<(), JsonError> {
        let there = self.bytes.get(self.pos..).is_some_and(|rest| rest.starts_with(word));
        if !there {
            return Err(self.error(JsonErrorKind::Syntax));
        }
        self.pos += word.len();
        Ok(())
    }

    /// A JSON value of another type, or no JSON at all?
    fn wrong_type(&self, wanted: &'static str) -> JsonError {
        self.error(match self.peek() {
            Some(b'{' | b'[' | b'"' | b't' | b'f' | b'n' | b'-' | b'0'..=b'9') => JsonErrorKind::Expected(wanted),
            _ => JsonErrorKind::Syntax,
        })
    }

    /// Walks over any value, checks it whole and says where it lies.
    pub(crate) fn skip(&mut self) -> Result<Range<usize>, JsonError> {
        self.space();
        let start = self.pos;
        self.skipped = self.skipped.saturating_add(1);
        if self.skipped > self.most {
            return Err(self.error(JsonErrorKind::TooMany));
        }
        match self.peek() {
            Some(b'{') => self.object(|c, _| c.skip().map(|_| ()))?,
            Some(b'[') => self.array(|c| c.skip().map(|_| ()))?,
            Some(b'"') => {
                self.string()?;
            }
            Some(b't' | b'f') => {
                self.bool()?;
            }
            Some(b'n') => self.word(b"null")?,
            Some(b'-' | b'0'..=b'9') => {
                self.integer()?;
            }
            _ => return Err(self.error(JsonErrorKind::Syntax)),
        }
        Ok(start..self.pos)
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
                self.word(b"null")?;
                Value::Null
            }
            Some(b'-' | b'0'..=b'9') => Value::Int(self.integer()?),
            _ => return Err(self.error(JsonErrorKind::Syntax)),
        })
    }
}
