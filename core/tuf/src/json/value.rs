//! A JSON tree that keeps every member, and its two encodings: the canonical form and plain compact JSON.

use std::collections::BTreeMap;

/// A JSON value without floats. Members are in byte order of their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// An integer within i64 or u64.
    Int(i128),
    /// A string.
    String(String),
    /// An array.
    Array(Vec<Value>),
    /// An object.
    Object(BTreeMap<String, Value>),
}

impl Value {
    /// An object from members; the last of two with one name wins.
    pub fn object<K: Into<String>>(members: impl IntoIterator<Item = (K, Self)>) -> Self {
        Self::Object(members.into_iter().map(|(k, v)| (k.into(), v)).collect())
    }

    /// The member with this name, if this is an object that has it.
    pub fn get(&self, name: &str) -> Option<&Self> {
        self.as_object()?.get(name)
    }

    /// The string, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(s) = self { Some(s) } else { None }
    }

    /// The integer, if it is one from 0 to 2^64−1.
    pub fn as_u64(&self) -> Option<u64> {
        if let Self::Int(i) = self { u64::try_from(*i).ok() } else { None }
    }

    /// The truth value, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        if let Self::Bool(b) = self { Some(*b) } else { None }
    }

    /// The elements, if this is an array.
    pub fn as_array(&self) -> Option<&[Self]> {
        if let Self::Array(a) = self { Some(a) } else { None }
    }

    /// The members, if this is an object.
    pub fn as_object(&self) -> Option<&BTreeMap<String, Self>> {
        if let Self::Object(o) = self { Some(o) } else { None }
    }

    /// The members, if this is an object.
    pub fn as_object_mut(&mut self) -> Option<&mut BTreeMap<String, Self>> {
        if let Self::Object(o) = self { Some(o) } else { None }
    }

    /// The canonical form: what signatures and key ids are computed over. Strings are raw but for `\` and `"`, so it is
    /// not always JSON.
    pub fn canonical(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out, &mut |out, s| {
            for b in s.bytes() {
                if matches!(b, b'"' | b'\\') {
                    out.push(b'\\');
                }
                out.push(b);
            }
        });
        out
    }

    /// Compact JSON with sorted members: what files hold. Equal to the canonical form but for control characters,
    /// which JSON wants escaped.
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out, &mut |out, s| {
            for b in s.bytes() {
                match b {
                    b'"' | b'\\' => out.extend([b'\\', b]),
                    b'\n' => out.extend(b"\\n"),
                    0..=0x1f => out.extend(format!("\\u{b:04x}").bytes()),
                    _ => out.push(b),
                }
            }
        });
        out
    }

    fn write(&self, out: &mut Vec<u8>, string: &mut impl FnMut(&mut Vec<u8>, &str)) {
        match self {
            Self::Null => out.extend(b"null"),
            Self::Bool(true) => out.extend(b"true"),
            Self::Bool(false) => out.extend(b"false"),
            Self::Int(i) => out.extend(i.to_string().bytes()),
            Self::String(s) => {
                out.push(b'"');
                string(out, s);
                out.push(b'"');
            }
            Self::Array(items) => {
                out.push(b'[');
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.push(b',');
                    }
                    item.write(out, string);
                }
                out.push(b']');
            }
            Self::Object(members) => {
                out.push(b'{');
                for (i, (name, value)) in members.iter().enumerate() {
                    if i > 0 {
                        out.push(b',');
                    }
                    out.push(b'"');
                    string(out, name);
                    out.extend(b"\":");
                    value.write(out, string);
                }
                out.push(b'}');
            }
        }
    }
}

impl From<&str> for Value {
    fn from(s: &str) -> Self {
        Self::String(s.to_owned())
    }
}

impl From<String> for Value {
    fn from(s: String) -> Self {
        Self::String(s)
    }
}

impl From<u64> for Value {
    fn from(n: u64) -> Self {
        Self::Int(i128::from(n))
    }
}

impl From<bool> for Value {
    fn from(b: bool) -> Self {
        Self::Bool(b)
    }
}

impl From<Vec<Value>> for Value {
    fn from(items: Vec<Value>) -> Self {
        Self::Array(items)
    }
}
