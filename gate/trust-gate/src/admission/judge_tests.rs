//! Attacks on, and promises of, [`super::answer`], with a decider that is not real.

use std::time::Duration;

use base64ct::{Base64, Encoding};
use serde_json::{Value, json};

use super::*;
use crate::testing::{Fake, digest, kinds, object, review};

const SIGNED: &str = "signed.example.com/a:1";
const OTHER: &str = "signed.example.com/b:1";
const BAD: &str = "unsigned.example.com/a:1";

fn judged(review: &Value, door: Door, rules: Rules, fake: &Fake) -> Answer {
    let review = Review::parse(&serde_json::to_vec(review).unwrap()).unwrap();
    answer(&review, door, rules, fake, Instant::now() + Duration::from_secs(60))
}

fn created(spec: &Value, door: Door) -> Answer {
    judged(&review("CREATE", object("apps", "Deployment", spec), Value::Null), door, Rules::default(), &Fake::default())
}

fn operations(answer: &Answer) -> Value {
    serde_json::from_slice(&Base64::decode_vec(answer.patch.as_deref().unwrap()).unwrap()).unwrap()
}

/// A pod spec with this image in one of the four fields and signed, pinned ones in the others.
fn with_image(field: &str, image: &str) -> Value {
    let good = format!("{OTHER}@{}", digest(OTHER));
    let container = |name: &str| json!([{"name": name, "image": if name == field { image } else { &good }}]);
    json!({
        "containers": container("containers"),
        "initContainers": container("initContainers"),
        "ephemeralContainers": container("ephemeralContainers"),
        "volumes": [{"name": "data", "emptyDir": {}},
            {"name": "v", "image": {"reference": if field == "volumes" { image } else { &good }}}],
    })
}

const FIELDS: [&str; 4] = ["containers", "initContainers", "ephemeralContainers", "volumes"];

#[test]
fn an_unsigned_image_in_any_field_of_any_kind_denies_and_the_message_says_where() {
    for (group, kind) in kinds() {
        for field in FIELDS {
            for door in [Door::Mutate, Door::Validate] {
                let object = object(group, kind, &with_image(field, BAD));
                let answer = judged(&review("CREATE", object, Value::Null), door, Rules::default(), &Fake::default());
                assert!(!answer.allowed, "{kind} {field}");
                assert!(answer.message.contains(field) && answer.message.contains(BAD), "{}", answer.message);
                assert!(answer.message.contains("is not signed"), "{}", answer.message);
                assert_eq!(answer.patch, None);
                assert_eq!(answer.audit["decision"], "deny");
            }
        }
    }
}

#[test]
fn a_signed_tag_in_any_field_of_any_kind_gets_its_digest_at_its_place() {
    for (group, kind) in kinds() {
        for field in FIELDS {
            let before = object(group, kind, &with_image(field, SIGNED));
            let asked = review("CREATE", before.clone(), Value::Null);
            let answer = judged(&asked, Door::Mutate, Rules::default(), &Fake::default());
            assert!(answer.allowed, "{}", answer.message);
            let wanted = format!("{SIGNED}@{}", digest(SIGNED));
            let patch = operations(&answer);
            assert_eq!(patch.as_array().unwrap().len(), 2, "{kind} {field}: {patch}");
            assert_eq!((&patch[0]["op"], &patch[1]["op"]), (&json!("test"), &json!("replace")));
            assert_eq!(patch[0]["path"], patch[1]["path"]);
            assert_eq!(patch[1]["value"], wanted);
            assert_eq!(before.pointer(patch[0]["path"].as_str().unwrap()), Some(&patch[0]["value"]));
            assert_eq!(answer.audit["policy"], "policy@7");
        }
    }
}

#[test]
fn a_pod_with_a_tag_alone_is_denied_by_the_door_that_validates_and_a_template_passes() {
    let asked = |image: &str| review("CREATE", object("", "Pod", &with_image("containers", image)), Value::Null);
    let answer = judged(&asked(SIGNED), Door::Validate, Rules::default(), &Fake::default());
    assert!(!answer.allowed && answer.message.contains("the tag alone"), "{}", answer.message);
    let pinned = format!("{SIGNED}@{}", digest(SIGNED));
    assert!(judged(&asked(&pinned), Door::Validate, Rules::default(), &Fake::default()).allowed);
    let template = created(&with_image("containers", SIGNED), Door::Validate);
    assert!(template.allowed);
    assert_eq!(template.patch, None, "a validating webhook returns no patch");
}

