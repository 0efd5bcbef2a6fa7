//! What `trust policy check` finds, and what it must not find.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use trust_policy::{Action, Cloud, Environment, Finding, FindingKind, Policy, Severity, Subject, lint};

use crate::common::{KEY, NOW, dictionary, identity, labels, platform, shipped_sources, source, subject};

const PERMIT: &str = "@id(\"all\") permit (principal, action, resource);\n";

fn found_in(rules: &str) -> Vec<Finding> {
    let sources = [source("_policy/main.cedar", rules), dictionary()];
    let policy = Policy::load(&sources, identity()).unwrap_or_else(|e| panic!("{e}\n{rules}"));
    let mut found = lint(&policy, &sources);
    // Most rules here do not read the one governed label.
    found.retain(|finding| finding.kind != FindingKind::KeyNotRead);
    found
}

fn kinds(rules: &str) -> Vec<(FindingKind, String)> {
    found_in(rules).into_iter().map(|finding| (finding.kind, finding.rule.unwrap())).collect()
}

fn rule(id: &str, effect: &str, condition: &str) -> String {
    format!("@id(\"{id}\")\n{effect} (principal, action, resource)\nwhen {{ {condition} }};\n")
}

/// Whether it is told that the condition never matches, by strict validation or by what is looked for here.
fn never(condition: &str) -> bool {
    let told = ["permit", "forbid"].map(|effect| {
        let rules = format!("{PERMIT}{}", rule("r", effect, condition));
        let policy = Policy::load(&[source("_policy/main.cedar", &rules), dictionary()], identity()).unwrap();
        let of_rule = (FindingKind::NeverMatches, "r".to_owned());
        let found = kinds(&rules).into_iter().filter(|kind| *kind == of_rule).count();
        found + policy.warnings().iter().filter(|told| told.contains("impossible")).count()
    });
    assert!(told == [0, 0] || told == [1, 1], "{condition}: {told:?}");
    told == [1, 1]
}

fn label(value: &str) -> String {
    format!("(resource.hasTag(\"{KEY}\") && resource.getTag(\"{KEY}\") == \"{value}\")")
}

