//! Attacks on the reading of manifests, then the four kinds as registries serve them.

use super::*;
use proptest::prelude::*;
use serde_json::json;

fn hash(n: u8) -> String {
    Digest::of(&[n]).to_string()
}

fn image_body() -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": hash(1), "size": 10},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": hash(2), "size": 20}],
        "annotations": {"k": "v"},
    })
}

fn index_body() -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [
            {"mediaType": OCI_MANIFEST, "digest": hash(1), "size": 10, "platform": {"os": "linux", "architecture": "amd64"}},
            {"mediaType": OCI_MANIFEST, "digest": hash(2), "size": 11, "platform": {"os": "linux", "architecture": "arm64", "variant": "v8"}, "annotations": {"a": "b"}},
            {"mediaType": OCI_MANIFEST, "digest": hash(3), "size": 12, "platform": {"os": "unknown", "architecture": "unknown"},
             "annotations": {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": hash(1)}},
        ],
    })
}

fn parse(body: &Value) -> Result<Manifest, ManifestError> {
    Manifest::parse(&serde_json::to_vec(body).unwrap())
}

/// `body` with the value at a JSON pointer's parent replaced or removed.
fn with(mut body: Value, pointer: &str, value: Option<Value>) -> Value {
    let (parent, last) = pointer.rsplit_once('/').unwrap();
    let parent = body.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    match value {
        Some(value) => parent.insert(last.to_owned(), value),
        None => parent.remove(last),
    };
    body
}

#[test]
fn a_body_that_is_image_and_index_at_once_is_refused() {
    let both = with(image_body(), "/manifests", Some(json!([])));
    assert_eq!(parse(&both), Err(ManifestError::Ambiguous));
    assert_eq!(parse(&with(both, "/mediaType", None)), Err(ManifestError::Ambiguous));
    assert_eq!(parse(&with(image_body(), "/mediaType", Some(json!(OCI_INDEX)))), Err(ManifestError::Ambiguous));
    assert_eq!(parse(&with(image_body(), "/mediaType", Some(json!(DOCKER_LIST)))), Err(ManifestError::Ambiguous));
    assert_eq!(parse(&with(index_body(), "/mediaType", Some(json!(OCI_MANIFEST)))), Err(ManifestError::Ambiguous));
    assert_eq!(parse(&with(index_body(), "/layers", Some(json!([])))), Err(ManifestError::Ambiguous));
    assert_eq!(parse(&with(index_body(), "/config", Some(Value::Null))), Err(ManifestError::Ambiguous));
}

#[test]
fn second_spellings_that_docker_would_read_are_refused() {
    for name in ["Manifests", "MEDIATYPE", "Layers", "Config", "annotation\u{17f}"] {
        let body = with(image_body(), &format!("/{name}"), Some(json!([])));
        assert!(matches!(parse(&body), Err(ManifestError::Json(JsonError::SecondSpelling { .. }))), "{name}");
    }
    let body = with(image_body(), "/config/Digest", Some(json!(hash(9))));
    assert_eq!(parse(&body), Err(ManifestError::Json(JsonError::SecondSpelling { name: "digest" })));
}

