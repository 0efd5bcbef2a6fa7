//! A decider on the simulator: what it refuses, until when it allows, and that it asks nobody while it answers.

#[path = "gate_decide/exceptions.rs"]
mod exceptions;
#[path = "gate_decide/scene.rs"]
mod scene;
#[path = "gate_decide/spoof.rs"]
mod spoof;
#[path = "gate_decide/trial.rs"]
mod trial;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use trust_decide::{Decider, Environments, Mode, PolicyFrom, Question, Settings, StartError};
use trust_policy::{Action, Environment};
use trust_reader::catalogue::Code;
use trust_reader::verify::Require;
use trust_tests::simulator::{Delegate, Fault, PERMITS, TestKey, now};
use trust_tuf::CollectionName;
use trust_tuf::json::Value;

use scene::*;

#[tokio::test]
async fn what_nobody_signed_or_pinned_is_denied_and_what_was_signed_is_allowed_as_its_digest() {
    let scene = Scene::new();
    let decider = scene.start().await;
    for (image, code) in [
        ("registry.example.com/pay/api:v2", Code::NotSigned),
        ("registry.example.com/payroll/api:v1", Code::NoPin),
        ("registry.example.com/other:v1", Code::NoPin),
        ("not an image", Code::BadReference),
        (&format!("registry.example.com/pay/api@{}", digest(9)), Code::NotSigned),
    ] {
        assert_eq!(denied(&ask(&decider, image)), code, "{image}");
    }
    let allowed = allowed(&ask(&decider, API));
    assert_eq!(allowed.pinned.to_string(), format!("registry.example.com/pay/api@{}", digest(1)));
    // With tag and digest the digest decides.
    assert!(ask(&decider, &format!("registry.example.com/pay/api:v7@{}", digest(1))).is_allowed());
}

#[tokio::test]
async fn a_revocation_after_an_allow_denies_with_the_next_refresh() {
    let mut scene = Scene::new();
    let decider = scene.start().await;
    assert!(ask(&decider, API).is_allowed());
    let path = format!("_revoked/@sha256-{}.json", digest(1).hex());
    scene.pay.add_target("_revoked", &path, b"{}");
    publish_role(&mut scene.pay, "_revoked");
    assert!(ask(&decider, API).is_allowed(), "nobody has told it yet");
    decider.refresh().await;
    assert_eq!(denied(&ask(&decider, API)), Code::DigestRevoked);
}

#[tokio::test]
async fn what_expires_while_the_server_is_away_is_denied_at_the_exact_second_and_named() {
    let mut scene = Scene::new();
    scene.max_staleness = Duration::from_secs(86_400 * 30);
    scene.pay.role("alice").set_expires(after(600));
    scene.pay.role("timestamp").set_expires(after(1_200));
    publish_role(&mut scene.pay, "alice");
    let decider = scene.start().await;
    assert_eq!(allowed(&ask(&decider, API)).until, after(600));
    scene.cut();
    decider.refresh().await;
    scene.set_time(after(599));
    assert!(ask(&decider, API).is_allowed());
    for (seconds, code, role) in [(600, Code::RoleExpired, "alice"), (1_200, Code::TimestampExpired, "timestamp")] {
        scene.set_time(after(seconds));
        let answer = ask(&decider, API);
        assert_eq!(denied(&answer), code);
        for part in [role, &after(seconds).to_string()] {
            assert!(answer.line().contains(part), "{}", answer.line());
        }
    }
}

#[tokio::test]
async fn an_allow_ends_with_max_staleness_and_comes_back_with_the_next_refresh() {
    let scene = Scene::new();
    let decider = scene.start().await;
    assert_eq!(allowed(&ask(&decider, API)).until, after(3_600));
    scene.cut();
    scene.set_time(after(3_599));
    decider.refresh().await;
    assert!(ask(&decider, API).is_allowed(), "the last good view goes on");
    scene.set_time(after(3_600));
    let answer = ask(&decider, API);
    assert_eq!(denied(&answer), Code::RefreshOverdue);
    let health = decider.health();
    assert!(
        health.ready && health.collections.iter().all(|c| !c.usable),
        "it answers, and says that nothing is usable"
    );
    assert!(answer.line().contains(&now().to_string()) && answer.line().contains("last refresh"), "{}", answer.line());
    scene.mend();
    decider.refresh().await;
    assert_eq!(allowed(&ask(&decider, API)).until, after(7_200));
    assert!(decider.health().collections.iter().all(|c| c.usable));
}

