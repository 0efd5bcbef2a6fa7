//! The text of rules before Cedar's parser sees it: where each rule begins and ends, and that it is not too deep for a
//! parser, validator and evaluator that recurse.
//!
//! Invariant: strings and comments are told from the rest exactly as Cedar's grammar does (a `"` to the next `"` that is
//! not behind a `\`; `//` to the end of the line), so that what is counted is what is parsed. Deliberately absent: syntax;
//! each piece must be exactly one rule to Cedar, or the file is refused.

use crate::text;

/// Nesting of `(`, `[` and `{` in a rule.
pub(crate) const MAX_NESTING: usize = 16;
/// Words and signs of one rule; each can make its tree one deeper.
pub(crate) const MAX_TOKENS: usize = 1_000;

/// Which limit a file breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Excess {
    /// Deeper than [`MAX_NESTING`].
    #[error("brackets are nested deeper than {MAX_NESTING}")]
    Nesting,
    /// More than [`MAX_TOKENS`].
    #[error("one rule has more than {MAX_TOKENS} words and signs")]
    Tokens,
}

/// A line and a column of a file, in characters, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl Position {
    pub(crate) const START: Position = Position { line: 1, column: 1 };

    /// Where one is behind this text.
    pub(crate) fn behind(self, text: &str) -> Position {
        text.chars().fold(self, |Position { line, column }, c| match c {
            '\n' => Position { line: line + 1, column: 1 },
            _ => Position { line, column: column + 1 },
        })
    }
}

/// The text of one rule, from its first sign to its `;`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RuleText<'a> {
    /// Where its first sign stands.
    pub(crate) at: Position,
    /// The byte of the file that it begins at.
    pub(crate) start: usize,
    /// The text.
    pub(crate) text: &'a str,
}

impl RuleText<'_> {
    /// Where the byte `offset` of this rule stands in the file.
    pub(crate) fn position(&self, offset: usize) -> Position {
        position(self.at, self.text, offset)
    }
}

/// Where the byte `offset` of a text stands that begins at `at`.
pub(crate) fn position(at: Position, text: &str, offset: usize) -> Position {
    // An offset inside of a character is that of the character.
    let end = (0..=offset.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    at.behind(text.get(..end.unwrap_or(0)).unwrap_or_default())
}

/// What a piece of the text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece {
    /// `//` and what stands behind it in its line.
    Comment,
    /// A literal, with its quotation marks.
    Text,
    Word,
    Sign(char),
}

/// The pieces of a text, without the blanks between them: where each begins, its text and what it is.
fn pieces(source: &str) -> impl Iterator<Item = (usize, &str, Piece)> {
    let mut chars = source.char_indices().peekable();
    std::iter::from_fn(move || {
        let (at, c) = chars.by_ref().find(|(_, c)| !c.is_whitespace())?;
        let piece = match c {
            '/' if chars.peek().is_some_and(|(_, next)| *next == '/') => {
                while chars.next_if(|(_, c)| !matches!(c, '\n' | '\r')).is_some() {}
                Piece::Comment
            }
            '"' => {
                while let Some((_, c)) = chars.next().filter(|(_, c)| *c != '"') {
                    if c == '\\' {
                        chars.next();
                    }
                }
                Piece::Text
            }
            c if is_word(c) => {
                while chars.next_if(|(_, c)| is_word(*c)).is_some() {}
                Piece::Word
            }
            c => Piece::Sign(c),
        };
        let end = chars.peek().map_or(source.len(), |(end, _)| *end);
        Some((at, source.get(at..end).unwrap_or_default(), piece))
    })
}

/// The comments of a text.
pub(crate) fn comments(source: &str) -> impl Iterator<Item = &str> {
    pieces(source).filter(|(.., piece)| *piece == Piece::Comment).map(|(_, text, _)| text)
}

/// The rules of a file, within the limits of each; or where a limit is broken.
pub(crate) fn split(source: &str) -> Result<Vec<RuleText<'_>>, (Position, Excess)> {
    let mut rules = Vec::new();
    let (mut depth, mut tokens) = (0_usize, 0_usize);
    // How far lines were counted: byte and position.
    let mut counted = (0, Position::START);
    let mut place = |at: usize| {
        counted = (at, counted.1.behind(source.get(counted.0..at).unwrap_or_default()));
        counted.1
    };
    // Where the rule at hand began.
    let mut began: Option<(usize, Position)> = None;
    for (at, text, piece) in pieces(source) {
        if piece == Piece::Comment {
            continue;
        }
        let (start, first) = *began.get_or_insert_with(|| (at, place(at)));
        tokens += 1;
        match piece {
            Piece::Sign('(' | '[' | '{') => depth += 1,
            Piece::Sign(')' | ']' | '}') => depth = depth.saturating_sub(1),
            Piece::Sign(';') => {
                let text = source.get(start..at.saturating_add(text.len())).unwrap_or_default();
                rules.push(RuleText { at: first, start, text });
                (tokens, depth, began) = (0, 0, None);
            }
            _ => {}
        }
        if depth > MAX_NESTING {
            return Err((place(at), Excess::Nesting));
        }
        if tokens > MAX_TOKENS {
            return Err((place(at), Excess::Tokens));
        }
    }
    if let Some((start, at)) = began {
        rules.push(RuleText { at, start, text: source.get(start..).unwrap_or_default() });
    }
    Ok(rules)
}