#[test]
fn a_duplicate_member_is_refused() {
    let text = format!(r#"{{"schemaVersion":2,"manifests":[],"manifests":[{{"digest":"{}"}}]}}"#, hash(1));
    assert_eq!(Manifest::parse(text.as_bytes()), Err(ManifestError::Json(JsonError::DuplicateMember)));
}

#[test]
fn schema_one_is_refused_in_every_form() {
    let one = json!({"schemaVersion": 1, "name": "a", "tag": "b", "fsLayers": [], "history": []});
    assert_eq!(parse(&one), Err(ManifestError::SchemaOne));
    assert_eq!(parse(&with(one.clone(), "/schemaVersion", Some(json!(2)))), Err(ManifestError::SchemaOne));
    assert_eq!(parse(&json!({"schemaVersion": 1})), Err(ManifestError::SchemaOne));
    for stated in [DOCKER_SCHEMA_1, DOCKER_SCHEMA_1_SIGNED] {
        assert_eq!(parse(&with(image_body(), "/mediaType", Some(json!(stated)))), Err(ManifestError::SchemaOne));
    }
}

#[test]
fn an_image_that_hides_behind_an_attestation_mark_is_refused() {
    let marked = json!({"vnd.docker.reference.type": "attestation-manifest"});
    let body = with(index_body(), "/manifests/0/annotations", Some(marked));
    assert_eq!(parse(&body), Err(ManifestError::DisguisedAttestation));
    let without_platform = with(body, "/manifests/0/platform", None);
    assert_eq!(parse(&without_platform), Err(ManifestError::DisguisedAttestation));
}

#[test]
fn each_damage_has_its_own_name() {
    let wrong = |name| Err(ManifestError::Wrong(name));
    let table: Vec<(Value, Result<Manifest, ManifestError>)> = vec![
        (json!([]), wrong("manifest")),
        (json!({}), Err(ManifestError::SchemaVersion)),
        (json!({"schemaVersion": 2}), Err(ManifestError::Missing("config"))),
        (with(image_body(), "/schemaVersion", Some(json!("2"))), Err(ManifestError::SchemaVersion)),
        (with(image_body(), "/schemaVersion", Some(json!(3))), Err(ManifestError::SchemaVersion)),
        (with(image_body(), "/mediaType", Some(json!("application/json"))), Err(ManifestError::UnsupportedMediaType)),
        (with(image_body(), "/mediaType", Some(json!(""))), Err(ManifestError::UnsupportedMediaType)),
        (with(image_body(), "/mediaType", Some(Value::Null)), wrong("mediaType")),
        (with(image_body(), "/config", None), Err(ManifestError::Missing("config"))),
        (with(image_body(), "/config", Some(json!([]))), wrong("config")),
        (with(image_body(), "/layers", None), Err(ManifestError::Missing("layers"))),
        (with(image_body(), "/layers", Some(json!({}))), wrong("layers")),
        (with(image_body(), "/layers", Some(json!([1]))), wrong("layers")),
        (with(image_body(), "/config/digest", None), Err(ManifestError::Missing("digest"))),
        (
            with(image_body(), "/config/digest", Some(json!("sha256:00"))),
            Err(ManifestError::Digest(DigestError::WrongLength { expected: 64, got: 2 })),
        ),
        (with(image_body(), "/config/size", Some(json!(-1))), wrong("size")),
        (with(image_body(), "/config/size", Some(json!(1.5))), wrong("size")),
        (with(image_body(), "/config/size", Some(json!(u64::MAX))), wrong("size")),
        (with(image_body(), "/config/mediaType", Some(json!(""))), wrong("mediaType")),
        (with(image_body(), "/annotations", Some(json!({"a": 1}))), wrong("annotations")),
        (with(image_body(), "/annotations", Some(json!([]))), wrong("annotations")),
        (with(index_body(), "/manifests", Some(Value::Null)), wrong("manifests")),
        (with(index_body(), "/manifests/0/platform", Some(json!("linux/amd64"))), wrong("platform")),
        (with(index_body(), "/manifests/0/platform/os", None), Err(ManifestError::Missing("os"))),
        (with(index_body(), "/manifests/0/platform/os", Some(json!("li/nux"))), wrong("platform")),
        (with(index_body(), "/manifests/0/platform/architecture", Some(json!(""))), wrong("platform")),
        (with(index_body(), "/manifests/0/platform/variant", Some(json!(8))), wrong("variant")),
    ];
    for (body, expected) in table {
        assert_eq!(parse(&body), expected, "{body}");
    }
}

#[test]
fn counts_and_length_are_limited() {
    let layer = image_body()["layers"][0].clone();
    assert!(parse(&with(image_body(), "/layers", Some(vec![layer.clone(); MAX_LAYERS].into()))).is_ok());
    assert_eq!(
        parse(&with(image_body(), "/layers", Some(vec![layer; MAX_LAYERS + 1].into()))),
        Err(ManifestError::TooMany("layers"))
    );
    let entry = index_body()["manifests"][0].clone();
    let many = vec![entry; MAX_INDEX_ENTRIES + 1];
    assert_eq!(parse(&with(index_body(), "/manifests", Some(many.into()))), Err(ManifestError::TooMany("manifests")));
    let annotations: Map<String, Value> = (0..=MAX_ANNOTATIONS).map(|n| (n.to_string(), json!(""))).collect();
    assert_eq!(
        parse(&with(image_body(), "/annotations", Some(annotations.into()))),
        Err(ManifestError::TooMany("annotations"))
    );
    let mut bytes = serde_json::to_vec(&image_body()).unwrap();
    bytes.resize(MAX_MANIFEST_LEN, b' ');
    assert!(Manifest::parse(&bytes).is_ok());
    bytes.push(b' ');
    assert_eq!(Manifest::parse(&bytes), Err(ManifestError::TooLarge));
}

#[test]
fn the_four_kinds_are_read() {
    let Manifest::Image(image) = parse(&image_body()).unwrap() else { panic!() };
    assert_eq!((image.media_type, image.layers.len(), image.config.size), (MediaType::OciManifest, 1, 10));
    assert_eq!(image.config.digest.to_string(), hash(1));
    assert!(image.config.is_image_config());
    assert_eq!(image.annotations["k"], "v");

    let Manifest::Index(index) = parse(&index_body()).unwrap() else { panic!() };
    let platforms: Vec<_> = index.manifests.iter().map(|entry| entry.platform.as_ref().unwrap().to_string()).collect();
    assert_eq!(platforms, ["linux/amd64", "linux/arm64/v8", "unknown/unknown"]);
    let attestations: Vec<_> = index.manifests.iter().map(Descriptor::is_attestation).collect();
    assert_eq!(attestations, [false, false, true]);

    assert_eq!(parse(&with(image_body(), "/mediaType", None)).unwrap().media_type(), MediaType::OciManifest);
    assert_eq!(parse(&with(index_body(), "/mediaType", None)).unwrap().media_type(), MediaType::OciIndex);
    assert_eq!(
        parse(&with(image_body(), "/mediaType", Some(json!(DOCKER_MANIFEST)))).unwrap().media_type(),
        MediaType::DockerManifest
    );
    assert_eq!(
        parse(&with(index_body(), "/mediaType", Some(json!(DOCKER_LIST)))).unwrap().media_type(),
        MediaType::DockerList
    );
}

#[test]
fn an_unknown_platform_alone_is_an_attestation_and_an_artifact_config_is_no_image() {
    let body = with(index_body(), "/manifests/2/annotations", None);
    let Manifest::Index(index) = parse(&body).unwrap() else { panic!() };
    assert!(index.manifests[2].is_attestation());
    let body = with(image_body(), "/config/mediaType", Some(json!("application/vnd.oci.empty.v1+json")));
    let Manifest::Image(image) = parse(&body).unwrap() else { panic!() };
    assert!(!image.config.is_image_config());
}

#[test]
fn what_holds_anything_else_than_statements_or_nothing_is_no_attestation_by_content() {
    const STATEMENT: &str = "application/vnd.in-toto+json";
    let layers = |kinds: &[&str]| {
        let layer = |kind: &&str| json!({"mediaType": kind, "digest": hash(2), "size": 3});
        with(image_body(), "/layers", Some(kinds.iter().map(layer).collect()))
    };
    for (kinds, expected) in [
        (&[][..], false),
        (&["application/vnd.oci.image.layer.v1.tar+gzip"], false),
        (&[STATEMENT, "application/vnd.oci.image.layer.v1.tar+gzip"], false),
        (&["application/vnd.in-toto+json; x"], false),
        (&["application/vnd.in-toto+JSON"], false),
        (&[STATEMENT], true),
        (&[STATEMENT, STATEMENT], true),
    ] {
        let Manifest::Image(image) = parse(&layers(kinds)).unwrap() else { panic!() };
        assert_eq!(image.holds_only_statements(), expected, "{kinds:?}");
    }
}

proptest! {
    #[test]
    fn one_changed_byte_never_panics(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = serde_json::to_vec(&index_body()).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = Manifest::parse(&bytes);
    }

    #[test]
    fn a_cut_off_manifest_is_refused(at in any::<prop::sample::Index>()) {
        let bytes = serde_json::to_vec(&image_body()).unwrap();
        prop_assert!(Manifest::parse(&bytes[..at.index(bytes.len())]).is_err());
    }
}
