//! Reading of `WWW-Authenticate` (RFC 9110, section 11.6.1): what a registry wants to see before it answers.
//!
//! Invariant: any bytes give a list of challenges, perhaps an empty one; nothing is guessed from what cannot be read.

use std::collections::BTreeMap;

/// Longest header value that is read, in bytes.
const MAX_HEADER_LEN: usize = 8 * 1024;
/// Challenges, and parameters of one, that are kept.
const MAX_PARTS: usize = 16;

/// One challenge: a scheme and its parameters, names in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Challenge {
    pub(crate) scheme: String,
    pub(crate) params: BTreeMap<String, String>,
}

impl Challenge {
    pub(crate) fn param(&self, name: &str) -> Option<&str> {
        self.params.get(name).map(String::as_str)
    }
}

/// The challenges in one header value, as far as it can be read.
pub(crate) fn parse(header: &str) -> Vec<Challenge> {
    let mut found: Vec<Challenge> = Vec::new();
    if header.len() > MAX_HEADER_LEN {
        return found;
    }
    let mut rest = header;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let (word, after) = split_token(rest);
        if word.is_empty() {
            return found;
        }
        let blank_trimmed = after.trim_start_matches([' ', '\t']);
        let full = found.len() >= MAX_PARTS;
        match (blank_trimmed.strip_prefix('='), found.last_mut()) {
            (Some(value), Some(challenge)) => {
                let Some((value, after)) = split_value(value.trim_start_matches([' ', '\t'])) else {
                    // What follows an unreadable value is not a challenge; its own is not complete.
                    found.pop();
                    return found;
                };
                if challenge.params.len() < MAX_PARTS {
                    challenge.params.entry(word.to_ascii_lowercase()).or_insert(value);
                }
                rest = after;
            }
            (Some(_), None) => return found,
            (None, _) if full => return found,
            (None, _) => {
                found.push(Challenge { scheme: word.to_ascii_lowercase(), params: BTreeMap::new() });
                rest = after;
            }
        }
    }
}

/// A token of RFC 9110 and what follows it; an empty token if there is none.
fn split_token(text: &str) -> (&str, &str) {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~/".contains(c);
    let end = text.find(|c| !is_token(c)).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

/// A quoted string or token and what follows it; `None` if the quote is not closed.
fn split_value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        return text.split_at_checked(end).map(|(value, after)| (value.to_owned(), after));
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return quoted.get(at + 1..).map(|after| (value, after)),
            '\\' => value.push(chars.next()?.1),
            _ => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(scheme: &str, params: &[(&str, &str)]) -> Challenge {
        let params = params.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Challenge { scheme: scheme.to_owned(), params }
    }

    #[test]
    fn broken_headers_give_no_half_challenge() {
        for header in
            ["", ",", "=", "\"", "realm=\"x\"", ", ,=", "\u{e9}", "Bearer realm=\"unclosed", "Bearer realm=\"a\\"]
        {
            assert_eq!(parse(header), [], "{header:?}");
        }
        assert_eq!(parse("Basic realm=\"a\", Bearer realm=\"unclosed"), [one("basic", &[("realm", "a")])]);
        assert_eq!(parse(&format!("Bearer realm=\"{}\"", "x".repeat(MAX_HEADER_LEN))), []);
        assert_eq!(parse(&"a ".repeat(2000)).len(), MAX_PARTS);
        assert_eq!(parse(&format!("a {}", "b=c,".repeat(1000))), [one("a", &[("b", "c")])]);
    }

    #[test]
    fn the_first_of_two_equal_parameters_counts() {
        assert_eq!(parse("Bearer realm=\"a\",Realm=\"b\""), [one("bearer", &[("realm", "a")])]);
    }

    #[test]
    fn the_forms_that_registries_send_are_read() {
        let bearer = one(
            "bearer",
            &[
                ("realm", "https://auth.example.com/token"),
                ("service", "reg.example"),
                ("scope", "repository:a/b:pull,push"),
            ],
        );
        let texts = [
            "Bearer realm=\"https://auth.example.com/token\",service=\"reg.example\",scope=\"repository:a/b:pull,push\"",
            "bearer  Realm = \"https://auth.example.com/token\" , SERVICE=reg.example ,, scope=\"repository:a/b:pull,push\"",
        ];
        for text in texts {
            assert_eq!(parse(text), std::slice::from_ref(&bearer), "{text}");
        }
        assert_eq!(parse("Basic realm=\"a \\\"b\\\", c\""), [one("basic", &[("realm", "a \"b\", c")])]);
        assert_eq!(parse("Basic"), [one("basic", &[])]);
        let two = parse("Negotiate abc==, Basic realm=\"x\"");
        assert_eq!(two.last(), Some(&one("basic", &[("realm", "x")])));
        let schemes: Vec<_> = parse("Basic realm=\"x\", Bearer realm=\"y\"").into_iter().map(|c| c.scheme).collect();
        assert_eq!(schemes, ["basic", "bearer"]);
    }
}
