//! Random rules on random facts, beside the second implementation; and what must hold of every set of rules.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};
use serde_json::{Value, json};
use trust_image::ImageFacts;
use trust_policy::floor::Bare;
use trust_policy::{Action, Cause, Cloud, Effect, Environment, Policy, Source, Subject, shipped};

use crate::common::{KEY, NOW, dictionary, identity, shipped_policy, shipped_sources, source};
use crate::properties::{actions, environments, subjects};
use crate::second::{self, Condition, Judge, Rule};

fn word(of: &[&'static str]) -> impl Strategy<Value = String> {
    select(of.to_vec()).prop_map(str::to_owned)
}

fn words(of: &'static [&'static str]) -> impl Strategy<Value = Vec<String>> {
    subsequence(of, 1..=of.len()).prop_map(|words| words.into_iter().map(str::to_owned).collect())
}

fn leaf() -> impl Strategy<Value = Condition> {
    let signer = || word(&["ci", "alice", "bob", "x"]);
    let platform = || word(&["linux/amd64", "linux/arm64/v8", "unknown/unknown"]);
    prop_oneof![
        select(Cloud::ALL.to_vec()).prop_map(Condition::Cloud),
        word(&["eu", "us"]).prop_map(Condition::Name),
        word(&["a", "eu"]).prop_map(Condition::Region),
        (word(&["a", "b"]), word(&["a", "b"])).prop_map(|(key, value)| Condition::EnvLabel(key, value)),
        word(&[KEY, "com.example.a", ""]).prop_map(Condition::HasLabel),
        word(&["public", "internal", "PII"]).prop_map(|value| Condition::Label(KEY.to_owned(), value)),
        (word(&["com.example.a", "é\"\\"]), word(&["public", "pii"])).prop_map(|(k, v)| Condition::Label(k, v)),
        (word(&[KEY, "com.example.a"]), word(&["public", "pii"])).prop_map(|(k, v)| Condition::Annotation(k, v)),
        (word(&[KEY, "com.example.a"]), word(&["public", "pii"])).prop_map(|(k, v)| Condition::Stated(k, v)),
        Just(Condition::Fit),
        word(&["7", "pii"]).prop_map(Condition::Tag),
        words(&["7", "PII", "pii", "a"]).prop_map(Condition::AnyTag),
        Just(Condition::Moved),
        signer().prop_map(Condition::Signer),
        words(&["ci", "alice"]).prop_map(Condition::AllSigners),
        signer().prop_map(Condition::Conflict),
        Just(Condition::NoConflicts),
        platform().prop_map(Condition::Platform),
        words(&["linux/amd64", "linux/arm64/v8"]).prop_map(Condition::AllPlatforms),
        proptest::collection::vec(word(&["", "h", "hr", "r/", "l", "payroll"]), 1..5).prop_map(Condition::Repository),
        (-1_000_000_000..3_000_000_000_i64).prop_map(Condition::SignedBefore),
        (-90..90_i64).prop_map(Condition::OlderThanDays),
        (0..9_i64).prop_map(Condition::RootAtLeast),
        prop_oneof![(0..3_i64), Just(i64::MAX - 4), Just(i64::MAX)].prop_map(Condition::RootPlus),
        select(Action::ALL.to_vec()).prop_map(Condition::Act),
    ]
}

fn condition() -> impl Strategy<Value = Condition> {
    leaf().prop_recursive(3, 8, 3, |inner| {
        let boxed = move || inner.clone().prop_map(Box::new);
        prop_oneof![
            boxed().prop_map(Condition::Not),
            (boxed(), boxed()).prop_map(|(a, b)| Condition::And(a, b)),
            (boxed(), boxed()).prop_map(|(a, b)| Condition::Or(a, b)),
            (boxed(), boxed(), boxed()).prop_map(|(c, a, b)| Condition::If(c, a, b)),
        ]
    })
}

