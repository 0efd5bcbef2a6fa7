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
    let null = json!({"apiVersion": "v1", "kind": "Pod", "items": null, "spec": {"containers": [{"image": "a"}]}});
    assert_eq!(images(&null).unwrap().len(), 1);
    assert_eq!(images_anywhere(&mixed).unwrap().len(), 1);
    let bare = json!({"apiVersion": "v1", "kind": "List", "items": [{"spec": {}}]});
    assert!(matches!(images(&bare), Err(WorkloadError::NoKind { .. })));
    let broken = json!({"apiVersion": "v1", "kind": "List", "items": {"0": pod}});
    assert!(matches!(images(&broken), Err(WorkloadError::WrongType { .. })));
    assert!(matches!(images_anywhere(&broken), Err(WorkloadError::WrongType { .. })));
}

#[test]
fn items_beside_a_kind_that_is_no_list_do_not_hide_their_images() {
    let pod = wrap("", "Pod", json!({"containers": [{"image": "r.io/evil:1"}]}));
    let good = json!({"containers": [{"image": "r.io/good:1"}]});
    for (group, kind) in kinds() {
        let mut object = wrap(group, kind, good.clone());
        for hidden in [json!([pod]), json!({}), json!("x")] {
            object["items"] = hidden;
            for found in [images(&object), images_anywhere(&object)] {
                assert!(matches!(found, Err(WorkloadError::NoList { .. })), "{kind}: {found:?}");
            }
        }
        object.as_object_mut().unwrap().remove("items");
        for name in ["Items", "ITEMS", "item\u{17f}"] {
            let mut object = object.clone();
            object[name] = json!([pod]);
            for found in [images(&object), images_anywhere(&object)] {
                assert!(matches!(found, Err(WorkloadError::SecondSpelling { name: "items", .. })), "{kind}: {found:?}");
            }
        }
    }
    for (api_version, kind) in [("v1", "ConfigMap"), ("x.io/v1", "Thing"), ("v1", "list"), ("v1", "")] {
        let object = json!({"apiVersion": api_version, "kind": kind, "items": [pod]});
        assert!(matches!(images_anywhere(&object), Err(WorkloadError::NoList { .. })), "{kind}");
        assert!(images(&object).is_err());
    }
    assert!(matches!(images_anywhere(&json!({"items": [pod]})), Err(WorkloadError::NoList { .. })));
    // And inside of a list.
    let mut inner = pod.clone();
    inner["items"] = json!([pod]);
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [inner]});
    assert!(matches!(images(&list), Err(WorkloadError::NoList { at, .. }) if at == "items[0]"));
}

#[test]
fn a_list_that_is_also_an_object_is_an_error() {
    let spec = json!({"containers": [{"image": "r.io/evil:1"}]});
    for kind in ["List", "PodList"] {
        for name in ["spec", "template", "Spec"] {
            let object = json!({"apiVersion": "v1", "kind": kind, "items": [], name: spec});
            for found in [images(&object), images_anywhere(&object)] {
                assert!(
                    matches!(found, Err(WorkloadError::ListAndObject { .. } | WorkloadError::SecondSpelling { .. })),
                    "{kind} {name}: {found:?}"
                );
            }
        }
    }
}

#[test]
fn only_lists_of_kubernetes_are_lists_to_the_strict_walk() {
    for (api_version, kind) in
        [("x.io/v1", "List"), ("v2", "List"), ("v1", "ConfigMapList"), ("x.io/v1", "PodList"), ("v1", "ListList")]
    {
        let object = json!({"apiVersion": api_version, "kind": kind, "items": []});
        assert!(matches!(images(&object), Err(WorkloadError::UnknownKind { .. })), "{api_version} {kind}");
        assert_eq!(images_anywhere(&object), Ok(vec![]));
    }
    let object = json!({"apiVersion": "apps/v1", "kind": "DeploymentList", "items": []});
    assert_eq!(images(&object), Ok(vec![]));
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
    assert!(matches!(images_anywhere(&json!({"x": deep(40)})), Err(WorkloadError::MayBeImage { .. })));
    assert_eq!(images_anywhere(&json!({"x": deep(400)})), Err(WorkloadError::TooDeep));
}