#[test]
fn a_rule_whose_conditions_contradict_each_other_is_found_and_its_near_miss_is_not() {
    let (pii, public) = (label("PII"), label("public"));
    let contradictions = [
        "principal.cloud == \"public\" && principal.cloud == \"private\"".to_owned(),
        "principal.cloud != \"public\" && principal.cloud != \"private\"".to_owned(),
        format!("{pii} && {public}"),
        format!("{pii} && !resource.hasTag(\"{KEY}\")"),
        format!("resource.fit.contains(\"{KEY}\") && !resource.hasTag(\"{KEY}\")"),
        format!("principal.cloud == \"public\" && {pii} && resource.fit.contains(\"{KEY}\")"),
        format!(
            "resource.hasTag(\"{KEY}\") && !([\"PII\", \"internal\", \"public\"].contains(resource.getTag(\"{KEY}\")))"
        ),
        "resource.repository == \"pay/api\" && resource.repository like \"hr/*\"".to_owned(),
        "resource.repository like \"pay/*\" && resource.repository like \"hr/*\"".to_owned(),
        "resource.repository like \"pay/api/*\" && !(resource.repository like \"pay/*\")".to_owned(),
        "resource has tag && resource.tag == \"v1\" && resource.tag == \"v2\"".to_owned(),
        "!(resource has tag) && resource has tag && resource.tag == \"v1\"".to_owned(),
        "resource.signers.contains(\"ci\") && !resource.signers.containsAny([\"ci\", \"alice\"])".to_owned(),
        "resource.signers.containsAll([\"ci\", \"bob\"]) && !resource.signers.contains(\"bob\")".to_owned(),
        "resource.signers.isEmpty() && resource.signers.contains(\"ci\")".to_owned(),
        "resource.tag_moved && resource.tag_moved == false".to_owned(),
        "action == Action::\"pull\" && action == Action::\"deploy\"".to_owned(),
        "principal == Environment::\"eu\" && principal.name == \"us\"".to_owned(),
        "principal.hasTag(\"stage\") && principal.getTag(\"stage\") == \"a\" && principal.getTag(\"stage\") == \"b\""
            .to_owned(),
        "resource.root_version < 3 && resource.root_version >= 3".to_owned(),
        "if principal.cloud == \"public\" then principal.cloud == \"private\" else principal.cloud == \"public\""
            .to_owned(),
        "resource.annotations.hasTag(\"a\") && !resource.annotations.hasTag(\"a\")".to_owned(),
        "resource.stated.hasTag(\"a\") && !resource.stated.hasTag(\"a\")".to_owned(),
        "resource.stated.hasTag(\"a\") && resource.stated.getTag(\"a\") == \"x\" && resource.stated.getTag(\"a\") == \"y\""
            .to_owned(),
    ];
    for condition in contradictions {
        assert!(never(&condition), "not found: {condition}");
    }
    let possible = [
        "principal.cloud == \"public\" || principal.cloud == \"private\"".to_owned(),
        "principal.cloud == \"public\" && principal.cloud != \"private\"".to_owned(),
        format!("{pii} || {public}"),
        format!("{pii} && resource.hasTag(\"{KEY}\")"),
        format!("resource.fit.contains(\"{KEY}\") && resource.hasTag(\"{KEY}\")"),
        format!("principal.cloud == \"private\" && {pii} && resource.fit.contains(\"{KEY}\")"),
        format!("principal.cloud == \"private\" && {pii} && !resource.fit.contains(\"{KEY}\")"),
        format!("resource.hasTag(\"{KEY}\") && !([\"PII\", \"internal\"].contains(resource.getTag(\"{KEY}\")))"),
        "resource.repository == \"hr/api\" && resource.repository like \"hr/*\"".to_owned(),
        "resource.repository like \"pay/*\" && resource.repository like \"*/api\"".to_owned(),
        "resource.repository like \"pay/*\" && !(resource.repository like \"pay/api/*\")".to_owned(),
        "resource.repository != \"a\" && resource.repository != \"b\"".to_owned(),
        "resource has tag && resource.tag == \"v1\" && resource.repository == \"v2\"".to_owned(),
        "resource.signers.contains(\"ci\") && !resource.signers.containsAll([\"ci\", \"alice\"])".to_owned(),
        "resource.signers.contains(\"ci\") && !resource.conflicts.contains(\"ci\")".to_owned(),
        "resource.signers.isEmpty() && resource.conflicts.contains(\"ci\")".to_owned(),
        "principal == Environment::\"eu\" && principal.name == \"eu\"".to_owned(),
        "principal.hasTag(\"stage\") && principal.getTag(\"stage\") == \"a\" && !resource.hasTag(\"stage\")".to_owned(),
        "resource.root_version < 3 && resource.root_version >= 2".to_owned(),
        "resource.annotations.hasTag(\"a\") && !resource.hasTag(\"a\")".to_owned(),
        "resource.annotations.hasTag(\"a\") && !resource.stated.hasTag(\"a\")".to_owned(),
    ];
    for condition in possible {
        assert!(!never(&condition), "found: {condition}");
    }
}

#[test]
fn a_contradiction_is_told_with_its_place_and_the_conditions_that_make_it() {
    let rules = format!(
        "{PERMIT}\n  @id(\"r\")\nforbid (principal, action, resource)\nwhen {{ resource.tag_moved && principal.cloud == \"public\" }}\nunless {{ principal.cloud != \"private\" || resource.signers.contains(\"ci\") }};\n"
    );
    let found = found_in(&rules);
    let [finding] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((finding.path.as_str(), finding.line, finding.column), ("_policy/main.cedar", 3, 3));
    assert_eq!(
        finding.message,
        "rule r never matches: principal.cloud == \"public\" and !(principal.cloud != \"private\") are never true together"
    );
    assert_eq!(finding.severity, Severity::Warning);
}