#[test]
fn a_digest_that_was_not_signed_is_denied_beside_a_signed_tag() {
    let forged = format!("{SIGNED}@{}", digest(OTHER));
    assert!(!created(&with_image("containers", &forged), Door::Mutate).allowed);
}

#[test]
fn one_bad_container_of_two_denies_and_all_failures_are_in_one_message() {
    let answer = created(&json!({"containers": [{"image": SIGNED}, {"image": BAD}]}), Door::Mutate);
    assert!(!answer.allowed && answer.message.contains("containers[1]"));
    let spec = json!({"containers": [{"image": BAD}, {"image": SIGNED}], "initContainers": [{"image": "no image"}]});
    let answer = created(&spec, Door::Validate);
    assert!(answer.message.starts_with("2 reasons: (1) spec.template.spec.containers[0].image "), "{}", answer.message);
    assert!(
        answer.message.contains("(2) spec.template.spec.initContainers[0].image \"no image\": "),
        "{}",
        answer.message
    );
    assert!(!answer.message.contains('\n'));
}

#[test]
fn one_image_fifty_times_is_decided_once() {
    let fake = Fake::default();
    let spec = json!({"containers": vec![json!({"image": SIGNED}); 50], "volumes": [{"image": {"reference": SIGNED}}]});
    let asked = review("CREATE", object("apps", "Deployment", &spec), Value::Null);
    let answer = judged(&asked, Door::Mutate, Rules::default(), &fake);
    assert_eq!(*fake.asked.lock().unwrap(), [(SIGNED.to_owned(), Some("shop".to_owned()), false)]);
    assert_eq!(operations(&answer).as_array().unwrap().len(), 102);
}

#[test]
fn the_namespace_comes_from_the_request_and_never_from_the_object() {
    let fake = Fake::default();
    let mut object = object("apps", "Deployment", &with_image("containers", SIGNED));
    object["metadata"]["namespace"] = json!("payroll");
    let mut asked = review("CREATE", object, Value::Null);
    judged(&asked, Door::Mutate, Rules::default(), &fake);
    asked["request"].as_object_mut().unwrap().remove("namespace");
    judged(&asked, Door::Mutate, Rules::default(), &fake);
    let namespaces: Vec<_> = fake.asked.lock().unwrap().iter().map(|a| a.1.clone()).collect();
    assert_eq!(namespaces, [Some("shop".to_owned()), Some("shop".to_owned()), None, None]);
}

#[test]
fn what_was_converted_is_judged_as_it_is_stored_and_the_log_knows_what_was_sent() {
    let mut asked = review("CREATE", object("apps", "Deployment", &with_image("containers", BAD)), Value::Null);
    asked["request"]["requestKind"] = json!({"group": "extensions", "version": "v1beta1", "kind": "DeploymentOld"});
    let read = Review::parse(asked.to_string().as_bytes()).unwrap();
    assert_eq!((read.kind.as_str(), read.sent_as.as_str()), ("Deployment", "DeploymentOld"));
    assert!(!judged(&asked, Door::Validate, Rules::default(), &Fake::default()).allowed);
    for other in [json!(null), json!("x"), json!({"kind": 5}), json!([])] {
        asked["request"]["requestKind"] = other;
        assert_eq!(Review::parse(asked.to_string().as_bytes()).unwrap().sent_as, "");
    }
}

#[test]
fn an_unknown_kind_and_an_object_without_containers_are_denied() {
    let ours = json!({"apiVersion": "example.com/v1", "kind": "Rollout", "spec": {}});
    let answer = judged(&review("CREATE", ours, Value::Null), Door::Validate, Rules::default(), &Fake::default());
    assert!(!answer.allowed && answer.message.contains("kind \"Rollout\""), "{}", answer.message);
    let way_out = "describe it in [[admission.kinds]] of the gate's configuration, or take it out of the rules";
    assert!(answer.message.contains(way_out), "{}", answer.message);
    // One without a group cannot be described.
    let secret = review("CREATE", json!({"apiVersion": "v1", "kind": "Secret"}), Value::Null);
    let answer = judged(&secret, Door::Validate, Rules::default(), &Fake::default());
    assert!(answer.message.ends_with("; take it out of the rules of the webhooks"), "{}", answer.message);
    // What is wrong with a known kind is not mended there.
    let broken = created(&json!({"containers": 5}), Door::Validate);
    assert!(!broken.message.contains("take it out"), "{}", broken.message);
    assert!(!created(&json!({"initContainers": []}), Door::Validate).allowed);
    assert!(!created(&json!({"containers": {"image": SIGNED}}), Door::Validate).allowed);
}

