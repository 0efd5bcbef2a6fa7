//! The one way to write a file: rules by Cedar's formatter, a dictionary as indented JSON.
//!
//! Invariants: the meaning stays (the rules that are read from the new text are equal to the old ones, annotations too, and
//! every comment is there), and what was formatted once stays as it is; else there is no new text. What does not parse is not
//! formatted. Deliberately absent: files; the order of rules, labels and values, which is the writer's.

use cedar_policy::ffi;
use serde_json::{Value, json};

use crate::dictionary::Dictionary;
use crate::lexer::{self, RuleText};
use crate::load::{self, LoadError, MAX_RULES_FILE_LEN, Place};

/// Width that lines are filled to; `when ` or `unless ` may come on top.
const LINE_WIDTH: usize = 112;
/// Blanks for each level of rules.
const INDENT: usize = 4;
/// How often the formatter is asked until its answer stays.
const MAX_ROUNDS: usize = 4;

/// Why a file stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// It does not parse.
    #[error("{0}")]
    Parse(#[from] LoadError),
    /// The new text would not be the same rules with the same comments.
    #[error("{place}: this cannot be formatted without a change of what it says; the file stays as it is")]
    Changed {
        /// The rule.
        place: Place,
    },
}

/// A file of rules as it is written. `path` is for errors.
pub fn format_rules(path: &str, bytes: &[u8]) -> Result<String, FormatError> {
    if bytes.len() > MAX_RULES_FILE_LEN {
        return Err(LoadError::TooLong { path: path.to_owned() }.into());
    }
    let source = std::str::from_utf8(bytes).map_err(|_| LoadError::Encoding { path: path.to_owned() })?;
    let rules =
        lexer::split(source).map_err(|(at, excess)| LoadError::Excess { place: Place::new(path, at), excess })?;
    let mut out = String::with_capacity(source.len());
    let mut end = 0;
    for rule in &rules {
        let formatted = format_rule(path, rule)?;
        // Blanks and comments alone stand between rules.
        between(source.get(end..rule.start).unwrap_or_default(), &mut out);
        out.push_str(&formatted);
        end = rule.start.saturating_add(rule.text.len());
    }
    between(source.get(end..).unwrap_or_default(), &mut out);
    while out.ends_with("\n\n") {
        out.pop();
    }
    if !out.is_empty() && !out.ends_with('\n') {
        out.push('\n');
    }
    Ok(out)
}

/// One rule, by Cedar's formatter.
fn format_rule(path: &str, rule: &RuleText<'_>) -> Result<String, FormatError> {
    let changed = || FormatError::Changed { place: Place::new(path, rule.at) };
    let read = |text: &str| {
        let rule = load::parse_rule(path, &RuleText { text, ..*rule })?;
        rule.to_json().map_err(|_| changed())
    };
    let before = read(rule.text)?;
    let mut text = cedar(rule.text).ok_or_else(changed)?;
    for _ in 0..MAX_ROUNDS {
        let again = cedar(&text).ok_or_else(changed)?;
        if again == text {
            let is_same = read(&text).is_ok_and(|after| after == before) && comments(rule.text) == comments(&text);
            return if is_same { Ok(text) } else { Err(changed()) };
        }
        text = again;
    }
    Err(changed())
}

fn cedar(text: &str) -> Option<String> {
    let call = json!({"policyText": text, "lineWidth": LINE_WIDTH, "indentWidth": INDENT});
    let answer = ffi::format_json(call).ok()?;
    let text = answer.get("formatted_policy").and_then(Value::as_str)?;
    // The bracket belongs behind its word. Where that stands in a text, the rule is another one and nothing is written.
    let joined = text.trim().replace("\nwhen\n{", "\nwhen {").replace("\nunless\n{", "\nunless {");
    Some(joined)
}

/// The comments of a rule.
fn comments(rule: &str) -> Vec<&str> {
    lexer::comments(rule).map(str::trim_end).collect()
}

/// Blank lines and comments, behind what is written so far: one blank line stays one, several become one, and one stands
/// behind each rule.
fn between(text: &str, out: &mut String) {
    let is_first = out.is_empty();
    let mut lines = text.split('\n').map(str::trim).enumerate().peekable();
    while let Some((at, line)) = lines.next() {
        // What stands before the next rule in its own line.
        let is_rest = at > 0 && lines.peek().is_none();
        match (at, line.is_empty()) {
            // What stands behind the `;`.
            (0, true) if !is_first => out.push_str("\n\n"),
            (0, false) if !is_first => out.push_str(&format!(" {line}\n\n")),
            (_, true) if is_rest || out.is_empty() || out.ends_with("\n\n") => {}
            (_, true) if out.ends_with('\n') => out.push('\n'),
            (_, true) => {}
            (_, false) => out.push_str(&format!("{line}\n")),
        }
    }
}