fn rule() -> impl Strategy<Value = Rule> {
    let effect = select(vec![Effect::Permit, Effect::Permit, Effect::Forbid]);
    let clause = || proptest::option::of(condition());
    (effect, subsequence(Action::ALL.to_vec(), 1..=3), clause(), clause())
        .prop_map(|(effect, actions, when, unless)| Rule { id: String::new(), effect, actions, when, unless })
}

/// Rules with names of their own, not in their order.
fn rules() -> impl Strategy<Value = Vec<Rule>> {
    proptest::collection::vec(rule(), 1..6).prop_map(|mut rules| {
        let count = rules.len();
        rules.iter_mut().enumerate().for_each(|(n, rule)| rule.id = format!("r{}", (n * 7 + 3) % (count * 7)));
        rules
    })
}

fn sources(rules: &[Rule]) -> Vec<Source> {
    let text: String = rules.iter().map(Rule::text).collect();
    vec![source("_policy/random.cedar", &text), dictionary()]
}

fn load(rules: &[Rule]) -> Policy {
    let sources = sources(rules);
    Policy::load(&sources, identity()).unwrap_or_else(|e| panic!("{e}\n{}", String::from_utf8_lossy(&sources[0].bytes)))
}

/// The shipped rules, those and the example of signers, and the forbid-style example.
fn shared() -> &'static [Policy; 3] {
    static POLICIES: std::sync::OnceLock<[Policy; 3]> = std::sync::OnceLock::new();
    POLICIES.get_or_init(|| {
        let signers = with("policy/signers.cedar.example", shipped_sources());
        [shipped_policy(), signers, with("policy/pii-forbid.cedar.example", vec![dictionary()])]
    })
}

