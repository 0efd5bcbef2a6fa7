//! What costs too much is not evaluated, and denies: long patterns on long labels, rules of many words on many platforms.
//! No time is measured here; the steps are counted from rules and facts.

use trust_policy::{Action, Cause, LoadError, MAX_STEPS, Policy};

use crate::common::{
    KEY, NOW, dictionary, identity, load, marked, platform, private, public, shipped_policy, source, subject,
};

const PERMIT: &str = "@id(\"all\") permit (principal, action, resource);\n";

/// So many rules with this condition, in as many files as it takes.
fn many(rules: usize, condition: &str) -> Result<Policy, LoadError> {
    let mut files = vec![PERMIT.to_owned()];
    for n in 0..rules {
        let rule = format!(
            "@id(\"r{n}\") forbid (principal, action == Action::\"deploy\", resource) when {{ {condition} }};\n"
        );
        if files.last().is_some_and(|file| file.len() + rule.len() > 250_000) {
            files.push(String::new());
        }
        files.last_mut().unwrap().push_str(&rule);
    }
    let mut sources: Vec<_> =
        files.iter().enumerate().map(|(n, file)| source(&format!("_policy/f{n}.cedar"), file)).collect();
    sources.push(dictionary());
    Policy::load(&sources, identity())
}

fn labelled(value: &str) -> trust_policy::Subject {
    subject(vec![platform("linux/amd64", &[("org.example.a", value)])])
}

#[test]
fn a_pattern_bomb_on_a_long_label_is_not_evaluated_and_denies() {
    let pattern = format!("*{}b*", "a".repeat(8_000));
    let condition =
        format!("resource.hasTag(\"org.example.a\") && resource.getTag(\"org.example.a\") like \"{pattern}\"");
    let policy =
        load(&format!("{PERMIT}@id(\"bomb\") forbid (principal, action, resource) when {{ {condition} }};")).unwrap();
    let denied = policy.decide(&private(), Action::Deploy, &labelled(&"a".repeat(15_000)), NOW);
    assert_eq!((denied.allowed, denied.cause, denied.exit()), (false, Cause::Error, 21));
    assert!(denied.errors[0].contains("steps") && denied.rules.is_empty(), "{:?}", denied.errors);
    assert_eq!(denied.line().lines().count(), 1);
    // The same rule on a label as labels are decides.
    assert!(policy.decide(&private(), Action::Deploy, &labelled("https://git.example.com/pay/api"), NOW).allowed);
    let near = format!("{}b", "a".repeat(1_000));
    assert_eq!(policy.decide(&private(), Action::Deploy, &labelled(&near), NOW).cause, Cause::Permitted);
}

#[test]
fn stars_without_end_on_the_longest_label_are_within_the_budget_or_refused() {
    for stars in [10, 100, 400, 1_000, 10_000] {
        let pattern = "*a".repeat(stars);
        let condition =
            format!("resource.hasTag(\"org.example.a\") && resource.getTag(\"org.example.a\") like \"{pattern}b\"");
        let policy =
            load(&format!("{PERMIT}@id(\"stars\") forbid (principal, action, resource) when {{ {condition} }};"))
                .unwrap();
        let decision = policy.decide(&private(), Action::Deploy, &labelled(&"a".repeat(16_000)), NOW);
        let within = (stars as u64 * 2 + 1) * 16_000 / 32 < MAX_STEPS;
        assert_eq!(decision.cause == Cause::Error, !within, "{stars}");
        assert_eq!(decision.allowed, within, "{stars}");
    }
}

#[test]
fn a_pattern_bomb_in_an_annotation_a_statement_or_on_one_platform_of_many_denies_the_image() {
    let pattern = format!("*{}b*", "a".repeat(2_000));
    let of = |what: &str| {
        let condition = format!("{what}.hasTag(\"a\") && {what}.getTag(\"a\") like \"{pattern}\"");
        load(&format!("{PERMIT}@id(\"bomb\") forbid (principal, action, resource) when {{ {condition} }};")).unwrap()
    };
    let image = || subject((0..10).map(|n| platform(&format!("linux/p{n}"), &[("a", "b")])).collect());
    let long = || "a".repeat(15_000);
    let mut annotated = image();
    annotated.facts.as_mut().unwrap().annotations.insert("a".to_owned(), long());
    let mut labelled = image();
    labelled.facts.as_mut().unwrap().platforms[7].labels.insert("a".to_owned(), long());
    let mut stated = image();
    stated.facts.as_mut().unwrap().stated.insert("a".to_owned(), long());
    for (what, bad, good) in [
        ("resource.annotations", &annotated, &stated),
        ("resource.stated", &stated, &labelled),
        ("resource", &labelled, &annotated),
    ] {
        let policy = of(what);
        let denied = policy.decide(&private(), Action::Deploy, bad, NOW);
        assert_eq!((denied.cause, denied.platforms.len()), (Cause::Error, 10), "{what}");
        assert!(denied.platforms.iter().all(|p| p.verdict == trust_policy::Verdict::Error), "{what}");
        assert!(policy.decide(&private(), Action::Deploy, good, NOW).allowed, "{what}");
    }
}