#[tokio::test]
async fn a_start_without_server_works_from_the_stored_state() {
    let scene = Scene::new();
    drop(scene.start().await);
    scene.cut();
    scene.set_time(after(1_800));
    let decider = scene.start().await;
    assert_eq!(allowed(&ask(&decider, API)).until, after(3_600), "counted from the last refresh, not from the start");
    let health = decider.health();
    assert!(health.ready && health.collections.iter().all(|c| c.problem.is_some()));
}

#[tokio::test]
async fn a_start_without_server_on_an_expired_state_denies_and_says_what_expired() {
    let mut scene = Scene::new();
    scene.pay.role("timestamp").set_expires(after(600));
    scene.pay.publish();
    drop(scene.start().await);
    scene.cut();
    scene.set_time(after(600));
    let decider = scene.start().await;
    let answer = ask(&decider, API);
    assert_eq!(denied(&answer), Code::StoredExpired);
    for part in [after(600).to_string().as_str(), "refresh", "cannot be reached"] {
        assert!(answer.line().contains(part), "{}", answer.line());
    }
    assert!(!decider.health().ready);
    scene.mend();
    scene.pay.role("timestamp").set_expires(after(9_000));
    scene.pay.publish_timestamp();
    decider.refresh().await;
    assert!(ask(&decider, API).is_allowed());
    assert!(decider.health().ready);
}

#[tokio::test]
async fn without_a_verified_policy_it_does_not_start() {
    // No state and no server; a policy collection without a policy; one whose state is expired; rules that do not load.
    let scene = Scene::new();
    scene.cut();
    let error = scene.start_with(scene.settings()).await.expect_err("no policy");
    assert!(matches!(&error, StartError::NoPolicy(problem) if problem.exit() == 21), "{error}");
    assert!(error.problem().text().contains("cannot be reached"), "{}", error.problem().text());

    let mut scene = Scene::new();
    scene.policy.role("_policy").set(&["targets"], Value::Object(BTreeMap::new()));
    publish_role(&mut scene.policy, "_policy");
    assert!(matches!(scene.start_with(scene.settings()).await, Err(StartError::NoPolicy(_))));

    let mut scene = Scene::new();
    scene.set_rules("permit (principal, action, resource);");
    let error = scene.start_with(scene.settings()).await.expect_err("a rule without an id");
    assert!(error.problem().text().contains("_policy/main.cedar"), "{}", error.problem().text());

    let mut scene = Scene::new();
    scene.policy.role("timestamp").set_expires(after(600));
    scene.policy.publish();
    drop(scene.start().await);
    scene.cut();
    scene.set_time(after(600));
    assert!(matches!(scene.start_with(scene.settings()).await, Err(StartError::NoPolicy(_))));
}

#[tokio::test]
async fn signatures_alone_decide_only_where_that_was_said() {
    let mut scene = Scene::new();
    scene.with_policy = false;
    sign(&mut scene.pay, "v2", 2, "PII");
    publish_role(&mut scene.pay, "alice");
    // A policy in a collection of images is nobody's policy.
    scene.pay.add_target("targets", "_policy/main.cedar", CLOSED.as_bytes());
    publish_role(&mut scene.pay, "targets");
    let decider = scene.start().await;
    let answer = ask(&decider, "registry.example.com/pay/api:v2");
    assert!(allowed(&answer).decision.is_none());
    assert!(decider.health().policy.is_none());
}

#[tokio::test]
async fn a_label_that_is_not_fit_is_denied_by_the_policy_and_the_rule_is_in_the_log() {
    let mut scene = Scene::new();
    sign(&mut scene.pay, "v2", 2, "PII");
    sign(&mut scene.pay, "v3", 3, "Pii");
    publish_role(&mut scene.pay, "alice");
    // A policy in a collection of images changes nothing.
    scene.pay.add_target("targets", "_policy/main.cedar", CLOSED.as_bytes());
    publish_role(&mut scene.pay, "targets");
    let decider = scene.start().await;
    let answer = ask(&decider, "registry.example.com/pay/api:v2");
    assert_eq!((denied(&answer), answer.exit()), (Code::PolicyDenied, 20));
    assert_eq!(denied(&ask(&decider, "registry.example.com/pay/api:v3")), Code::LabelOutside);
    assert!(ask(&decider, API).is_allowed());
    let lines = scene.lines();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0]["decision"], "deny");
    assert_eq!(lines[0]["code"], "E2001");
    assert_eq!(lines[0]["environment"], "public-eu");
    assert_eq!(lines[0]["digest"], digest(2).to_string());
    assert_eq!(lines[2]["decision"], "allow");
    assert_eq!(lines[2]["digest"], digest(1).to_string());
    assert_eq!(lines[2]["policy"]["collection"], POLICY);
    assert_eq!(lines[2]["rules"], serde_json::json!(["fit"]));
    assert_eq!(lines[2]["signers"], serde_json::json!(["alice"]));
}

