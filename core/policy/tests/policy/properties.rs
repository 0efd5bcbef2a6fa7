//! Properties over random subjects, environments and rules.

use std::collections::BTreeMap;

use crate::common::{KEY, shipped_policy, subject};
use crate::second;
use proptest::prelude::*;
use trust_image::{Digest, PlatformFacts, Reference};
use trust_policy::{Action, Cause, Cloud, Environment, Policy, Subject};

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("public".to_owned()),
        Just("internal".to_owned()),
        Just("PII".to_owned()),
        Just("pii".to_owned()),
        ".{0,8}",
    ]
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![3 => Just(KEY.to_owned()), 1 => "com[.]example[.][a-z]{1,5}", 1 => ".{0,12}"]
}

/// A key that is not governed, however near.
fn other_key() -> impl Strategy<Value = String> {
    prop_oneof!["com[.]example[.][e-z]{1,5}", "[cC]om[.]example[.]Data", "com[.]example[.]data[ .]", ".{0,12}"]
}

fn platforms() -> impl Strategy<Value = Vec<PlatformFacts>> {
    let name = prop_oneof![Just("linux/amd64"), Just("linux/arm64/v8"), Just("unknown/unknown")];
    let labels = proptest::collection::btree_map(key(), value(), 0..4);
    let one = (name, labels).prop_map(|(name, labels)| PlatformFacts {
        platform: name.to_owned(),
        digest: Digest::of(name.as_bytes()),
        labels,
    });
    proptest::collection::vec(one, 0..4)
}

pub(crate) fn subjects() -> impl Strategy<Value = Subject> {
    let names = || proptest::collection::vec("ci|alice|bob|[a-z]{1,4}|.{0,6}", 0..3);
    let tags = proptest::collection::btree_set("[A-Za-z0-9]{1,4}|[Pp][Ii][Ii]", 0..3);
    let moved = proptest::option::of(any::<bool>());
    let signed = prop_oneof![9 => Just("2030-01-01T00:00:00Z".to_owned()), 1 => "[0-9]{4}-[0-9]{2}-[0-9]{2}T00:00:00Z"];
    let said = || {
        let some = proptest::collection::btree_map(key(), value(), 0..2);
        prop_oneof![3 => Just(BTreeMap::new()), 1 => some]
    };
    let rare = (signed, (said(), said()), prop_oneof![3 => 0..9_u64, 1 => any::<u64>()]);
    (platforms(), names(), names(), tags, moved, rare, 0..3_u8).prop_map(
        |(platforms, signers, conflicts, tags, tag_moved, (signed, (annotations, stated), root_version), pinned)| {
            let mut s = subject(platforms);
            s.root_version = root_version;
            (s.signers, s.conflicts, s.tag_moved) = (signers, conflicts, tag_moved);
            if let Some(tag) = [None, Some(""), Some(":7")][usize::from(pinned)] {
                s.reference = Reference::parse(&format!("registry.example.com/hr/payroll{tag}@{}", s.digest)).unwrap();
            }
            if let Some(facts) = &mut s.facts {
                (facts.annotations, facts.stated) = (annotations, stated);
                facts.tags = tags.into_iter().collect();
                facts.signed = signed;
            }
            s
        },
    )
}

pub(crate) fn environments() -> impl Strategy<Value = Environment> {
    let region = proptest::option::of("[a-z]{1,5}");
    let labels = proptest::collection::btree_map("[a-z]{1,3}", "[a-z]{1,3}", 0..3);
    (any::<bool>(), region, labels).prop_map(|(public, region, labels)| {
        let cloud = if public { Cloud::Public } else { Cloud::Private };
        Environment { region, labels, ..Environment::new("eu", cloud).unwrap() }
    })
}

pub(crate) fn actions() -> impl Strategy<Value = Action> {
    proptest::sample::select(Action::ALL.to_vec())
}

fn shared() -> &'static Policy {
    static POLICY: std::sync::OnceLock<Policy> = std::sync::OnceLock::new();
    POLICY.get_or_init(shipped_policy)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn random_subjects_never_panic_and_are_decided_as_promised(env in environments(), action in actions(), subject in subjects(), now in any::<i64>()) {
        let now = now % 200_000_000_000;
        let decision = shared().decide(&env, action, &subject, now);
        prop_assert_eq!(decision.allowed, decision.cause == Cause::Permitted);
        prop_assert_eq!(second::told(&decision), second::decide(&second::shipped(), &env, action, &subject, now));
        for text in [decision.text(), decision.line(), serde_json::to_string(&decision).unwrap()] {
            prop_assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{:?}", text);
        }
        prop_assert_eq!(decision.line().lines().count(), 1);
    }

    #[test]
    fn an_unknown_label_never_turns_a_denial_into_an_allow(env in environments(), subject in subjects(), more in other_key(), text in value(), at in any::<prop::sample::Index>()) {
        let before = shared().decide(&env, Action::Deploy, &subject, 0);
        let mut with = subject.clone();
        let platforms = &mut with.facts.as_mut().unwrap().platforms;
        if !platforms.is_empty() {
            let at = at.index(platforms.len());
            platforms[at].labels.insert(more, text);
        }
        let after = shared().decide(&env, Action::Deploy, &with, 0);
        prop_assert_eq!(before.allowed, after.allowed);
    }

    #[test]
    fn one_more_platform_never_turns_a_denial_into_an_allow(env in environments(), subject in subjects(), more in platforms()) {
        let before = shared().decide(&env, Action::Deploy, &subject, 0);
        let runnable = subject.facts.as_ref().unwrap().platforms.iter().any(|p| p.is_runnable());
        let mut with = subject.clone();
        with.facts.as_mut().unwrap().platforms.extend(more);
        let after = shared().decide(&env, Action::Deploy, &with, 0);
        prop_assert!(before.allowed || !after.allowed || !runnable);
    }

    #[test]
    fn random_texts_never_panic_the_loader(text in "(@id\\(\"[a-z]\"\\) ?|permit|forbid|\\(|\\)|principal|action|resource|,|;|when|unless|\\{|\\}|\\[|\\]|==|&&|\\|\\||\\.|fit|contains|getTag|hasTag|\"[a-zé\\\\\"]{0,3}\"|!|-|[0-9]{1,20}|//|\n| ){0,60}") {
        let _ = crate::common::load(&text);
    }

    #[test]
    fn random_environments_never_panic_and_unknown_members_are_refused(text in "(name|cloud|region|labels|clowd|=|\"public\"|\"eu\"|\\[labels\\]|\n| |#|\\.){0,20}") {
        if let Ok(env) = Environment::from_toml(&text, "x") {
            prop_assert!(!text.contains("clowd") || text.contains('#') || env.labels.contains_key("clowd"), "{}", text);
        }
    }
}
