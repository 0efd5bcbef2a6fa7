//! Exceptions at a gate: what they lift, until when, who may grant one, and that each use is on record.

use trust_reader::catalogue::Code;
use trust_tests::simulator::{Delegate, TestKey};
use trust_tuf::json::Value;

use super::scene::*;

const ROLE: &str = "_exceptions";

/// A policy collection whose exceptions have a role of their own, and an image that only the rule `nothing` keeps out.
fn scene() -> Scene {
    let mut scene = Scene::new();
    let delegate = Delegate::new(ROLE, &TestKey::ed25519(112), &["_exceptions/*"]).terminating();
    scene.policy.delegate("targets", &delegate);
    publish_role(&mut scene.policy, "targets");
    scene.set_rules(CLOSED);
    scene
}

fn exception(image: u8, granted: i64, seconds: i64) -> String {
    format!(
        r#"{{"schema":"trust/exception/v1","image":"registry.example.com/pay/api@{}","environment":"public-eu","rules":["nothing"],
            "reason":"INC-7","granted":"{}","expires":"{}"}}"#,
        digest(image),
        after(granted),
        after(granted + seconds)
    )
}

fn grant_as(scene: &mut Scene, role: &str, id: &str, content: &str) {
    scene.policy.add_target(role, &format!("_exceptions/{id}.json"), content.as_bytes());
    publish_role(&mut scene.policy, role);
}

fn grant(scene: &mut Scene, id: &str, content: &str) {
    grant_as(scene, ROLE, id, content);
}

#[tokio::test]
async fn an_exception_lets_one_digest_pass_until_its_last_second_and_each_use_is_logged_with_who_signed_it() {
    let mut scene = scene();
    sign(&mut scene.pay, "v2", 2, "public");
    publish_role(&mut scene.pay, "alice");
    let decider = scene.start().await;
    assert_eq!(denied(&ask(&decider, API)), Code::PolicyDenied);
    grant(&mut scene, "inc-7", &exception(1, -60, 660));
    assert!(!ask(&decider, API).is_allowed(), "nobody has told it yet");
    decider.refresh().await;
    for _ in 0..2 {
        let answer = ask(&decider, API);
        assert_eq!(allowed(&answer).until, after(600), "not longer than the exception");
        assert_eq!(answer.json()["decision"]["exception"]["id"], "inc-7");
        assert!(answer.line().contains("exception inc-7 lifts rule nothing"), "{}", answer.line());
    }
    assert_eq!(denied(&ask(&decider, "registry.example.com/pay/api:v2")), Code::PolicyDenied, "another digest");
    let lines = scene.lines();
    let used: Vec<_> = lines.iter().filter(|line| line["decision"] == "allow").collect();
    assert_eq!(used.len(), 2);
    let key = TestKey::ed25519(112);
    for line in used {
        let told = &line["exception"];
        assert_eq!((&told["id"], &told["reason"]), (&"inc-7".into(), &"INC-7".into()));
        let signed_by = told["signed_by"][0].as_str().unwrap();
        assert!(signed_by.ends_with(&key.id()[..12]), "{signed_by}");
        assert_eq!(line["rules"][0], "nothing", "what it lifts stays on record");
    }
    assert!(lines.iter().filter(|line| line["decision"] == "deny").all(|line| line["exception"].is_null()));
    assert_eq!(decider.health().policy.unwrap().exceptions, 1);
    scene.set_time(after(599));
    assert!(ask(&decider, API).is_allowed());
    scene.set_time(after(600));
    assert_eq!(denied(&ask(&decider, API)), Code::PolicyDenied);
    assert_eq!(decider.health().policy.unwrap().exceptions, 0);
}

#[tokio::test]
async fn a_hostile_reason_cannot_steer_a_terminal_that_shows_the_log() {
    let mut scene = scene();
    let hostile = exception(1, 0, 3_600).replace("INC-7", "\u{9b}2J\u{202e}7-CNI");
    grant(&mut scene, "inc-7", &hostile);
    let decider = scene.start().await;
    assert!(ask(&decider, API).is_allowed());
    let log = std::fs::read_to_string(scene.log()).unwrap();
    assert!(log.contains("7-CNI") && !log.contains('\u{9b}') && !log.contains('\u{202e}'), "{log}");
}

#[tokio::test]
async fn an_exception_that_leaves_ends_with_the_next_refresh_also_while_a_new_policy_does_not_load() {
    let mut scene = scene();
    grant(&mut scene, "inc-7", &exception(1, 0, 86_400));
    let decider = scene.start().await;
    assert!(ask(&decider, API).is_allowed());
    scene.policy.role(ROLE).set(&["targets"], Value::Object(Default::default()));
    scene.policy.role(ROLE).bump();
    scene.set_rules("@id(\"broken\") forbid (principal, action, resource) when { nothing };");
    decider.refresh().await;
    assert!(decider.health().policy.unwrap().failing_since.is_some());
    assert_eq!(denied(&ask(&decider, API)), Code::PolicyDenied);
}