#[tokio::test]
async fn an_image_that_is_signed_as_pii_later_does_not_pass_under_its_old_tag() {
    let mut scene = Scene::new();
    scene.set_rules(&format!(
        r#"{RULES} @id("tag-pii") forbid (principal, action, resource) when {{ resource.tags.contains("PII") }}
           unless {{ principal.cloud == "private" }};"#
    ));
    let decider = scene.start().await;
    assert!(ask(&decider, API).is_allowed());
    // Another tag of the same image: the entry of the digest gets it, and that of the old tag stays as it is.
    let entry = format!("api/@sha256-{}", digest(1).hex());
    for (path, tags) in [("api/PII", &["PII"][..]), (&entry, &["PII", "v1"])] {
        scene.pay.add_target("alice", path, &manifest(1));
        scene.pay.role("alice").set(&["targets", path, "custom"], facts(1, "public"));
        let tags = Value::Array(tags.iter().map(|&tag| tag.into()).collect());
        scene.pay.role("alice").set(&["targets", path, "custom", "image", "tags"], tags);
    }
    publish_role(&mut scene.pay, "alice");
    decider.refresh().await;
    for image in [API, "registry.example.com/pay/api:PII", &format!("registry.example.com/pay/api@{}", digest(1))] {
        let answer = ask(&decider, image);
        assert_eq!(denied(&answer), Code::PolicyDenied, "{image}");
        assert_eq!(answer.decision().expect("asked").rules[0].id, "tag-pii", "{image}");
    }
}

#[tokio::test]
async fn a_tightened_policy_takes_effect_with_the_next_refresh() {
    let mut scene = Scene::new();
    let decider = scene.start().await;
    assert!(ask(&decider, API).is_allowed());
    scene.set_rules(CLOSED);
    decider.refresh().await;
    let answer = ask(&decider, API);
    assert_eq!(denied(&answer), Code::PolicyDenied);
    assert_eq!(answer.decision().expect("asked").rules[0].id, "nothing");
    assert_eq!(answer.decision().expect("asked").policy.version, 2);
}

#[tokio::test]
async fn a_policy_that_does_not_load_leaves_the_last_good_one_for_a_day_and_says_so() {
    let mut scene = Scene::new();
    let decider = scene.start().await;
    scene.set_rules("@id(\"wrong\") permit (principal, action, resource) when { resource.nothing };");
    decider.refresh().await;
    assert_eq!(allowed(&ask(&decider, API)).decision.as_ref().expect("asked").policy.version, 1);
    let health = decider.health().policy.expect("a policy");
    assert_eq!(health.identity.expect("the old one").version, 1);
    assert_eq!(health.problem.expect("a reason").code, Code::PolicyRefused);
    assert_eq!(health.failing_since, Some(now()));
    // A second bad one does not begin the day anew.
    scene.set_time(after(80_000));
    scene.set_rules("@id(\"wrong\") permit (principal, action, resource) when { resource.nothing2 };");
    decider.refresh().await;
    assert_eq!(allowed(&ask(&decider, API)).until, after(80_000 + 3_600));
    scene.set_time(after(86_399));
    decider.refresh().await;
    assert_eq!(allowed(&ask(&decider, API)).until, after(86_400));
    scene.set_time(after(86_400));
    decider.refresh().await;
    let answer = ask(&decider, API);
    assert_eq!((denied(&answer), answer.exit()), (Code::NoPolicy, 21));
    assert!(answer.line().contains(&now().to_string()), "{}", answer.line());
    // A good one ends it.
    scene.set_rules(RULES);
    decider.refresh().await;
    assert_eq!(allowed(&ask(&decider, API)).decision.as_ref().expect("asked").policy.version, 4);
    assert!(decider.health().policy.expect("a policy").problem.is_none());
}

#[tokio::test]
async fn a_policy_whose_content_is_held_back_or_changed_leaves_the_last_good_one_until_max_staleness_and_no_longer() {
    let mut scene = Scene::new();
    let decider = scene.start().await;
    scene.set_rules(CLOSED);
    let file = scene
        .policy
        .wire
        .files()
        .into_keys()
        .find(|file| scene.policy.wire.file(file).as_deref() == Some(CLOSED.as_bytes()));
    let file = file.expect("it is served");
    for fault in [Fault::Reset, Fault::Status(404), Fault::Bytes(RULES.as_bytes().to_vec())] {
        scene.set_time(after(60));
        scene.policy.wire.fault(&file, fault);
        decider.refresh().await;
        // A refresh that failed: no time is gained by it.
        assert_eq!(allowed(&ask(&decider, API)).until, after(3_600));
        assert!(decider.health().collections.iter().any(|collection| collection.problem.is_some()));
    }
    scene.policy.wire.fault(&file, Fault::Reset);
    scene.set_time(after(3_600));
    decider.refresh().await;
    assert_eq!(denied(&ask(&decider, API)), Code::NoPolicy);
    scene.mend();
    decider.refresh().await;
    assert_eq!(denied(&ask(&decider, API)), Code::PolicyDenied);
}