#[test]
fn what_loading_says_already_is_not_said_twice() {
    let sources = [source("_policy/main.cedar", &format!("{PERMIT}{}", rule("r", "forbid", "false"))), dictionary()];
    let policy = Policy::load(&sources, identity()).unwrap();
    assert!(policy.warnings().iter().any(|told| told.contains("impossible")), "{:?}", policy.warnings());
    assert!(lint(&policy, &sources).iter().all(|finding| finding.kind == FindingKind::KeyNotRead));
}

#[test]
fn a_permit_under_a_forbid_that_is_equal_or_wider_is_found_and_one_that_is_wider_itself_is_not() {
    let covered = |permit: &str, forbid: &str| {
        let rules = format!("{}{}", rule("p", "permit", permit), rule("f", "forbid", forbid));
        match kinds(&rules).as_slice() {
            [] => false,
            [(FindingKind::NeverPermits, id)] if id == "p" => true,
            other => panic!("{permit} / {forbid}: {other:?}"),
        }
    };
    for (permit, forbid) in [
        ("principal.cloud == \"public\"", "principal.cloud == \"public\""),
        ("principal.cloud == \"public\" && resource.tag_moved", "principal.cloud != \"private\""),
        ("resource.repository like \"pay/api/*\"", "resource.repository like \"pay/*\""),
        ("resource.repository == \"pay/api\"", "resource.repository like \"pay/*\""),
        ("resource.signers.containsAll([\"a\", \"b\"])", "resource.signers.containsAny([\"b\", \"c\"])"),
        (&label("PII"), &format!("resource.hasTag(\"{KEY}\") && resource.getTag(\"{KEY}\") != \"public\"")),
        (&format!("principal.cloud == \"public\" && {}", label("PII")), &format!("!resource.fit.contains(\"{KEY}\")")),
        ("resource.tag_moved", "true"),
    ] {
        assert!(covered(permit, forbid), "not found: {permit} / {forbid}");
    }
    for (permit, forbid) in [
        ("principal.cloud == \"public\"", "principal.cloud == \"private\""),
        ("principal.cloud != \"private\"", "principal.cloud == \"public\" && resource.tag_moved"),
        ("resource.repository like \"pay/*\"", "resource.repository like \"pay/api/*\""),
        ("resource.repository like \"pay/*\"", "resource.repository == \"pay/api\""),
        ("resource.signers.containsAny([\"b\", \"c\"])", "resource.signers.containsAll([\"a\", \"b\"])"),
        // An image whose label an annotation contradicts is not fit.
        (&format!("principal.cloud == \"private\" && {}", label("PII")), &format!("!resource.fit.contains(\"{KEY}\")")),
        ("resource.tag_moved", "resource.signers.contains(\"ci\")"),
    ] {
        assert!(!covered(permit, forbid), "found: {permit} / {forbid}");
    }
}

#[test]
fn a_permit_for_one_action_is_not_covered_by_a_forbid_for_another_one() {
    let of = |permit: &str, forbid: &str| {
        kinds(&format!(
            "@id(\"p\") permit (principal, {permit}, resource);\n@id(\"f\") forbid (principal, {forbid}, resource);\n"
        ))
    };
    let found = vec![(FindingKind::NeverPermits, "p".to_owned())];
    assert_eq!(of("action == Action::\"pull\"", "action == Action::\"pull\""), found);
    assert_eq!(of("action == Action::\"pull\"", "action in [Action::\"pull\", Action::\"deploy\"]"), found);
    assert_eq!(of("action == Action::\"pull\"", "action"), found);
    assert_eq!(of("action == Action::\"pull\"", "action == Action::\"deploy\""), []);
    assert_eq!(of("action", "action == Action::\"deploy\""), []);
}

