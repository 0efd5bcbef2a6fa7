//! What follows from one `like` pattern for another.
//!
//! Invariant: what is said here is true for every text; where it is not known, the answer is no. Deliberately absent: an
//! exact comparison of patterns, which findings do not need.

use cedar_policy::pst::PatternElem;

/// Whether a text matches.
pub(crate) fn matches(pattern: &[PatternElem], text: &str) -> bool {
    let symbols: Vec<PatternElem> = text.chars().map(PatternElem::Char).collect();
    covers(pattern, &symbols)
}

/// Whether all that `narrow` matches is matched by `wide`: each wildcard of `narrow` must fall into one of `wide`.
pub(crate) fn covers(wide: &[PatternElem], narrow: &[PatternElem]) -> bool {
    let (mut wide_rest, mut rest) = (wide, narrow);
    // Behind the last wildcard of `wide`, and what it has not taken yet.
    let mut again: Option<(&[PatternElem], &[PatternElem])> = None;
    loop {
        match (wide_rest.split_first(), rest.split_first()) {
            (Some((PatternElem::Wildcard, behind)), _) => {
                again = Some((behind, rest));
                wide_rest = behind;
            }
            (Some((PatternElem::Char(a), behind)), Some((PatternElem::Char(b), after))) if a == b => {
                (wide_rest, rest) = (behind, after);
            }
            (None, None) => return true,
            _ => {
                let Some((behind, [_, after @ ..])) = again else { return false };
                again = Some((behind, after));
                (wide_rest, rest) = (behind, after);
            }
        }
    }
}

/// Whether no text matches both: they begin or end with other letters.
pub(crate) fn are_disjoint(one: &[PatternElem], other: &[PatternElem]) -> bool {
    let differ = |one: Vec<char>, other: Vec<char>| one.iter().zip(&other).any(|(a, b)| a != b);
    differ(head(one.iter()), head(other.iter())) || differ(head(one.iter().rev()), head(other.iter().rev()))
}

/// What stands before the first wildcard.
fn head<'p>(pattern: impl Iterator<Item = &'p PatternElem>) -> Vec<char> {
    let letter = |elem: &PatternElem| match elem {
        PatternElem::Char(c) => Some(*c),
        PatternElem::Wildcard => None,
    };
    pattern.map_while(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Vec<PatternElem> {
        text.chars().map(|c| if c == '*' { PatternElem::Wildcard } else { PatternElem::Char(c) }).collect()
    }

    #[test]
    fn a_pattern_matches_what_cedar_says_that_it_matches() {
        for (text, like, expected) in [
            ("pay/api", "pay/*", true),
            ("pay", "pay/*", false),
            ("", "*", true),
            ("", "", true),
            ("abcabd", "*ab*d", true),
            ("abcabe", "*ab*d", false),
            ("aaab", "*aab", true),
            ("x", "", false),
            ("a*b", "a*b", true),
        ] {
            assert_eq!(matches(&pattern(like), text), expected, "{text} like {like}");
        }
    }

    #[test]
    fn a_wider_pattern_is_known_and_one_that_is_not_wider_is_not() {
        for (wide, narrow) in
            [("pay/*", "pay/api/*"), ("*", "a*b"), ("*/api", "pay/*/api"), ("a*", "a*"), ("*a*", "xa")]
        {
            assert!(covers(&pattern(wide), &pattern(narrow)), "{wide} {narrow}");
        }
        for (wide, narrow) in [("pay/api/*", "pay/*"), ("a", "a*"), ("a*b", "a*"), ("*ab*", "*a*b*")] {
            assert!(!covers(&pattern(wide), &pattern(narrow)), "{wide} {narrow}");
        }
    }

    #[test]
    fn patterns_are_disjoint_only_where_they_begin_or_end_differently() {
        assert!(are_disjoint(&pattern("pay/*"), &pattern("hr/*")) && are_disjoint(&pattern("*/a"), &pattern("x*/b")));
        assert!(!are_disjoint(&pattern("pay/*"), &pattern("pay/api*")));
        assert!(!are_disjoint(&pattern("*a*"), &pattern("*b*")) && !are_disjoint(&pattern("a*"), &pattern("*b")));
    }
}
