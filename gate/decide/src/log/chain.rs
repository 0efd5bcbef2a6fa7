//! The chain of a log: each line carries its number and the digest of the line before.
//!
//! Whoever changes, removes or adds a line within the log breaks it, and whoever cuts its end is found by a head that was
//! kept elsewhere: the gate keeps one in its state folder, and tells it to whoever asks for its health. Deliberately absent:
//! a signature. A gate has no key, and who holds its machine could write another log from the start: send heads away.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;

use serde::Deserialize;
use trust_image::Digest;

/// Longest line, in bytes. Texts in it are bounded by what doors accept.
pub(crate) const MAX_LINE_LEN: usize = 1024 * 1024;
/// What a first line has as the digest of the line before.
const NOTHING: &str = "none";

/// The last line of a log: its number, and the digest of its bytes without the line break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Counted from 1 over all files of a log; 0: nothing was written yet.
    pub seq: u64,
    /// `None` only for nothing.
    pub digest: Option<Digest>,
}

/// The members of a line that make the chain.
#[derive(Debug, Deserialize)]
pub(crate) struct Link {
    pub(crate) seq: u64,
    pub(crate) prev: String,
    /// Bytes of an incomplete line before this one.
    #[serde(default)]
    pub(crate) torn: u64,
}

impl Head {
    /// Before the first line.
    pub const NOTHING: Self = Self { seq: 0, digest: None };

    /// `SEQ:sha256:HEX`, as [`Head`] is shown.
    pub fn parse(text: &str) -> Option<Self> {
        let (seq, digest) = text.trim().split_once(':')?;
        let seq = seq.parse().ok().filter(|seq| *seq > 0)?;
        Some(Self { seq, digest: Some(Digest::parse(digest).ok()?) })
    }

    /// The digest as the next line has it.
    pub(crate) fn shown_digest(&self) -> String {
        self.digest.map_or_else(|| NOTHING.to_owned(), |digest| digest.to_string())
    }

    /// The head after a whole line, given without its line break.
    pub(crate) fn after(line: &[u8], seq: u64) -> Self {
        Self { seq, digest: Some(Digest::of(line)) }
    }

    /// Appends a line with its place in the chain, and its line break: `object` is a JSON object that has members. What a
    /// torn line left is closed first. The head after it.
    pub(crate) fn link(&self, object: &[u8], torn: u64, bytes: &mut Vec<u8>) -> Option<Self> {
        let seq = self.seq.checked_add(1)?;
        let open = object.strip_suffix(b"}").filter(|open| open.len() > 1)?;
        if torn > 0 {
            bytes.push(b'\n');
        }
        let begin = bytes.len();
        bytes.extend_from_slice(open);
        let torn = if torn > 0 { format!(",\"torn\":{torn}") } else { String::new() };
        // A vector takes everything.
        write!(bytes, "{torn},\"seq\":{seq},\"prev\":\"{}\"}}", self.shown_digest()).ok()?;
        let head = Self::after(bytes.get(begin..)?, seq);
        bytes.push(b'\n');
        Some(head)
    }
}

impl std::fmt::Display for Head {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.seq, self.shown_digest())
    }
}

/// The end of a log's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tail {
    /// The last whole line; `None` in a file without one.
    pub(crate) head: Option<Head>,
    /// Bytes of an incomplete line after it.
    pub(crate) torn: u64,
}

impl Tail {
    /// Reads the end of a file of this size. An error says what stands there instead of a line of a log.
    pub(crate) fn read(file: &File, size: u64) -> Result<Self, String> {
        let reach = u64::try_from(MAX_LINE_LEN).unwrap_or(u64::MAX).saturating_mul(2);
        let begin = size.saturating_sub(reach);
        let mut end = vec![0; usize::try_from(size.saturating_sub(begin)).map_err(|e| e.to_string())?];
        file.read_exact_at(&mut end, begin).map_err(|e| e.to_string())?;
        let whole = end.iter().rposition(|b| *b == b'\n');
        let torn = end.len().saturating_sub(whole.map_or(0, |at| at.saturating_add(1)));
        let torn = u64::try_from(torn).map_err(|e| e.to_string())?;
        let Some(whole) = whole.and_then(|at| end.get(..at)) else {
            return if begin == 0 {
                Ok(Self { head: None, torn })
            } else {
                Err("it ends with too long a line".to_owned())
            };
        };
        let line = match whole.iter().rposition(|b| *b == b'\n') {
            Some(at) => whole.get(at.saturating_add(1)..).unwrap_or_default(),
            None if begin == 0 => whole,
            None => return Err("its last line is too long".to_owned()),
        };
        let link: Link =
            serde_json::from_slice(line).map_err(|_| "its last line is no line of a chained log".to_owned())?;
        Ok(Self { head: Some(Head::after(line, link.seq)), torn })
    }
}

#[cfg(test)]
impl Head {
    /// A line alone, and the head after it.
    pub(crate) fn linked(&self, object: &[u8], torn: u64) -> (Vec<u8>, Self) {
        let mut bytes = Vec::new();
        let after = self.link(object, torn, &mut bytes).unwrap();
        (bytes, after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tail(content: &[u8]) -> Result<Tail, String> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        Tail::read(&file, content.len() as u64)
    }

    #[test]
    fn lines_are_linked_and_the_end_of_a_file_tells_where_to_go_on() {
        let (first, head) = Head::NOTHING.linked(b"{\"a\":1}", 0);
        assert_eq!(first, b"{\"a\":1,\"seq\":1,\"prev\":\"none\"}\n");
        let (second, after) = head.linked(b"{\"a\":2}", 0);
        let text = String::from_utf8(second.clone()).unwrap();
        assert_eq!(text, format!("{{\"a\":2,\"seq\":2,\"prev\":\"{}\"}}\n", Digest::of(&first[..first.len() - 1])));
        assert_eq!(tail(&[first.clone(), second.clone()].concat()), Ok(Tail { head: Some(after), torn: 0 }));
        assert_eq!(tail(&[first.as_slice(), b"{\"a\":"].concat()), Ok(Tail { head: Some(head), torn: 5 }));
        assert_eq!(tail(b""), Ok(Tail { head: None, torn: 0 }));
        assert_eq!(tail(b"{\"a"), Ok(Tail { head: None, torn: 3 }));
        let (closed, _) = head.linked(b"{\"a\":3}", 5);
        assert!(closed.starts_with(b"\n{\"a\":3,\"torn\":5,\"seq\":2,"), "{}", String::from_utf8_lossy(&closed));
    }

    #[test]
    fn what_is_no_chained_line_is_no_end_to_go_on_from() {
        for content in ["plain text\n", "{}\n", "{\"seq\":\"1\",\"prev\":\"none\"}\n", "\n"] {
            assert!(tail(content.as_bytes()).unwrap_err().contains("no line"), "{content:?}");
        }
        let long = [vec![b'x'; 3 * MAX_LINE_LEN], b"\n".to_vec()].concat();
        assert!(tail(&long).unwrap_err().contains("too long"));
    }

    #[test]
    fn a_head_is_read_as_it_is_shown() {
        let head = Head { seq: 7, digest: Some(Digest::of(b"x")) };
        assert_eq!(Head::parse(&head.to_string()), Some(head));
        for text in ["", "7", "0:sha256:00", "7:none", "x:sha256:00", &Head::NOTHING.to_string()] {
            assert_eq!(Head::parse(text), None, "{text}");
        }
    }
}
