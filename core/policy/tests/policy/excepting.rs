//! What an exception lifts, and what it never does.

use trust_image::Digest;
use trust_policy::exceptions::{MAX_AHEAD, MAX_LIFE, MAX_RULES};
use trust_policy::{
    Action, Cause, Decision, Environment, Exception, ExceptionError, ExceptionFile, Exceptions, Policy, Subject,
};

use crate::common::*;

const GRANTED: &str = "2030-03-17T17:00:00Z"; // NOW is 46 min 40 s later
const EXPIRES: &str = "2030-03-17T21:00:00Z";
const RULE: &str = "pii-not-in-public";

fn file() -> ExceptionFile {
    ExceptionFile {
        schema: "trust/exception/v1".to_owned(),
        image: format!("registry.example.com/hr/payroll@{}", Digest::of(b"index")),
        environment: "public-eu".to_owned(),
        rules: vec![RULE.to_owned()],
        reason: "INC-4711: payday, the private cloud is down".to_owned(),
        granted: GRANTED.to_owned(),
        expires: EXPIRES.to_owned(),
    }
}

fn signed(files: &[ExceptionFile]) -> Exceptions {
    let sources: Vec<_> = files
        .iter()
        .enumerate()
        .map(|(n, file)| source(&format!("_exceptions/e{n}.json"), &serde_json::to_string(file).unwrap()))
        .collect();
    let (exceptions, refused) = Exceptions::read(&sources, &["role _exceptions, key 1234".to_owned()]);
    assert!(refused.is_empty(), "{refused:?}");
    exceptions
}

fn lifted_at(policy: &Policy, env: &Environment, subject: &Subject, files: &[ExceptionFile], now: i64) -> Decision {
    let decision = policy.decide(env, Action::Deploy, subject, now);
    signed(files).lift(decision, subject, now)
}

fn lifted(subject: &Subject, file: ExceptionFile) -> Decision {
    lifted_at(&shipped_policy(), &public(), subject, &[file], NOW)
}

fn with(change: impl FnOnce(&mut ExceptionFile)) -> ExceptionFile {
    let mut changed = file();
    change(&mut changed);
    changed
}