#[test]
fn a_forbid_under_another_forbid_is_found_and_is_a_note_where_it_has_words_of_its_own() {
    let wide = rule("wide", "forbid", "principal.cloud == \"public\"");
    let narrow = rule("narrow", "forbid", "principal.cloud == \"public\" && resource.tag_moved");
    let found = found_in(&format!("{PERMIT}{narrow}{wide}"));
    let [finding] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((finding.kind, finding.severity), (FindingKind::AddsNothing, Severity::Warning));
    assert_eq!((finding.rule.as_deref(), finding.covered_by.as_deref()), (Some("narrow"), Some("wide")));
    assert!(finding.message.contains("rule wide (_policy/main.cedar:5:1) forbids all"), "{}", finding.message);
    for own in ["@reason(\"x\")\n", "@contact(\"x\")\n"] {
        let found = found_in(&format!("{PERMIT}{own}{narrow}{wide}"));
        assert_eq!((found.len(), found[0].severity), (1, Severity::Note), "{found:?}");
    }
    let beside = rule("narrow", "forbid", "principal.cloud == \"private\" && resource.tag_moved");
    assert_eq!(found_in(&format!("{PERMIT}{beside}{wide}")), []);
}

#[test]
fn of_two_rules_that_forbid_the_same_the_first_one_stays() {
    let one = rule("b", "forbid", "principal.cloud == \"public\"");
    let two = rule("a", "forbid", "principal.cloud != \"private\"");
    assert_eq!(kinds(&format!("{PERMIT}{one}{two}")), [(FindingKind::AddsNothing, "a".to_owned())]);
}

#[test]
fn a_governed_label_that_no_rule_reads_is_found_where_it_stands() {
    let file = "{ \"schema\": \"trust/labels/v1\",\n  \"labels\": {\n    \"read\": { \"description\": \"unread\", \"values\": { \"a\": { \"fit\": [] } } },\n    \"un\\u0072ead\": { \"values\": { \"unread\": { \"fit\": [] } } }, \"fit\": { \"values\": { \"a\": { \"fit\": [] } } }\n  }\n}\n";
    let rules = "@id(\"a\") permit (principal, action, resource) when { resource.hasTag(\"read\") || resource.fit.contains(\"fit\") };";
    let sources = [source("_policy/a.cedar", rules), source("_labels/x.json", file)];
    let found = lint(&Policy::load(&sources, identity()).unwrap(), &sources);
    let [finding] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((finding.kind, finding.label.as_deref()), (FindingKind::KeyNotRead, Some("unread")));
    assert_eq!((finding.path.as_str(), finding.line, finding.column), ("_labels/x.json", 4, 5));
    assert_eq!(finding.severity, Severity::Warning);
    let required = file.replace("\"un\\u0072ead\": { ", "\"un\\u0072ead\": { \"required\": [\"*\"], ");
    let sources = [source("_policy/a.cedar", rules), source("_labels/x.json", &required)];
    let found = lint(&Policy::load(&sources, identity()).unwrap(), &sources);
    assert_eq!((found.len(), found[0].severity), (1, Severity::Note), "a label that must be there does something");
}

#[test]
fn labels_and_values_that_the_dictionary_does_not_have_are_told_at_their_column() {
    let sources = |rules: &str| [source("_policy/a.cedar", rules), dictionary()];
    let near = format!(
        "{PERMIT}@title(\"com.example.date\")\n{}",
        rule("r", "forbid", "resource.hasTag(\"com.example.date\")")
    );
    let policy = Policy::load(&sources(&near), identity()).unwrap();
    let told = "_policy/a.cedar:5:24: rule r: the label \"com.example.date\" is not in the dictionary; did you mean \"com.example.data\"?";
    assert_eq!(policy.warnings(), [told]);
    let wrong = rule("r", "permit", &format!("resource.hasTag(\"{KEY}\") && resource.getTag(\"{KEY}\") == \"secret\""));
    let refused = Policy::load(&sources(&wrong), identity()).unwrap_err().to_string();
    assert!(
        refused.starts_with("_policy/a.cedar:3:86: rule r: the label \"com.example.data\" is compared"),
        "{refused}"
    );
}

