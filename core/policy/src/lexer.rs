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

/// The text of one rule, from its first sign to its `;`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RuleText<'a> {
    /// Line of the first sign, from 1.
    pub(crate) line: usize,
    /// The text.
    pub(crate) text: &'a str,
}

impl RuleText<'_> {
    /// The line of the file in which the byte `offset` of this rule stands.
    pub(crate) fn line_of(&self, offset: usize) -> usize {
        let before = self.text.bytes().take(offset);
        self.line + before.filter(|byte| *byte == b'\n').count()
    }
}

/// The rules of a file, within the limits of each; or the line and the limit that is broken there.
pub(crate) fn split(source: &str) -> Result<Vec<RuleText<'_>>, (usize, Excess)> {
    let mut rules = Vec::new();
    let (mut line, mut depth, mut tokens) = (1, 0_usize, 0_usize);
    // Where the rule at hand began: byte and line.
    let mut began: Option<(usize, usize)> = None;
    let mut chars = source.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if c == '\n' {
            line += 1;
        }
        if c.is_whitespace() {
            continue;
        }
        if c == '/' && chars.peek().is_some_and(|(_, next)| *next == '/') {
            while chars.next_if(|(_, c)| !matches!(c, '\n' | '\r')).is_some() {}
            continue;
        }
        let (start, first_line) = *began.get_or_insert((at, line));
        tokens += 1;
        match c {
            '"' => {
                while let Some((_, c)) = chars.next() {
                    line += usize::from(c == '\n');
                    if c == '"' {
                        break;
                    }
                    if c == '\\' {
                        line += usize::from(chars.next().is_some_and(|(_, c)| c == '\n'));
                    }
                }
            }
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            ';' => {
                rules.extend(source.get(start..=at).map(|text| RuleText { line: first_line, text }));
                (tokens, depth, began) = (0, 0, None);
            }
            c if is_word(c) => while chars.next_if(|(_, c)| is_word(*c)).is_some() {},
            _ => {}
        }
        if depth > MAX_NESTING {
            return Err((line, Excess::Nesting));
        }
        if tokens > MAX_TOKENS {
            return Err((line, Excess::Tokens));
        }
    }
    if let Some((start, line)) = began {
        rules.extend(source.get(start..).map(|text| RuleText { line, text }));
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
        let (line, excess) = split(&long(600)).unwrap_err();
        assert_eq!(excess, Excess::Tokens);
        assert!(line > 300, "{line}");
        assert_eq!(split(&long(300).repeat(20)).unwrap().len(), 20, "the limit is that of one rule");
    }

    #[test]
    fn rules_are_split_where_cedar_ends_them() {
        let source = "// ; a comment\n\n@id(\"a;b\") // ;\npermit(a);forbid(b)\n;  \n// end";
        let rules = split(source).unwrap();
        let texts: Vec<_> = rules.iter().map(|rule| (rule.line, rule.text)).collect();
        assert_eq!(texts, [(3, "@id(\"a;b\") // ;\npermit(a);"), (4, "forbid(b)\n;")]);
        assert_eq!((rules[0].line_of(0), rules[0].line_of(17)), (3, 4));
        let open = split("permit(a); permit(b)").unwrap();
        assert_eq!(open[1].text, "permit(b)", "what is not ended is left for the parser to refuse");
        assert_eq!(split(" \n// nothing\n").unwrap(), []);
    }
}
