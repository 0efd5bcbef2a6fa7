//! What a new policy changes of what the one in force allows or denies, as far as somebody is asked for it.
//!
//! Invariants: whether a change opens or closes something is not guessed. A rule that forbids must stay as it is; one that
//! permits must neither come, change nor leave; a governed label, a value and what it is fit for must stay: else it is named
//! here. A new rule that forbids only closes, and is not named; nor
//! is one that is in trial and decides nothing. What is only said of a rule (title, reason, contact) is
//! no part of it.

use std::collections::BTreeMap;

use trust_policy::dictionary::Meaning;
use trust_policy::{Cloud, Dictionary, Effect, Policy, RuleInfo};

/// What changes, in words, rules first.
pub fn between(old: &Policy, new: &Policy) -> Vec<String> {
    let by_id = |policy: &'_ Policy| -> BTreeMap<String, RuleInfo> {
        policy.deciding_rules().map(|rule| (rule.id.clone(), rule.clone())).collect()
    };
    let (before, after) = (by_id(old), by_id(new));
    let tried: BTreeMap<&str, &str> = new.rules().map(|rule| (rule.id.as_str(), rule.mode.as_str())).collect();
    let mut found = Vec::new();
    for (id, rule) in &before {
        match (after.get(id), rule.effect) {
            (None, effect) if tried.contains_key(id.as_str()) => {
                let does = if effect == Effect::Forbid { "forbids" } else { "permits" };
                let mode = tried.get(id.as_str()).copied().unwrap_or_default();
                found.push(format!(
                    "the rule {id}, which {does}, does not decide any more: it is in trial (@mode {mode})"
                ));
            }
            (None, Effect::Forbid) => found.push(format!("the rule {id}, which forbids, leaves")),
            (None, Effect::Permit) => {
                found.push(format!("the rule {id}, which permits, leaves: what it alone permitted is denied"));
            }
            (Some(now), _) if rule.decides_like(now) => {}
            (Some(_), Effect::Forbid) => found.push(format!("the rule {id}, which forbids, changes")),
            (Some(_), Effect::Permit) => found.push(format!("the rule {id}, which permits, changes")),
        }
    }
    for id in after.values().filter(|rule| rule.effect == Effect::Permit).map(|rule| &rule.id) {
        if !before.contains_key(id) {
            found.push(format!("the rule {id}, which permits, is new: it may open what was closed"));
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
    fn a_permit_that_comes_changes_or_leaves_is_named_and_what_closing_means_is_said() {
        let [all, no] = [0, 1].map(|at| RULES.lines().nth(at).unwrap());
        assert_eq!(found(no, VALUES), ["the rule all, which permits, leaves: what it alone permitted is denied"]);
        let narrower = RULES.replacen("resource);", "resource) when { principal.cloud == \"private\" };", 1);
        assert_eq!(found(&narrower, VALUES), ["the rule all, which permits, changes"]);
        let more = format!("{RULES}{}", all.replace("\"all\"", "\"more\""));
        assert_eq!(found(&more, VALUES), ["the rule more, which permits, is new: it may open what was closed"]);
    }

    #[test]
    fn a_rule_that_is_put_into_trial_is_named_and_one_that_begins_there_is_not() {
        for mode in ["warn", "audit"] {
            let trial =
                |id: &str| RULES.replace(&format!("@id(\"{id}\")"), &format!("@id(\"{id}\") @mode(\"{mode}\")"));
            let told = |does: &str| format!("which {does}, does not decide any more: it is in trial (@mode {mode})");
            assert_eq!(found(&trial("no"), VALUES), [format!("the rule no, {}", told("forbids"))]);
            assert_eq!(found(&trial("all"), VALUES), [format!("the rule all, {}", told("permits"))]);
            let new = "@id(\"new\") @mode(\"audit\") permit (principal, action, resource);";
            assert_eq!(found(&format!("{RULES}{new}"), VALUES), [""; 0]);
            // What leaves its trial decides from then on: a permit may open.
            let tried = policy(&trial("all"), VALUES);
            let decides = between(&tried, &policy(RULES, VALUES));
            assert_eq!(decides, ["the rule all, which permits, is new: it may open what was closed"]);
            assert_eq!(between(&policy(&trial("no"), VALUES), &policy(RULES, VALUES)), [""; 0], "it only closes");
        }
    }

    #[test]
    fn what_is_only_said_of_a_rule_is_not_named() {
        let said =
            RULES.replace("@id(\"no\")", "@id(\"no\")\n@title(\"t\")\n@reason(\"r\")\n@contact(\"c\")\n// why\n");
        assert!(said.contains("@contact"));
        assert!(found(&said, VALUES).is_empty());
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
    fn a_forbid_or_a_value_that_only_comes_is_not_named() {
        let more = format!(
            "{RULES}@id(\"more\") forbid (principal, action, resource) when {{ resource.platform == \"x\" }};\n"
        );
        let values = format!(r#"{VALUES},"secret":{{"fit":[]}}"#);
        assert!(found(&more, &values).is_empty());
        assert!(found(RULES, VALUES).is_empty());
    }
}
