//! The traps of Cedar, each by name: what Cedar does by itself, and that nobody falls into it here.

use std::str::FromStr;

use cedar_policy::{Authorizer, Context, Decision as CedarDecision, Entities, EntityUid, PolicySet, Request};
use trust_policy::{Action, Cause, Decision, Environment, LoadError, Policy, ReadProblem, Subject};

use crate::common::{KEY, NOW, identity, labels, load, marked, platform, private, public, source, subject};

const PERMIT: &str = "@id(\"all\") permit (principal, action, resource);\n";

fn forbid(condition: &str) -> String {
    format!("{PERMIT}@id(\"no\") forbid (principal, action, resource) when {{ {condition} }};\n")
}

fn decided(rules: &str, env: &Environment, image: &Subject) -> Decision {
    let policy = load(rules).unwrap_or_else(|error| panic!("{rules}: {error}"));
    policy.decide(env, Action::Deploy, image, NOW)
}

fn is_invalid(rules: &str) -> bool {
    match load(rules) {
        Err(LoadError::Invalid { .. }) => true,
        Err(other) => panic!("{rules}: {other:?}"),
        Ok(_) => false,
    }
}

/// Cedar's own answer without a schema, without entities and without anything of ours: the decision, and how many rules
/// failed.
fn bare(rules: &str) -> (CedarDecision, usize) {
    let uid = |text| EntityUid::from_str(text).unwrap();
    let (who, what) = (uid("Environment::\"public\""), uid("Platform::\"linux/amd64\""));
    let request = Request::new(who, uid("Action::\"deploy\""), what, Context::empty(), None).unwrap();
    let answer = Authorizer::new().is_authorized(&request, &PolicySet::from_str(rules).unwrap(), &Entities::empty());
    (answer.decision(), answer.diagnostics().errors().count())
}

#[test]
fn cedar_allows_past_a_forbid_that_fails_and_we_do_not() {
    let missing_label = forbid(&format!("resource.getTag(\"{KEY}\") == \"PII\""));
    assert_eq!(bare(&missing_label), (CedarDecision::Allow, 1), "the trap is gone from Cedar");
    assert!(is_invalid(&missing_label));
    let missing_member = forbid("resource.tag == \"PII\"");
    assert_eq!(bare(&missing_member), (CedarDecision::Allow, 1));
    assert!(is_invalid(&missing_member));
    let overflow = forbid("9223372036854775807 + 1 == 0");
    assert_eq!(bare(&overflow), (CedarDecision::Allow, 1));
    let decision = decided(&overflow, &public(), &marked("public"));
    assert_eq!((decision.cause, decision.exit(), decision.allowed), (Cause::Error, 21, false));
}

#[test]
fn every_failure_that_strict_validation_lets_through_denies_and_names_its_rule() {
    for failing in [
        "9223372036854775807 + 1 == 0",
        "-9223372036854775808 - 1 == 0",
        "9223372036854775807 * 2 == 0",
        "-(-9223372036854775808) == 0",
        "context.now.offset(duration(\"9223372036854775807ms\")) > context.now",
        "datetime(\"9999-12-31\").offset(duration(\"9223372036854775807ms\")) > context.now",
        "principal.cloud == \"private\" || 9223372036854775807 + 1 == 0",
    ] {
        for rules in [
            forbid(failing),
            format!("{PERMIT}@id(\"no\") forbid (principal, action, resource) unless {{ {failing} }};"),
            format!("{PERMIT}@id(\"no\") permit (principal, action, resource) when {{ {failing} }};"),
            format!("{PERMIT}@id(\"no\") permit (principal, action, resource) unless {{ {failing} }};"),
        ] {
            let decision = decided(&rules, &public(), &marked("public"));
            assert_eq!((decision.cause, decision.exit()), (Cause::Error, 21), "{rules}");
            let ids: Vec<_> = decision.rules.iter().map(|rule| rule.id.as_str()).collect();
            assert_eq!(ids, ["no"], "{rules}");
            assert!(!decision.allowed && decision.errors.len() == 1, "{rules}: {:?}", decision.errors);
        }
    }
}

