//! Facts from content: what a registry or a publisher may try to make an image look like something else.

use serde_json::{Value, json};
use trust_image::{Digest, MediaType};

use super::fake_registry::{FakeRegistry, OCI_CONFIG, OCI_INDEX, OCI_MANIFEST, client};
use super::{ImageContent, Reason, RegistryError};

#[derive(Default)]
struct Store(Vec<Vec<u8>>);

impl Store {
    fn add(&mut self, body: &Value) -> (String, usize) {
        let bytes = serde_json::to_vec(body).unwrap();
        let of = (Digest::of(&bytes).to_string(), bytes.len());
        self.0.push(bytes);
        of
    }

    fn image(&mut self, config: &Value, kind: &str) -> (String, usize) {
        let (digest, size) = self.add(config);
        self.add(&json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": {"mediaType": kind, "digest": digest, "size": size}, "layers": []}))
    }

    /// As an image, with a layer of each kind.
    fn layered(&mut self, config: &Value, kind: &str, layers: &[&str]) -> (String, usize) {
        let (digest, size) = self.add(config);
        let layer =
            |kind: &&str| json!({"mediaType": kind, "digest": Digest::of(kind.as_bytes()).to_string(), "size": 9});
        let layers: Vec<Value> = layers.iter().map(layer).collect();
        self.add(&json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": {"mediaType": kind, "digest": digest, "size": size}, "layers": layers}))
    }

    fn index(&mut self, entries: &[Value]) -> (String, usize) {
        self.add(&json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries, "annotations": {"a": "b"}}))
    }

    /// Serves all and inspects what was added last.
    async fn inspect(self) -> Result<ImageContent, RegistryError> {
        let last = self.0.last().unwrap().clone();
        let registry = FakeRegistry::holding(self.0).await;
        client().inspect(&registry.by_digest(&last)).await
    }
}

fn config(architecture: &str, label: &str) -> Value {
    json!({"os": "linux", "architecture": architecture, "config": {"Labels": {"com.example.data": label}}})
}

fn entry((digest, size): &(String, usize), kind: &str, platform: Option<Value>) -> Value {
    let mut entry = json!({"mediaType": kind, "digest": digest, "size": size});
    if let Some(platform) = platform {
        entry["platform"] = platform;
    }
    entry
}

fn linux(architecture: &str) -> Option<Value> {
    Some(json!({"os": "linux", "architecture": architecture}))
}

fn malformed(result: Result<ImageContent, RegistryError>) -> String {
    match result.unwrap_err().reason {
        Reason::Malformed(what) => what,
        other => panic!("{other:?}"),
    }
}

fn unknown() -> Option<Value> {
    Some(json!({"os": "unknown", "architecture": "unknown"}))
}

/// The entry with the mark of an attestation.
fn marked(of: &(String, usize), kind: &str) -> Value {
    let mut entry = entry(of, kind, unknown());
    entry["annotations"] = json!({"vnd.docker.reference.type": "attestation-manifest"});
    entry
}

/// Platform, label and whether it is runnable.
fn listed(content: &ImageContent) -> Vec<(&str, Option<&str>, bool)> {
    let platforms = content.platforms.iter();
    platforms.map(|p| (p.platform.as_str(), p.labels.get("com.example.data").map(String::as_str), p.runnable)).collect()
}

const TAR: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const STATEMENT: &str = "application/vnd.in-toto+json";

#[tokio::test]
async fn an_image_that_its_index_gives_an_unknown_media_type_is_not_signed() {
    for kind in ["application/vnd.example.sbom", "application/json", "Application/vnd.oci.image.manifest.v1+json"] {
        for platform in [linux("amd64"), unknown(), None] {
            let mut store = Store::default();
            let image = store.layered(&config("amd64", "PII"), OCI_CONFIG, &[TAR]);
            store.index(&[entry(&image, kind, platform)]);
            let what = malformed(store.inspect().await);
            assert!(what.contains(kind) && what.contains(&image.0), "{what}");
        }
    }
}

#[tokio::test]
async fn an_image_that_its_index_calls_unknown_or_an_attestation_is_listed_as_what_its_config_says() {
    for layers in [&[TAR][..], &[STATEMENT], &[STATEMENT, TAR], &[]] {
        let mut store = Store::default();
        let image = store.layered(&config("amd64", "PII"), OCI_CONFIG, layers);
        store.index(&[entry(&image, OCI_MANIFEST, unknown()), marked(&image, OCI_MANIFEST)]);
        let content = store.inspect().await.unwrap();
        assert_eq!(listed(&content), [("linux/amd64", Some("PII"), true); 2], "{layers:?}");
    }
}

