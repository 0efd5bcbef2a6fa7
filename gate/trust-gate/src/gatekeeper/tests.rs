//! What Gatekeeper asks, and what hostile keys do not get.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::testing::{Fake, digest};

const SIGNED: &str = "signed.example.com/a:1";
const BAD: &str = "unsigned.example.com/a:1";

fn asked(keys: &Value) -> Value {
    json!({"apiVersion": VERSIONS[0], "kind": "ProviderRequest", "request": {"keys": keys}})
}

fn answered(keys: &Value, fake: &Fake) -> Value {
    let question = Question::parse(asked(keys).to_string().as_bytes()).unwrap();
    let answer = answer(&question, Some("shop"), fake, Instant::now() + Duration::from_secs(60));
    serde_json::from_slice(&answer.to_json(&question)).unwrap()
}

fn item<'a>(answer: &'a Value, key: &str) -> &'a Value {
    let items = answer["response"]["items"].as_array().unwrap();
    let mut found = items.iter().filter(|item| item["key"] == key);
    let one = found.next().unwrap_or_else(|| panic!("no item for {key}: {answer}"));
    assert!(found.next().is_none(), "{key} has two items");
    one
}

#[test]
fn each_key_has_one_item_with_its_own_text_and_a_value_only_if_it_is_verified() {
    let strange = [
        "",
        " ",
        "a b",
        "x\ny\u{1b}[2J",
        "\u{202e}gpj",
        "r.io/a@sha256:00",
        "signed.example.com/a:1 ",
        "\"}],\"systemError\":\"",
    ];
    let mut keys: Vec<&str> = vec![SIGNED, BAD, SIGNED];
    keys.extend(strange);
    let fake = Fake::default();
    let answer = answered(&json!(keys), &fake);
    assert_eq!((&answer["apiVersion"], &answer["kind"]), (&json!(VERSIONS[0]), &json!("ProviderResponse")));
    assert_eq!((&answer["response"]["idempotent"], &answer["response"]["systemError"]), (&json!(true), &json!("")));
    assert_eq!(item(&answer, SIGNED)["value"], format!("{SIGNED}@{}", digest(SIGNED)));
    assert!(item(&answer, SIGNED).get("error").is_none());
    for key in strange.into_iter().chain([BAD]) {
        let item = item(&answer, key);
        assert!(item.get("value").is_none() && item["error"].as_str().is_some_and(|e| !e.is_empty()), "{item}");
    }
    let times = fake.asked.lock().unwrap().iter().filter(|asked| asked.0 == SIGNED).count();
    assert_eq!(times, 1, "one verification for two equal keys");
    assert!(fake.asked.lock().unwrap().iter().all(|asked| asked.1.as_deref() == Some("shop")));
}

#[test]
fn a_mutation_that_is_asked_again_with_its_own_value_changes_nothing() {
    let first = answered(&json!([SIGNED]), &Fake::default());
    let value = item(&first, SIGNED)["value"].as_str().unwrap().to_owned();
    let second = answered(&json!([value]), &Fake::default());
    assert_eq!(item(&second, &value)["value"], value);
}

#[test]
fn too_many_keys_are_a_system_error_and_a_key_that_is_too_long_is_an_error() {
    let many: Vec<String> = (0..=MAX_KEYS).map(|i| format!("signed.example.com/a:{i}")).collect();
    let fake = Fake::default();
    let answer = answered(&json!(many), &fake);
    assert_eq!(answer["response"]["items"], json!([]));
    assert!(answer["response"]["systemError"].as_str().unwrap().contains("at most 1000"), "{answer}");
    assert!(fake.asked.lock().unwrap().is_empty());
    let answer = answered(&json!(many[..MAX_KEYS]), &fake);
    assert_eq!(answer["response"]["items"].as_array().unwrap().len(), MAX_KEYS);
    let long = format!("signed.example.com/{}:1", "a".repeat(MAX_KEY_LEN));
    assert!(item(&answered(&json!([long]), &fake), &long)["error"].as_str().unwrap().contains("longer than"));
}