#[test]
fn a_failure_on_one_platform_of_two_denies_both() {
    let rules = forbid("resource.platform == \"linux/arm64\" && 9223372036854775807 + 1 == 0");
    let image = subject(vec![platform("linux/amd64", &[]), platform("linux/arm64", &[])]);
    assert_eq!(decided(&rules, &private(), &image).cause, Cause::Error);
    assert!(decided(&rules, &private(), &subject(vec![platform("linux/amd64", &[])])).allowed);
}

#[test]
fn a_failure_that_is_not_reached_is_none() {
    let rules = forbid("principal.cloud == \"private\" && 9223372036854775807 + 1 == 0");
    assert!(decided(&rules, &public(), &marked("public")).allowed);
    assert_eq!(decided(&rules, &private(), &marked("public")).cause, Cause::Error);
    let other = format!(
        "{PERMIT}@id(\"no\") forbid (principal, action == Action::\"pull\", resource) when {{ 9223372036854775807 + 1 == 0 }};"
    );
    assert!(decided(&other, &private(), &marked("public")).allowed, "a rule for another action is not asked");
}

#[test]
fn the_annotation_id_is_not_the_id_to_cedar_and_is_the_only_one_to_us() {
    let rules = forbid("true");
    let set = PolicySet::from_str(&rules).unwrap();
    let ids: Vec<String> = set.policies().map(|rule| rule.id().to_string()).collect();
    assert!(ids.contains(&"policy0".to_owned()) && !ids.contains(&"all".to_owned()), "the trap is gone: {ids:?}");
    let decision = decided(&rules, &public(), &marked("public"));
    assert_eq!(decision.rules[0].id, "no");
    assert_eq!(decision.rules_not_reached, ["all"]);
    let failing = decided(&forbid("9223372036854775807 + 1 == 0"), &public(), &marked("public"));
    assert!(failing.errors[0].contains("`no`") && !failing.errors[0].contains("policy0"), "{:?}", failing.errors);
}

#[test]
fn rules_that_are_called_as_cedar_calls_its_own_keep_their_names() {
    let rules = "@id(\"policy1\") permit (principal, action, resource);\n\
                 @id(\"policy0\") forbid (principal, action, resource) when { principal.cloud == \"public\" };";
    let ids = |env| decided(rules, &env, &marked("public")).rules.iter().map(|r| r.id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(public()), ["policy0"]);
    assert_eq!(ids(private()), ["policy1"]);
}

#[test]
fn two_rules_with_one_id_load_in_cedar_and_not_here() {
    let twice = format!("{PERMIT}{}", PERMIT.replace("permit", "forbid"));
    assert_eq!(PolicySet::from_str(&twice).unwrap().policies().count(), 2, "the trap is gone from Cedar");
    assert!(matches!(load(&twice), Err(LoadError::IdTwice { .. })));
    let files = [source("_policy/a.cedar", PERMIT), source("_policy/b.cedar", PERMIT)];
    assert!(matches!(Policy::load(&files, identity()), Err(LoadError::IdTwice { .. })));
    // The same, written with an escape, or without a value.
    let escaped = format!("{PERMIT}{}", PERMIT.replace("all", "\\u{61}ll"));
    assert!(matches!(load(&escaped), Err(LoadError::IdTwice { .. })), "{:?}", load(&escaped).err());
    assert!(matches!(load("@id permit (principal, action, resource);"), Err(LoadError::Id { .. })));
}