#[tokio::test]
async fn an_image_whose_config_has_no_platform_either_is_not_signed() {
    let nowhere =
        json!({"os": "unknown", "architecture": "unknown", "config": {"Labels": {"com.example.data": "PII"}}});
    let variant = json!({"os": "unknown", "architecture": "unknown", "variant": "v8"});
    let empty = json!({});
    for (config, kind) in [
        (&nowhere, OCI_CONFIG),
        (&variant, OCI_CONFIG),
        (&nowhere, "application/x"),
        (&empty, "application/vnd.oci.empty.v1+json"),
    ] {
        for layers in [&[TAR][..], &[STATEMENT, TAR], &[]] {
            let mut store = Store::default();
            let image = store.layered(config, kind, layers);
            for of in [entry(&image, OCI_MANIFEST, unknown()), marked(&image, OCI_MANIFEST)] {
                let mut store = Store(store.0.clone());
                store.index(&[of]);
                let what = malformed(store.inspect().await);
                assert!(what.contains("no platform") && what.contains(&image.0), "{what}");
            }
            store.index(&[entry(&image, OCI_MANIFEST, None)]);
            assert!(malformed(store.inspect().await).contains("no platform"));
        }
    }
    // Statements alone do not make an attestation of what its index does not call one.
    let mut store = Store::default();
    let image = store.layered(&nowhere, OCI_CONFIG, &[STATEMENT]);
    store.index(&[entry(&image, OCI_MANIFEST, None)]);
    assert!(malformed(store.inspect().await).contains("no platform"));
    let mut store = Store::default();
    store.layered(&nowhere, OCI_CONFIG, &[TAR]);
    assert!(malformed(store.inspect().await).contains("no platform"), "alone");
}

#[tokio::test]
async fn an_image_in_an_index_that_is_marked_as_attestation_is_listed() {
    let mut store = Store::default();
    let image = store.layered(&config("amd64", "PII"), OCI_CONFIG, &[TAR]);
    let inner = store.index(&[entry(&image, OCI_MANIFEST, unknown())]);
    let outer = store.index(&[marked(&inner, OCI_INDEX)]);
    store.index(&[entry(&outer, OCI_INDEX, unknown())]);
    let content = store.inspect().await.unwrap();
    let index = ("unknown/unknown", None, false);
    assert_eq!(listed(&content), [index, index, ("linux/amd64", Some("PII"), true)]);
}

#[tokio::test]
async fn an_attestation_as_builders_make_it_is_not_runnable() {
    let nowhere = json!({"os": "unknown", "architecture": "unknown", "config": {}});
    for (config, kind) in
        [(nowhere, OCI_CONFIG), (json!({}), OCI_CONFIG), (json!({}), "application/vnd.oci.empty.v1+json")]
    {
        let mut store = Store::default();
        let attestation = store.layered(&config, kind, &[STATEMENT, STATEMENT]);
        store.index(&[marked(&attestation, OCI_MANIFEST), entry(&attestation, OCI_MANIFEST, unknown())]);
        assert_eq!(listed(&store.inspect().await.unwrap()), [("unknown/unknown", None, false); 2], "{kind}");
    }
    // A config that is damaged or has half a platform says nothing.
    for config in [json!({"os": "linux"}), json!({"os": "unknown", "architecture": "unknown", "OS": "linux"})] {
        let mut store = Store::default();
        let attestation = store.layered(&config, OCI_CONFIG, &[STATEMENT]);
        store.index(&[marked(&attestation, OCI_MANIFEST)]);
        malformed(store.inspect().await);
    }
}

#[tokio::test]
async fn a_runnable_child_cannot_hide_as_an_artifact() {
    let mut store = Store::default();
    let strange = store.image(&config("amd64", "pii"), "application/vnd.example.config.v1+json");
    let wasm = store.image(&json!({"x": 1}), "application/vnd.wasm.config.v0+json");
    let entries = [
        entry(&strange, OCI_MANIFEST, None),
        entry(&wasm, OCI_MANIFEST, Some(json!({"os": "wasip1", "architecture": "wasm"}))),
    ];
    store.index(&entries);
    let mut with_chart = Store(store.0.clone());
    let content = store.inspect().await.unwrap();
    assert_eq!(listed(&content), [("linux/amd64", Some("pii"), true), ("wasip1/wasm", None, true)]);
    // What a chart is below an index nobody can say; alone it runs nowhere.
    let chart = with_chart.image(&json!({"name": "chart"}), "application/vnd.cncf.helm.config.v1+json");
    let alone = Store(with_chart.0.clone()).inspect().await.unwrap();
    assert_eq!(listed(&alone), [("unknown/unknown", None, false)]);
    with_chart.index(&[entry(&chart, OCI_MANIFEST, None)]);
    assert!(malformed(with_chart.inspect().await).contains("no platform"));
}