#[test]
fn an_exception_lifts_the_denial_that_it_names_and_says_so() {
    let denied = shipped_policy().decide(&public(), Action::Deploy, &marked("PII"), NOW);
    let decision = lifted(&marked("PII"), file());
    assert!(decision.allowed && decision.exit() == 0 && decision.cause == Cause::Excepted);
    let used = decision.exception.as_ref().unwrap();
    assert_eq!((used.id.as_str(), used.expires.as_str()), ("e0", EXPIRES));
    assert_eq!(used.signed_by, ["role _exceptions, key 1234"]);
    assert_eq!((&decision.rules, &decision.facts), (&denied.rules, &denied.facts), "what was denied stays told");
    for text in [decision.text(), decision.line()] {
        for part in ["exception e0 lifts rule pii-not-in-public", "INC-4711", "role _exceptions, key 1234", EXPIRES] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
    assert!(decision.text().starts_with("ALLOW"));
}

#[test]
fn an_exception_for_another_image_digest_environment_or_rule_lifts_nothing() {
    let other = Digest::of(b"other");
    for wrong in [
        with(|e| e.image = format!("registry.example.com/hr/payroll@{other}")),
        with(|e| e.image = e.image.replace("payroll", "pay")),
        with(|e| e.image = e.image.replace("registry.", "mirror.")),
        with(|e| e.environment = "public".to_owned()),
        with(|e| e.environment = "private-eu".to_owned()),
        with(|e| e.rules = vec!["pii-fit-for-public".to_owned()]),
        with(|e| e.rules = vec!["tag-pii-not-in-public".to_owned()]),
    ] {
        let decision = lifted(&marked("PII"), wrong.clone());
        assert!(!decision.allowed && decision.exception.is_none() && decision.cause == Cause::Forbidden, "{wrong:?}");
    }
}

#[test]
fn every_rule_that_decided_must_be_named() {
    let mut subject = marked("PII");
    subject.facts.as_mut().unwrap().tags.push("PII".to_owned());
    assert!(!lifted(&subject, file()).allowed);
    let both = with(|e| e.rules.push("tag-pii-not-in-public".to_owned()));
    assert!(lifted(&subject, both).allowed);
    let apart = [file(), with(|e| e.rules = vec!["tag-pii-not-in-public".to_owned()])];
    assert!(!lifted_at(&shipped_policy(), &public(), &subject, &apart, NOW).allowed, "two exceptions are not one");
}

#[test]
fn where_nothing_permits_the_rules_that_were_not_met_are_named() {
    let policy =
        load("@id(\"own\") permit (principal, action, resource) when { resource.tags.contains(\"own\") };").unwrap();
    let lifted = |rule: &str| {
        let file = with(|e| e.rules = vec![rule.to_owned()]);
        lifted_at(&policy, &public(), &marked("PII"), &[file], NOW)
    };
    assert_eq!(lifted("own").cause, Cause::Excepted);
    assert_eq!(lifted(RULE).cause, Cause::NothingPermits);
}

#[test]
fn a_platform_that_no_rule_permits_is_not_let_in_by_an_exception_for_another_one() {
    let rules = "@id(\"arm\") forbid (principal, action, resource) when { resource.platform == \"linux/arm64\" };
        @id(\"x86\") permit (principal, action, resource) when { resource.platform == \"linux/amd64\" };";
    let policy = load(rules).unwrap();
    let file = with(|e| e.rules = vec!["arm".to_owned()]);
    let both = subject(vec![platform("linux/amd64", &[]), platform("linux/arm64", &[])]);
    assert!(lifted_at(&policy, &public(), &both, std::slice::from_ref(&file), NOW).allowed);
    let third = subject(vec![platform("linux/arm64", &[]), platform("linux/s390x", &[])]);
    assert_eq!(lifted_at(&policy, &public(), &third, &[file], NOW).cause, Cause::Forbidden);
}

#[test]
fn what_no_rule_decided_is_never_lifted() {
    let everything = || {
        with(|e| {
            let ids = ["pii-fit-for-public", "pii-private-clouds", RULE, "tag-pii-not-in-public", "bad"];
            e.rules = ids.map(str::to_owned).to_vec();
        })
    };
    let mut no_facts = marked("PII");
    no_facts.facts = None;
    let attestations = subject(vec![platform("unknown/unknown", &[])]);
    for (subject, cause) in
        [(marked("Pii"), Cause::LabelOutside), (no_facts, Cause::NoFacts), (attestations, Cause::NoFacts)]
    {
        assert_eq!(lifted(&subject, everything()).cause, cause);
    }
    let labels = source(
        "_labels/data.json",
        r#"{"schema":"trust/labels/v1","labels":{"com.example.data":{"required":["*"],"values":{"PII":{"fit":["public"]}}}}}"#,
    );
    let all = source("_policy/a.cedar", "@id(\"bad\") permit (principal, action, resource);");
    let policy = Policy::load(&[all, labels], identity()).unwrap();
    let unmarked = subject(vec![platform("linux/amd64", &[])]);
    assert_eq!(lifted_at(&policy, &public(), &unmarked, &[everything()], NOW).cause, Cause::LabelMissing);
    let fails = "@id(\"bad\") forbid (principal, action, resource) when { context.now.offset(duration(\"106751991167d\")) < context.now };
        @id(\"pii-fit-for-public\") permit (principal, action, resource);";
    let decision = lifted_at(&load(fails).unwrap(), &public(), &marked("public"), &[everything()], NOW);
    assert_eq!(
        (decision.cause, decision.exit()),
        (Cause::Error, 21),
        "a rule that fails might be the one that forbids"
    );
}

#[test]
fn an_exception_ends_at_its_second_and_does_not_begin_before_it_was_granted() {
    let at = |now| lifted_at(&shipped_policy(), &public(), &marked("PII"), &[file()], now).allowed;
    let granted = NOW - 2_800;
    let expires = granted + 4 * 3_600;
    assert!(at(granted) && at(expires - 1) && at(granted - MAX_AHEAD));
    assert!(!at(expires) && !at(expires + 1) && !at(granted - MAX_AHEAD - 1));
    let longer = with(|e| e.expires = "2030-03-18T17:00:00Z".to_owned());
    let decision = lifted_at(&shipped_policy(), &public(), &marked("PII"), &[file(), longer], NOW);
    assert_eq!(decision.exception.unwrap().id, "e1", "the one that holds longest is told");
}

#[test]
fn an_exception_that_is_too_long_or_says_too_little_is_none() {
    let refused = |file: ExceptionFile| Exception::new("e", file, &[]).unwrap_err();
    assert_eq!(MAX_LIFE, 7 * 86_400);
    assert!(Exception::new("e", with(|e| e.expires = "2030-03-24T17:00:00Z".to_owned()), &[]).is_ok());
    for (wrong, error) in [
        (with(|e| e.expires = "2030-03-24T17:00:01Z".to_owned()), ExceptionError::Life),
        (with(|e| e.expires = GRANTED.to_owned()), ExceptionError::Life),
        (with(|e| e.expires = "2030-03-18".to_owned()), ExceptionError::Time { member: "expires" }),
        (with(|e| e.granted = "now".to_owned()), ExceptionError::Time { member: "granted" }),
        (with(|e| e.rules.clear()), ExceptionError::Rules),
        (with(|e| e.rules.push(RULE.to_owned())), ExceptionError::Rules),
        (with(|e| e.rules = (0..=MAX_RULES).map(|n| format!("r{n}")).collect()), ExceptionError::Rules),
        (with(|e| e.rules = vec![String::new()]), ExceptionError::Rules),
        (with(|e| e.reason = " \n".to_owned()), ExceptionError::Reason),
        (with(|e| e.reason = "x".repeat(1_025)), ExceptionError::Reason),
    ] {
        assert_eq!(refused(wrong), error);
    }
    for image in ["registry.example.com/hr/payroll:7", "registry.example.com/hr/payroll", "", "a b"] {
        assert!(matches!(refused(with(|e| e.image = image.to_owned())), ExceptionError::Image { .. }), "{image}");
    }
    let tagged = with(|e| e.image = e.image.replace('@', ":7@"));
    assert!(matches!(refused(tagged), ExceptionError::Image { .. }));
    for environment in ["", "*", "Public", "public,private"] {
        let wrong = with(|e| e.environment = environment.to_owned());
        assert!(matches!(refused(wrong), ExceptionError::Environment { .. }), "{environment}");
    }
    assert!(matches!(refused(with(|e| e.schema = "trust/exception/v2".to_owned())), ExceptionError::Schema { .. }));
    assert!(matches!(Exception::new("../e", file(), &[]), Err(ExceptionError::Path { .. })));
}

#[test]
fn a_file_that_does_not_read_lifts_nothing_and_leaves_the_others() {
    let good = serde_json::to_string(&file()).unwrap();
    let sources = [
        source("_exceptions/a.json", &good.replace("\"reason\"", "\"reasons\"")),
        source("_exceptions/b.json", &good.replacen('{', "{\"reason\":\"x\",", 1)),
        source("_exceptions/c.json", &good),
        source("_exceptions/d.json", "[]"),
        source("_exceptions/E.json", &good),
        source("_exceptions/f/g.json", &good),
        source("_policy/h.json", &good),
        source("_exceptions/i.json", &format!("{good}{}", " ".repeat(17 * 1024))),
        source("_exceptions/j.json", "[\"trust/exception/v1\",\"x\",\"y\",[\"z\"],\"r\",\"g\",\"e\"]"),
    ];
    let (exceptions, refused) = Exceptions::read(&sources, &[]);
    assert_eq!(exceptions.iter().map(Exception::id).collect::<Vec<_>>(), ["c"]);
    assert_eq!(refused.len(), sources.len() - 1, "{refused:?}");
    assert!(refused[0].starts_with("_exceptions/a.json: "), "{refused:?}");
}

#[test]
fn an_allowed_image_is_not_told_to_be_excepted() {
    let decision = lifted(&marked("public"), file());
    assert!(decision.allowed && decision.cause == Cause::Permitted && decision.exception.is_none());
}

#[test]
fn where_more_rules_could_have_permitted_than_are_told_nothing_is_lifted() {
    let rules = |n: usize| -> String {
        let rule =
            |n| format!("@id(\"p{n:02}\") permit (principal, action, resource) when {{ resource.tag_moved }};\n");
        (0..n).map(rule).collect()
    };
    let all = with(|e| e.rules = (0..32).map(|n| format!("p{n:02}")).collect());
    for (n, is_lifted) in [(15, true), (16, false), (40, false)] {
        let decision = lifted_at(&load(&rules(n)).unwrap(), &public(), &marked("PII"), std::slice::from_ref(&all), NOW);
        assert_eq!(decision.allowed, is_lifted, "{n}");
    }
}
