//! Exceptions, more of them: names in other spellings, several at once, damaged ones, and that a random one lifts what it
//! names and nothing else.

use proptest::prelude::*;
use serde_json::{Value, json};
use trust_image::Digest;
use trust_policy::exceptions::{MAX_AHEAD, MAX_LIFE};
use trust_policy::{
    Action, Cause, Decision, Environment, Exception, ExceptionError, Exceptions, Policy, Source, Subject,
};

use crate::common::{KEY, NOW, dictionary, load, marked, platform, private, public, shipped_policy, source, subject};
use crate::properties::{actions, environments, subjects};

const GRANTED: &str = "2030-03-17T12:00:00Z";
const EXPIRES: &str = "2030-03-17T20:00:00Z";
/// The seconds of [`EXPIRES`].
const END: i64 = 1_900_008_000;

fn file(subject: &Subject, env: &Environment, rules: &[&str]) -> Value {
    json!({
        "schema": "trust/exception/v1",
        "image": format!("{}@{}", subject.reference.name(), subject.digest),
        "environment": env.name,
        "rules": rules,
        "reason": "INC-7",
        "granted": GRANTED,
        "expires": EXPIRES,
    })
}

fn read(id: &str, file: &Value) -> Result<Exception, ExceptionError> {
    let bytes = serde_json::to_vec(file).unwrap();
    Exception::read(&format!("_exceptions/{id}.json"), &bytes, &["officer".to_owned()])
}

fn exceptions(files: &[Value]) -> Exceptions {
    let text = |(n, file): (usize, &Value)| source(&format!("_exceptions/e{n}.json"), &file.to_string());
    let sources: Vec<Source> = files.iter().enumerate().map(text).collect();
    let (exceptions, refused) = Exceptions::read(&sources, &["officer".to_owned()]);
    assert_eq!(refused, Vec::<String>::new());
    exceptions
}

/// The decision by these rules, lifted by one exception that names those.
fn lifted(policy: &Policy, env: &Environment, image: &Subject, rules: &[&str]) -> Decision {
    let decision = policy.decide(env, Action::Deploy, image, NOW);
    exceptions(&[file(image, env, rules)]).lift(decision, image, NOW)
}

#[test]
fn a_failure_on_one_platform_beside_a_rule_that_forbids_on_another_is_not_lifted() {
    let rules = "@id(\"all\") permit (principal, action, resource);\n\
                 @id(\"no\") forbid (principal, action, resource) when { resource.platform == \"linux/amd64\" };\n\
                 @id(\"fails\") forbid (principal, action, resource) when { resource.platform == \"linux/arm64\" && 9223372036854775807 + 1 == 0 };";
    let image = subject(vec![platform("linux/amd64", &[]), platform("linux/arm64", &[])]);
    assert!(!lifted(&load(rules).unwrap(), &public(), &image, &["all", "no", "fails"]).allowed);
}

#[test]
fn where_nothing_permits_all_that_could_have_are_named() {
    let rules = "@id(\"a\") permit (principal, action, resource) when { resource.signers.contains(\"x\") };\n\
                 @id(\"b\") permit (principal, action, resource) when { resource.signers.contains(\"y\") };";
    let policy = load(rules).unwrap();
    assert!(!lifted(&policy, &public(), &marked("public"), &["a"]).allowed);
    assert_eq!(lifted(&policy, &public(), &marked("public"), &["a", "b"]).cause, Cause::Excepted);
    // With no rule to name there is nothing to lift.
    let none = load("@id(\"a\") permit (principal, action == Action::\"pull\", resource);").unwrap();
    assert!(!lifted(&none, &public(), &marked("public"), &["a"]).allowed);
}