#[test]
fn a_label_that_was_not_asked_for_does_not_load_whatever_stands_around_it() {
    let get = "resource.getTag(\"a.b\") == \"x\"";
    let has = "resource.hasTag(\"a.b\")";
    for wrong in [
        get.to_owned(),
        format!("!({get})"),
        format!("{get} && {has}"),
        format!("{has} || {get}"),
        format!("!{has} && {get}"),
        format!("!{has} || {get}"),
        format!("resource.hasTag(\"a.c\") && {get}"),
        format!("principal.hasTag(\"a.b\") && {get}"),
        format!("(if {has} then false else {get})"),
        format!("(principal.cloud == \"public\" || {has}) && {get}"),
        format!("[{get}].contains(true)"),
    ] {
        assert!(is_invalid(&forbid(&wrong)), "{wrong}");
    }
    for right in [
        format!("{has} && {get}"),
        format!("(if {has} then {get} else false)"),
        format!("principal.cloud == \"public\" && {has} && {get}"),
        format!("({has} && principal.cloud == \"public\") && {get}"),
    ] {
        assert!(load(&forbid(&right)).is_ok(), "{right}: {:?}", load(&forbid(&right)).err());
    }
}

#[test]
fn an_optional_member_that_was_not_asked_for_does_not_load() {
    for (wrong, right) in [
        ("resource.tag == \"x\"", "resource has tag && resource.tag == \"x\""),
        ("principal.region == \"x\"", "principal has region && principal.region == \"x\""),
        ("resource.signed > context.now", "resource has signed && resource.signed > context.now"),
    ] {
        assert!(is_invalid(&forbid(wrong)), "{wrong}");
        assert!(is_invalid(&forbid(&format!("principal.cloud == \"public\" || {wrong}"))), "{wrong}");
        assert!(load(&forbid(right)).is_ok(), "{right}");
    }
}

#[test]
fn a_misspelt_member_does_not_load_whether_it_is_read_or_asked_for() {
    for wrong in [
        "principal.clowd == \"public\"",
        "resource.signer.contains(\"ci\")",
        "resource.labels.data == \"PII\"",
        "resource.com.example.data == \"PII\"",
        "context.time > datetime(\"2030-01-01\")",
        "action.name == \"deploy\"",
        "principal.labels.hasTag(\"stage\")",
    ] {
        assert!(load(&forbid(wrong)).is_err(), "{wrong}");
    }
    // `has` of a member that does not exist is never true: in a rule that forbids it would be silence.
    for never in [
        "principal has regoin && principal.regoin == \"eu\"",
        "principal.cloud == \"public\" && principal has regoin",
        "principal.cloud == \"private\" || (principal has regoin && principal.regoin == \"eu\")",
        "resource has tagg && resource.tagg == \"latest\"",
        "resource has \"com.example.data\"",
        "resource.tag_moved || resource has data",
        "context has now && context has nou",
    ] {
        assert!(load(&forbid(never)).is_err(), "{never} loads with {:?}", load(&forbid(never)).unwrap().warnings());
    }
}

