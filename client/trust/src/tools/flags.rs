//! Reading flags by tables, as the tools' own parsers do (GNU style: `--flag`, `--flag=VALUE`, `--flag VALUE`, `-abc VALUE`).

use super::ToolError;

/// What is known of a command's flags. Names without dashes, separated by spaces; one letter is a short flag.
pub(super) struct Table {
    /// Flags without a value.
    pub(super) switches: &'static str,
    /// Flags with a value.
    pub(super) values: &'static str,
    /// Flags that are refused, because they bring in images past the check.
    pub(super) unchecked: &'static str,
}

/// What a word is.
pub(super) enum Word<'a> {
    /// A flag, with its value if the table says that it has one.
    Flag { name: String, value: Option<&'a str> },
    /// Something else.
    Positional { index: usize, word: &'a str },
}

/// Goes through the words of a command.
pub(super) struct Words<'a> {
    tool: &'static str,
    words: &'a [String],
    next: usize,
    only_positionals: bool,
}

fn listed(list: &str, name: &str) -> bool {
    list.split_ascii_whitespace().any(|entry| entry == name)
}

impl<'a> Words<'a> {
    pub(super) fn new(tool: &'static str, words: &'a [String]) -> Self {
        Self { tool, words, next: 0, only_positionals: false }
    }

    fn take(&mut self) -> Option<(usize, &'a str)> {
        let index = self.next;
        let word = self.words.get(index)?;
        self.next = index.saturating_add(1);
        Some((index, word.as_str()))
    }

    /// The next flag or positional word, read by this table.
    pub(super) fn next(&mut self, table: &Table) -> Result<Option<Word<'a>>, ToolError> {
        let Some((index, word)) = self.take() else { return Ok(None) };
        if self.only_positionals || word == "-" || !word.starts_with('-') {
            return Ok(Some(Word::Positional { index, word }));
        }
        if word == "--" {
            self.only_positionals = true;
            return self.next(table);
        }
        match word.strip_prefix("--") {
            Some(long) => self.long(table, word, long).map(Some),
            None => self.short(table, word).map(Some),
        }
    }

    fn long(&mut self, table: &Table, word: &'a str, long: &'a str) -> Result<Word<'a>, ToolError> {
        let (name, value) = match long.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (long, None),
        };
        if listed(table.unchecked, name) {
            return Err(ToolError::Unchecked { tool: self.tool, flag: format!("--{name}") });
        }
        // With `=` the value is part of the word, whatever the flag is.
        let value = match value {
            Some(value) => Some(value),
            None if listed(table.switches, name) => None,
            None if listed(table.values, name) => Some(self.value(word)?),
            None => return Err(self.unknown(word)),
        };
        Ok(Word::Flag { name: name.to_owned(), value })
    }

    /// `-it`, `-v VALUE`, `-vVALUE`, `-itv VALUE`.
    fn short(&mut self, table: &Table, word: &'a str) -> Result<Word<'a>, ToolError> {
        let letters = word.char_indices().skip(1);
        let mut last = String::new();
        for (at, letter) in letters {
            let name = letter.to_string();
            if listed(table.unchecked, &name) {
                return Err(ToolError::Unchecked { tool: self.tool, flag: format!("-{name}") });
            }
            if listed(table.values, &name) {
                let rest = word.get(at.saturating_add(letter.len_utf8())..).unwrap_or_default();
                let value = if rest.is_empty() { self.value(word)? } else { rest };
                return Ok(Word::Flag { name, value: Some(value) });
            }
            if !listed(table.switches, &name) {
                return Err(self.unknown(word));
            }
            last = name;
        }
        Ok(Word::Flag { name: last, value: None })
    }

    fn value(&mut self, flag: &str) -> Result<&'a str, ToolError> {
        let missing = ToolError::Value { tool: self.tool, flag: flag.escape_debug().to_string() };
        self.take().map(|(_, word)| word).ok_or(missing)
    }

    fn unknown(&self, flag: &str) -> ToolError {
        ToolError::Flag { tool: self.tool, flag: flag.escape_debug().to_string() }
    }
}
