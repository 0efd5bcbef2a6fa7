//! What people write for the rules: dictionaries, rule files, environments, exceptions; and the decision itself, beside the
//! second implementation.

use std::sync::OnceLock;

use serde_json::Value;
use trust_image::{Digest, ImageFacts, PlatformFacts, Reference};
use trust_policy::floor::Loader;
use trust_policy::{Action, Cause, Cloud, Environment, Exception, Exceptions, Policy, PolicyIdentity, Source, Subject};
use trust_policy::{format_labels, format_rules, shipped};

use super::second;

fn source(path: &str, bytes: &[u8]) -> Source {
    Source { path: path.to_owned(), bytes: bytes.to_vec() }
}

const RULE: &[u8] = b"@id(\"all\")\npermit (principal, action, resource);\n";
const NOW: i64 = 1_900_000_000;

/// The files that `trust policy init` puts in force.
fn shipped_sources() -> Vec<Source> {
    let published = shipped::FILES.iter().filter(|(path, _)| path.ends_with(".cedar") || path.ends_with(".json"));
    published.map(|(path, text)| source(&format!("_{path}"), text.as_bytes())).collect()
}

fn load(sources: &[Source]) -> Option<Policy> {
    Policy::load(sources, PolicyIdentity::folder()).ok()
}

/// An image of two platforms that differ.
fn subject() -> Subject {
    let platform = |name: &str, value: &str| PlatformFacts {
        platform: name.to_owned(),
        digest: Digest::of(name.as_bytes()),
        labels: [(second::KEY.to_owned(), value.to_owned()), ("a".to_owned(), "b".to_owned())].into(),
    };
    Subject {
        reference: Reference::parse("registry.example.com/hr/payroll:7").expect("a reference"),
        digest: Digest::of(b"index"),
        collection: "registry.example.com/hr".to_owned(),
        signers: vec!["alice".to_owned(), "ci".to_owned()],
        conflicts: Vec::new(),
        tag_moved: None,
        root_version: 3,
        facts: Some(ImageFacts {
            media_type: "application/vnd.oci.image.index.v1+json".to_owned(),
            signed: "2030-01-01T00:00:00Z".to_owned(),
            tags: vec!["7".to_owned()],
            platforms: vec![platform("linux/amd64", "public"), platform("linux/arm64", "internal")],
            annotations: Default::default(),
            stated: Default::default(),
        }),
    }
}

/// The decisions on one image in both kinds of cloud, for each action; what is written of them is one line without
/// anything that steers a terminal.
fn decisions(policy: &Policy) -> Vec<(bool, Cause)> {
    let mut all = Vec::new();
    for cloud in Cloud::ALL {
        let environment = Environment::new("eu", cloud).expect("an environment");
        for action in Action::ALL {
            let decision = policy.decide(&environment, action, &subject(), NOW);
            assert_eq!(decision.allowed, decision.cause == Cause::Permitted);
            assert!(decision.text().chars().all(|c| c == '\n' || !c.is_control()), "{:?}", decision.text());
            assert!(!decision.line().chars().any(char::is_control), "{:?}", decision.line());
            all.push((decision.allowed, decision.cause));
        }
    }
    all
}

/// A dictionary of labels.
pub fn dictionary(data: &[u8]) {
    let rules = source("_policy/main.cedar", RULE);
    let labels = source("_labels/main.json", data);
    let Some(policy) = load(&[rules.clone(), labels.clone()]) else { return };
    serde_json::from_slice::<Value>(data).expect("what is a dictionary is JSON");
    // The same key in two files is one too many, unless there is none.
    let twice = source("_labels/other.json", data);
    assert_eq!(load(&[rules.clone(), labels, twice]).is_some(), policy.dictionary().keys().count() == 0);
    for (allowed, cause) in decisions(&policy) {
        assert!(allowed || matches!(cause, Cause::LabelOutside | Cause::LabelMissing), "{cause:?}");
    }
    if let Ok(written) = format_labels("main.json", data) {
        let again = load(&[rules, source("_labels/main.json", written.as_bytes())]).expect("written by us");
        assert_eq!(again.dictionary(), policy.dictionary(), "another dictionary after it was written anew");
        let twice = format_labels("main.json", written.as_bytes());
        assert_eq!(twice.as_deref(), Ok(written.as_str()), "written anew twice");
    }
}