/// A file of the dictionary as it is written: two blanks for each level, and what has no object in it on one line where it
/// fits. `path` is for errors.
pub fn format_labels(path: &str, bytes: &[u8]) -> Result<String, FormatError> {
    Dictionary::default().add(bytes).map_err(|error| LoadError::dictionary(path, bytes, error))?;
    // It is strict JSON by now.
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    let mut out = String::with_capacity(text.len());
    Json { text, at: 0 }.value(0, 0, &mut out);
    out.push('\n');
    let read = |text: &str| serde_json::from_str::<Value>(text).ok();
    if read(text) != read(&out) {
        let place = Place::new(path, lexer::Position::START);
        return Err(FormatError::Changed { place });
    }
    Ok(out)
}

/// Strict JSON that is written anew, word by word: strings stay as they are spelt.
struct Json<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Json<'t> {
    /// The next word or sign.
    fn next(&mut self) -> &'t str {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let trimmed = rest.trim_start();
        let mut chars = trimmed.char_indices();
        let len = match chars.next() {
            Some((_, '"')) => {
                while let Some((_, c)) = chars.next().filter(|(_, c)| *c != '"') {
                    if c == '\\' {
                        chars.next();
                    }
                }
                chars.next().map_or(trimmed.len(), |(end, _)| end)
            }
            Some((_, '{' | '}' | '[' | ']' | ',' | ':')) => 1,
            _ => trimmed.find([',', '}', ']', ' ', '\t', '\r', '\n']).unwrap_or(trimmed.len()),
        };
        self.at = self.text.len().saturating_sub(trimmed.len()).saturating_add(len);
        trimmed.get(..len).unwrap_or_default()
    }

    /// Writes the next value. `column`: how much stands in its line already. The depth of the file was limited when it was
    /// read.
    fn value(&mut self, level: usize, column: usize, out: &mut String) {
        let start = self.at;
        let (open, close) = match self.next() {
            "{" => ("{", "}"),
            "[" => ("[", "]"),
            word => return out.push_str(word),
        };
        if let Some(line) = (Json { text: self.text, at: start }).on_one_line()
            && column.saturating_add(line.chars().count()) < LINE_WIDTH
        {
            out.push_str(&line);
            self.skip(close);
            return;
        }
        out.push_str(open);
        let inner = level.saturating_add(1);
        loop {
            let before = self.at;
            if self.next() == close {
                break;
            }
            self.at = before;
            let indent = "  ".repeat(inner);
            out.push('\n');
            out.push_str(&indent);
            let mut column = indent.len();
            if open == "{" {
                let key = self.next();
                self.next();
                out.push_str(key);
                out.push_str(": ");
                column = column.saturating_add(key.chars().count()).saturating_add(2);
            }
            self.value(inner, column, out);
            let before = self.at;
            match self.next() {
                "," => out.push(','),
                _ => self.at = before,
            }
        }
        out.push('\n');
        out.push_str(&"  ".repeat(level));
        out.push_str(close);
    }

    /// Goes behind the end of what was opened.
    fn skip(&mut self, close: &str) {
        let mut depth = 1_usize;
        while depth > 0 && self.at < self.text.len() {
            match self.next() {
                "{" | "[" => depth = depth.saturating_add(1),
                "}" | "]" => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
        debug_assert!(self.text.get(..self.at).is_some_and(|text| text.ends_with(close)));
    }

    /// The next value on one line; `None` if an object stands in it.
    fn on_one_line(mut self) -> Option<String> {
        let mut out = String::new();
        let mut depth = 0_usize;
        loop {
            let word = self.next();
            match word {
                "{" if depth > 0 => return None,
                "{" => out.push_str("{ "),
                "}" => out = format!("{} }}", out.trim_end()),
                "," | ":" => out.push_str(&format!("{word} ")),
                word => out.push_str(word),
            }
            match word {
                "{" | "[" => depth = depth.saturating_add(1),
                "}" | "]" => depth = depth.saturating_sub(1),
                "" => return None,
                _ => {}
            }
            if depth == 0 {
                return Some(if out == "{ }" { "{}".to_owned() } else { out });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shipped;

    fn rules(text: &str) -> String {
        let formatted = format_rules("_policy/a.cedar", text.as_bytes()).unwrap_or_else(|e| panic!("{e}\n{text}"));
        assert_eq!(format_rules("_policy/a.cedar", formatted.as_bytes()).as_ref(), Ok(&formatted), "once is enough");
        formatted
    }

    fn labels(text: &str) -> String {
        let formatted = format_labels("_labels/a.json", text.as_bytes()).unwrap_or_else(|e| panic!("{e}\n{text}"));
        assert_eq!(format_labels("_labels/a.json", formatted.as_bytes()).as_ref(), Ok(&formatted), "once is enough");
        formatted
    }

    #[test]
    fn what_is_shipped_is_written_so() {
        for (path, text) in shipped::FILES {
            let path = path.trim_end_matches(".example");
            if path.ends_with(".cedar") {
                assert_eq!(rules(text), *text, "{path}");
            }
            if path.ends_with(".json") {
                assert_eq!(labels(text), *text, "{path}");
            }
        }
    }

    #[test]
    fn comments_and_paragraphs_stay_where_they_are() {
        let text = "  // Head.\n\n\n// Of the rule: permit (principal,action,resource);\n@id(\"a\")permit (principal,action,resource); // behind\n// next\n@id( \"b\" )\nforbid(principal,action , resource)\n  when{ // why\n true };@id(\"c\")permit(principal,action,resource);\n\n\n  // End.  \n\n";
        let expected = "// Head.\n\n// Of the rule: permit (principal,action,resource);\n@id(\"a\")\npermit (principal, action, resource); // behind\n\n// next\n@id(\"b\")\nforbid (principal, action, resource)\nwhen { // why\n    true\n};\n\n@id(\"c\")\npermit (principal, action, resource);\n\n// End.\n";
        assert_eq!(rules(text), expected);
        assert_eq!(rules(""), "");
        assert_eq!(rules("// Nothing yet."), "// Nothing yet.\n");
    }

    #[test]
    fn what_does_not_parse_is_not_formatted_and_its_place_is_told() {
        let refused = format_rules("_policy/a.cedar", b"permit (principal, action, resource);\n\n forbid (principal;")
            .unwrap_err();
        assert!(refused.to_string().starts_with("_policy/a.cedar:3:"), "{refused}");
        assert!(matches!(format_rules("a", &[0xff]), Err(FormatError::Parse(LoadError::Encoding { .. }))));
        assert!(matches!(
            format_rules("a", "(".repeat(20).as_bytes()),
            Err(FormatError::Parse(LoadError::Excess { .. }))
        ));
        let long = " ".repeat(MAX_RULES_FILE_LEN + 1);
        assert!(matches!(format_rules("a", long.as_bytes()), Err(FormatError::Parse(LoadError::TooLong { .. }))));
        for text in ["", "{", "{\"schema\": \"trust/labels/v1\", \"labels\": {}, \"more\": 1}", "[]"] {
            assert!(matches!(
                format_labels("a", text.as_bytes()),
                Err(FormatError::Parse(LoadError::Dictionary { .. }))
            ));
        }
    }

    #[test]
    fn a_dictionary_keeps_its_order_and_its_spelling() {
        let text = r#"{"schema":"trust/labels/v1","labels":{"z":{"values":{"b":{"fit":["public" ,"private"],"aliases":[]},"a\u00e9 \" }":{"fit":[]}},"owner":"x"},"a":{"values":{"a":{"fit":["private"]}}}}}"#;
        let expected = r#"{
  "schema": "trust/labels/v1",
  "labels": {
    "z": {
      "values": {
        "b": { "fit": ["public", "private"], "aliases": [] },
        "a\u00e9 \" }": { "fit": [] }
      },
      "owner": "x"
    },
    "a": {
      "values": {
        "a": { "fit": ["private"] }
      }
    }
  }
}
"#;
        assert_eq!(labels(text), expected);
        let long: Vec<String> = (0..20).map(|n| format!("\"alias-number-{n}\"")).collect();
        let aliases = labels(&text.replace("\"aliases\":[]", &format!("\"aliases\":[{}]", long.join(","))));
        assert!(aliases.contains("\n          \"aliases\": [\n            \"alias-number-0\",\n"), "{aliases}");
        let empty = "{\n  \"schema\": \"trust/labels/v1\",\n  \"labels\": {}\n}\n";
        assert_eq!(labels("{\"schema\":\"trust/labels/v1\",\"labels\":{ }}"), empty);
    }
}
