//! Attacks on, and promises of, [`super::images`].

use proptest::prelude::*;
use serde_json::json;

use super::*;

/// An object of this kind around a pod spec.
pub(crate) fn wrap(group: &str, kind: &str, spec: Value) -> Value {
    let (_, _, prefix) = KINDS.iter().find(|(g, k, _)| *g == group && *k == kind).expect("a known kind");
    let inner = prefix.iter().rev().fold(spec, |inner, name| json!({ *name: inner }));
    let mut object = inner.as_object().unwrap().clone();
    object.insert("apiVersion".into(), if group.is_empty() { "v1".into() } else { format!("{group}/v1").into() });
    object.insert("kind".into(), kind.into());
    object.insert("metadata".into(), json!({"name": "x", "labels": {"image": "not/an:image"}}));
    Value::Object(object)
}

fn deployment(spec: Value) -> Value {
    wrap("apps", "Deployment", spec)
}

#[test]
fn an_image_is_found_in_each_field_of_each_kind_at_its_own_pointer() {
    let spec = json!({
        "containers": [{"name": "a", "image": "r.io/a:1"}, {"name": "b", "image": "r.io/b:1"}],
        "initContainers": [{"name": "c", "image": "r.io/c:1"}],
        "ephemeralContainers": [{"name": "d", "image": "r.io/d:1"}],
        "volumes": [{"name": "v", "emptyDir": {}}, {"name": "w", "image": {"reference": "r.io/e:1"}}],
    });
    for (group, kind) in kinds() {
        let object = wrap(group, kind, spec.clone());
        let places = images(&object).unwrap();
        let found: Vec<&str> = places.iter().map(|p| p.image.as_str()).collect();
        assert_eq!(found, ["r.io/a:1", "r.io/b:1", "r.io/c:1", "r.io/d:1", "r.io/e:1"], "{kind}");
        for place in &places {
            assert_eq!(object.pointer(&place.path.pointer()), Some(&Value::String(place.image.clone())), "{kind}");
        }
        assert_eq!(images_anywhere(&object).unwrap(), places);
    }
    let cron = wrap("batch", "CronJob", spec);
    let last = images(&cron).unwrap().pop().unwrap();
    assert_eq!(last.path.pointer(), "/spec/jobTemplate/spec/template/spec/volumes/1/image/reference");
    assert_eq!(last.path.to_string(), "spec.jobTemplate.spec.template.spec.volumes[1].image.reference");
    assert_eq!(last.kind, PlaceKind::Volume);
}

#[test]
fn an_unexpected_type_at_any_place_is_an_error_and_never_no_image() {
    for (spec, at) in [
        (json!({"containers": {"0": {"image": "a"}}}), "spec.template.spec.containers"),
        (json!({"containers": "a"}), "spec.template.spec.containers"),
        (json!({"containers": [["a"]]}), "spec.template.spec.containers[0]"),
        (json!({"containers": [null]}), "spec.template.spec.containers[0]"),
        (json!({"containers": [{"image": 5}]}), "spec.template.spec.containers[0].image"),
        (json!({"containers": [{"image": null}]}), "spec.template.spec.containers[0].image"),
        (json!({"containers": [{"image": ["a"]}]}), "spec.template.spec.containers[0].image"),
        (json!({"containers": [], "initContainers": {}}), "spec.template.spec.initContainers"),
        (json!({"containers": [], "ephemeralContainers": 1}), "spec.template.spec.ephemeralContainers"),
        (json!({"containers": [], "volumes": {"image": {}}}), "spec.template.spec.volumes"),
        (json!({"containers": [], "volumes": [1]}), "spec.template.spec.volumes[0]"),
        (json!({"containers": [], "volumes": [{"image": "a"}]}), "spec.template.spec.volumes[0].image"),
        (
            json!({"containers": [], "volumes": [{"image": {"reference": 1}}]}),
            "spec.template.spec.volumes[0].image.reference",
        ),
        (json!([]), "spec.template.spec"),
    ] {
        match images(&deployment(spec.clone())) {
            Err(WorkloadError::WrongType { at: found, .. }) => assert_eq!(found, at, "{spec}"),
            other => panic!("{spec}: {other:?}"),
        }
    }
    for object in [json!(null), json!([]), json!("Pod"), json!(1)] {
        assert!(matches!(images(&object), Err(WorkloadError::WrongType { .. })), "{object}");
    }
}