/// A rule file.
pub fn policy(data: &[u8]) {
    static CEDAR: OnceLock<Loader> = OnceLock::new();
    let file = source("_policy/main.cedar", data);
    let beside = |more: &[Source]| load(&[shipped_dictionary(), std::slice::from_ref(&file), more].concat());
    let (first, again) = (beside(&[]), beside(&[]));
    assert_eq!(first.is_some(), again.is_some(), "one file, two answers");
    let Some(policy) = first else { return };
    // Cedar reads and validates it too, and finds as many rules.
    let text = std::str::from_utf8(data).expect("what is a policy is text");
    let cedar = CEDAR.get_or_init(|| Loader::new().expect("the schema"));
    assert_eq!(cedar.load(text), Ok(policy.rules().count()), "Cedar reads another set");
    let before = decisions(&policy);
    assert_eq!(before, decisions(&again.expect("read before")));
    // One rule more that forbids all, and one whole file more: nothing is opened by it.
    let no = source("_policy/zz.cedar", b"@id(\"zz.zz-zz\") forbid (principal, action, resource);");
    if let Some(after) = beside(&[no]) {
        assert!(decisions(&after).iter().all(|(allowed, _)| !allowed), "allowed beside a rule that forbids all");
    }
    for rule in policy.rules() {
        assert!(text.contains(&rule.source), "a rule that does not stand in the file");
    }
    let Ok(written) = format_rules("main.cedar", data) else { return };
    let twice = format_rules("main.cedar", written.as_bytes());
    assert_eq!(twice.as_deref(), Ok(written.as_str()), "written anew twice");
    let after = load(&[shipped_dictionary(), &[source("_policy/main.cedar", written.as_bytes())]].concat());
    assert_eq!(decisions(&after.expect("written by us")), before, "other decisions after it was written anew");
}

fn shipped_dictionary() -> &'static [Source] {
    static LABELS: OnceLock<Vec<Source>> = OnceLock::new();
    LABELS.get_or_init(|| shipped_sources().into_iter().filter(|s| s.path.starts_with("_labels/")).collect())
}

/// The file that describes an environment.
pub fn environment(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(environment) = Environment::from_toml(text, "environment.toml") else { return };
    let again = Environment::from_toml(text, "environment.toml").expect("read before");
    assert_eq!(format!("{environment:?}"), format!("{again:?}"));
    // It says where it is; nothing fills that in.
    assert!(text.contains("cloud"), "an environment without its kind is read");
    let _ = Environment::new(text, Cloud::Public);
    let json = serde_json::to_string(&environment).expect("an environment");
    let written: Environment = serde_json::from_str(&json).expect("written by us");
    assert_eq!(written.hash(), environment.hash(), "what rules read changes when it is written");
}