#[tokio::test]
async fn an_older_policy_is_refused_also_after_a_restart() {
    let mut scene = Scene::new();
    let before = scene.policy.wire.files();
    let decider = scene.start().await;
    scene.set_rules(CLOSED);
    decider.refresh().await;
    assert_eq!(denied(&ask(&decider, API)), Code::PolicyDenied);
    // The server shows the state from before, validly signed and not expired.
    for (file, bytes) in &before {
        scene.policy.wire.put(file, bytes.clone());
    }
    decider.refresh().await;
    assert_eq!(denied(&ask(&decider, API)), Code::PolicyDenied);
    let of =
        |decider: &Decider| decider.health().collections.into_iter().find(|c| c.name == POLICY).expect("it is there");
    assert_eq!(of(&decider).problem.expect("refused").code, Code::TimestampRollback);
    drop(decider);
    let decider = scene.start().await;
    assert_eq!(denied(&ask(&decider, API)), Code::PolicyDenied);
    assert_eq!(of(&decider).problem.expect("refused").code, Code::TimestampRollback);
    // The online keys alone cannot take the role's file back either.
    scene.policy.role("_policy").set_version(1);
    scene.policy.add_target("_policy", "_policy/main.cedar", RULES.as_bytes());
    scene.policy.publish();
    decider.refresh().await;
    assert_eq!(denied(&ask(&decider, API)), Code::PolicyDenied);
    assert_eq!(of(&decider).problem.expect("refused").code, Code::RoleRollback);
}

#[tokio::test]
async fn the_expiry_of_the_policy_counts_in_every_deadline() {
    let mut scene = Scene::new();
    scene.max_staleness = Duration::from_secs(86_400 * 30);
    scene.policy.role("_policy").set_expires(after(600));
    publish_role(&mut scene.policy, "_policy");
    let decider = scene.start().await;
    assert_eq!(allowed(&ask(&decider, API)).until, after(600));
    scene.set_time(after(600));
    let answer = ask(&decider, API);
    assert_eq!(denied(&answer), Code::NoPolicy);
    assert!(answer.line().contains("_policy") && answer.line().contains(&after(600).to_string()), "{}", answer.line());
    // And the refreshes of its collection count as well.
    let mut scene = Scene::new();
    scene.max_staleness = Duration::from_secs(600);
    let decider = scene.start().await;
    for file in scene.policy.wire.files().keys() {
        scene.policy.wire.fault(file, Fault::Reset);
    }
    scene.set_time(after(600));
    decider.refresh().await;
    let answer = ask(&decider, API);
    assert_eq!(denied(&answer), Code::NoPolicy);
    assert!(answer.line().contains("E1316"), "{}", answer.line());
}

#[tokio::test]
async fn two_hundred_at_once_are_one_verification_and_warm_answers_ask_nobody() {
    let scene = Scene::new();
    let decider = scene.start().await;
    let start = Arc::new(std::sync::Barrier::new(200));
    let threads: Vec<_> = (0..200)
        .map(|_| {
            let (decider, start) = (Arc::clone(&decider), Arc::clone(&start));
            std::thread::spawn(move || {
                start.wait();
                ask(&decider, API).is_allowed()
            })
        })
        .collect();
    assert!(threads.into_iter().all(|thread| thread.join().expect("no panic")));
    let counters = decider.counters();
    assert_eq!((counters.verifications, counters.evaluations, counters.allowed), (1, 1, 200));
    assert_eq!(scene.lines().len(), 200, "every decision is in the log, cached or not");
    scene.pay.wire.take_requests();
    scene.policy.wire.take_requests();
    // A refresh that finds nothing new keeps what was verified.
    decider.refresh().await;
    assert!(ask(&decider, API).is_allowed());
    assert_eq!(decider.counters().verifications, 1);
    assert!(scene.pay.wire.take_requests().iter().all(|file| file.contains("root") || file == "timestamp.json"));
    for _ in 0..1_000 {
        ask(&decider, API);
    }
    assert_eq!(decider.counters().verifications, 1);
    assert_eq!((scene.pay.wire.take_requests(), scene.policy.wire.take_requests().len()), (Vec::new(), 2));
}