#[tokio::test]
async fn without_the_key_of_the_role_nobody_grants_an_exception() {
    let mut scene = scene();
    let decider = scene.start().await;
    // Who signs targets, the rules or images of another collection holds another key.
    for role in ["targets", "_policy"] {
        grant_as(&mut scene, role, "stolen", &exception(1, 0, 3_600));
        decider.refresh().await;
        assert!(!ask(&decider, API).is_allowed(), "{role}");
    }
    scene.pay.add_target("targets", "_exceptions/own.json", exception(1, 0, 3_600).as_bytes());
    publish_role(&mut scene.pay, "targets");
    decider.refresh().await;
    assert!(!ask(&decider, API).is_allowed(), "exceptions of an image collection are none");
    // The server writes one itself, into the file of the role.
    let version = scene.policy.role(ROLE).version();
    let name = format!("{version}.{ROLE}.json");
    let file = scene.policy.wire.file(&name).expect("the file of the role");
    let forged = String::from_utf8(file).unwrap().replace("\"targets\":{}", "\"targets\":{\"_exceptions/x.json\":{}}");
    assert!(forged.contains("_exceptions/x.json"), "{forged}");
    scene.policy.wire.put(&name, forged.into_bytes());
    drop(decider);
    std::fs::remove_dir_all(scene.folder.path().join("state")).unwrap();
    // The policy goes on without them.
    let decider = scene.start().await;
    assert!(!ask(&decider, API).is_allowed(), "a file that nobody signed");
    assert!(decider.health().policy.unwrap().exceptions_problem.is_some());
}

#[tokio::test]
async fn an_older_file_of_exceptions_does_not_come_back() {
    let mut scene = scene();
    grant(&mut scene, "inc-7", &exception(1, 0, 86_400));
    let old = scene.policy.wire.files();
    let decider = scene.start().await;
    assert!(ask(&decider, API).is_allowed());
    scene.policy.role(ROLE).set(&["targets"], Value::Object(Default::default()));
    publish_role(&mut scene.policy, ROLE);
    decider.refresh().await;
    assert!(!ask(&decider, API).is_allowed());
    for (name, bytes) in old {
        scene.policy.wire.put(&name, bytes);
    }
    decider.refresh().await;
    assert!(!ask(&decider, API).is_allowed());
    drop(decider);
    assert!(!ask(&*scene.start().await, API).is_allowed(), "nor after a restart");
}

#[tokio::test]
async fn exceptions_that_do_not_read_or_cannot_be_had_lift_nothing_and_hold_up_no_policy() {
    let mut scene = scene();
    let eight_days = exception(1, 0, 8 * 86_400);
    let later = exception(1, 3_600, 3_600);
    for (id, content) in
        [("long", eight_days.as_str()), ("later", &later), ("text", "please"), ("UPPER", &exception(1, 0, 60))]
    {
        grant(&mut scene, id, content);
    }
    let decider = scene.start().await;
    assert_eq!(denied(&ask(&decider, API)), Code::PolicyDenied);
    let health = decider.health().policy.unwrap();
    assert_eq!(health.exceptions_problem.unwrap().code, Code::ExceptionRefused);
    assert!(health.problem.is_none() && health.failing_since.is_none());
    // Its contents are held back: the new rules come all the same.
    grant(&mut scene, "inc-7", &exception(1, 0, 3_600));
    let contents: Vec<String> = scene.policy.wire.files().into_keys().filter(|name| name.contains("inc-7")).collect();
    assert!(!contents.is_empty());
    for name in &contents {
        scene.policy.wire.fault(name, trust_tests::simulator::Fault::Reset);
    }
    scene.set_rules(RULES);
    decider.refresh().await;
    assert!(ask(&decider, API).is_allowed(), "by the new rules");
    assert!(allowed(&ask(&decider, API)).decision.as_ref().unwrap().exception.is_none());
    assert!(decider.health().policy.unwrap().exceptions_problem.is_some());
}

#[tokio::test]
async fn an_exception_lifts_nothing_that_is_not_a_decision_of_the_policy() {
    let mut scene = scene();
    grant(&mut scene, "inc-7", &exception(1, 0, 86_400));
    grant(&mut scene, "unsigned", &exception(9, 0, 86_400));
    let path = format!("_revoked/@sha256-{}.json", digest(1).hex());
    let decider = scene.start().await;
    assert!(ask(&decider, API).is_allowed());
    let unsigned = format!("registry.example.com/pay/api@{}", digest(9));
    assert_eq!(denied(&ask(&decider, &unsigned)), Code::NotSigned);
    scene.pay.add_target("_revoked", &path, b"{}");
    publish_role(&mut scene.pay, "_revoked");
    decider.refresh().await;
    assert_eq!(denied(&ask(&decider, API)), Code::DigestRevoked);
}

#[tokio::test]
async fn exceptions_end_with_the_role_that_signed_them_and_the_policy_goes_on() {
    let mut scene = scene();
    sign(&mut scene.pay, "v2", 2, "public");
    publish_role(&mut scene.pay, "alice");
    scene.max_staleness = std::time::Duration::from_secs(86_400);
    scene.policy.role(ROLE).set_expires(after(1_200));
    grant(&mut scene, "inc-7", &exception(1, 0, 86_400));
    let decider = scene.start().await;
    assert_eq!(allowed(&ask(&decider, API)).until, after(1_200));
    scene.set_time(after(1_200));
    assert_eq!(denied(&ask(&decider, API)), Code::PolicyDenied);
    decider.refresh().await;
    assert_eq!(denied(&ask(&decider, API)), Code::PolicyDenied, "the policy still decides");
}

#[tokio::test]
async fn an_exception_that_was_signed_in_advance_is_told_before_it_holds() {
    let mut scene = scene();
    grant(&mut scene, "later", &exception(1, 86_400, 3_600));
    let decider = scene.start().await;
    assert!(!ask(&decider, API).is_allowed());
    let problem = decider.health().policy.unwrap().exceptions_problem.unwrap();
    assert!(problem.text().contains("later.json: it was signed in advance"), "{}", problem.text());
}