#[tokio::test]
async fn a_child_marked_as_attestation_with_a_real_platform_is_refused() {
    let mut store = Store::default();
    let image = store.image(&config("amd64", "pii"), OCI_CONFIG);
    let mut disguised = entry(&image, OCI_MANIFEST, linux("amd64"));
    disguised["annotations"] = json!({"vnd.docker.reference.type": "attestation-manifest"});
    store.index(&[disguised]);
    assert!(malformed(store.inspect().await).contains("attestation"));
}

#[tokio::test]
async fn a_stated_size_that_is_not_the_size_is_refused() {
    let mut store = Store::default();
    let (digest, size) = store.image(&config("amd64", "public"), OCI_CONFIG);
    store.index(&[entry(&(digest, size + 1), OCI_MANIFEST, linux("amd64"))]);
    assert!(malformed(store.inspect().await).contains("instead of the stated"));
}

#[tokio::test]
async fn a_child_of_another_kind_than_listed_is_refused() {
    let mut store = Store::default();
    let image = store.image(&config("amd64", "public"), OCI_CONFIG);
    store.index(&[entry(&image, OCI_INDEX, None)]);
    assert_eq!(malformed(store.inspect().await), "an entry is listed as an index and is an image");
    let mut store = Store::default();
    let index = store.index(&[]);
    store.index(&[entry(&index, OCI_MANIFEST, None)]);
    assert_eq!(malformed(store.inspect().await), "an entry is listed as an image and is an index");
    let mut store = Store::default();
    let image = store.image(&config("amd64", "public"), OCI_CONFIG);
    store.index(&[entry(&image, "application/vnd.docker.distribution.manifest.v1+prettyjws", linux("amd64"))]);
    assert!(malformed(store.inspect().await).contains("schema 1"));
}

#[tokio::test]
async fn indexes_are_followed_four_deep_and_no_deeper() {
    for (indexes, good) in [(4, true), (5, false)] {
        let mut store = Store::default();
        let mut last = store.image(&config("amd64", "public"), OCI_CONFIG);
        let mut kind = OCI_MANIFEST;
        for _ in 0..indexes {
            last = store.index(&[entry(&last, kind, None)]);
            kind = OCI_INDEX;
        }
        match good {
            true => {
                let platforms = store.inspect().await.unwrap().platforms;
                assert_eq!(platforms.len(), 4, "three nested indexes and the image");
                assert_eq!(platforms[3].platform, "linux/amd64");
            }
            false => assert_eq!(malformed(store.inspect().await), "indexes are nested too deep"),
        }
    }
}

#[tokio::test]
async fn a_nested_index_stands_in_the_facts_so_that_its_revocation_reaches_the_whole() {
    let mut store = Store::default();
    let image = store.image(&config("amd64", "public"), OCI_CONFIG);
    let inner = store.index(&[entry(&image, OCI_MANIFEST, None)]);
    let middle = store.index(&[entry(&inner, OCI_INDEX, None)]);
    store.index(&[entry(&middle, OCI_INDEX, None)]);
    let facts = store.inspect().await.unwrap().facts("2030-01-01T00:00:00Z", ["v1"]).unwrap();
    let listed: Vec<_> = facts.platforms.iter().map(|p| (p.digest.to_string(), p.is_runnable())).collect();
    assert_eq!(listed, [(middle.0, false), (inner.0, false), (image.0, true)]);
}

#[tokio::test]
async fn more_children_than_the_limit_are_refused_in_one_index_and_over_several() {
    let mut store = Store::default();
    let image = store.image(&config("amd64", "public"), OCI_CONFIG);
    let half = vec![entry(&image, OCI_MANIFEST, linux("amd64")); 40];
    let one = store.index(&half);
    store.index(&[entry(&one, OCI_INDEX, None), entry(&one, OCI_INDEX, None)]);
    assert_eq!(store.inspect().await.unwrap_err().reason, Reason::TooLarge { limit: 64 });
    let mut store = Store::default();
    let image = store.image(&config("amd64", "public"), OCI_CONFIG);
    store.index(&vec![entry(&image, OCI_MANIFEST, linux("amd64")); 65]);
    assert_eq!(store.inspect().await.unwrap_err().reason, Reason::TooLarge { limit: 64 });
}

