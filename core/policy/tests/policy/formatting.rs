//! Formatting never changes what a file says, over random rules with comments and blanks anywhere.

use proptest::prelude::*;
use trust_policy::{Policy, format_rules};

use crate::common::{dictionary, identity, source};
use crate::linting::condition;

/// What may stand between two words.
fn gap() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        12 => Just(" "),
        3 => Just("\n"),
        1 => Just("\n\n\n\t "),
        1 => Just(" // \"a\" comment; with } words\n"),
        1 => Just("\n  // on a line of its own\n\n"),
        1 => Just("\r\n"),
    ]
}

/// The words of a text, with other gaps between them.
fn spread(text: &str, gaps: &[&str]) -> String {
    let mut out = String::new();
    let mut gaps = gaps.iter().cycle();
    let mut is_text = false;
    for c in text.chars() {
        is_text ^= c == '"';
        match c {
            ' ' | '\n' if !is_text => out.push_str(gaps.next().unwrap()),
            c => out.push(c),
        }
    }
    out
}

fn comments(text: &str) -> usize {
    text.matches("// ").count()
}

fn meaning(text: &str) -> Vec<serde_json::Value> {
    // The ids are the order in the file, so that order counts too.
    let set: cedar_rules::Set = cedar_rules::read(text);
    set
}

mod cedar_rules {
    pub(super) type Set = Vec<serde_json::Value>;

    /// Each rule as Cedar's own tree, by the ids of a policy that loads.
    pub(super) fn read(text: &str) -> Set {
        let sources = [super::source("_policy/a.cedar", text), super::dictionary()];
        let policy = super::Policy::load(&sources, super::identity()).unwrap();
        let mut rules: Vec<_> = policy.rules().cloned().collect();
        rules.sort_by_key(|rule| (rule.line, rule.column));
        rules.into_iter().map(|rule| serde_json::json!([rule.id, rule.effect, rule.title])).collect()
    }
}