#[test]
fn an_exception_is_for_one_image_one_digest_and_one_environment() {
    let (policy, image, env) = (shipped_policy(), marked("PII"), public());
    let decision = || policy.decide(&env, Action::Deploy, &image, NOW);
    let good = file(&image, &env, &["pii-not-in-public"]);
    assert!(exceptions(std::slice::from_ref(&good)).lift(decision(), &image, NOW).allowed);
    let other = Digest::of(b"another");
    for (member, value) in [
        ("image", format!("registry.example.com/hr/payroll@{other}")),
        ("image", format!("registry.example.com/hr/payroll2@{}", image.digest)),
        ("image", format!("registry.example.com/hr@{}", image.digest)),
        ("image", format!("registry.example.org/hr/payroll@{}", image.digest)),
        ("environment", "public-us".to_owned()),
        ("environment", "public".to_owned()),
        ("environment", "unknown".to_owned()),
    ] {
        let mut wrong = good.clone();
        wrong[member] = json!(value);
        assert!(!exceptions(&[wrong]).lift(decision(), &image, NOW).allowed, "{member} {value}");
    }
    // The same name, written otherwise, is the same name.
    let mut same = good.clone();
    same["image"] = json!(format!("Registry.Example.com:443/hr/payroll@{}", image.digest));
    assert!(exceptions(&[same]).lift(decision(), &image, NOW).allowed);
    // The child of an index is not the index.
    let child = image.facts.as_ref().unwrap().platforms[0].digest;
    let mut wrong = good;
    wrong["image"] = json!(format!("registry.example.com/hr/payroll@{child}"));
    assert!(!exceptions(&[wrong]).lift(decision(), &image, NOW).allowed);
}

#[test]
fn what_does_not_lift_a_denial_is_told_with_the_reason_and_what_lifts_it_is_not() {
    let (policy, image, env) = (shipped_policy(), marked("PII"), public());
    let decision = policy.decide(&env, Action::Deploy, &image, NOW);
    let good = file(&image, &env, &["pii-not-in-public"]);
    let why = |file: &Value, decision: &Decision, now: i64| -> Vec<String> {
        let exceptions = exceptions(std::slice::from_ref(file));
        // Whatever is told does not lift, and the other way round, for this image.
        let told = exceptions.not_lifting(decision, &image, now).map(|(_, why)| why.to_string()).collect::<Vec<_>>();
        assert!(!exceptions.lift(decision.clone(), &image, now).allowed || told.is_empty(), "{told:?}");
        told
    };
    let changed = |member: &str, value: Value| {
        let mut file = good.clone();
        file[member] = value;
        file
    };
    assert!(why(&good, &decision, NOW).is_empty());
    assert_eq!(why(&good, &decision, END), [format!("it expired at {EXPIRES}")]);
    assert!(why(&good, &decision, NOW - 86_400)[0].contains("is to come"));
    assert_eq!(why(&changed("rules", json!(["other"])), &decision, NOW), ["it does not name pii-not-in-public"]);
    let elsewhere = changed("environment", json!("public-us"));
    assert_eq!(why(&elsewhere, &decision, NOW), ["it is for environment public-us"]);
    assert!(why(&elsewhere, &decision, END).is_empty(), "what has ended elsewhere is no help here");
    let other = format!("registry.example.com/hr/payroll@{}", Digest::of(b"another"));
    assert!(why(&changed("image", json!(other)), &decision, NOW).is_empty(), "another image");
    let outside = Decision { cause: Cause::LabelOutside, rules: Vec::new(), ..decision.clone() };
    assert_eq!(why(&good, &outside, NOW), ["no rule denies it, and an exception lifts nothing but rules"]);
    assert!(why(&elsewhere, &Decision { allowed: true, cause: Cause::Permitted, ..decision }, NOW).is_empty());
}

#[test]
fn of_several_the_one_that_holds_longest_is_used() {
    let (policy, image, env) = (shipped_policy(), marked("PII"), public());
    let mut files = vec![file(&image, &env, &["pii-not-in-public"]); 3];
    files[0]["expires"] = json!("2030-03-17T18:00:00Z");
    files[1]["expires"] = json!("2030-03-18T18:00:00Z");
    let decision = policy.decide(&env, Action::Deploy, &image, NOW);
    let decision = exceptions(&files).lift(decision, &image, NOW);
    assert_eq!(decision.exception.unwrap().id, "e1");
}