#[tokio::test]
async fn an_unknown_namespace_and_none_are_the_strictest_environment() {
    let mut scene = Scene::new();
    let inside = environment("inside", "private");
    scene.environments = Environments::Namespaces([("hr".to_owned(), inside)].into());
    sign(&mut scene.pay, "v2", 2, "PII");
    publish_role(&mut scene.pay, "alice");
    let decider = scene.start().await;
    let at = |namespace| decider.decide(&Question { namespace, ..question("registry.example.com/pay/api:v2") });
    assert_eq!(at(Some("hr")).environment, "inside");
    assert!(at(Some("hr")).is_allowed());
    for namespace in [Some("shop"), Some("HR"), Some("hr "), Some(""), None] {
        let answer = at(namespace);
        assert_eq!(denied(&answer), Code::PolicyDenied, "{namespace:?}");
        assert_eq!(answer.environment, Environment::strictest().name);
        assert!(!answer.line().contains("nobody described"), "{}", answer.line());
    }
    let line = at(Some("shop")).line();
    assert!(line.ends_with("; namespace shop is not in [namespaces]; the strictest environment applies"), "{line}");
    assert!(at(Some("hr")).is_allowed(), "the answer for one place is not that for another");
}

#[tokio::test]
async fn what_cannot_be_logged_does_not_pass() {
    let scene = Scene::new();
    let settings = Settings { log: Some("/dev/full".into()), ..scene.settings() };
    let decider = scene.start_with(settings).await.expect("it starts");
    assert!(decider.consider(&question(API)).is_allowed(), "nothing was to be logged yet");
    assert_eq!(denied(&ask(&decider, API)), Code::LogFailed);
    assert_eq!(
        denied(&decider.consider(&question(API))),
        Code::LogFailed,
        "nor what rests on a line that is not there"
    );
    assert_eq!(decider.health().problem.expect("said").code, Code::LogFailed);
    assert_eq!(decider.counters().allowed, 0);
    let settings = Settings { log: Some(scene.folder.path().join("missing/log")), ..scene.settings() };
    assert!(matches!(scene.start_with(settings).await, Err(StartError::Log(_))));
}

#[tokio::test]
async fn a_dry_run_is_decided_as_ever_and_logged_as_one_and_hostile_words_stay_in_their_line() {
    let scene = Scene::new();
    let decider = scene.start().await;
    let whom = "eve\n{\"decision\":\"allow\"}\u{202e}";
    decider.decide(&Question { dry_run: true, whom, ..question(API) });
    decider.decide(&Question { namespace: Some("a\nb"), ..question("registry.example.com/pay/api:v1\n") });
    let lines = scene.lines();
    assert_eq!(lines.len(), 2);
    assert_eq!((&lines[0]["dry_run"], &lines[1]["dry_run"]), (&true.into(), &false.into()));
    assert_eq!(lines[0]["decision"], "allow");
    assert!(!lines[0]["whom"].as_str().expect("a text").contains(['\n', '\u{202e}']));
    assert_eq!(lines[1]["decision"], "deny");
}

#[tokio::test]
async fn the_log_says_what_the_door_answered() {
    let scene = Scene::new();
    let decider = scene.start().await;
    let mode = Mode::Warn;
    let alone = decider.decide(&Question { digest_only: true, ..question(API) });
    assert_eq!(denied(&alone), Code::TagAlone);
    assert!(alone.line().contains("names the tag alone"), "{}", alone.line());
    decider.decide(&Question { digest_only: true, mode, ..question(API) });
    decider.decide(&Question { mode, ..question("registry.example.com/pay/api:unsigned") });
    decider.decide(&Question { mode, ..question(API) });
    let told: Vec<String> = scene
        .lines()
        .iter()
        .map(|l| format!("{} {} {} {}", l["mode"], l["decision"], l["answer"], l["code"]).replace('"', ""))
        .collect();
    let wanted = ["enforce deny deny E2003", "warn deny warn E2003", "warn deny warn E1001", "warn allow allow null"];
    assert_eq!(told, wanted);
}

#[tokio::test]
async fn a_denial_says_what_to_do_and_not_where_the_trust_data_is() {
    let scene = Scene::new();
    let decider = scene.start().await;
    let unsigned = ask(&decider, "registry.example.com/pay/api:unsigned").line();
    assert!(unsigned.contains("ask one of its signers: "), "{unsigned}");
    assert!(!unsigned.contains("signed tags") && !unsigned.contains("; server "), "{unsigned}");
    assert!(scene.lines()[0]["reason"].as_str().unwrap().contains("signed tags"));
    let elsewhere = ask(&decider, "alpine:3").line();
    assert!(elsewhere.contains("docker.io/library/alpine") && elsewhere.contains("pinned are"), "{elsewhere}");
}