/// Where a text stands in a rule, as a literal behind `permit` or `forbid`: the byte of its first `"`. The text is given as
/// [`text::quoted`] shows it.
pub(crate) fn find_text(rule: &str, quoted: &str) -> Option<usize> {
    let mut is_behind_head = false;
    pieces(rule).find_map(|(at, text, piece)| {
        is_behind_head |= piece == Piece::Word && matches!(text, "permit" | "forbid");
        let literal = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        let is_it = is_behind_head && piece == Piece::Text && literal.is_some_and(|text| text::quoted(text) == quoted);
        is_it.then_some(at)
    })
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_that_is_hidden_behind_strings_and_comments_is_counted() {
        let deep = "(".repeat(MAX_NESTING + 1);
        for hidden in [
            deep.clone(),
            format!("// \"\n{deep}"),
            format!("\"\\\\\"{deep}"),
            format!("\"//\"{deep}"),
            format!("\"\\\"\"{deep}"),
            format!("// x\r{deep}"),
        ] {
            assert!(matches!(split(&hidden), Err((_, Excess::Nesting))), "{hidden}");
        }
        for shown in [
            format!("// {deep}"),
            format!("\"{deep}\""),
            format!("\"\\\"{deep}\""),
            "(".repeat(MAX_NESTING),
            "();".repeat(1_000),
        ] {
            assert!(split(&shown).is_ok(), "{shown}");
        }
    }

    #[test]
    fn a_rule_of_endless_terms_is_counted_and_its_line_is_told() {
        let long =
            |n: usize| format!("permit(principal, action, resource)\nwhen {{ {} true }};\n", "true ||\n".repeat(n));
        assert_eq!(split(&long(300)).unwrap().len(), 1);
        let (at, excess) = split(&long(600)).unwrap_err();
        assert_eq!(excess, Excess::Tokens);
        assert!(at.line > 300 && at.column < 9, "{at:?}");
        assert_eq!(split(&long(300).repeat(20)).unwrap().len(), 20, "the limit is that of one rule");
    }

    #[test]
    fn a_text_is_found_where_the_rule_asks_it_and_not_in_annotations_and_comments() {
        let rule = "@id(\"k\") // \"k\"\nforbid (principal) // \"k\"\nwhen { x(\"a\\\"k\") && x(\"k\") };";
        assert_eq!(find_text(rule, "\"k\""), rule.rfind("\"k\""));
        assert_eq!(find_text(rule, "\"id\""), None);
        assert_eq!(find_text("forbid \"k", "\"k\""), None, "what has no end is no literal");
    }

    #[test]
    fn rules_are_split_where_cedar_ends_them() {
        let source = "// ; a comment\n\n@id(\"a;b\") // ;\npermit(a);forbid(b)\n;  \n// end";
        let rules = split(source).unwrap();
        let texts: Vec<_> = rules.iter().map(|rule| (rule.at.line, rule.at.column, rule.text)).collect();
        assert_eq!(texts, [(3, 1, "@id(\"a;b\") // ;\npermit(a);"), (4, 11, "forbid(b)\n;")]);
        assert_eq!(rules[0].position(0), Position { line: 3, column: 1 });
        assert_eq!(rules[0].position(17), Position { line: 4, column: 2 });
        let open = split("permit(a); permit(b)").unwrap();
        assert_eq!(open[1].text, "permit(b)", "what is not ended is left for the parser to refuse");
        assert_eq!(split(" \n// nothing\n").unwrap(), []);
        let columns = split("@a(\"ä\n\") p;\tq;").unwrap();
        let columns: Vec<_> = columns.iter().map(|rule| (rule.at.line, rule.at.column)).collect();
        assert_eq!(columns, [(1, 1), (2, 7)], "columns are characters, and a text may be of several lines");
        assert_eq!(position(Position::START, "ää\nß", 3), Position { line: 1, column: 2 }, "inside of a character");
    }
}