#[test]
fn a_misspelt_action_entity_type_or_method_does_not_load() {
    for wrong in [
        "@id(\"a\") permit (principal, action == Action::\"deplyo\", resource);",
        "@id(\"a\") permit (principal, action in [Action::\"deploy\", Action::\"run\"], resource);",
        "@id(\"a\") permit (principal, action == Deploy::\"deploy\", resource);",
        "@id(\"a\") permit (principal == Env::\"eu\", action, resource);",
        "@id(\"a\") permit (principal == Platform::\"eu\", action, resource);",
        "@id(\"a\") permit (principal is Platform, action, resource);",
        "@id(\"a\") permit (principal, action, resource is Environment);",
        "@id(\"a\") permit (principal, action, resource) when { resource.signers.has(\"ci\") };",
        "@id(\"a\") permit (principal, action, resource) when { resource.hastag(\"x\") };",
        "@id(\"a\") permit (principal, action, resource) when { action == Action::\"deplyo\" };",
        "@id(\"a\") permit (principal, action, resource) when { principal is Env };",
        "@id(\"a\") permit (user, action, resource);",
        "@id(\"a\") allow (principal, action, resource);",
    ] {
        assert!(load(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_value_of_another_type_does_not_load() {
    for wrong in [
        "resource.signers.contains(1)",
        "resource.signers == \"ci\"",
        "resource.tags.contains([\"v1\"])",
        "resource.tag_moved == \"true\"",
        "resource.repository == 7",
        "resource.repository > \"a\"",
        "context.now > \"2030-01-01\"",
        "context.now > 1900000000",
        "resource has signed && resource.signed like \"2030-*\"",
        "resource.hasTag(1)",
        "principal == \"public\"",
        "principal.cloud",
        "1",
        "[].contains(1)",
        "[1, \"a\"].contains(1)",
        "datetime(principal.name) > context.now",
        "datetime(\"2030-02-30\") > context.now",
        "datetime(\"yesterday\") > context.now",
        "duration(\"90 days\") > duration(\"1d\")",
    ] {
        assert!(load(&forbid(wrong)).is_err(), "{wrong}");
    }
}

#[test]
fn labels_with_dots_blanks_quotes_and_names_of_members_are_read_exactly_and_shadow_nothing() {
    let keys = [
        "com.example.a",
        "com",
        "com.example",
        "a/b",
        "a b",
        " a",
        "A",
        "a",
        "\"",
        "\\",
        "{}",
        "signers",
        "fit",
        "cloud",
        "tag",
        "principal",
        "__entity",
        "__extn",
        "é",
        "e\u{301}",
        "",
    ];
    for key in keys {
        let mut others = labels(&keys.map(|other| (other, "other")));
        others.insert(key.to_owned(), "this".to_owned());
        let mut image = subject(vec![platform("linux/amd64", &[])]);
        image.facts.as_mut().unwrap().platforms[0].labels = others;
        let text = format!("{key:?}");
        let text = text.as_str();
        assert!(
            !decided(
                &forbid(&format!("resource.hasTag({text}) && resource.getTag({text}) == \"this\"")),
                &public(),
                &image
            )
            .allowed,
            "{key:?}"
        );
        assert!(
            decided(
                &forbid(&format!("resource.hasTag({text}) && resource.getTag({text}) == \"other\"")),
                &public(),
                &image
            )
            .allowed,
            "{key:?}"
        );
        image.facts.as_mut().unwrap().platforms[0].labels.remove(key);
        assert!(decided(&forbid(&format!("resource.hasTag({text})")), &public(), &image).allowed, "{key:?}");
        assert!(!decided(&forbid("resource.signers.contains(\"ci\")"), &public(), &image).allowed, "{key:?}");
        assert!(!decided(&forbid("principal.cloud == \"public\""), &public(), &image).allowed, "{key:?}");
    }
}

#[test]
fn values_that_look_like_cedar_are_only_text() {
    for value in
        ["\" || true || \"", "{\"__entity\":{\"type\":\"Environment\",\"id\":\"x\"}}", "${x}", "*", "\\*", "?", "\u{0}"]
    {
        let image = subject(vec![platform("linux/amd64", &[("free", value)])]);
        let asked = |with: &str| {
            decided(
                &forbid(&format!("resource.hasTag(\"free\") && resource.getTag(\"free\") == {with}")),
                &public(),
                &image,
            )
            .allowed
        };
        assert!(!asked(&format!("\"{}\"", value.escape_default())), "{value:?}");
        assert!(asked("\"x\""), "{value:?}");
    }
}

#[test]
fn a_star_is_a_wildcard_in_like_alone_and_only_when_it_is_not_escaped() {
    let image = |value| subject(vec![platform("linux/amd64", &[("free", value)])]);
    let denied = |asked: &str, value| {
        let rules = forbid(&format!("resource.hasTag(\"free\") && resource.getTag(\"free\") {asked}"));
        !decided(&rules, &public(), &image(value)).allowed
    };
    assert!(denied("like \"a*\"", "abc") && denied("like \"a*\"", "a") && !denied("like \"a*\"", "ba"));
    assert!(denied("like \"*\\n*\"", "a\nb") && denied("like \"a*b\"", "a\nb"), "a line break is a character");
    assert!(denied("like \"a\\*\"", "a*") && !denied("like \"a\\*\"", "abc"));
    assert!(!denied("== \"a*\"", "abc") && denied("== \"a*\"", "a*"));
    assert!(!denied("like \"A*\"", "abc"), "case counts");
    assert!(load(&forbid("resource.repository == \"a\\*\"")).is_err(), "an escaped star is none of a plain text");
}

#[test]
fn an_empty_set_satisfies_contains_all_and_nothing_else() {
    let mut image = marked("public");
    image.signers = Vec::new();
    let allowed = |condition: &str| decided(&forbid(condition), &public(), &image).allowed;
    assert!(allowed("resource.signers.contains(\"ci\")"));
    assert!(allowed("resource.signers.containsAny([\"ci\", \"alice\"])"));
    assert!(!allowed("[\"ci\"].containsAll(resource.signers)"), "nothing is within everything");
    assert!(!allowed("resource.signers.isEmpty()"));
}

#[test]
fn a_rule_with_a_slot_is_no_rule_to_cedar_and_none_to_us() {
    let slot = "@id(\"no\") forbid (principal == ?principal, action, resource);";
    assert_eq!(bare(&format!("{PERMIT}{slot}")), (CedarDecision::Allow, 0), "the trap is gone from Cedar");
    assert!(matches!(load(&format!("{PERMIT}{slot}")), Err(LoadError::Template { .. })));
}

#[test]
fn an_entity_of_the_image_cannot_be_named_in_a_rule() {
    for whole in ["resource == Platform::\"linux/amd64\"", "resource in Platform::\"x\"", "principal == resource"] {
        let refused = load(&forbid(whole)).unwrap_err();
        let is_whole = matches!(&refused, LoadError::Reads { problem, .. } if **problem == ReadProblem::Whole);
        assert!(is_whole || matches!(refused, LoadError::Invalid { .. }), "{whole}: {refused:?}");
    }
}

#[test]
fn and_and_or_stop_at_the_first_that_decides() {
    assert!(
        decided(
            &forbid("principal.cloud == \"private\" && 9223372036854775807 + 1 == 0"),
            &public(),
            &marked("public")
        )
        .allowed
    );
    let denied =
        decided(&forbid("principal.cloud == \"public\" || 9223372036854775807 + 1 == 0"), &public(), &marked("public"));
    assert_eq!(denied.cause, Cause::Forbidden);
    // The other way round it fails, and a failure denies as well, with another code.
    let failed =
        decided(&forbid("9223372036854775807 + 1 == 0 || principal.cloud == \"public\""), &public(), &marked("public"));
    assert_eq!(failed.exit(), 21);
}

#[test]
fn several_conditions_of_one_rule_are_all_needed() {
    let rules = |conditions: &str| format!("{PERMIT}@id(\"no\") forbid (principal, action, resource) {conditions};");
    let denied = |conditions: &str| !decided(&rules(conditions), &public(), &marked("public")).allowed;
    assert!(denied("when { principal.cloud == \"public\" } when { resource.repository == \"hr/payroll\" }"));
    assert!(!denied("when { principal.cloud == \"public\" } when { resource.repository == \"x\" }"));
    assert!(!denied("when { principal.cloud == \"public\" } unless { resource.repository == \"hr/payroll\" }"));
    assert!(!denied("unless { principal.cloud == \"public\" } unless { resource.repository == \"x\" }"));
}

#[test]
fn members_are_the_same_by_dot_and_by_bracket() {
    assert!(!decided(&forbid("resource[\"repository\"] == \"hr/payroll\""), &public(), &marked("public")).allowed);
    assert!(load(&forbid("resource[\"repo\"] == \"hr/payroll\"")).is_err());
    assert!(load(&forbid("resource[principal.name] == \"hr/payroll\"")).is_err());
}

#[test]
fn comparisons_of_text_fold_nothing() {
    let mut image = marked("public");
    image.signers = vec!["caf\u{e9}".to_owned()];
    let denied = |signer: &str| {
        !decided(&forbid(&format!("resource.signers.contains(\"{signer}\")")), &public(), &image).allowed
    };
    assert!(denied("caf\u{e9}") && denied("caf\\u{e9}"));
    for other in ["cafe\u{301}", "CAF\u{c9}", "Caf\u{e9}", "caf\u{e9} ", " caf\u{e9}", "cafe", "caf\u{e9}\u{200b}"] {
        assert!(!denied(other), "{other:?}");
    }
}
