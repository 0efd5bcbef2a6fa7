//! The text of rules before Cedar's parser sees it: where each rule begins and ends, and that it is not too deep for a
//! parser, validator and evaluator that recurse.
//!
//! Invariant: strings and comments are told from the rest exactly as Cedar's grammar does (a `"` to the next `"` that is
//! not behind a `\`; `//` to the end of the line), so that what is counted is what is parsed. Deliberately absent: syntax;
//! each piece must be exactly one rule to Cedar, or the file is refused.

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
    at.behind(text.get(..text.floor_char_boundary(offset)).unwrap_or_default())
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
    let mut chars = source.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if c.is_whitespace() {
            continue;
        }
        if c == '/' && chars.peek().is_some_and(|(_, next)| *next == '/') {
            while chars.next_if(|(_, c)| !matches!(c, '\n' | '\r')).is_some() {}
            continue;
        }
        let (start, first) = *began.get_or_insert_with(|| (at, place(at)));
        tokens += 1;
        match c {
            '"' => {
                while let Some((_, c)) = chars.next() {
                    if c == '"' {
                        break;
                    }
                    if c == '\\' {
                        chars.next();
                    }
                }
            }
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            ';' => {
                rules.extend(source.get(start..=at).map(|text| RuleText { at: first, text }));
                (tokens, depth, began) = (0, 0, None);
            }
            c if is_word(c) => while chars.next_if(|(_, c)| is_word(*c)).is_some() {},
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
        rules.extend(source.get(start..).map(|text| RuleText { at, text }));
    }
    Ok(rules)
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
