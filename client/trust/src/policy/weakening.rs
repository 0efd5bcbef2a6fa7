//! What a new policy takes away from the one in force.
//!
//! Invariant: a rule that forbids, a governed label, a value and what it is fit for are each the same afterwards, or named
//! here; where texts differ nobody guesses whether the new one is stricter. New rules, labels and values are not named.

use std::collections::BTreeMap;

use trust_policy::dictionary::Meaning;
use trust_policy::{Cloud, Dictionary, Effect, Policy};

/// What changes or leaves, in words, rules first.
pub fn between(old: &Policy, new: &Policy) -> Vec<String> {
    let sources: BTreeMap<&str, &str> = new.rules().map(|rule| (rule.id.as_str(), rule.source.as_str())).collect();
    let mut found = Vec::new();
    for rule in old.rules().filter(|rule| rule.effect == Effect::Forbid) {
        match sources.get(rule.id.as_str()) {
            None => found.push(format!("the rule {}, which forbids, leaves", rule.id)),
            Some(source) if *source != rule.source => {
                found.push(format!("the rule {}, which forbids, changes", rule.id));
            }
            Some(_) => {}
        }
    }
    found.extend(dictionaries(old.dictionary(), new.dictionary()));
    found
}

/// What changes or leaves of the dictionary.
pub fn dictionaries(old: &Dictionary, new: &Dictionary) -> Vec<String> {
    let mut found = Vec::new();
    for key in old.keys() {
        if !new.governs(key) {
            found.push(format!("the label {key} is no longer governed"));
            continue;
        }
        for word in old.spellings(key) {
            let before = meanings(old, key, word);
            let after = meanings(new, key, word);
            if before != after {
                let change = if matches!(after, [Meaning::Value { .. }, _]) { "changes its meaning" } else { "leaves" };
                found.push(format!("the value {word:?} of the label {key} {change}"));
            }
        }
        for name in old.required_below(key).iter().filter(|name| !new.required_below(key).contains(name)) {
            found.push(format!("the label {key} is no longer required below {name}"));
        }
    }
    found
}

/// What a value means in each kind of cloud. Whom to ask is no part of it: words that the dictionary has name nobody.
fn meanings<'a>(dictionary: &'a Dictionary, key: &str, word: &str) -> [Meaning<'a>; 2] {
    Cloud::ALL.map(|cloud| dictionary.meaning(key, word, cloud))
}

#[cfg(test)]
mod tests {
    use trust_policy::{PolicyIdentity, Source};

    use super::*;

    const RULES: &str = "@id(\"all\") permit (principal, action, resource);\n@id(\"no\") forbid (principal, action, resource) when { resource.tag_moved };\n";
    const VALUES: &str = r#""public":{"fit":["public","private"]},"PII":{"fit":["private"],"aliases":["pii"]}"#;

    fn policy(rules: &str, values: &str) -> Policy {
        let labels = match values {
            "" => r#"{"schema":"trust/labels/v1","labels":{}}"#.to_owned(),
            _ => format!(r#"{{"schema":"trust/labels/v1","labels":{{"data":{{"values":{{{values}}}}}}}}}"#),
        };
        let source = |path: &str, text: &str| Source { path: path.to_owned(), bytes: text.as_bytes().to_vec() };
        let sources = [source("_policy/a.cedar", rules), source("_labels/a.json", &labels)];
        Policy::load(&sources, PolicyIdentity::folder()).unwrap()
    }

    fn found(rules: &str, values: &str) -> Vec<String> {
        between(&policy(RULES, VALUES), &policy(rules, values))
    }

    #[test]
    fn a_forbid_that_leaves_changes_or_turns_into_a_permit_is_named() {
        let first = RULES.lines().next().unwrap();
        assert_eq!(found(first, VALUES), ["the rule no, which forbids, leaves"]);
        for changed in [RULES.replace("tag_moved", "tag_moved && false"), RULES.replace("forbid", "permit")] {
            assert_eq!(found(&changed, VALUES), ["the rule no, which forbids, changes"]);
        }
    }

    #[test]
    fn a_label_or_value_that_means_something_else_is_named() {
        assert_eq!(found(RULES, ""), ["the label data is no longer governed"]);
        let wider = VALUES.replace(r#""PII":{"fit":["private"]"#, r#""PII":{"fit":["public","private"]"#);
        let changed = |word: &str| format!("the value {word:?} of the label data changes its meaning");
        assert_eq!(found(RULES, &wider), [changed("PII"), changed("pii")]);
        let alias =
            VALUES.replace(r#","aliases":["pii"]"#, "").replace(r#""private"]}"#, r#""private"],"aliases":["pii"]}"#);
        let alias = alias.replacen(r#""fit":["private"],"aliases":["pii"]"#, r#""fit":["private"]"#, 1);
        assert_eq!(found(RULES, &alias), [changed("pii")], "{alias}");
        let gone = VALUES.split(r#","PII""#).next().unwrap();
        let leaves = |word: &str| format!("the value {word:?} of the label data leaves");
        assert_eq!(found(RULES, gone), [leaves("PII"), leaves("pii")]);
    }

    #[test]
    fn a_label_that_is_no_longer_required_is_named() {
        let requiring = |names: &str| {
            let file = format!(
                r#"{{"schema":"trust/labels/v1","labels":{{"data":{{"required":[{names}],"values":{{{VALUES}}}}}}}}}"#
            );
            let source = Source { path: "_labels/a.json".to_owned(), bytes: file.into_bytes() };
            Dictionary::load(&[source]).unwrap().0
        };
        let (hr, both) = (requiring(r#""r.example/hr""#), requiring(r#""r.example/hr","r.example/pay""#));
        assert_eq!(dictionaries(&both, &hr), ["the label data is no longer required below r.example/pay"]);
        assert!(dictionaries(&hr, &both).is_empty());
    }

    #[test]
    fn what_only_comes_is_not_named() {
        let more = format!(
            "{RULES}@id(\"more\") forbid (principal, action, resource) when {{ resource.platform == \"x\" }};\n"
        );
        let values = format!(r#"{VALUES},"secret":{{"fit":[]}}"#);
        assert!(found(&more, &values).is_empty());
        assert!(found(RULES, VALUES).is_empty());
    }
}
