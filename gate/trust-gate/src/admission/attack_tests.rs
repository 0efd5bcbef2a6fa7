//! What somebody writes into an object, or its request, to get an unsigned image past the door. Each attack by its name: the
//! answer is the one without it, at both doors.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use trust_image::workload::custom::{CustomKind, CustomKinds};

use super::judge::{Door, Rules, answer};
use super::review::{Answer, Review};
use crate::config::{Mode, Pin, Recheck, Tags};
use crate::testing::{Fake, digest, object, review};

const SIGNED: &str = "signed.example.com/a:1";
const BAD: &str = "unsigned.example.com/a:1";

fn judged(asked: &Value, door: Door, rules: Rules) -> Answer {
    let review = Review::parse(&serde_json::to_vec(asked).unwrap()).unwrap();
    answer(&review, door, rules, &Fake::default(), Instant::now() + Duration::from_secs(60))
}

fn pod(image: &str) -> Value {
    object("", "Pod", &json!({"containers": [{"name": "a", "image": image}]}))
}

/// Denied at both doors, with the words that it is denied with without the attack.
#[track_caller]
fn gains_nothing(attack: impl Fn(&mut Value)) {
    for clean in [
        review("CREATE", pod(BAD), Value::Null),
        review("CREATE", object("apps", "ReplicaSet", &json!({"containers": [{"image": BAD}]})), Value::Null),
        review("UPDATE", pod(BAD), pod(SIGNED)),
    ] {
        let mut attacked = clean.clone();
        attack(&mut attacked);
        assert_ne!(attacked, clean, "the attack changes nothing");
        for door in [Door::Mutate, Door::Validate] {
            let (with, without) = (judged(&attacked, door, Rules::default()), judged(&clean, door, Rules::default()));
            assert!(!with.allowed && with == without, "{door:?}: {with:?}\n{without:?}");
        }
    }
}

fn metadata(name: &'static str, value: Value) -> impl Fn(&mut Value) {
    move |asked| asked["request"]["object"]["metadata"][name] = value.clone()
}

#[test]
fn annotations_that_say_verified_or_exempt_are_not_believed() {
    for (name, value) in [
        ("trust", "verified"),
        ("trust.example.com/policy", "prod@7"),
        ("admission.trust/skip", "true"),
        ("kubernetes.io/config.source", "file"),
        ("x.image-policy.k8s.io/break-glass", "inc-7"),
        ("alpha.image-policy.k8s.io/failed-open", "true"),
    ] {
        gains_nothing(metadata("annotations", json!({name: value})));
    }
}