#[tokio::test]
async fn what_a_start_would_fail_on_is_found_without_one() {
    let scene = Scene::new();
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), "").unwrap();
    let check = |change: &dyn Fn(&mut Settings)| {
        let mut settings = scene.settings();
        for pinned in &mut settings.collections {
            pinned.server = "https://trust.example.com".to_owned();
        }
        settings.state = dir.path().join("state");
        settings.log = Some(dir.path().join("log"));
        change(&mut settings);
        Decider::check(&settings).map_err(|error| (error.problem().exit(), error.problem().text()))
    };
    assert_eq!(check(&|_| ()), Ok(()));
    let (exit, text) = check(&|s| s.log = Some(dir.path().join("none/log"))).unwrap_err();
    assert!(text.contains("of the audit log is not there") && text.contains("install -d"), "{text}");
    assert!(exit == 35 && text.contains("none/log"), "{text}");
    let (exit, text) = check(&|s| s.state = dir.path().join("file/state")).unwrap_err();
    assert!(exit == 35 && text.contains("file/state cannot be used"), "{text}");
    let (exit, text) = check(&|s| s.collections[0].server = "http://trust.example.com".to_owned()).unwrap_err();
    assert!(exit == 3 && text.contains("http://trust.example.com"), "{text}");
    assert!(!dir.path().join("log").exists() && !dir.path().join("state").exists());
}

#[tokio::test]
async fn a_step_on_the_way_is_not_logged() {
    let scene = Scene::new();
    let decider = scene.start().await;
    assert!(decider.consider(&question(API)).is_allowed());
    assert_eq!(scene.lines().len(), 0);
}

#[tokio::test]
async fn a_clock_that_goes_back_denies_until_it_is_right_again() {
    let mut scene = Scene::new();
    scene.max_staleness = Duration::from_secs(86_400 * 30);
    let decider = scene.start().await;
    scene.set_time(after(3_600));
    assert!(ask(&decider, API).is_allowed());
    scene.set_time(after(3_600 - trust_reader::CLOCK_TOLERANCE));
    assert!(ask(&decider, API).is_allowed(), "a small step is borne");
    scene.set_time(after(3_600 - trust_reader::CLOCK_TOLERANCE - 1));
    assert_eq!(denied(&ask(&decider, API)), Code::ClockBack);
    assert_eq!(decider.health().problem.expect("said").code, Code::ClockBack);
    scene.set_time(after(3_601));
    assert!(ask(&decider, API).is_allowed());
    // Across a restart the stored state remembers.
    decider.refresh().await;
    drop(decider);
    scene.set_time(now());
    assert!(matches!(scene.start_with(scene.settings()).await, Err(StartError::NoPolicy(_))));
}

#[tokio::test]
async fn a_refusal_is_used_for_five_seconds_and_one_about_the_network_never() {
    let mut scene = Scene::new();
    let decider = scene.start().await;
    let v2 = "registry.example.com/pay/api:v2";
    for (seconds, verifications) in [(0, 1), (4, 1), (5, 2), (9, 2), (10, 3)] {
        scene.set_time(after(seconds));
        assert_eq!(denied(&ask(&decider, v2)), Code::NotSigned);
        assert_eq!(decider.counters().verifications, verifications, "after {seconds} s");
    }
    // Not signed yet, then signed: seen with the refresh, without any wait.
    sign(&mut scene.pay, "v2", 2, "public");
    publish_role(&mut scene.pay, "alice");
    decider.refresh().await;
    assert!(ask(&decider, v2).is_allowed());
    // A role that could not be fetched.
    sign(&mut scene.pay, "v3", 3, "public");
    publish_role(&mut scene.pay, "alice");
    let file = scene.pay.file_name("alice");
    scene.pay.wire.fault(&file, Fault::Reset);
    decider.refresh().await;
    let before = decider.counters().verifications;
    for _ in 0..3 {
        assert_eq!(denied(&ask(&decider, "registry.example.com/pay/api:v3")), Code::Unreachable);
    }
    assert_eq!(decider.counters().verifications, before + 3);
}

#[tokio::test]
async fn settings_that_would_open_or_close_every_door_by_mistake_are_refused() {
    let scene = Scene::new();
    let refused = async |change: fn(&mut Settings)| {
        let mut settings = scene.settings();
        change(&mut settings);
        assert!(matches!(scene.start_with(settings).await, Err(StartError::Settings(_))));
    };
    refused(|s| s.collections.clear()).await;
    refused(|s| s.collections.extend(s.collections.clone())).await;
    refused(|s| s.policy = PolicyFrom::Collection(CollectionName::parse("r.example.com/other").expect("a name"))).await;
    refused(|s| s.collections[0].root[200] ^= 1).await;
    refused(|s| s.refresh = Duration::ZERO).await;
    refused(|s| s.refresh = Duration::from_secs(7_200)).await;
}