#[test]
fn an_exception_that_is_damaged_or_too_wide_does_not_read() {
    let good = file(&marked("PII"), &public(), &["a"]);
    assert!(read("e", &good).is_ok());
    let with = |member: &str, value: Value| {
        let mut file = good.clone();
        match value {
            Value::Null => drop(file.as_object_mut().unwrap().remove(member)),
            value => file[member] = value,
        }
        file
    };
    let digest = Digest::of(b"x");
    let rules = |n: usize| json!((0..n).map(|n| format!("r{n}")).collect::<Vec<_>>());
    for (wrong, what) in [
        (with("schema", json!("trust/exception/v2")), "schema"),
        (with("schema", Value::Null), "schema"),
        (with("image", json!("registry.example.com/hr/payroll:7")), "image"),
        (with("image", json!(format!("registry.example.com/hr/payroll:7@{digest}"))), "image"),
        (with("image", json!(format!("registry.example.com/*@{digest}"))), "image"),
        (with("image", json!("*")), "image"),
        (with("image", json!(format!("@{digest}"))), "image"),
        (with("environment", json!("*")), "environment"),
        (with("environment", json!("")), "environment"),
        (with("environment", json!("Public-EU")), "environment"),
        (with("environment", json!(["public-eu"])), ""),
        (with("rules", json!([])), "rules"),
        (with("rules", json!(["a", "a"])), "rules"),
        (with("rules", json!([""])), "rules"),
        (with("rules", json!("a")), ""),
        (with("rules", rules(33)), "rules"),
        (with("reason", json!("")), "reason"),
        (with("reason", json!(" \n")), "reason"),
        (with("reason", json!("x".repeat(1_025))), "reason"),
        (with("reason", Value::Null), "reason"),
        (with("granted", json!("2030-03-17")), "granted"),
        (with("granted", json!("2030-02-30T00:00:00Z")), "granted"),
        (with("expires", json!("2030-03-17T20:00:00+00:00")), "expires"),
        (with("expires", json!(GRANTED)), "7 days"),
        (with("expires", json!("2030-03-17T11:59:59Z")), "7 days"),
        (with("expires", json!("2030-03-24T12:00:01Z")), "7 days"),
        (with("expires", json!("9999-12-31T23:59:59Z")), "7 days"),
        (with("actions", json!(["deploy"])), "actions"),
    ] {
        let refused = read("e", &wrong).err().unwrap_or_else(|| panic!("{wrong}"));
        assert!(refused.to_string().contains(what), "{wrong}: {refused}");
        assert_eq!(refused.to_string().lines().count(), 1, "{refused}");
    }
    assert!(read("e", &with("expires", json!("2030-03-24T12:00:00Z"))).is_ok(), "seven days to the second");
    assert!(read("e", &with("rules", rules(32))).is_ok());
    for path in [
        "_exceptions/.json",
        "_exceptions/A.json",
        "_exceptions/a/b.json",
        "exceptions/a.json",
        "_exceptions/a.cedar",
        "_policy/a.json",
    ] {
        let refused = Exception::read(path, good.to_string().as_bytes(), &[]);
        assert!(matches!(refused, Err(ExceptionError::Path { .. })), "{path}");
    }
    let twice = good.to_string().replacen('{', "{\"environment\":\"x\",", 1);
    assert!(matches!(Exception::read("_exceptions/a.json", twice.as_bytes(), &[]), Err(ExceptionError::Json(_))));
    let list = json!(["trust/exception/v1", "i", "e", ["r"], "x", GRANTED, EXPIRES]);
    assert!(read("e", &list).is_err(), "members without their names");
    let long = format!("{}{}", good, " ".repeat(16 * 1024));
    assert_eq!(Exception::read("_exceptions/a.json", long.as_bytes(), &[]), Err(ExceptionError::TooLong));
}