#[test]
fn deletion_and_connection_pass_with_an_empty_object() {
    let pod = object("", "Pod", &with_image("containers", BAD));
    for (operation, old) in [("DELETE", pod.clone()), ("CONNECT", pod)] {
        let mut asked = review(operation, Value::Null, old);
        assert!(judged(&asked, Door::Validate, Rules::default(), &Fake::default()).allowed);
        asked["request"].as_object_mut().unwrap().remove("object");
        assert!(judged(&asked, Door::Validate, Rules::default(), &Fake::default()).allowed);
    }
}

#[test]
fn a_deletion_timestamp_passes_only_if_the_stored_object_had_it_and_every_image_stands() {
    let old = object("", "Pod", &with_image("containers", SIGNED));
    let mut new = object("", "Pod", &with_image("containers", BAD));
    new["metadata"]["deletionTimestamp"] = json!("2030-01-01T00:00:00Z");
    for (operation, old) in [("CREATE", Value::Null), ("UPDATE", old.clone()), ("CREATE", new.clone())] {
        let asked = review(operation, new.clone(), old);
        assert!(!judged(&asked, Door::Validate, Rules::default(), &Fake::default()).allowed, "{operation}");
    }
    let mut going = old;
    going["metadata"]["deletionTimestamp"] = json!("2030-01-01T00:00:00Z");
    let rules = Rules { recheck: Recheck::Always, ..Rules::default() };
    assert!(!judged(&review("UPDATE", new.clone(), going), Door::Validate, rules, &Fake::default()).allowed);
    let mut fewer = new.clone();
    fewer["metadata"]["finalizers"] = json!([]);
    assert!(judged(&review("UPDATE", fewer, new), Door::Validate, rules, &Fake::default()).allowed);
}

#[test]
fn an_update_without_another_image_passes_and_the_switch_decides_again() {
    let old = object("apps", "Deployment", &json!({"containers": [{"image": BAD}]}));
    let mut new = old.clone();
    new["spec"]["replicas"] = json!(3);
    let asked = review("UPDATE", new, old);
    let fake = Fake::default();
    assert!(judged(&asked, Door::Validate, Rules::default(), &fake).allowed);
    assert!(fake.asked.lock().unwrap().is_empty(), "nothing is decided again");
    let warned = judged(&asked, Door::Validate, Rules { recheck: Recheck::Warn, ..Rules::default() }, &fake);
    assert!(warned.allowed && warned.warnings.concat().contains("would be denied"), "{warned:?}");
    assert!(!judged(&asked, Door::Validate, Rules { recheck: Recheck::Always, ..Rules::default() }, &fake).allowed);
}

#[test]
fn an_update_that_moves_adds_or_changes_an_image_is_decided() {
    let of = |spec: Value| object("apps", "Deployment", &spec);
    let old = of(json!({"containers": [{"image": SIGNED}, {"image": BAD}]}));
    for spec in [
        json!({"containers": [{"image": BAD}, {"image": SIGNED}]}),
        json!({"containers": [{"image": SIGNED}, {"image": BAD}, {"image": BAD}]}),
        json!({"containers": [{"image": SIGNED}], "initContainers": [{"image": BAD}]}),
        json!({"containers": [{"image": SIGNED}, {"image": "unsigned.example.com/b:2"}]}),
    ] {
        let asked = review("UPDATE", of(spec.clone()), old.clone());
        assert!(!judged(&asked, Door::Validate, Rules::default(), &Fake::default()).allowed, "{spec}");
    }
    // An old object that cannot be read, or is of another kind, vouches for nothing.
    for old in [Value::Null, json!({}), object("", "Pod", &json!({"containers": [{"image": BAD}]}))] {
        let asked = review("UPDATE", of(json!({"containers": [{"image": BAD}]})), old);
        assert!(!judged(&asked, Door::Validate, Rules::default(), &Fake::default()).allowed);
    }
}