#[tokio::test]
async fn an_answer_for_one_action_is_not_that_for_another() {
    let mut scene = Scene::new();
    scene.set_rules("@id(\"deploy\") permit (principal, action == Action::\"deploy\", resource);");
    let decider = scene.start().await;
    for _ in 0..2 {
        assert!(ask(&decider, API).is_allowed());
        for action in [Action::Pull, Action::Promote] {
            assert_eq!(denied(&decider.decide(&Question { action, ..question(API) })), Code::PolicyDenied);
        }
    }
}

#[tokio::test]
async fn a_decision_of_rules_that_read_the_time_ends_after_a_minute() {
    let mut scene = Scene::new();
    let until = after(30).to_string().replace('Z', ".000Z");
    scene.set_rules(&format!(
        "@id(\"window\") permit (principal, action, resource) when {{ context.now < datetime(\"{until}\") }};"
    ));
    let decider = scene.start().await;
    assert_eq!(allowed(&ask(&decider, API)).until, after(60));
    scene.set_time(after(59));
    assert!(ask(&decider, API).is_allowed());
    scene.set_time(after(60));
    assert_eq!(denied(&ask(&decider, API)), Code::PolicyDenied);
    assert_eq!(decider.counters().verifications, 1, "verified once, decided again");
}

#[tokio::test]
async fn a_collection_with_a_published_example_key_is_refused() {
    let mut scene = Scene::new();
    let decider = scene.start().await;
    scene.pay.delegate("targets", &Delegate::new("bob", &TestKey::ed25519(0xa3), &["*/*"]));
    publish_role(&mut scene.pay, "targets");
    decider.refresh().await;
    let health = decider.health().collections.into_iter().find(|c| c.name == PAY).expect("it is there");
    assert_eq!(health.problem.expect("refused").code, Code::ExampleKey);
    assert!(ask(&decider, API).is_allowed(), "the last good view goes on");
    drop(decider);
    let decider = scene.start().await;
    assert_eq!(denied(&ask(&decider, API)), Code::ExampleKey);
}

#[tokio::test]
async fn who_must_have_signed_is_asked_for_beside_the_policy() {
    let scene = Scene::new();
    let require = |signers: &[&str], min_signers| Require {
        signers: signers.iter().map(|s| (*s).to_owned()).collect(),
        min_signers,
    };
    for (require, code) in [(require(&["qa"], 0), Code::SignerMissing), (require(&[], 2), Code::TooFewSigners)] {
        let decider = scene.start_with(Settings { require, ..scene.settings() }).await.expect("it starts");
        assert_eq!(denied(&ask(&decider, API)), code);
    }
    let settings = Settings { require: require(&["alice"], 1), ..scene.settings() };
    assert!(ask(&scene.start_with(settings).await.expect("it starts"), API).is_allowed());
}