#[test]
fn an_object_without_pod_spec_or_containers_is_an_error() {
    let missing = |object: &Value| match images(object) {
        Err(WorkloadError::Missing { at }) => at,
        other => panic!("{object}: {other:?}"),
    };
    assert_eq!(missing(&json!({"apiVersion": "v1", "kind": "Pod"})), "spec");
    assert_eq!(missing(&json!({"apiVersion": "v1", "kind": "Pod", "spec": null})), "spec");
    assert_eq!(missing(&json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {}})), "spec.template");
    assert_eq!(missing(&deployment(json!({"initContainers": []}))), "spec.template.spec.containers");
    assert_eq!(missing(&deployment(json!({"containers": null}))), "spec.template.spec.containers");
}

#[test]
fn an_absent_list_and_a_null_one_hold_no_image_and_an_empty_image_is_a_place() {
    let spec = json!({"containers": [{"name": "a"}, {"image": ""}], "initContainers": null, "volumes": null});
    let places = images(&deployment(spec)).unwrap();
    assert_eq!(places.len(), 2);
    assert!(places.iter().all(|p| p.image.is_empty()));
}

#[test]
fn a_second_spelling_of_a_name_that_we_read_is_refused() {
    for spec in [
        json!({"containers": [], "Containers": [{"image": "a"}]}),
        json!({"containers": [{"image": "a", "IMAGE": "b"}]}),
        json!({"containers": [{"Image": "b"}]}),
        json!({"containers": [], "initcontainers": [{"image": "a"}]}),
        json!({"containers": [], "volumes": [{"image": {"Reference": "a"}}]}),
    ] {
        assert!(matches!(images(&deployment(spec.clone())), Err(WorkloadError::SecondSpelling { .. })), "{spec}");
    }
    let object = json!({"apiVersion": "v1", "kind": "Pod", "Kind": "ConfigMap", "spec": {"containers": []}});
    assert!(matches!(images(&object), Err(WorkloadError::SecondSpelling { .. })));
}

#[test]
fn an_unknown_kind_and_a_known_kind_of_another_group_are_errors_with_their_name() {
    for (api_version, kind) in
        [("v1", "ConfigMap"), ("evil.example.com/v1", "Deployment"), ("v1", "Deployment"), ("apps/v1", "deployment")]
    {
        let object =
            json!({"apiVersion": api_version, "kind": kind, "spec": {"template": {"spec": {"containers": []}}}});
        let error = WorkloadError::UnknownKind { api_version: api_version.into(), kind: kind.into() };
        assert_eq!(images(&object), Err(error));
    }
    for object in [
        json!({"kind": "Pod"}),
        json!({"apiVersion": "v1"}),
        json!({}),
        json!({"kind": 1, "apiVersion": "v1"}),
        json!({"kind": "Pod", "apiVersion": null}),
    ] {
        let error = images(&object).unwrap_err();
        assert!(matches!(error, WorkloadError::NoKind { .. } | WorkloadError::WrongType { .. }), "{object} {error}");
    }
}

#[test]
fn a_list_is_its_items_and_one_unknown_item_is_an_error() {
    let pod = wrap("", "Pod", json!({"containers": [{"image": "r.io/a:1"}]}));
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [pod, deployment(json!({"containers": [{"image": "r.io/b:1"}]}))]});
    let pointers: Vec<String> = images(&list).unwrap().iter().map(|p| p.path.pointer()).collect();
    assert_eq!(pointers, ["/items/0/spec/containers/0/image", "/items/1/spec/template/spec/containers/0/image"]);
    // The items of a typed list need not say what they are.
    let typed =
        json!({"apiVersion": "v1", "kind": "PodList", "items": [{"spec": {"containers": [{"image": "r.io/c:1"}]}}]});
    assert_eq!(images(&typed).unwrap()[0].image, "r.io/c:1");
    let mixed = json!({"apiVersion": "v1", "kind": "List", "items": [pod, {"apiVersion": "v1", "kind": "Secret"}]});
    assert!(matches!(images(&mixed), Err(WorkloadError::UnknownKind { .. })));
    assert_eq!(images_anywhere(&mixed).unwrap().len(), 1);
    let bare = json!({"apiVersion": "v1", "kind": "List", "items": [{"spec": {}}]});
    assert!(matches!(images(&bare), Err(WorkloadError::NoKind { .. })));
    let broken = json!({"apiVersion": "v1", "kind": "List", "items": {"0": pod}});
    assert!(matches!(images(&broken), Err(WorkloadError::WrongType { .. })));
    assert!(matches!(images_anywhere(&broken), Err(WorkloadError::WrongType { .. })));
}

