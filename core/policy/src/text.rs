//! Text that came from outside, made fit for a terminal and a log line. Deliberately absent: colour, width, tables.

pub(crate) use trust_image::text::{foreign, is_unprintable};

/// Characters of one value that are shown.
const MAX_SHOWN: usize = 256;

/// The text with everything escaped that a terminal would obey or a reader not see; at most 256 characters.
pub(crate) fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (n, c) in text.chars().enumerate() {
        if n >= MAX_SHOWN {
            out.push('…');
            break;
        }
        if is_unprintable(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// The text as [`printable`], in quotation marks; what is not ASCII is named behind it, so that letters that only look
/// alike are told apart.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in printable(text).chars() {
        if c == '"' {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    out.push_str(&foreign(text));
    out
}

/// The known word that is nearest to a misspelt one, for `did you mean`.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.chars().count() > 64 {
        return None;
    }
    known.into_iter().map(|k| (distance(word, k), k)).filter(|(d, k)| *d <= 1 + k.len() / 4).min().map(|(_, k)| k)
}

/// Whether two words are one edit apart: a character more, less or another one, or two neighbours in the other order.
pub(crate) fn is_one_edit(a: &str, b: &str) -> bool {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let start = a.iter().zip(&b).take_while(|(x, y)| x == y).count();
    let end = a.iter().rev().zip(b.iter().rev()).take_while(|(x, y)| x == y).count();
    let shorter = a.len().min(b.len());
    let end = end.min(shorter.saturating_sub(start));
    let middle =
        |word: &[char]| word.get(start..word.len().saturating_sub(end)).map(<[char]>::to_vec).unwrap_or_default();
    match (middle(&a).as_slice(), middle(&b).as_slice()) {
        ([], [_]) | ([_], [] | [_]) => true,
        ([x, y], [v, w]) => x == w && y == v,
        _ => false,
    }
}

/// Edits (insert, remove, replace) between two words.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut last = i;
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().skip(1).zip(b.chars()) {
            let next = (last + usize::from(x != y)).min(left + 1).min(*cell + 1);
            last = *cell;
            *cell = next;
            left = next;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_value_cannot_steer_the_terminal() {
        let shown = quoted("P\u{1b}[2J\u{200b}I\n\u{202e}I\"");
        assert_eq!(shown, "\"P\\u{1b}[2J\\u{200b}I\\u{a}\\u{202e}I\\\"\"");
        assert!(shown.chars().all(|c| !is_unprintable(c)));
        assert_eq!(printable(&"a".repeat(10_000)).chars().count(), MAX_SHOWN + 1);
    }

    #[test]
    fn letters_that_look_alike_are_told_apart() {
        assert_eq!(quoted("РII"), "\"РII\" (with U+0420)");
        assert_eq!(quoted("PII"), "\"PII\"");
    }

    #[test]
    fn a_misspelt_word_finds_its_nearest() {
        assert_eq!(nearest("clowd", ["name", "cloud"]), Some("cloud"));
        assert_eq!(nearest("regoin", ["name", "region"]), Some("region"));
        assert_eq!(nearest("zzz", ["name", "cloud"]), None);
        for (a, b, is) in
            [("ab", "abc", true), ("abc", "axc", true), ("abcd", "acbd", true), ("a", "a", false), ("ab", "cd", false)]
        {
            assert_eq!((is_one_edit(a, b), is_one_edit(b, a)), (is, is), "{a} {b}");
        }
        assert!(is_one_edit("aa", "aaa") && !is_one_edit("aa", "aaaa"));
        assert_eq!((distance("", "abc"), distance("abc", ""), distance("kitten", "sitting")), (3, 3, 3));
    }
}