/// One more pigeon than holes: the permit puts each somewhere, the forbid matches where two share a hole.
fn pigeons(holes: usize) -> String {
    let at = |pigeon: usize, hole: usize| format!("\"{pigeon}-{hole}\"");
    let list = |items: Vec<String>| format!("[{}]", items.join(", "));
    let somewhere =
        (0..=holes).map(|p| format!("resource.signers.containsAny({})", list((0..holes).map(|h| at(p, h)).collect())));
    let shared = (0..holes).flat_map(|hole| (0..holes).map(move |pigeon| (pigeon, hole))).map(|(pigeon, hole)| {
        let others = list((pigeon + 1..=holes).map(|other| at(other, hole)).collect());
        format!("resource.signers.contains({}) && resource.signers.containsAny({others})", at(pigeon, hole))
    });
    let permit = rule("p", "permit", &somewhere.collect::<Vec<_>>().join(" && "));
    permit + &rule("f", "forbid", &shared.collect::<Vec<_>>().join(" || "))
}

#[test]
fn what_takes_too_long_to_know_is_not_said() {
    assert_eq!(kinds(&pigeons(2)), [(FindingKind::NeverPermits, "p".to_owned())]);
    assert_eq!(kinds(&pigeons(5)), []);
}

#[test]
fn long_texts_and_patterns_are_not_compared_and_nothing_is_said_of_them() {
    let (star, text) = ("*a".repeat(20_000), "a".repeat(40_000));
    let condition = format!("resource.repository like \"{star}\" && resource.repository == \"{text}b\"");
    assert!(!never(&condition));
    // A short one is.
    assert!(never("resource.repository like \"*a*a\" && resource.repository == \"aab\""));
    let long = format!("resource.repository like \"*b\" && resource.repository == \"{text}\"");
    assert!(!never(&long));
}

#[test]
fn many_rules_that_have_little_in_common_are_no_finding() {
    let mut rules = PERMIT.to_owned();
    for n in 0..300 {
        let effect = if n % 2 == 0 { "permit" } else { "forbid" };
        let condition = format!("resource.repository like \"team-{n}/*\" && resource.signers.contains(\"s{}\")", n % 7);
        rules.push_str(&rule(&format!("r{n}"), effect, &condition));
    }
    assert_eq!(found_in(&rules), []);
}

#[test]
fn the_shipped_set_is_free_of_findings() {
    let sources = shipped_sources();
    let policy = Policy::load(&sources, identity()).unwrap();
    assert_eq!((lint(&policy, &sources), policy.warnings().to_vec()), (vec![], vec![]));
}

