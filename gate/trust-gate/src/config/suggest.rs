//! The word that was probably meant instead of an unknown one.

/// The parser's message, and for an unknown member or value the known one that is spelt most alike.
pub(super) fn with_suggestion(error: &toml::de::Error) -> String {
    let text = error.to_string();
    let text = text.trim_end();
    let mut words = error.message().split('`').skip(1).step_by(2);
    if !["unknown field", "unknown variant"].iter().any(|what| error.message().starts_with(what)) {
        return text.to_owned();
    }
    let Some(found) = words.next() else { return text.to_owned() };
    format!("{text}{}", did_you_mean(nearest(found, words)))
}

pub(super) fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map(|name| format!(", did you mean `{name}`?")).unwrap_or_default()
}

/// The candidate with the fewest edits, if they are few for its length.
pub(super) fn nearest<'c>(word: &str, candidates: impl Iterator<Item = &'c str>) -> Option<&'c str> {
    let scored = candidates.map(|candidate| (edits(word, candidate), candidate));
    scored.min_by_key(|(edits, _)| *edits).filter(|(edits, name)| *edits <= name.len() / 3 + 1).map(|(_, name)| name)
}

/// Insertions, deletions and replacements from one word to the other. Both are short.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().take(64).enumerate() {
        let mut next = vec![i + 1];
        for ((y, pair), left) in b.iter().zip(row.windows(2)).zip(0..) {
            let (diagonal, above) = match pair {
                [diagonal, above] => (*diagonal, *above),
                _ => continue,
            };
            let before = next.get(left).copied().unwrap_or(usize::MAX - 1);
            next.push((diagonal + usize::from(x != *y)).min(above + 1).min(before + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}
