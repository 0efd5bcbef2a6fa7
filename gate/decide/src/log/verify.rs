//! Whether a log is whole: every line is bound to the one before, over all files that are given in their order.
//!
//! Invariant: nothing is passed over. What is no line, is bound to something else or is missing ends the check with the file
//! and the line; an incomplete line counts only if the next one says so. Deliberately absent: whether the decisions in it
//! were right, and repairing anything.

use std::io::{BufRead, Read};

use serde::Deserialize;
use serde_json::{Value, json};

use super::chain::{Link, MAX_LINE_LEN};

pub use super::chain::Head;

/// What was found in a log that is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whole {
    /// Its lines.
    pub lines: u64,
    /// The number of its first line; after 1, earlier files were not given.
    pub first: u64,
    /// Its last line.
    pub head: Head,
    /// Times of the first and of the last line.
    pub times: (String, String),
    /// Decisions by what the door answered: allowed, denied, passed with a warning, passed in mode audit.
    pub answers: [u64; 4],
    /// Incomplete lines, each told by the line after it.
    pub torn: u64,
    /// Bytes of an incomplete line at the very end: a write that was cut, or is under way.
    pub unfinished: u64,
}

/// Why a log is not whole.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// A file cannot be read.
    #[error("{file}: {error}")]
    Read {
        /// The file.
        file: String,
        /// Why.
        error: std::io::Error,
    },
    /// A line is wrong.
    #[error("{file}, line {line}: {why}")]
    Line {
        /// The file.
        file: String,
        /// The line in it, from 1.
        line: u64,
        /// What is wrong with it.
        why: String,
    },
    /// It ends before what was written.
    #[error(
        "the log ends with line {found}, and {wanted} was written: what came after is missing, or another file follows"
    )]
    Short {
        /// Where it ends.
        found: String,
        /// What must be in it.
        wanted: String,
    },
    /// It holds no line.
    #[error("there is no line in it")]
    Empty,
}

/// What a line says beside its place.
#[derive(Deserialize)]
struct Said {
    #[serde(flatten)]
    link: Link,
    #[serde(default)]
    time: String,
    #[serde(default)]
    answer: String,
}

#[derive(Default)]
struct Check {
    head: Option<Head>,
    whole: Option<Whole>,
}

/// Checks the files of a log, the oldest first. `wanted`: heads that must be in it, as they were kept elsewhere.
pub fn verify<R: BufRead>(files: impl IntoIterator<Item = (String, R)>, wanted: &[Head]) -> Result<Whole, Broken> {
    let mut check = Check::default();
    let mut unfinished = 0;
    let mut missing: Vec<Head> = wanted.iter().copied().filter(|head| head.seq > 0).collect();
    for (file, mut reader) in files {
        if unfinished > 0 {
            let why = "the file before ends with a part of a line, which no line tells".to_owned();
            return Err(Broken::Line { file, line: 1, why });
        }
        let mut torn: Option<u64> = None;
        for number in 1_u64.. {
            let fail = |why: String| Broken::Line { file: file.clone(), line: number, why };
            let Some(line) = next(&mut reader).map_err(|error| Broken::Read { file: file.clone(), error })? else {
                break;
            };
            let (line, is_ended) = match line {
                Line::Whole(line) => (line, true),
                Line::Unended(line) => (line, false),
                Line::TooLong => return Err(fail(format!("longer than {MAX_LINE_LEN} bytes"))),
            };
            let said: Said = match serde_json::from_slice(&line) {
                Ok(said) if is_ended => said,
                // An incomplete line: the next one must tell how long it is.
                _ if torn.is_none() => {
                    torn = u64::try_from(line.len()).ok();
                    continue;
                }
                _ => return Err(fail("no line of a chained log".to_owned())),
            };
            if torn.unwrap_or(0) != said.link.torn || torn.is_some() != (said.link.torn > 0) {
                let before = if torn.is_some() { "is no line of a chained log" } else { "is whole" };
                return Err(fail(format!("the line before {before}, and this one says otherwise")));
            }
            torn = None;
            check.take(&line, &said).map_err(fail)?;
            for at in (0..missing.len()).rev() {
                let of = missing.get(at).copied();
                if let (Some(wanted), Some(head)) = (of, check.head)
                    && wanted.seq == head.seq
                {
                    if wanted != head {
                        return Err(fail(format!("this is another line {} than was written", head.seq)));
                    }
                    missing.swap_remove(at);
                }
            }
        }
        unfinished = torn.unwrap_or(0);
    }
    let mut whole = check.whole.ok_or(Broken::Empty)?;
    whole.unfinished = unfinished;
    // What stands before the first file cannot be missed here.
    match missing.into_iter().find(|head| head.seq >= whole.first) {
        Some(wanted) => Err(Broken::Short { found: whole.head.to_string(), wanted: wanted.to_string() }),
        None => Ok(whole),
    }
}

impl Check {
    fn take(&mut self, line: &[u8], said: &Said) -> Result<(), String> {
        let Said { link, time, answer } = said;
        if let Some(head) = self.head {
            let is_next = |head: &Head| link.seq.checked_sub(1) == Some(head.seq) && link.prev == head.shown_digest();
            if !is_next(&head) {
                return Err(told(head, link));
            }
        } else if (link.seq == 1) != (link.prev == Head::NOTHING.shown_digest()) || link.seq == 0 {
            return Err("its number and what it is bound to contradict each other".to_owned());
        }
        let head = Head::after(line, link.seq);
        self.head = Some(head);
        let whole = self.whole.get_or_insert_with(|| Whole {
            lines: 0,
            first: link.seq,
            head,
            times: (time.clone(), String::new()),
            answers: [0; 4],
            torn: 0,
            unfinished: 0,
        });
        whole.lines = whole.lines.saturating_add(1);
        whole.head = head;
        whole.times.1.clone_from(time);
        whole.torn = whole.torn.saturating_add(u64::from(link.torn > 0));
        let answers = ["allow", "deny", "warn", "audit"].iter().zip(&mut whole.answers);
        if let Some((_, count)) = answers.into_iter().find(|(word, _)| *word == answer) {
            *count = count.saturating_add(1);
        }
        Ok(())
    }
}

impl Whole {
    /// The JSON document.
    pub fn json(&self) -> Value {
        let [allowed, denied, warned, audited] = self.answers;
        json!({
            "lines": self.lines,
            "first": self.first,
            "head": self.head.to_string(),
            "from": self.times.0,
            "to": self.times.1,
            "answers": {"allow": allowed, "deny": denied, "warn": warned, "audit": audited},
            "torn": self.torn,
            "unfinished": self.unfinished,
        })
    }
}

fn told(head: Head, link: &Link) -> String {
    let after = head.seq.saturating_add(1);
    if link.seq == after {
        format!("it is not bound to line {} as that stands here: one of the two was changed", head.seq)
    } else if link.seq > after {
        format!("it is line {} after line {}: lines are missing", link.seq, head.seq)
    } else {
        format!("it is line {} after line {}: lines were moved, or files are not in their order", link.seq, head.seq)
    }
}

enum Line {
    Whole(Vec<u8>),
    /// The end of the file came first.
    Unended(Vec<u8>),
    TooLong,
}

fn next(reader: &mut impl BufRead) -> std::io::Result<Option<Line>> {
    let mut line = Vec::new();
    let limit = u64::try_from(MAX_LINE_LEN).unwrap_or(u64::MAX);
    reader.take(limit).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        return Ok(Some(Line::Whole(line)));
    }
    Ok(Some(if line.len() < MAX_LINE_LEN { Line::Unended(line) } else { Line::TooLong }))
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