/// Conditions of few words, so that rules cover and contradict each other often.
pub(crate) fn condition() -> impl Strategy<Value = String> {
    let atoms: Vec<String> = [
        "principal.cloud == \"public\"",
        "principal.cloud == \"private\"",
        "[\"public\", \"private\"].contains(principal.cloud)",
        "principal.name == \"eu\"",
        "principal == Environment::\"us\"",
        "principal.name like \"e*\"",
        "principal has region",
        "(principal has region && principal.region == \"west\")",
        "(principal has region && principal.region like \"w*t\")",
        "(principal.hasTag(\"stage\") && principal.getTag(\"stage\") == \"a\")",
        "(principal.hasTag(\"stage\") && [\"a\", \"b\"].contains(principal.getTag(\"stage\")))",
        "resource.hasTag(\"com.example.data\")",
        "(resource.hasTag(\"com.example.data\") && resource.getTag(\"com.example.data\") == \"PII\")",
        "(resource.hasTag(\"com.example.data\") && resource.getTag(\"com.example.data\") != \"public\")",
        "resource.fit.contains(\"com.example.data\")",
        "resource has tag",
        "(resource has tag && resource.tag == \"v1\")",
        "(resource has tag && resource.tag like \"v*\")",
        "(resource has tag && resource.tag like \"v1*\")",
        "resource.tags.contains(\"v1\")",
        "resource.tag_moved",
        "resource.signers.contains(\"ci\")",
        "resource.signers.containsAll([\"ci\", \"qa\"])",
        "resource.signers.containsAny([\"ci\", \"qa\"])",
        "[\"ci\", \"alice\"].containsAny(resource.signers)",
        "resource.signers.isEmpty()",
        "resource.repository == \"pay/api\"",
        "resource.repository like \"pay/*\"",
        "resource.repository like \"*/api\"",
        "resource.repository like \"hr/*\"",
        "resource.root_version < 2",
        "resource.root_version >= 2",
        "2 <= resource.root_version",
        "action == Action::\"deploy\"",
        "action in [Action::\"pull\", Action::\"promote\"]",
        "true",
    ]
    .map(str::to_owned)
    .to_vec();
    let atom = proptest::sample::select(atoms);
    atom.prop_recursive(3, 6, 2, |inner| {
        prop_oneof![
            2 => inner.clone().prop_map(|one| format!("!({one})")),
            3 => (inner.clone(), inner.clone()).prop_map(|(one, two)| format!("({one} && {two})")),
            2 => (inner.clone(), inner.clone()).prop_map(|(one, two)| format!("({one} || {two})")),
            1 => (inner.clone(), inner.clone(), inner).prop_map(|(one, two, three)| format!("(if {one} then {two} else {three})")),
        ]
    })
}

/// Situations of the same words.
fn situation() -> impl Strategy<Value = (Environment, Subject, Action)> {
    let environment = (
        any::<bool>(),
        proptest::sample::select(vec!["eu", "us", "e-west"]),
        proptest::option::of(proptest::sample::select(vec!["west", "wet", "east"])),
        proptest::option::of(proptest::sample::select(vec!["a", "b", "c"])),
    );
    let image = (
        proptest::option::of(proptest::sample::select(vec!["PII", "internal", "public"])),
        proptest::sample::select(vec!["pay/api", "pay/web", "hr/api", "hr/x"]),
        proptest::option::of(proptest::sample::select(vec!["v1", "v10", "v2", "latest"])),
        proptest::sample::subsequence(vec!["ci", "qa", "alice"], 0..=3),
        any::<bool>(),
        1_u64..4,
    );
    (environment, image, proptest::sample::select(Action::ALL.to_vec())).prop_map(|(environment, image, action)| {
        let (public, name, region, stage) = environment;
        let cloud = if public { Cloud::Public } else { Cloud::Private };
        let region = region.map(str::to_owned);
        let stage: BTreeMap<String, String> =
            stage.map(|stage| ("stage".to_owned(), stage.to_owned())).into_iter().collect();
        let env = Environment { region, labels: stage, ..Environment::new(name, cloud).unwrap() };
        let (data, repository, tag, signers, moved, root_version) = image;
        let labels = data.map(|value| labels(&[(KEY, value)])).unwrap_or_default();
        let mut subject = subject(vec![trust_image::PlatformFacts { labels, ..platform("linux/amd64", &[]) }]);
        let tail = tag.map_or(format!("@{}", subject.digest), |tag| format!(":{tag}"));
        subject.reference = trust_image::Reference::parse(&format!("registry.example.com/{repository}{tail}")).unwrap();
        subject.facts.as_mut().unwrap().tags = vec!["v1".to_owned()];
        subject.signers = signers.into_iter().map(str::to_owned).collect();
        (subject.tag_moved, subject.root_version) = (Some(moved), root_version);
        (env, subject, action)
    })
}