#[test]
fn kubectl_debug_adds_a_signed_container_to_a_pod_that_was_there_before_the_gate() {
    let old = object("", "Pod", &json!({"containers": [{"image": BAD}]}));
    let with = |image: &str, also: &str| {
        let new =
            object("", "Pod", &json!({"containers": [{"image": also}], "ephemeralContainers": [{"image": image}]}));
        let mut asked = review("UPDATE", new, old.clone());
        asked["request"]["subResource"] = json!("ephemeralcontainers");
        asked
    };
    let answer = judged(&with(SIGNED, BAD), Door::Mutate, Rules::default(), &Fake::default());
    assert!(answer.allowed, "{}", answer.message);
    assert_eq!(operations(&answer)[1]["path"], "/spec/ephemeralContainers/0/image");
    let pinned = format!("{SIGNED}@{}", digest(SIGNED));
    assert!(judged(&with(&pinned, BAD), Door::Validate, Rules::default(), &Fake::default()).allowed);
    assert!(!judged(&with(BAD, BAD), Door::Validate, Rules::default(), &Fake::default()).allowed);
    // Whatever the subresource is called: a changed image is decided.
    let changed = with(&pinned, "unsigned.example.com/c:1");
    assert!(!judged(&changed, Door::Validate, Rules::default(), &Fake::default()).allowed);
}

#[test]
fn an_empty_image_is_denied_in_a_pod_and_a_warning_in_a_template() {
    for container in [json!({"name": "a"}), json!({"name": "a", "image": ""})] {
        let spec = json!({"containers": [container]});
        let asked = review("CREATE", object("", "Pod", &spec), Value::Null);
        let answer = judged(&asked, Door::Validate, Rules::default(), &Fake::default());
        assert!(!answer.allowed && answer.message.contains("no image is named"));
        let answer = created(&spec, Door::Validate);
        assert!(answer.allowed && answer.warnings.concat().contains("no image is named"));
    }
}

#[test]
fn mode_warn_allows_changes_nothing_and_says_what_it_would_deny_in_short_lines() {
    let rules = Rules { mode: Mode::Warn, ..Rules::default() };
    let long = format!("unsigned.example.com/{}:1", "a/".repeat(100) + "a");
    let spec = json!({"containers": [{"image": BAD}, {"image": SIGNED}, {"image": long}, {"image": "x\ny\u{1b}[2J"}]});
    let asked = review("CREATE", object("apps", "Deployment", &spec), Value::Null);
    let answer = judged(&asked, Door::Mutate, rules, &Fake::default());
    assert!(answer.allowed && answer.patch.is_none() && answer.message.is_empty());
    assert_eq!(answer.audit["decision"], "warn");
    assert!(answer.warnings.iter().any(|w| w.starts_with("would be denied: ")));
    assert!(answer.warnings.concat().contains(BAD));
    for warning in &answer.warnings {
        assert!(!warning.is_empty() && warning.chars().count() <= MAX_WARNING_CHARS, "{warning}");
        assert!(!warning.chars().any(char::is_control), "{warning}");
    }
    let many: Vec<Value> = (0..100).map(|i| json!({"image": format!("unsigned.example.com/{i}:1")})).collect();
    let asked = review("CREATE", object("apps", "Deployment", &json!({"containers": many})), Value::Null);
    assert_eq!(judged(&asked, Door::Mutate, rules, &Fake::default()).warnings.len(), MAX_WARNINGS);
    let denied = judged(&asked, Door::Mutate, Rules::default(), &Fake::default());
    assert!(denied.message.contains("and 80 more"), "{}", denied.message);
    let kind = review("CREATE", json!({"apiVersion": "v1", "kind": "Secret"}), Value::Null);
    let answer = judged(&kind, Door::Validate, rules, &Fake::default());
    assert!(answer.allowed && answer.warnings.concat().contains("Secret"));
}

/// What kubectl shows of a warning, put together again.
fn joined(warnings: &[String]) -> String {
    warnings.join("\n").replace(" …\n… ", " ")
}