#[test]
fn places_items_and_nesting_are_limited_exactly() {
    let containers = |n: usize| deployment(json!({"containers": vec![json!({"image": "a"}); n]}));
    assert_eq!(images(&containers(MAX_PLACES)).unwrap().len(), MAX_PLACES);
    assert_eq!(images(&containers(MAX_PLACES + 1)), Err(WorkloadError::TooMany));
    let empty = wrap("", "Pod", json!({"containers": []}));
    let list = |n: usize| json!({"apiVersion": "v1", "kind": "List", "items": vec![empty.clone(); n]});
    assert!(images(&list(MAX_ITEMS)).is_ok());
    assert_eq!(images(&list(MAX_ITEMS + 1)), Err(WorkloadError::TooMany));
    let nest =
        |n: usize| (0..n).fold(empty.clone(), |inner, _| json!({"apiVersion": "v1", "kind": "List", "items": [inner]}));
    assert!(images(&nest(MAX_LISTS)).is_ok());
    assert_eq!(images(&nest(MAX_LISTS + 1)), Err(WorkloadError::TooDeep));
    let deep = |n: usize| {
        (0..n).fold(json!({"containers": [{"image": "a"}]}), |inner, i| {
            if i % 2 == 0 { json!([inner]) } else { json!({"x": inner}) }
        })
    };
    assert_eq!(images_anywhere(&json!({"x": deep(40)})).unwrap().len(), 1);
    assert_eq!(images_anywhere(&json!({"x": deep(400)})), Err(WorkloadError::TooDeep));
}

#[test]
fn a_pod_spec_in_a_kind_of_others_is_found_and_other_shapes_are_passed_over() {
    let rollout = json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
        "spec": {"containers": 3, "template": {"spec": {"containers": [{"name": "x"}, {"image": "r.io/a:1"}],
            "volumes": [{"image": {"reference": "r.io/v:1"}}, {"image": 5}]}},
            "other": [{"pod": {"initContainers": [{"image": "r.io/b:1"}]}}]},
    });
    let mut found: Vec<String> =
        images_anywhere(&rollout).unwrap().iter().map(|p| format!("{} {}", p.path.pointer(), p.image)).collect();
    found.sort();
    assert_eq!(
        found,
        [
            "/spec/other/0/pod/initContainers/0/image r.io/b:1",
            "/spec/template/spec/containers/1/image r.io/a:1",
            "/spec/template/spec/volumes/0/image/reference r.io/v:1",
        ]
    );
    assert_eq!(images_anywhere(&json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "b"}})).unwrap(), []);
}

#[test]
fn a_pointer_escapes_what_rfc_6901_escapes_and_people_see_no_control_characters() {
    assert_eq!(escape("trust.example.com/policy~1"), "trust.example.com~1policy~01");
    let object = json!({"apiVersion": "x/v1", "kind": "X", "a/b~\u{1b}[2J": {"containers": [{"image": "r.io/a:1"}]}});
    let place = images_anywhere(&object).unwrap().remove(0);
    assert_eq!(object.pointer(&place.path.pointer()).unwrap(), "r.io/a:1");
    assert!(!place.path.to_string().contains('\u{1b}'));
}

proptest! {
    #[test]
    fn arbitrary_documents_never_panic(text in "[\\[\\]{}:,\"a-z0-9]{0,200}") {
        if let Ok(value) = json::parse(text.as_bytes()) {
            let _ = images(&value);
            let _ = images_anywhere(&value);
        }
    }
}