fn policy_of(rules: &[&str]) -> Option<Policy> {
    Policy::load(&[source("_policy/main.cedar", &rules.concat()), dictionary()], identity()).ok()
}

#[test]
fn what_is_found_is_so_by_cedars_own_evaluation() {
    let mut runner = TestRunner::new(Config { cases: 1_400, failure_persistence: None, ..Config::default() });
    let counts = std::cell::RefCell::new(BTreeMap::<FindingKind, usize>::new());
    let situations = proptest::collection::vec(situation(), 24);
    let rules = (condition(), condition(), any::<bool>(), situations);
    let ran = runner.run(&rules, |(one, two, permits, situations)| {
        let one = rule("one", if permits { "permit" } else { "forbid" }, &one);
        let two = rule("two", "forbid", &two);
        let sources = [source("_policy/main.cedar", &format!("{one}{two}")), dictionary()];
        // What strict validation refuses is not linted.
        let Ok(policy) = Policy::load(&sources, identity()) else { return Ok(()) };
        for finding in lint(&policy, &sources) {
            *counts.borrow_mut().entry(finding.kind).or_default() += 1;
            let text = |id: &str| if id == "one" { one.as_str() } else { two.as_str() };
            let alone = finding.rule.as_deref().map(text);
            let load = |rules: &[&str]| policy_of(rules).unwrap();
            // What must never be allowed; what must decide alike.
            let (never, alike) = match finding.kind {
                FindingKind::NeverMatches if alone == Some(one.as_str()) && permits => (Some(load(&[&one])), None),
                FindingKind::NeverMatches => (None, Some([load(&[PERMIT, alone.unwrap()]), load(&[PERMIT])])),
                FindingKind::NeverPermits => (Some(load(&[&one, &two])), None),
                FindingKind::AddsNothing => {
                    let by = text(finding.covered_by.as_deref().unwrap());
                    (None, Some([load(&[PERMIT, &one, &two]), load(&[PERMIT, by])]))
                }
                FindingKind::KeyNotRead => continue,
            };
            for (env, subject, action) in &situations {
                let allowed = |policy: &Policy| policy.decide(env, *action, subject, NOW).allowed;
                let told = || format!("{finding:?}\n{one}{two}{env:?} {subject:?}");
                prop_assert!(!never.as_ref().is_some_and(allowed), "{}", told());
                if let Some([with, without]) = &alike {
                    prop_assert_eq!(allowed(with), allowed(without), "{}", told());
                }
            }
        }
        Ok(())
    });
    ran.unwrap();
    let counts = counts.into_inner();
    for kind in [FindingKind::NeverMatches, FindingKind::NeverPermits, FindingKind::AddsNothing] {
        assert!(counts.get(&kind).is_some_and(|n| *n > 4), "too few to say anything: {counts:?}");
    }
}

#[test]
fn patterns_by_the_hundred_that_are_dear_to_compare_end_in_silence() {
    let pattern = |n: usize| format!("resource.repository like \"*{}x{n}y*\"", "a".repeat(245));
    let rule = |id: usize| {
        let patterns: Vec<String> = (0..130).map(|n| pattern(n + 1_000 * id)).collect();
        format!("@id(\"r{id}\") forbid (principal, action, resource) when {{ {} }};\n", patterns.join(" || "))
    };
    let rules: String = (0..6).map(rule).collect();
    let rules = format!("@id(\"all\") permit (principal, action, resource);\n{rules}");
    let sources = [source("_policy/main.cedar", &rules), dictionary()];
    let policy = Policy::load(&sources, identity()).unwrap();
    let begun = std::time::Instant::now();
    assert!(lint(&policy, &sources).iter().all(|finding| finding.kind == FindingKind::KeyNotRead));
    // It took minutes where the comparisons were not counted before they were made.
    assert!(begun.elapsed() < std::time::Duration::from_secs(60));
}