#[tokio::test]
async fn a_child_or_config_that_is_missing_or_broken_ends_the_inspection() {
    let mut store = Store::default();
    store.index(&[entry(&(Digest::of(b"absent").to_string(), 6), OCI_MANIFEST, linux("amd64"))]);
    assert_eq!(store.inspect().await.unwrap_err().reason, Reason::NotFound);
    let mut store = Store::default();
    store.image(&json!({"os": "linux", "architecture": "amd64", "config": {"Labels": {}, "labels": {}}}), OCI_CONFIG);
    assert!(malformed(store.inspect().await).contains("second spelling"));
    let mut store = Store::default();
    store.image(&json!({}), OCI_CONFIG);
    assert!(malformed(store.inspect().await).contains("\"os\""));
    // damaged is not "no image", also under a strange type
    let mut store = Store::default();
    store.image(
        &json!({"os": "linux", "architecture": "amd64", "config": {"Labels": {}, "labels": {}}}),
        "application/x",
    );
    assert!(malformed(store.inspect().await).contains("second spelling"));
}

#[tokio::test]
async fn a_config_that_states_a_huge_size_is_not_fetched() {
    let mut store = Store::default();
    let (digest, _) = store.add(&config("amd64", "public"));
    store.add(&json!({"schemaVersion": 2, "config": {"mediaType": OCI_CONFIG, "digest": digest, "size": 8 * 1024 * 1024 + 1}, "layers": []}));
    let last = store.0.last().unwrap().clone();
    let registry = FakeRegistry::holding(store.0).await;
    let error = client().inspect(&registry.by_digest(&last)).await.unwrap_err();
    assert_eq!(error.reason, Reason::TooLarge { limit: 8 * 1024 * 1024 });
    assert_eq!(registry.asked().len(), 1);
}

#[tokio::test]
async fn a_single_image_gives_one_platform_from_its_config() {
    let mut store = Store::default();
    let (digest, size) = store.image(
        &json!({"os": "linux", "architecture": "arm64", "variant": "v8", "config": {"Labels": {"k": "v"}}}),
        OCI_CONFIG,
    );
    let content = store.inspect().await.unwrap();
    assert_eq!((content.digest.to_string(), content.size()), (digest, u64::try_from(size).unwrap()));
    assert_eq!(content.media_type, MediaType::OciManifest);
    assert!(content.digest.verify(&content.manifest));
    let platform = &content.platforms[0];
    assert_eq!(
        (platform.platform.as_str(), platform.digest, platform.runnable),
        ("linux/arm64/v8", content.digest, true)
    );
    assert_eq!(platform.labels["k"], "v");
}

#[tokio::test]
async fn an_index_gives_its_children_in_order_with_attestations_listed() {
    let mut store = Store::default();
    let amd64 = store.image(&config("amd64", "public"), OCI_CONFIG);
    let arm64 = store.image(&config("arm64", "pii"), OCI_CONFIG);
    let inner = store.index(&[entry(&arm64, OCI_MANIFEST, None)]);
    let attestation = store.layered(&json!({}), OCI_CONFIG, &[STATEMENT]);
    store.index(&[
        entry(&amd64, OCI_MANIFEST, Some(json!({"os": "linux", "architecture": "amd64", "variant": "v2"}))),
        entry(&inner, OCI_INDEX, None),
        entry(&attestation, OCI_MANIFEST, Some(json!({"os": "unknown", "architecture": "unknown"}))),
    ]);
    let content = store.inspect().await.unwrap();
    let seen: Vec<_> = content
        .platforms
        .iter()
        .map(|p| (p.platform.as_str(), p.labels.get("com.example.data").map(String::as_str), p.runnable))
        .collect();
    assert_eq!(
        seen,
        [
            ("linux/amd64/v2", Some("public"), true),
            ("unknown/unknown", None, false),
            ("linux/arm64", Some("pii"), true),
            ("unknown/unknown", None, false)
        ]
    );
    assert_eq!(content.annotations["a"], "b");

    let facts = content.facts("2030-01-01T00:00:00Z", ["v1", "latest"]).unwrap();
    assert_eq!(facts.tags, ["latest", "v1"]);
    assert_eq!(facts.media_type, OCI_INDEX);
    let read = trust_image::ImageFacts::from_custom(&facts.to_custom().unwrap()).unwrap().unwrap();
    assert_eq!(
        read.platforms.iter().map(trust_image::PlatformFacts::is_runnable).collect::<Vec<_>>(),
        [true, false, true, false]
    );
    assert!(content.facts("2030-01-01T00:00:00Z", ["a b"]).is_err());
}