fn with(of: &str, into: Vec<Source>) -> Policy {
    let (path, text) = shipped::FILES.iter().find(|(path, _)| *path == of).unwrap();
    let mut sources = into;
    sources.push(source(&format!("_{}", path.trim_end_matches(".example")), text));
    Policy::load(&sources, identity()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn random_rules_on_random_facts_are_decided_as_by_the_second_implementation(
        rules in rules(), env in environments(), action in actions(), subject in subjects(), now in -200_000_000_000..300_000_000_000_i64
    ) {
        let policy = load(&rules);
        let decision = policy.decide(&env, action, &subject, now);
        let judges: Vec<Judge> = rules.iter().map(Rule::judge).collect();
        let text: String = rules.iter().map(Rule::text).collect();
        prop_assert_eq!(second::told(&decision), second::decide(&judges, &env, action, &subject, now), "{}", text);
    }

    /// The rules of each action are kept apart. Cedar itself, asked with all of them at once, says the same.
    #[test]
    fn the_rules_that_are_kept_for_one_action_decide_as_cedar_does_by_all_rules_at_once(
        rules in rules(), env in environments(), action in actions(), subject in subjects()
    ) {
        let plain = plain(subject);
        let decision = load(&rules).decide(&env, action, &plain, NOW);
        if !matches!(decision.cause, Cause::Error | Cause::NoFacts) {
            let bare = Bare::new(&sources(&rules)).unwrap();
            prop_assert_eq!(bare.ask(&env, action, &plain, &[], "2030-03-17T17:46:40Z"), Ok(decision.allowed));
        }
    }

    #[test]
    fn a_rule_that_forbids_more_never_allows_more(rules in rules(), more in rule(), env in environments(), action in actions(), subject in subjects()) {
        let before = load(&rules).decide(&env, action, &subject, NOW);
        let mut with = rules.clone();
        with.push(Rule { id: "more".to_owned(), effect: Effect::Forbid, ..more });
        let after = load(&with).decide(&env, action, &subject, NOW);
        prop_assert!(before.allowed || !after.allowed);
        if after.allowed {
            prop_assert_eq!(before.rules, after.rules);
        }
    }

    #[test]
    fn a_rule_that_permits_less_never_allows_more(rules in rules(), env in environments(), action in actions(), subject in subjects(), at in any::<Index>()) {
        let before = load(&rules).decide(&env, action, &subject, NOW);
        let mut with = rules.clone();
        let at = at.index(with.len());
        if with[at].effect == Effect::Permit && with.len() > 1 && before.cause != Cause::Error {
            with.remove(at);
            let after = load(&with).decide(&env, action, &subject, NOW);
            prop_assert!(before.allowed || !after.allowed);
        }
    }

    #[test]
    fn one_rule_twice_under_two_names_decides_nothing_else(rules in rules(), env in environments(), action in actions(), subject in subjects(), at in any::<Index>()) {
        let before = load(&rules).decide(&env, action, &subject, NOW);
        let mut with = rules.clone();
        with.push(Rule { id: "twice".to_owned(), ..rules[at.index(rules.len())].clone() });
        let after = load(&with).decide(&env, action, &subject, NOW);
        prop_assert_eq!(before.cause, after.cause);
        let verdicts = |decision: &trust_policy::Decision| decision.platforms.iter().map(|p| p.verdict).collect::<Vec<_>>();
        prop_assert_eq!(verdicts(&before), verdicts(&after));
        with.push(with[0].clone());
        prop_assert!(Policy::load(&sources(&with), identity()).is_err(), "one id twice loads");
    }

    #[test]
    fn the_order_of_rules_and_files_decides_nothing(rules in rules(), env in environments(), action in actions(), subject in subjects()) {
        let before = load(&rules).decide(&env, action, &subject, NOW);
        let mut files: Vec<Source> = rules.iter().enumerate().map(|(n, rule)| source(&format!("_policy/f{n}.cedar"), &rule.text())).collect();
        files.push(dictionary());
        files.reverse();
        let after = Policy::load(&files, identity()).unwrap().decide(&env, action, &subject, NOW);
        prop_assert_eq!(second::told(&before), second::told(&after));
        prop_assert_eq!(before.facts, after.facts);
    }

    #[test]
    fn the_order_of_labels_platforms_and_names_decides_nothing(rules in rules(), env in environments(), action in actions(), subject in subjects(), turn in any::<Index>()) {
        let policy = load(&rules);
        let Some(facts) = subject.facts.clone() else { return Ok(()) };
        // As text, with the members of every object turned round.
        let custom = turned(&json!({"image": facts}), turn.index(7));
        let Ok(Some(read)) = ImageFacts::from_custom(custom.as_bytes()) else { return Ok(()) };
        prop_assert_eq!(&read, &facts);
        let before = policy.decide(&env, action, &subject, NOW);
        let mut other = Subject { facts: Some(read), ..subject };
        prop_assert_eq!(&policy.decide(&env, action, &other, NOW), &before);
        other.signers.reverse();
        other.conflicts.reverse();
        let again = other.signers.clone();
        other.signers.extend(again);
        if let Some(facts) = &mut other.facts {
            facts.platforms.reverse();
            facts.tags.reverse();
        }
        let after = policy.decide(&env, action, &other, NOW);
        prop_assert_eq!(after.cause, before.cause);
        prop_assert_eq!(second::told(&after).rules, second::told(&before).rules);
    }

    #[test]
    fn the_examples_are_decided_as_by_the_second_implementation(env in environments(), action in actions(), subject in subjects()) {
        let [_, signers, forbid] = shared();
        let judges: Vec<Judge> = second::shipped().into_iter().chain(second::signers()).collect();
        let decision = signers.decide(&env, action, &subject, NOW);
        prop_assert_eq!(second::told(&decision), second::decide(&judges, &env, action, &subject, NOW));
        let decision = forbid.decide(&env, action, &subject, NOW);
        prop_assert_eq!(second::told(&decision), second::decide(&second::forbid_style(), &env, action, &subject, NOW));
    }

    /// Facts that speak for an image: without one of them never more is allowed. Those that speak against it (a tag called
    /// PII, an annotation, a statement or a platform that is not fit, a value outside of the dictionary) are named here, and no other.
    #[test]
    fn a_fact_less_never_allows_more_by_the_shipped_rules(env in environments(), action in actions(), subject in subjects(), at in any::<Index>()) {
        let [policy, ..] = shared();
        let before = policy.decide(&env, action, &subject, NOW);
        prop_assume!(before.cause != Cause::Error);
        for (what, less) in without_one(&subject, at) {
            let after = policy.decide(&env, action, &less, NOW);
            prop_assert!(before.allowed || !after.allowed, "without {}: {:?}", what, after.rules);
        }
        for less in [
            Environment { region: None, ..env.clone() },
            Environment { labels: BTreeMap::new(), ..env.clone() },
            Environment::strictest(),
        ] {
            let after = policy.decide(&less, action, &subject, NOW);
            prop_assert!(before.allowed || !after.allowed, "{:?}", less);
        }
    }
}

/// The image without what a bare call does not know: governed labels, the tag that was asked for, a tag that moved.
fn plain(mut subject: Subject) -> Subject {
    subject.tag_moved = Some(false);
    subject.root_version %= 1_000;
    if let Some(facts) = &mut subject.facts {
        facts.annotations.remove(KEY);
        facts.stated.remove(KEY);
        facts.platforms.iter_mut().for_each(|platform| drop(platform.labels.remove(KEY)));
        facts.signed = "2030-01-01T00:00:00Z".to_owned();
        facts.tags.extend(subject.reference.tag().map(str::to_owned));
    }
    subject
}

/// The JSON with the members of its objects turned by so many places.
fn turned(value: &Value, by: usize) -> String {
    match value {
        Value::Object(members) => {
            let mut parts: Vec<String> =
                members.iter().map(|(name, value)| format!("{}:{}", json!(name), turned(value, by))).collect();
            let places = by.checked_rem(parts.len()).unwrap_or(0);
            parts.rotate_left(places);
            format!("{{{}}}", parts.join(","))
        }
        Value::Array(items) => {
            format!("[{}]", items.iter().map(|item| turned(item, by)).collect::<Vec<_>>().join(","))
        }
        other => other.to_string(),
    }
}

/// The image with one fact less, in every kind that speaks for it.
fn without_one(subject: &Subject, at: Index) -> Vec<(String, Subject)> {
    let known = |value: &str| ["public", "internal", "PII", "pii"].contains(&value);
    let mut found = vec![("all facts".to_owned(), Subject { facts: None, ..subject.clone() })];
    let mut add = |what: &str, change: &dyn Fn(&mut Subject)| {
        let mut less = subject.clone();
        change(&mut less);
        found.push((what.to_owned(), less));
    };
    let Some(facts) = &subject.facts else { return found };
    for (n, platform) in facts.platforms.iter().enumerate() {
        let ours = platform.labels.iter().filter(|(key, value)| *key != KEY || known(value));
        for key in ours.map(|(key, _)| key) {
            add(key, &|less| drop(less.facts.as_mut().unwrap().platforms[n].labels.remove(key)));
        }
    }
    add("platforms", &|less| less.facts.as_mut().unwrap().platforms.clear());
    for key in facts.annotations.keys().filter(|key| *key != KEY) {
        add(key, &|less| drop(less.facts.as_mut().unwrap().annotations.remove(key)));
    }
    for key in facts.stated.keys().filter(|key| *key != KEY) {
        add(key, &|less| drop(less.facts.as_mut().unwrap().stated.remove(key)));
    }
    for tag in facts.tags.iter().filter(|tag| !tag.eq_ignore_ascii_case("pii")) {
        add(tag, &|less| less.facts.as_mut().unwrap().tags.retain(|other| other != tag));
    }
    if !subject.signers.is_empty() {
        add("a signer", &|less| drop(less.signers.remove(at.index(subject.signers.len()))));
    }
    add("the time of the tag", &|less| less.tag_moved = None);
    add("the version of the root", &|less| less.root_version = 0);
    found
}
