//! Formatting never changes what a file says, over random rules with comments and blanks anywhere.

use std::cell::Cell;
use std::str::FromStr;

use cedar_policy::PolicySet;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use trust_policy::{FormatError, format_labels, format_rules};

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

/// A text with other gaps between its words.
fn spread(text: &str, gaps: &[&str]) -> String {
    let (mut out, mut is_text) = (String::new(), false);
    let mut gaps = gaps.iter().cycle();
    for c in text.chars() {
        is_text ^= c == '"';
        match c {
            ' ' | '\n' if !is_text => out.push_str(gaps.next().unwrap()),
            c => out.push(c),
        }
    }
    out
}

/// The comments of a text that [`gap`] put into it. (The title holds what only looks like one.)
fn comments(text: &str) -> Vec<&str> {
    let known = ["// \"a\" comment; with } words", "// on a line of its own"];
    let mut found: Vec<(usize, &str)> = known.iter().flat_map(|comment| text.match_indices(comment)).collect();
    found.sort_unstable();
    found.into_iter().map(|(_, comment)| comment).collect()
}

/// All that Cedar reads, with the order of the rules.
fn meaning(text: &str) -> serde_json::Value {
    PolicySet::from_str(text).unwrap().to_json().unwrap()
}

#[test]
fn rules_annotations_order_and_comments_stay_and_once_is_enough() {
    let mut runner = TestRunner::new(Config { cases: 300, failure_persistence: None, ..Config::default() });
    let formatted_ones = Cell::new(0);
    let rules = proptest::collection::vec((condition(), condition(), any::<bool>()), 1..4);
    let ran = runner.run(&(rules, proptest::collection::vec(gap(), 40)), |(rules, gaps)| {
        let rule = |(n, (when, unless, permits)): (usize, &(String, String, bool))| {
            let effect = if *permits { "permit" } else { "forbid" };
            format!("@id(\"r{n}\")\n@title(\"A  title // with {{ signs\")\n{effect} (principal, action == Action::\"pull\", resource)\nwhen {{ {when} }}\nunless {{ {unless} }};\n")
        };
        let text = spread(&rules.iter().enumerate().map(rule).collect::<String>(), &gaps);
        let formatted = match format_rules("a.cedar", text.as_bytes()) {
            Ok(formatted) => formatted,
            // A comment in a place where Cedar's formatter moves it: then the file stays as it is.
            Err(FormatError::Changed { .. }) => return Ok(()),
            Err(error) => return Err(TestCaseError::fail(format!("{error}\n{text}"))),
        };
        formatted_ones.set(formatted_ones.get() + 1);
        prop_assert_eq!(meaning(&text), meaning(&formatted), "{}", text);
        prop_assert_eq!(comments(&text), comments(&formatted), "{}\n{}", text, formatted);
        prop_assert_eq!(format_rules("a.cedar", formatted.as_bytes()).unwrap(), formatted);
        Ok(())
    });
    ran.unwrap();
    assert!(formatted_ones.get() > 250, "too many stay as they are: {}", formatted_ones.get());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn random_files_never_panic_the_formatters_and_the_reader_of_cases(
        rules in "(@id\\(\"[a-z]\"\\) ?|permit|forbid|\\(|\\)|principal|action|resource|,|;|when|unless|\\{|\\}|\\[|\\]|==|&&|\\.|\"[a-zé\\\\\"]{0,3}\"|!|//|\n| ){0,60}",
        labels in "(\\{|\\}|\\[|\\]|:|,|\"[a-zé\\\\\"]{0,3}\"|\"schema\":\"trust/labels/v1\"|\"labels\"|\"values\"|\"fit\"|1|null|\n| ){0,40}",
        cases in "(\\[\\[case\\]\\]\n|\\[case.(image|expect)\\]\n|(name|environment|reference|decision|labels|tags|signed) = |\"[a-z/é:]{0,9}\"\n|\\{|\\}|\\[|\\]|=|,|[0-9-]{1,10}\n| ){0,40}",
    ) {
        if let Ok(formatted) = format_rules("a.cedar", rules.as_bytes()) {
            prop_assert_eq!(format_rules("a.cedar", formatted.as_bytes()), Ok(formatted));
        }
        if let Ok(formatted) = format_labels("a.json", labels.as_bytes()) {
            prop_assert_eq!(format_labels("a.json", formatted.as_bytes()), Ok(formatted));
        }
        let read = trust_policy::cases::read("a.toml", cases.as_bytes(), |_| Err("none".to_owned()));
        if let Err(error) = read {
            prop_assert_eq!(error.to_string().lines().count(), 1);
        }
    }
}