#[test]
fn rules_that_no_image_could_be_decided_by_do_not_load() {
    let wide = vec!["resource.tag_moved"; 190].join(" || ");
    assert!(many(100, &wide).is_ok());
    assert!(matches!(many(900, &wide), Err(LoadError::Cost { .. })));
    let lists = vec!["[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20].contains(1)"; 19].join(" || ");
    match many(999, &lists) {
        Err(LoadError::Cost { action }) => assert_eq!(action, Action::Deploy),
        other => panic!("{:?}", other.map(|policy| policy.warnings().len())),
    }
}

#[test]
fn as_many_rules_as_load_decide_on_an_image_of_as_many_platforms_as_facts_hold() {
    let condition = "resource.repository == \"x\" && resource.signers.contains(\"a\") && principal.cloud == \"public\"";
    let policy = many(999, condition).unwrap();
    let platforms = (0..64).map(|n| platform(&format!("linux/p{n}"), &[(KEY, "public")]));
    assert!(policy.decide(&public(), Action::Deploy, &subject(platforms.collect()), NOW).allowed);
}

#[test]
fn ten_thousand_labels_and_one_of_a_megabyte_are_decided_or_denied_and_never_harm() {
    let mut many = marked("public");
    let labels = &mut many.facts.as_mut().unwrap().platforms[0].labels;
    labels.extend((0..10_000).map(|n| (format!("org.example.l{n}"), format!("{n}"))));
    assert!(shipped_policy().decide(&public(), Action::Deploy, &many, NOW).allowed);
    let mut long = marked("public");
    let labels = &mut long.facts.as_mut().unwrap().platforms[0].labels;
    labels.insert("org.example.long".to_owned(), "x".repeat(1 << 20));
    assert!(shipped_policy().decide(&public(), Action::Deploy, &long, NOW).allowed);
    let denied = shipped_policy().decide(&private(), Action::Deploy, &marked(&"P".repeat(1 << 20)), NOW);
    assert_eq!(denied.cause, Cause::LabelOutside);
    assert!(
        denied.text().len() < 4_096 && denied.line().len() < 4_096,
        "a long value is told cut: {}",
        denied.text().len()
    );
    // Neither is ever signed: facts have a limit, and what is beyond it is not read either.
    for image in [many, long] {
        assert!(image.facts.unwrap().to_custom().is_err());
    }
}

#[test]
fn a_division_does_not_exist_and_a_product_that_is_too_great_denies() {
    assert!(load(&format!("{PERMIT}@id(\"no\") forbid (principal, action, resource) when {{ 1 / 0 == 1 }};")).is_err());
    assert!(load(&format!("{PERMIT}@id(\"no\") forbid (principal, action, resource) when {{ 7 % 0 == 1 }};")).is_err());
    let squared = load(&format!("{PERMIT}@id(\"no\") forbid (principal, action, resource) when {{ resource.root_version * resource.root_version == 1 }};")).unwrap();
    let mut image = marked("public");
    for (root, cause) in [
        (1, Cause::Forbidden),
        (3_037_000_499, Cause::Permitted),
        (3_037_000_500, Cause::Error),
        (u64::MAX, Cause::Error),
    ] {
        image.root_version = root;
        assert_eq!(squared.decide(&private(), Action::Deploy, &image, NOW).cause, cause, "{root}");
    }
}

#[test]
fn of_twenty_rules_that_could_have_permitted_sixteen_are_named_and_the_others_are_told_as_not_reached() {
    let rule =
        |n: usize| format!("@id(\"r{n:02}\") permit (principal, action, resource) when {{ resource.tag_moved }};\n");
    let policy = load(&(0..20).map(rule).collect::<String>()).unwrap();
    let denied = policy.decide(&private(), Action::Deploy, &marked("public"), NOW);
    assert_eq!(denied.cause, Cause::NothingPermits);
    let named: Vec<&str> = denied.rules.iter().map(|rule| rule.id.as_str()).collect();
    assert_eq!((named.len(), named[0], named[15]), (16, "r00", "r15"));
    assert_eq!(denied.rules_not_reached, ["r16", "r17", "r18", "r19"]);
}