#[test]
fn a_pod_that_says_it_mirrors_a_static_one_is_denied_and_the_denial_does_not_pretend_to_stop_it() {
    let clean = review("CREATE", pod(BAD), Value::Null);
    let mut mirror = clean.clone();
    mirror["request"]["object"]["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "d41d8cd98f00b204"});
    for door in [Door::Mutate, Door::Validate] {
        let (with, without) = (judged(&mirror, door, Rules::default()), judged(&clean, door, Rules::default()));
        assert!(!with.allowed && with.message.starts_with(&without.message), "{with:?}");
        assert!(with.message.ends_with("which its node runs all the same: remove it there"), "{}", with.message);
    }
    let mut signed = mirror;
    signed["request"]["object"]["spec"]["containers"][0]["image"] = json!(format!("{SIGNED}@{}", digest(SIGNED)));
    let answer = judged(&signed, Door::Validate, Rules::default());
    assert!(answer.allowed && answer.warnings.is_empty(), "{answer:?}");
}

#[test]
fn labels_that_exempt_are_not_believed() {
    for (name, value) in [
        ("admission.gatekeeper.sh/ignore", "true"),
        ("policy.sigstore.dev/include", "false"),
        ("kubernetes.io/metadata.name", "trust-gate"),
        ("app.kubernetes.io/name", "trust-gate"),
        ("control-plane", "controller-manager"),
    ] {
        gains_nothing(metadata("labels", json!({name: value})));
    }
}

#[test]
fn a_forged_owner_reference_to_an_admitted_parent_is_not_believed() {
    for (kind, version) in [("ReplicaSet", "apps/v1"), ("Node", "v1"), ("DaemonSet", "apps/v1"), ("Job", "batch/v1")] {
        let owner = json!([{"apiVersion": version, "kind": kind, "name": "web-1", "uid": "1", "controller": true}]);
        gains_nothing(metadata("ownerReferences", owner));
    }
}

#[test]
fn a_deletion_timestamp_forged_on_create_or_update_is_not_believed() {
    for at in ["2030-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "x"] {
        gains_nothing(metadata("deletionTimestamp", json!(at)));
    }
}

#[test]
fn a_generated_name_hides_nothing() {
    gains_nothing(|asked| {
        asked["request"]["name"] = json!("");
        asked["request"]["object"]["metadata"] = json!({"generateName": "web-"});
    });
}

#[test]
fn another_namespace_in_the_object_is_not_believed() {
    for namespace in ["kube-system", "trust-gate", "payroll", ""] {
        gains_nothing(metadata("namespace", json!(namespace)));
    }
}

#[test]
fn a_user_who_is_called_like_a_controller_or_an_administrator_is_nobody_special() {
    for name in [
        "system:serviceaccount:kube-system:replicaset-controller",
        "system:kube-controller-manager",
        "system:node:n1",
        "kubernetes-admin",
        "system:serviceaccount:trust-gate:trust-gate",
    ] {
        gains_nothing(|asked| {
            asked["request"]["userInfo"] = json!({"username": name, "groups": ["system:masters", "system:nodes"]});
        });
    }
}

#[test]
fn a_dry_run_is_no_way_in() {
    gains_nothing(|asked| {
        asked["request"]["dryRun"] = json!(true);
        asked["request"]["options"] = json!({"dryRun": ["All"]});
    });
}

#[test]
fn an_old_object_beside_a_creation_vouches_for_nothing() {
    let clean = review("CREATE", pod(BAD), Value::Null);
    let mut attacked = clean.clone();
    attacked["request"]["oldObject"] = pod(BAD);
    for door in [Door::Mutate, Door::Validate] {
        assert_eq!(judged(&attacked, door, Rules::default()), judged(&clean, door, Rules::default()));
        assert!(!judged(&attacked, door, Rules::default()).allowed);
    }
}

#[test]
fn the_subresource_of_debugging_hides_no_container_of_a_new_pod() {
    gains_nothing(|asked| asked["request"]["subResource"] = json!("ephemeralcontainers"));
    for subresource in ["status", "scale", "binding", "exec"] {
        gains_nothing(|asked| asked["request"]["subResource"] = json!(subresource));
    }
}

#[test]
fn what_the_request_says_it_was_converted_from_does_not_count() {
    gains_nothing(|asked| {
        asked["request"]["requestKind"] = json!({"group": "", "version": "v1", "kind": "ConfigMap"});
        asked["request"]["requestResource"] = json!({"group": "", "version": "v1", "resource": "configmaps"});
        asked["request"]["resource"] = json!({"group": "", "version": "v1", "resource": "secrets"});
    });
}

#[test]
fn a_status_that_names_a_verified_digest_is_not_believed() {
    gains_nothing(|asked| {
        let image_id = format!("{SIGNED}@{}", digest(SIGNED));
        asked["request"]["object"]["status"] = json!({"containerStatuses": [{"image": SIGNED, "imageID": image_id}]});
    });
}

#[test]
fn a_kind_that_the_request_does_not_name_is_not_judged_as_another() {
    let mut asked = review("CREATE", pod(BAD), Value::Null);
    asked["request"]["kind"] = json!({"group": "", "version": "v1", "kind": "PodTemplate"});
    assert!(Review::parse(asked.to_string().as_bytes()).is_err());
}

// --- kinds of others ---

fn rollouts() -> Arc<CustomKinds> {
    let (pods, images) = (["spec.template.spec".to_owned()], ["spec.hooks[*].image".to_owned()]);
    let rollout = CustomKind::new("argoproj.io", "Rollout", &pods, &images).unwrap();
    Arc::new(CustomKinds::new(vec![rollout]).unwrap())
}

fn rollout(spec: Value) -> Value {
    json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": "web"}, "spec": spec})
}

fn with_rollouts(asked: &Value, door: Door, rules: Rules) -> Answer {
    let review = Review::parse_with(&serde_json::to_vec(asked).unwrap(), &rollouts()).unwrap();
    answer(&review, door, rules, &Fake::default(), Instant::now() + Duration::from_secs(60))
}

#[test]
fn an_unsigned_image_at_any_described_place_of_a_kind_of_others_denies_and_a_signed_tag_is_pinned_there() {
    use base64ct::{Base64, Encoding};
    let good = json!({"template": {"spec": {"containers": [{"image": SIGNED}], "initContainers": [{"image": SIGNED}],
        "volumes": [{"image": {"reference": SIGNED}}]}}, "hooks": [{"image": SIGNED}, {"name": "none"}]});
    let asked = review("CREATE", rollout(good.clone()), Value::Null);
    let answer = with_rollouts(&asked, Door::Mutate, Rules::default());
    assert!(answer.allowed, "{}", answer.message);
    let patch: Value = serde_json::from_slice(&Base64::decode_vec(answer.patch.as_deref().unwrap()).unwrap()).unwrap();
    let replaced: Vec<&str> =
        patch.as_array().unwrap().iter().filter(|o| o["op"] == "replace").filter_map(|o| o["path"].as_str()).collect();
    let places = [
        "/spec/template/spec/containers/0/image",
        "/spec/template/spec/initContainers/0/image",
        "/spec/template/spec/volumes/0/image/reference",
        "/spec/hooks/0/image",
    ];
    assert_eq!(replaced, places);
    for place in places {
        let mut object = rollout(good.clone());
        *object.pointer_mut(place).unwrap() = json!(BAD);
        for door in [Door::Mutate, Door::Validate] {
            let answer = with_rollouts(&review("CREATE", object.clone(), Value::Null), door, Rules::default());
            assert!(!answer.allowed && answer.message.contains(BAD), "{place}: {answer:?}");
            // An update that changes nothing passes, one that changes this place does not.
            let old = rollout(good.clone());
            assert!(!with_rollouts(&review("UPDATE", object.clone(), old), door, Rules::default()).allowed, "{place}");
            let same = review("UPDATE", object.clone(), object.clone());
            assert!(with_rollouts(&same, door, Rules::default()).allowed, "{place}");
        }
    }
}

#[test]
fn a_kind_that_our_rule_sends_and_nobody_described_is_denied() {
    let asked =
        review("CREATE", rollout(json!({"template": {"spec": {"containers": [{"image": SIGNED}]}}})), Value::Null);
    let answer = judged(&asked, Door::Validate, Rules::default());
    assert!(!answer.allowed && answer.message.contains("kind \"Rollout\""), "{}", answer.message);
}

#[test]
fn a_described_kind_with_nothing_on_its_paths_passes_and_says_so() {
    let asked = review("CREATE", rollout(json!({"workloadRef": {"kind": "Deployment", "name": "web"}})), Value::Null);
    let answer = with_rollouts(&asked, Door::Validate, Rules::default());
    assert!(answer.allowed && answer.warnings.concat().contains("nothing stands on the paths"), "{answer:?}");
    for spec in [
        json!({"template": []}),
        json!({"Template": {}}),
        json!({"hooks": {"image": BAD}}),
        json!({"hooks": [{"image": 5}]}),
    ] {
        assert!(
            !with_rollouts(&review("CREATE", rollout(spec.clone()), Value::Null), Door::Validate, Rules::default())
                .allowed,
            "{spec}"
        );
    }
}

// --- switches of the operator ---

#[test]
fn pin_off_changes_nothing_and_a_pod_with_a_tag_alone_is_denied() {
    let rules = Rules { pin: Pin::Off, ..Rules::default() };
    let deployment = |image: &str| {
        review("CREATE", object("apps", "Deployment", &json!({"containers": [{"image": image}]})), Value::Null)
    };
    let created = |image: &str| review("CREATE", pod(image), Value::Null);
    for asked in [deployment(SIGNED), created(SIGNED)] {
        let answer = judged(&asked, Door::Mutate, rules);
        assert!(answer.allowed && answer.patch.is_none(), "{answer:?}");
    }
    let told = judged(&deployment(SIGNED), Door::Validate, rules);
    assert!(
        told.allowed && told.warnings.join(" ").replace(" … … ", " ").contains("its Pods will be denied"),
        "{told:?}"
    );
    let denied = judged(&created(SIGNED), Door::Validate, rules);
    assert!(!denied.allowed && denied.message.contains("the tag alone"), "{denied:?}");
    let pinned = format!("{SIGNED}@{}", digest(SIGNED));
    for asked in [deployment(&pinned), created(&pinned)] {
        let answer = judged(&asked, Door::Validate, rules);
        assert!(answer.allowed && answer.warnings.is_empty(), "{answer:?}");
    }
}

#[test]
fn tags_that_are_allowed_pass_only_if_they_are_verified_and_the_audit_says_that_nothing_binds_them() {
    let rules = Rules { pin: Pin::Off, tags: Tags::Allow, ..Rules::default() };
    let answer = judged(&review("CREATE", pod(SIGNED), Value::Null), Door::Validate, rules);
    assert!(answer.allowed && answer.warnings.is_empty(), "{answer:?}");
    assert_eq!(answer.audit["unpinned"], "true");
    assert!(!judged(&review("CREATE", pod(BAD), Value::Null), Door::Validate, rules).allowed);
    let pinned = format!("{SIGNED}@{}", digest(SIGNED));
    let answer = judged(&review("CREATE", pod(&pinned), Value::Null), Door::Validate, rules);
    assert!(answer.allowed && !answer.audit.contains_key("unpinned"));
}

#[test]
fn while_it_is_tried_out_a_verified_tag_in_a_pod_is_no_denial_that_nobody_would_meet() {
    for mode in [Mode::Warn, Mode::Audit] {
        for pin in [Pin::Workloads, Pin::Pods] {
            let rules = Rules { mode, pin, ..Rules::default() };
            let answer = judged(&review("CREATE", pod(SIGNED), Value::Null), Door::Validate, rules);
            assert!(answer.allowed && answer.warnings.is_empty(), "{answer:?}");
            assert_eq!((answer.audit["decision"].as_str(), answer.audit["unpinned"].as_str()), ("allow", "true"));
        }
        // Where nothing would pin it, it would be one.
        let rules = Rules { mode, pin: Pin::Off, ..Rules::default() };
        let answer = judged(&review("CREATE", pod(SIGNED), Value::Null), Door::Validate, rules);
        assert!(answer.allowed && answer.audit["reasons"].contains("the tag alone"), "{answer:?}");
    }
}

#[test]
fn mode_audit_lets_pass_without_a_word_and_the_cluster_s_audit_says_why_it_would_not() {
    for recheck in [Recheck::Never, Recheck::Warn, Recheck::Always] {
        let rules = Rules { mode: Mode::Audit, recheck, ..Rules::default() };
        for asked in [
            review("CREATE", pod(BAD), Value::Null),
            review("CREATE", object("apps", "Deployment", &json!({"containers": [{"image": BAD}, {}]})), Value::Null),
            review("CREATE", json!({"apiVersion": "v1", "kind": "Secret"}), Value::Null),
        ] {
            for door in [Door::Mutate, Door::Validate] {
                let answer = judged(&asked, door, rules);
                assert!(answer.allowed && answer.warnings.is_empty() && answer.patch.is_none(), "{answer:?}");
                assert_eq!(answer.audit["decision"], "audit");
                assert!(!answer.audit["reasons"].is_empty());
            }
        }
    }
    let enforced = judged(&review("CREATE", pod(BAD), Value::Null), Door::Validate, Rules::default());
    assert!(!enforced.audit.contains_key("reasons"), "the denial says it");
}