#[tokio::test]
async fn no_question_waits_for_a_refresh_that_hangs() {
    let scene = Scene::new();
    let decider = scene.start().await;
    let held = scene.permits.acquire_many(PERMITS).await.expect("never closed");
    let refresh = tokio::spawn({
        let decider = Arc::clone(&decider);
        async move { decider.refresh().await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    for image in [API, "registry.example.com/pay/api:v2", &format!("registry.example.com/pay/api@{}", digest(1))] {
        ask(&decider, image);
    }
    assert!(ask(&decider, API).is_allowed());
    assert!(!refresh.is_finished(), "the server answered after all");
    drop(held);
    refresh.await.expect("no panic");
    assert!(decider.health().collections.iter().all(|c| c.problem.is_none()));
}

#[tokio::test]
async fn what_a_signer_lists_in_a_bin_is_found_and_revoked_like_everything_else() {
    let mut scene = Scene::new();
    let key = TestKey::ed25519(120);
    let alice = scene.pay.role("alice");
    alice.set(&["delegations", "keys", key.id()], key.value());
    let bins = [
        ("keyids", Value::Array(vec![key.id().into()])),
        ("threshold", 1_u64.into()),
        ("bit_length", 2_u64.into()),
        ("name_prefix", "alice-bin".into()),
    ];
    alice.set(&["delegations", "succinct_roles"], Value::object(bins));
    let mut bin = alice.clone();
    bin.unset(&["delegations"]);
    bin.set(&["targets"], Value::Object(BTreeMap::new()));
    bin.set_version(1);
    bin.signers = vec![key];
    for n in 0..4 {
        let name = format!("alice-bin-{n}");
        scene.pay.roles.insert(name.clone(), bin.clone());
        scene.pay.add_target(&name, "api/v5", &manifest(5));
        scene.pay.role(&name).set(&["targets", "api/v5", "custom"], facts(5, "public"));
    }
    publish_role(&mut scene.pay, "alice");
    let decider = scene.start().await;
    let v5 = "registry.example.com/pay/api:v5";
    let verified = allowed(&ask(&decider, v5)).verified.clone();
    assert_eq!(verified.signers[0].name, "alice", "what hangs below a signer is that signer");
    // The bin of the tag and that of the digest.
    assert_eq!(verified.versions.roles.keys().filter(|role| role.starts_with("alice-bin")).count(), 2);
    let path = format!("_revoked/@sha256-{}.json", digest(5).hex());
    scene.pay.add_target("_revoked", &path, b"{}");
    publish_role(&mut scene.pay, "_revoked");
    decider.refresh().await;
    assert_eq!(denied(&ask(&decider, v5)), Code::DigestRevoked);
    // A bin that is held back: whatever would be in it is not "not signed".
    for n in 0..4 {
        publish_role(&mut scene.pay, &format!("alice-bin-{n}"));
        scene.pay.wire.fault(&scene.pay.file_name(&format!("alice-bin-{n}")), Fault::Reset);
    }
    decider.refresh().await;
    assert_eq!(denied(&ask(&decider, "registry.example.com/pay/api:v6")), Code::Unreachable);
}

#[tokio::test]
async fn a_longer_pinned_name_speaks_alone_for_its_images() {
    let scene = Scene::new();
    let mut settings = Settings { policy: PolicyFrom::SignaturesAlone, ..scene.settings() };
    // The other repository, pinned for a name below the first one's: what `pay` signed of it does not count.
    let mut longer = settings.collections.pop().expect("two");
    longer.collection = CollectionName::parse("registry.example.com/pay/api").expect("a name");
    settings.collections.push(longer);
    let decider = scene.start_with(settings).await.expect("it starts");
    let answer = ask(&decider, API);
    assert_eq!(denied(&answer), Code::NotSigned);
    assert_eq!(answer.collection(), Some("registry.example.com/pay/api"));
}

#[tokio::test]
async fn a_running_decider_refreshes_by_itself_and_stops_when_told() {
    let mut scene = Scene::new();
    let decider =
        scene.start_with(Settings { refresh: Duration::from_millis(50), ..scene.settings() }).await.expect("it starts");
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn({
        let decider = Arc::clone(&decider);
        async move { decider.run(stopped).await }
    });
    scene.set_rules(CLOSED);
    for _ in 0..200 {
        if !ask(&decider, API).is_allowed() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(denied(&ask(&decider, API)), Code::PolicyDenied);
    stop.send(()).expect("it runs");
    tokio::time::timeout(Duration::from_secs(10), running).await.expect("it stops").expect("no panic");
}

#[tokio::test]
async fn entries_are_what_the_view_has_signed() {
    let mut scene = Scene::new();
    sign(&mut scene.pay, "v2", 2, "PII");
    publish_role(&mut scene.pay, "alice");
    let decider = scene.start().await;
    let tags: Vec<_> =
        decider.entries("registry.example.com/pay/api").into_iter().filter_map(|entry| entry.tag).collect();
    assert_eq!(tags, ["v1", "v2"]);
    assert!(decider.entries("registry.example.com/other/api").is_empty());
}

#[tokio::test]
async fn one_key_under_two_names_is_not_two_teams() {
    let mut scene = Scene::new();
    scene.set_rules(
        r#"@id("all") permit (principal, action, resource);
        @id("two") forbid (principal, action, resource)
        unless { resource.signers.contains("alice") && resource.signers.contains("dave") };"#,
    );
    let dave = |key: u8| Delegate::new("dave", &TestKey::ed25519(key), &["*/*"]);
    let entry = format!("api/@sha256-{}", digest(1).hex());
    for (key, is_allowed) in [(100, false), (120, true)] {
        scene.pay = Scene::new().pay;
        // 100 is the key of alice.
        scene.pay.delegate("targets", &dave(key));
        for path in ["api/v1", entry.as_str()] {
            scene.pay.add_target("dave", path, &manifest(1));
            scene.pay.role("dave").set(&["targets", path, "custom"], facts(1, "public"));
        }
        publish_role(&mut scene.pay, "targets");
        let _ = std::fs::remove_dir_all(scene.folder.path().join("state"));
        let decider = scene.start().await;
        let answer = ask(&decider, API);
        assert_eq!(answer.is_allowed(), is_allowed, "{}", answer.line());
    }
}
