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

#[tokio::test]
async fn a_runnable_child_cannot_hide_as_an_artifact() {
    let mut store = Store::default();
    let strange = store.image(&config("amd64", "pii"), "application/vnd.example.config.v1+json");
    let wasm = store.image(&json!({"x": 1}), "application/vnd.wasm.config.v0+json");
    let chart = store.image(&json!({"name": "chart"}), "application/vnd.cncf.helm.config.v1+json");
    store.index(&[
        entry(&strange, OCI_MANIFEST, None),
        entry(&wasm, OCI_MANIFEST, Some(json!({"os": "wasip1", "architecture": "wasm"}))),
        entry(&chart, OCI_MANIFEST, None),
    ]);
    let content = store.inspect().await.unwrap();
    let platforms: Vec<_> =
        content.platforms.iter().map(|p| (p.platform.as_str(), p.runnable, p.labels.len())).collect();
    assert_eq!(platforms, [("linux/amd64", true, 1), ("wasip1/wasm", true, 0), ("unknown/unknown", false, 0)]);
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
async fn an_index_gives_its_children_in_order_with_attestations_listed_and_not_fetched() {
    let mut store = Store::default();
    let amd64 = store.image(&config("amd64", "public"), OCI_CONFIG);
    let arm64 = store.image(&config("arm64", "pii"), OCI_CONFIG);
    let inner = store.index(&[entry(&arm64, OCI_MANIFEST, None)]);
    let attestation = (Digest::of(b"attestation").to_string(), 11);
    store.index(&[
        entry(&amd64, OCI_MANIFEST, Some(json!({"os": "linux", "architecture": "amd64", "variant": "v2"}))),
        entry(&inner, OCI_INDEX, None),
        entry(&attestation, OCI_MANIFEST, Some(json!({"os": "unknown", "architecture": "unknown"}))),
        entry(&(Digest::of(b"sbom").to_string(), 4), "application/vnd.example.sbom", linux("amd64")),
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
            ("unknown/unknown", None, false),
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
        [true, false, true, false, false]
    );
    assert!(content.facts("2030-01-01T00:00:00Z", ["a b"]).is_err());
}