#[test]
fn hostile_words_of_an_exception_cannot_steer_a_terminal() {
    let (image, env) = (marked("PII"), public());
    let mut hostile = file(&image, &env, &["pii-not-in-public"]);
    hostile["reason"] = json!("x\u{1b}[2J\nALLOW\u{202e}");
    let decision = shipped_policy().decide(&env, Action::Deploy, &image, NOW);
    let decision = exceptions(&[hostile]).lift(decision, &image, NOW);
    assert!(decision.allowed);
    assert_eq!(decision.line().lines().count(), 1);
    for text in [decision.text(), decision.line()] {
        assert!(text.chars().all(|c| c == '\n' || !c.is_control() && c != '\u{202e}'), "{text:?}");
    }
    assert!(!decision.text().lines().any(|line| line.trim_start().starts_with("ALLOW\\")), "{}", decision.text());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(384))]

    /// An exception turns a denial by rules into an allow, where it names all of them; and nothing else.
    #[test]
    fn a_random_exception_lifts_what_it_names_and_nothing_else(
        env in environments(), action in actions(), image in subjects(), named in prop::sample::subsequence(vec!["pii-fit-for-public", "pii-not-in-public", "pii-private-clouds", "tag-pii-not-in-public"], 1..=4), now in (END - 700_000)..(END + 700_000), life in 1..=MAX_LIFE, other in 0..4_u8
    ) {
        static POLICY: std::sync::OnceLock<Policy> = std::sync::OnceLock::new();
        let policy = POLICY.get_or_init(shipped_policy);
        let decision = policy.decide(&env, action, &image, NOW);
        let mut text = file(&image, &env, &named);
        text["granted"] = json!("2030-03-17T12:00:00Z");
        let begun = END - 8 * 3_600;
        text["expires"] = json!(crate::table::written(begun + life));
        match other {
            1 => text["image"] = json!(format!("{}@{}", image.reference.name(), Digest::of(b"o"))),
            2 => text["environment"] = json!("elsewhere"),
            _ => {}
        }
        let lifted = exceptions(&[text]).lift(decision.clone(), &image, now);
        let by_rules = matches!(decision.cause, Cause::Forbidden | Cause::NothingPermits);
        let all = decision.rules.iter().all(|rule| named.contains(&rule.id.as_str())) && !decision.rules.is_empty();
        let holds = begun - MAX_AHEAD <= now && now < begun + life && !(1..=2).contains(&other);
        let mixed = decision.cause == Cause::Forbidden
            && decision.platforms.iter().any(|p| p.verdict == trust_policy::Verdict::NothingPermits);
        let expected = decision.allowed || (by_rules && all && holds && !mixed);
        prop_assert_eq!(lifted.allowed, expected, "{:?}", lifted);
        if !expected || decision.allowed {
            prop_assert_eq!(lifted, decision);
        } else {
            prop_assert_eq!(lifted.cause, Cause::Excepted);
            prop_assert_eq!(&lifted.rules, &decision.rules);
            prop_assert_eq!(&lifted.facts, &decision.facts);
        }
    }

    #[test]
    fn random_texts_are_no_exception(text in "[ -~]{0,80}") {
        let bytes = text.as_bytes();
        prop_assert!(Exception::read("_exceptions/a.json", bytes, &[]).is_err());
    }
}

#[test]
fn a_dictionary_beside_an_exception_is_as_strict_as_without() {
    // The exception names everything; the value is outside all the same.
    let rules = [source("_policy/a.cedar", "@id(\"all\") permit (principal, action, resource);"), dictionary()];
    let policy = Policy::load(&rules, crate::common::identity()).unwrap();
    let image = subject(vec![platform("linux/amd64", &[(KEY, "secret")])]);
    assert!(!lifted(&policy, &private(), &image, &["all"]).allowed);
}