#[test]
fn keys_that_the_time_did_not_suffice_for_are_errors() {
    let question = Question::parse(asked(&json!([SIGNED, "signed.example.com/b:1"])).to_string().as_bytes()).unwrap();
    let fake = Fake { delay: Duration::from_millis(20), ..Fake::default() };
    let answer = answer(&question, None, &fake, Instant::now() + Duration::from_millis(10));
    let answer: Value = serde_json::from_slice(&answer.to_json(&question)).unwrap();
    assert!(item(&answer, SIGNED).get("value").is_some());
    assert!(item(&answer, "signed.example.com/b:1")["error"].as_str().unwrap().contains("the time was over"));
}

#[test]
fn what_is_no_provider_request_is_refused() {
    let keys = json!([SIGNED]);
    for (name, question) in [
        (
            "version",
            json!({"apiVersion": "externaldata.gatekeeper.sh/v2", "kind": "ProviderRequest", "request": {"keys": keys}}),
        ),
        ("kind", json!({"apiVersion": VERSIONS[0], "kind": "ProviderResponse", "request": {"keys": keys}})),
        ("request", json!({"apiVersion": VERSIONS[0], "kind": "ProviderRequest"})),
        ("keys", asked(&json!({"a": SIGNED}))),
        ("number", asked(&json!([SIGNED, 5]))),
        ("nested", asked(&json!([[SIGNED]]))),
        ("null", asked(&json!([null]))),
        (
            "spelling",
            json!({"apiVersion": VERSIONS[0], "kind": "ProviderRequest", "request": {"keys": [], "Keys": keys}}),
        ),
    ] {
        assert!(Question::parse(question.to_string().as_bytes()).is_err(), "{name}");
    }
    let twice =
        format!(r#"{{"apiVersion":"{}","kind":"ProviderRequest","request":{{"keys":[],"keys":["x"]}}}}"#, VERSIONS[0]);
    assert!(Question::parse(twice.as_bytes()).is_err());
    let old = json!({"apiVersion": VERSIONS[1], "kind": "ProviderRequest", "request": {"keys": keys}});
    let question = Question::parse(old.to_string().as_bytes()).unwrap();
    let answer: Value = serde_json::from_slice(&Answer::failed(&"x").to_json(&question)).unwrap();
    assert_eq!((&answer["apiVersion"], &answer["response"]["systemError"]), (&json!(VERSIONS[1]), &json!("x")));
}

#[test]
fn questions_that_are_deep_huge_or_cut_are_refused_and_never_panic() {
    let head = format!(r#"{{"apiVersion":"{}","kind":"ProviderRequest","request":{{"keys":"#, VERSIONS[0]);
    for body in [
        format!("{head}{}{}}}}}", "[".repeat(100), "]".repeat(100)),
        format!("{head}{}", "[".repeat(1_000_000)),
        format!("{head}[{}1]}}}}", "\"a\",".repeat(10)),
        format!("{head}[{}\"a\"]}}}}", "\"a\",".repeat(MAX_VALUES)),
        format!("{head}[\"a\"]"),
        format!("{head}[\"a\"]}}}} x"),
        String::new(),
        "null".to_owned(),
        "[]".to_owned(),
    ] {
        assert!(Question::parse(body.as_bytes()).is_err(), "{:.80}", body);
    }
    assert!(Question::parse(b"\xff").is_err());
    // What is not read may be anything.
    let beside = format!(
        r#"{{"x":{}{},"y":{{"a":1,"a":2}},{}"#,
        "[".repeat(1_000),
        "]".repeat(1_000),
        head.strip_prefix('{').unwrap()
    );
    assert!(Question::parse(format!("{beside}[\"a\"]}}}}").as_bytes()).is_ok());
}