/// The file of an exception: what it lifts, its own words cover.
pub fn exception(data: &[u8]) {
    static POLICY: OnceLock<Policy> = OnceLock::new();
    let Ok(exception) = Exception::read("_exceptions/e.json", data, &["officer".to_owned()]) else { return };
    let file = exception.file();
    serde_json::from_slice::<Value>(data).expect("what is an exception is JSON");
    let image = Reference::parse(&file.image).expect("what is excepted is an image");
    assert!(image.tag().is_none() && image.digest().is_some());
    let (granted, expires) = (second::time(&file.granted), second::time(&file.expires));
    let life = expires.expect("a time") - granted.expect("a time");
    assert!((1..=7 * 86_400).contains(&life), "{life}");
    assert_eq!(expires, Some(exception.expires_unix()));
    let policy = POLICY.get_or_init(|| load(&shipped_sources()).expect("shipped"));
    let sources = [source("_exceptions/e.json", data)];
    let (exceptions, refused) = Exceptions::read(&sources, &["officer".to_owned()]);
    assert!(refused.is_empty(), "{refused:?}");
    for cloud in Cloud::ALL {
        let environment = Environment::new("public-eu", cloud).expect("an environment");
        for now in [NOW, exception.expires_unix() - 1, exception.expires_unix()] {
            let before = policy.decide(&environment, Action::Deploy, &subject(), now);
            let after = exceptions.lift(before.clone(), &subject(), now);
            if after.allowed && !before.allowed {
                assert_eq!(file.environment, "public-eu");
                assert_eq!(image.digest(), Some(&subject().digest));
                assert!(before.rules.iter().all(|rule| file.rules.contains(&rule.id)));
                assert!(now < exception.expires_unix());
                assert_eq!(after.cause, Cause::Excepted);
            } else {
                assert_eq!(after, before);
            }
            assert!(!after.line().chars().any(char::is_control), "{:?}", after.line());
        }
    }
}

/// Facts and an environment: the shipped rules decide as the second implementation does.
///
/// `{"environment": {…}, "action": "deploy", "image": "…", "signers": […], "conflicts": […], "moved": null, "root": 3,
/// "now": 0, "facts": {…}}`; what is absent or of another type is as usual.
pub fn decision(data: &[u8]) {
    static POLICY: OnceLock<Policy> = OnceLock::new();
    let Ok(value) = serde_json::from_slice::<Value>(data) else { return };
    let Some(asked) = asked(&value) else { return };
    let (environment, action, subject, now) = asked;
    let policy = POLICY.get_or_init(|| {
        let signers = shipped::FILES.iter().find(|(path, _)| path.starts_with("policy/signers")).expect("an example");
        let mut sources = shipped_sources();
        sources.push(source("_policy/signers.cedar", signers.1.as_bytes()));
        load(&sources).expect("shipped")
    });
    let decision = policy.decide(&environment, action, &subject, now);
    let judges: Vec<second::Judge> = second::shipped().into_iter().chain(second::signers()).collect();
    assert_eq!(second::told(&decision), second::decide(&judges, &environment, action, &subject, now));
    assert!(!decision.line().chars().any(char::is_control), "{:?}", decision.line());
    // What is not told of the place cannot help.
    if !decision.allowed && decision.cause != Cause::Error {
        assert!(!policy.decide(&Environment::strictest(), action, &subject, now).allowed);
    }
}

fn asked(value: &Value) -> Option<(Environment, Action, Subject, i64)> {
    let environment: Environment = serde_json::from_value(value.get("environment")?.clone()).ok()?;
    let action = value.get("action").and_then(Value::as_str).and_then(|word| word.parse().ok()).unwrap_or(Action::Pull);
    let names = |member: &str| -> Vec<String> {
        let items = value.get(member).and_then(Value::as_array).into_iter().flatten();
        items.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let facts = match value.get("facts") {
        None | Some(Value::Null) => None,
        Some(facts) => {
            let custom = serde_json::to_vec(&serde_json::json!({ "image": facts })).ok()?;
            ImageFacts::from_custom(&custom).ok()?
        }
    };
    let subject = Subject {
        reference: Reference::parse(value.get("image")?.as_str()?).ok()?,
        signers: names("signers"),
        conflicts: names("conflicts"),
        tag_moved: value.get("moved").and_then(Value::as_bool),
        root_version: value.get("root").and_then(Value::as_u64).unwrap_or(0),
        facts,
        ..subject()
    };
    Some((environment, action, subject, value.get("now").and_then(Value::as_i64).unwrap_or(NOW)))
}
