//! Where a word stands in a file of the dictionary, for whoever corrects it.
//!
//! Invariant: what is given is strict JSON, or the place is that of a word all the same and never outside of the text.
//! Deliberately absent: a tree of the file; people are pointed at a word, and nothing is decided by it.

use crate::lexer::{self, Position};
use crate::text;

/// A string of the file.
struct Word<'t> {
    at: usize,
    /// As it stands there, with its quotation marks.
    raw: &'t str,
    depth: usize,
    is_member: bool,
}

/// Where a governed key stands.
pub(crate) fn key(file: &str, key: &str) -> Option<Position> {
    let is_key = |word: &Word<'_>| word.depth == 2 && word.is_member && decoded(word).as_deref() == Some(key);
    words(file).find(is_key).map(|word| position(file, &word))
}

/// Where a word stands for the last time, which is given as [`text::quoted`] shows it.
pub(crate) fn last(file: &str, quoted: &str) -> Option<Position> {
    let is_it = |word: &Word<'_>| decoded(word).is_some_and(|word| text::quoted(&word) == quoted);
    words(file).filter(is_it).last().map(|word| position(file, &word))
}

fn decoded(word: &Word<'_>) -> Option<String> {
    serde_json::from_str(word.raw).ok()
}

fn position(file: &str, word: &Word<'_>) -> Position {
    lexer::position(Position::START, file, word.at)
}

fn words(file: &str) -> impl Iterator<Item = Word<'_>> {
    let mut depth = 0_usize;
    let mut chars = file.char_indices();
    std::iter::from_fn(move || {
        loop {
            let (at, c) = chars.next()?;
            match c {
                '{' | '[' => depth = depth.saturating_add(1),
                '}' | ']' => depth = depth.saturating_sub(1),
                '"' => {
                    while let Some((_, c)) = chars.next().filter(|(_, c)| *c != '"') {
                        if c == '\\' {
                            chars.next();
                        }
                    }
                    let rest = chars.as_str();
                    let raw = file.get(at..file.len().saturating_sub(rest.len())).unwrap_or_default();
                    return Some(Word { at, raw, depth, is_member: rest.trim_start().starts_with(':') });
                }
                _ => {}
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(found: Option<Position>) -> Option<(usize, usize)> {
        found.map(|at| (at.line, at.column))
    }

    #[test]
    fn a_key_is_found_as_a_key_and_a_word_where_it_stands_last() {
        let file = "{ \"schema\": \"k\",\n  \"labels\": {\n    \"a\": { \"k\": \"k\" }, \"\\u006b\" : 1, \"b\": [\"a\\\"k\", \"k\"] } }";
        assert_eq!(at(key(file, "k")), Some((3, 24)));
        assert_eq!(at(last(file, "\"k\"")), Some((3, 52)));
        assert_eq!(at(last(file, "\"a\\\"k\"")), Some((3, 44)));
        assert_eq!((at(key(file, "schema")), at(last(file, "\"x\""))), (None, None));
        assert_eq!(at(last("{\"k", "\"k\"")), None, "what is cut off is no word");
    }
}