#[test]
fn what_has_the_name_of_an_image_in_a_kind_of_others_is_an_error() {
    let thing = |spec: Value| json!({"apiVersion": "x.io/v1", "kind": "Thing", "spec": spec});
    for (spec, at) in [
        (json!({"image": "r.io/a:1"}), "spec.image"),
        (json!({"image": {"repository": "r.io/a", "tag": "1"}}), "spec.image"),
        (json!({"IMAGE": "r.io/a:1"}), "spec.image"),
        (json!({"imageName": "r.io/a:1"}), "spec.imageName"),
        (json!({"deep": [[{"newName": "r.io/a"}]]}), "spec.deep[0][0].newName"),
        (json!({"images": [{"newTag": "1"}]}), "spec.images[0].newTag"),
        // A tag that is a number in YAML.
        (json!({"images": [{"newtag": false}]}), "spec.images[0].newTag"),
        (json!({"reference": "r.io/a"}), "spec.reference"),
        (json!({"template": {"containers": [{}, {"image": "a"}]}}), "spec.template.containers[1].image"),
        (json!({"containers": [{"image": {}}]}), "spec.containers"),
        (json!({"containers": {"web": "r.io/a:1"}}), "spec.containers"),
        (json!({"containers": "x"}), "spec.containers"),
        (json!({"Containers": []}), "spec.containers"),
        (json!({"containers": null}), "spec.containers"),
        (json!({"initContainers": []}), "spec.initContainers"),
        (json!({"baseImage": "r.io/a"}), "spec.baseImage"),
        (json!({"containerImage": "r.io/a"}), "spec.containerImage"),
        (json!({"images": ["r.io/a:1"]}), "spec.images"),
        (json!({"imageRef": "r.io/a"}), "spec.imageRef"),
        (json!({"deep": {"image_name": "r.io/a"}}), "spec.deep.image_name"),
        (json!({"sidecar": {"repository": "r.io/a", "tag": "1"}}), "spec.sidecar.repository"),
        (json!({"taskRef": {"name": "x", "bundle": "r.io/a:1"}}), "spec.taskRef.bundle"),
    ] {
        match images_anywhere(&thing(spec.clone())) {
            Err(WorkloadError::MayBeImage { place }) => assert_eq!(place.to_string(), at, "{spec}"),
            other => panic!("{spec}: {other:?}"),
        }
    }
    for spec in [
        json!({"image": null, "reference": {"name": "x"}, "imagePullPolicy": "Always"}),
        json!(["image"]),
        json!({"imagePullSecrets": ["a"], "repository": "https://git.example.com/a", "images": [], "imageCount": 3}),
    ] {
        assert_eq!(images_anywhere(&thing(spec)), Ok(vec![]));
    }
    assert!(matches!(images_anywhere(&json!({"a": {"image": "x"}})), Err(WorkloadError::MayBeImage { .. })));
}

#[test]
fn kinds_without_images_are_passed_only_under_their_own_group() {
    let data = |api_version: &str, kind: &str| json!({"apiVersion": api_version, "kind": kind, "data": {"image": "x"}});
    for (group, kinds) in WITHOUT_IMAGES {
        for kind in *kinds {
            let api_version = if group.is_empty() { "v1".to_owned() } else { format!("{group}/v1") };
            assert_eq!(images_anywhere(&data(&api_version, kind)), Ok(vec![]));
            assert!(images(&data(&api_version, kind)).is_err());
            assert!(pod_spec_of(group, kind).is_none());
        }
    }
    for (api_version, kind) in [("x.io/v1", "ConfigMap"), ("v1", "configmap"), ("v1", "Ingress"), ("apps/v1", "Secret")]
    {
        assert!(matches!(images_anywhere(&data(api_version, kind)), Err(WorkloadError::MayBeImage { .. })));
    }
}

#[test]
fn what_is_for_kustomize_is_an_error_and_no_object_without_images() {
    for kind in ["Kustomization", "Component"] {
        let object = json!({"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": kind, "resources": ["a.yaml"]});
        let list = json!({"apiVersion": "v1", "kind": "List", "items": [object]});
        for object in [object, list] {
            assert!(matches!(images_anywhere(&object), Err(WorkloadError::Kustomization { .. })));
        }
    }
}

#[test]
fn a_pointer_escapes_what_rfc_6901_escapes_and_people_see_no_control_characters() {
    assert_eq!(escape("trust.example.com/policy~1"), "trust.example.com~1policy~01");
    let object = json!({"apiVersion": "x/v1", "kind": "X", "a/b~\u{1b}[2J": {"image": "r.io/a:1"}});
    let Err(WorkloadError::MayBeImage { place }) = images_anywhere(&object) else { panic!() };
    assert_eq!(object.pointer(&place.pointer()).unwrap(), "r.io/a:1");
    assert!(!place.to_string().contains('\u{1b}'));
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