#[test]
fn no_line_of_a_warning_that_goes_on_reads_as_if_it_were_the_whole() {
    // Each length once, so that the cut comes at each word.
    for padding in 0..130 {
        let text = format!(
            "would be denied: {} is not signed (E1001); ask alice, and be patient {}",
            "x".repeat(padding),
            "y".repeat(150)
        );
        let pieces = warnings(&text);
        assert!(
            pieces.len() > 1 && pieces.iter().all(|piece| piece.chars().count() <= MAX_WARNING_CHARS),
            "{pieces:?}"
        );
        let (first, rest) = pieces.split_first().unwrap();
        let (last, before) = pieces.split_last().unwrap();
        assert!(rest.iter().all(|piece| piece.starts_with("… ")) && !first.starts_with('…'), "{pieces:?}");
        assert!(before.iter().all(|piece| piece.ends_with(" …")) && !last.ends_with('…'), "{pieces:?}");
        // A word that is too long for a line is cut all the same.
        assert_eq!(joined(&pieces).replace(' ', ""), text.replace(' ', ""));
    }
    for short in ["", "   ", "would be denied", &"z".repeat(MAX_WARNING_CHARS)] {
        assert_eq!(warnings(short).concat(), short.trim());
    }
    let two = warnings(&format!("{} {}", "a".repeat(60), "b".repeat(60)));
    assert_eq!(two, [format!("{} …", "a".repeat(60)), format!("… {}", "b".repeat(60))]);
}

#[test]
fn a_denial_that_is_not_given_is_kept_for_the_log() {
    let asked = review("CREATE", object("apps", "Deployment", &with_image("containers", BAD)), Value::Null);
    for mode in [Mode::Warn, Mode::Audit] {
        let answer = judged(&asked, Door::Validate, Rules { mode, ..Rules::default() }, &Fake::default());
        assert!(answer.allowed && answer.withheld.contains("is not signed"), "{answer:?}");
        let json = String::from_utf8(answer.to_json("u")).unwrap();
        assert!(!json.contains("withheld"), "{json}");
    }
    assert!(judged(&asked, Door::Validate, Rules::default(), &Fake::default()).withheld.is_empty());
}

#[test]
fn a_dry_run_is_decided_alike_and_says_so_to_the_log() {
    let fake = Fake::default();
    let mut asked = review("CREATE", object("apps", "Deployment", &with_image("volumes", SIGNED)), Value::Null);
    let real = judged(&asked, Door::Mutate, Rules::default(), &fake);
    asked["request"]["dryRun"] = json!(true);
    assert_eq!(judged(&asked, Door::Mutate, Rules::default(), &fake), real);
    let runs: Vec<bool> = fake.asked.lock().unwrap().iter().map(|a| a.2).collect();
    assert_eq!(runs, [false, false, true, true]);
}

#[test]
fn pin_pods_leaves_workloads_as_they_are() {
    let rules = Rules { pin: Pin::Pods, ..Rules::default() };
    let spec = with_image("containers", SIGNED);
    let asked = |group, kind| review("CREATE", object(group, kind, &spec), Value::Null);
    assert_eq!(judged(&asked("apps", "Deployment"), Door::Mutate, rules, &Fake::default()).patch, None);
    assert!(judged(&asked("", "Pod"), Door::Mutate, rules, &Fake::default()).patch.is_some());
}

#[test]
fn the_time_may_end_between_two_images_and_then_it_is_a_denial() {
    let fake = Fake { delay: Duration::from_millis(20), ..Fake::default() };
    let spec = json!({"containers": [{"image": SIGNED}, {"image": OTHER}]});
    let bytes = serde_json::to_vec(&review("CREATE", object("apps", "Deployment", &spec), Value::Null)).unwrap();
    let review = Review::parse(&bytes).unwrap();
    let answer = answer(&review, Door::Mutate, Rules::default(), &fake, Instant::now() + Duration::from_millis(10));
    assert!(!answer.allowed && answer.message.contains("the time was over"), "{}", answer.message);
    assert_eq!(fake.asked.lock().unwrap().len(), 1);
}

#[test]
fn an_image_that_passes_by_an_exception_is_told_to_whoever_deploys_it_and_to_the_audit_log() {
    let spec = json!({"containers": [{"image": "signed.example.com/excepted:1"}, {"image": SIGNED}]});
    for door in [Door::Mutate, Door::Validate] {
        let answer = created(&spec, door);
        assert!(answer.allowed);
        assert_eq!(answer.warnings.len(), 1, "{:?}", answer.warnings);
        assert!(answer.warnings[0].starts_with("exception inc-7 lifts rule"), "{answer:?}");
        assert!(!answer.warnings[0].contains('\n'));
        assert_eq!(answer.audit["exceptions"], "inc-7");
    }
    let none = created(&json!({"containers": [{"image": SIGNED}]}), Door::Validate);
    assert!(none.warnings.is_empty() && !none.audit.contains_key("exceptions"));
}
