//! Confusions of names and paths, then the promised paths, then the round trips.

use super::*;
use proptest::prelude::*;

const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const PAY: &str = "registry.example.com/pay";
const API: &str = "registry.example.com/pay/api";

fn image(text: &str) -> Reference {
    Reference::parse(text).unwrap()
}

fn empty() -> Digest {
    Digest::of(b"")
}

#[test]
fn a_collection_does_not_cover_its_neighbours() {
    for name in [
        "registry.example.com/pay2",
        "registry.example.com/pay-api",
        "registry.example.com/pa",
        "registry.example.com",
        "evil.registry.example.com/pay",
        "registry.example.com:444/pay",
        "registry.example.com/payroll/api",
    ] {
        assert!(!covers(PAY, name), "{name}");
    }
    assert!(covers(PAY, PAY));
    assert!(covers(PAY, API));
    assert_eq!(tag_path(PAY, &image("registry.example.com/pay2:v1")), Err(TargetError::NotCovered));
    assert_eq!(digest_path(API, &image(PAY), &empty()), Err(TargetError::NotCovered));
}

#[test]
fn the_longest_pinned_collection_counts_and_a_bad_pin_is_not_passed_over() {
    let pinned = ["registry.example.com/p", PAY, "docker.io/pay", API, "registry.example.com/pay/ap"];
    let found = |name: &str| collection_for(image(name).name(), pinned).unwrap();
    assert_eq!(found("registry.example.com/pay/api:v1"), Some(API));
    assert_eq!(found("Registry.Example.com:443/pay/api/deep:v1"), Some(API));
    assert_eq!(found("registry.example.com/pay/apis"), Some(PAY));
    assert_eq!(found("registry.example.com/pay"), Some(PAY));
    assert_eq!(found("registry.example.com/other"), None);
    assert_eq!(found("index.docker.io/pay/x"), Some("docker.io/pay"));
    for bad in [
        "Registry.example.com/pay/api",
        "registry.example.com:443/pay/api",
        "index.docker.io/pay",
        "registry.example.com",
        "registry.example.com/",
        "registry.example.com/pay/",
        "registry.example.com/Pay",
        "",
    ] {
        assert_eq!(collection_for(API, [PAY, bad]), Err(TargetError::Collection(bad.to_owned())), "{bad}");
    }
}

#[test]
fn a_collection_that_is_not_canonical_has_no_paths() {
    let bad = "registry.example.com:443/pay";
    assert_eq!(tag_path(bad, &image(API)), Err(TargetError::Collection(bad.to_owned())));
    assert_eq!(image_of(bad, "api/v1"), Err(TargetError::Collection(bad.to_owned())));
    assert_eq!(revoked_of(bad, "_revoked/v1.json"), Err(TargetError::Collection(bad.to_owned())));
}

#[test]
fn what_is_not_the_path_of_an_image_is_refused() {
    for path in [
        "",
        "/",
        "/v1",
        "api/",
        "a//v1",
        "Api/v1",
        "api/@",
        "api/@sha256",
        "api/@md5-00",
        "@sha256-00",
        "api/v1:x",
        "../v1",
        "a/../v1",
        "api/.v1",
        "api/@sha256:00",
        "api/v1 ",
    ] {
        assert_eq!(image_of(PAY, path), Err(TargetError::NotAnImage), "{path:?}");
    }
    let upper = format!("api/@sha256-{}", HEX.to_uppercase());
    assert_eq!(image_of(PAY, &upper), Err(TargetError::NotAnImage));
    let long = format!("{}/v1", "a".repeat(255));
    assert_eq!(image_of(PAY, &long), Err(TargetError::NotAnImage));
    for path in ["_policy/a.cedar", "_revoked/@sha256-00.json", "_x/v1", "_/a/b"] {
        assert_eq!(image_of(PAY, path), Err(TargetError::Reserved), "{path}");
    }
    for path in [
        "_revoked/",
        "_revoked/.json",
        "_revoked/v1",
        "_revoked2/v1.json",
        "_revoked/_policy/v1.json",
        "revoked/v1.json",
        "_revoked/a//b.json",
    ] {
        assert_eq!(revoked_of(PAY, path), Err(TargetError::NotAnImage), "{path}");
    }
    let named = format!("_revoked/api/@sha256-{HEX}.json");
    assert_eq!(revoked_of(PAY, &named), Err(TargetError::NotAnImage));
}

#[test]
fn the_promised_paths() {
    let v1 = image("registry.example.com/pay/api:v1");
    let by_digest = format!("@sha256-{HEX}");
    assert_eq!(tag_path(PAY, &v1).unwrap(), "api/v1");
    assert_eq!(tag_path(API, &v1).unwrap(), "v1");
    assert_eq!(digest_path(PAY, &v1, &empty()).unwrap(), format!("api/{by_digest}"));
    assert_eq!(digest_path(API, &v1, &empty()).unwrap(), by_digest);
    assert_eq!(revoked_digest_path(&empty()), format!("_revoked/{by_digest}.json"));
    assert_eq!(revoked_tag_path(PAY, &v1).unwrap(), "_revoked/api/v1.json");
    assert_eq!(revoked_tag_path(API, &v1).unwrap(), "_revoked/v1.json");
    assert_eq!(tag_path(PAY, &v1.pinned(empty())), Err(TargetError::NoTag));
    assert_eq!(tag_path("docker.io/library", &image("ubuntu")).unwrap(), "ubuntu/latest");
    assert_eq!(tag_path("localhost:5000/demo", &image("localhost:5000/demo:v1")).unwrap(), "v1");
}

#[test]
fn a_tag_that_begins_with_an_underscore_is_a_plain_image() {
    let tagged = image("registry.example.com/pay/api:_policy");
    assert_eq!(tag_path(API, &tagged).unwrap(), "_policy");
    assert!(!is_reserved("_policy"));
    assert_eq!(
        image_of(API, "_policy").unwrap(),
        ImageEntry { name: API.to_owned(), entry: Entry::Tag("_policy".to_owned()) }
    );
    assert_eq!(tag_path(PAY, &tagged).unwrap(), "api/_policy");
    assert!(!is_reserved("api/_policy"));
    // its revocation is not mistaken for a nested one
    assert_eq!(
        revoked_of(API, "_revoked/_policy.json").unwrap(),
        Revoked::Tag { name: API.to_owned(), tag: "_policy".to_owned() }
    );
}

#[test]
fn a_narrow_role_gets_a_pattern_for_its_digests() {
    assert_eq!(digest_pattern_beside("api/v*").as_deref(), Some("api/@sha256-*"));
    assert_eq!(digest_pattern_beside("v1").as_deref(), Some("@sha256-*"));
    assert_eq!(digest_pattern_beside("a/b/v?").as_deref(), Some("a/b/@sha256-*"));
    assert_eq!(digest_pattern_beside("api/*"), None);
    assert_eq!(digest_pattern_beside("*"), None);
}

fn component() -> impl Strategy<Value = String> {
    "[a-z0-9]{1,4}((\\.|_|__|-{1,3})[a-z0-9]{1,4}){0,2}"
}

fn tag() -> impl Strategy<Value = String> {
    prop_oneof!["[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", "_[a-z]{0,8}(\\.json)?"]
}

proptest! {
    #[test]
    fn every_image_comes_back_from_its_paths_and_none_is_reserved(parts in proptest::collection::vec(component(), 1..5), split in any::<prop::sample::Index>(), tag in tag(), hash in any::<[u8; 32]>(), port in proptest::option::of(444u16..)) {
        let host = match port { Some(port) => format!("r.example.com:{port}"), None => "r.example.com".to_owned() };
        let name = format!("{host}/{}", parts.join("/"));
        let collection = format!("{host}/{}", parts[..=split.index(parts.len())].join("/"));
        let image = Reference::parse(&format!("{name}:{tag}")).unwrap();
        let digest = Digest::Sha256(hash);

        let path = tag_path(&collection, &image).unwrap();
        prop_assert!(!is_reserved(&path));
        prop_assert_eq!(image_of(&collection, &path).unwrap(), ImageEntry { name: name.clone(), entry: Entry::Tag(tag.clone()) });
        prop_assert_eq!(image_of(&collection, &path).unwrap().to_string(), image.to_string());

        let path = digest_path(&collection, &image, &digest).unwrap();
        prop_assert!(!is_reserved(&path));
        prop_assert_eq!(image_of(&collection, &path).unwrap(), ImageEntry { name: name.clone(), entry: Entry::Digest(digest) });

        let revoked = revoked_tag_path(&collection, &image).unwrap();
        prop_assert!(is_reserved(&revoked));
        prop_assert_eq!(revoked_of(&collection, &revoked).unwrap(), Revoked::Tag { name, tag });
        prop_assert_eq!(revoked_of(&collection, &revoked_digest_path(&digest)).unwrap(), Revoked::Digest(digest));
    }

    #[test]
    fn two_images_never_share_a_path(a in (component(), tag()), b in (component(), tag())) {
        let path = |(name, tag): &(String, String)| tag_path("r.io/c", &Reference::parse(&format!("r.io/c/{name}:{tag}")).unwrap()).unwrap();
        prop_assert_eq!(path(&a) == path(&b), a == b);
    }

    #[test]
    fn arbitrary_paths_never_panic_and_what_maps_maps_back(path in "[a-zA-Z0-9@_./-]{0,40}|.{0,40}") {
        if let Ok(found) = image_of(PAY, &path) {
            let image = Reference::parse(&found.to_string()).unwrap();
            let back = match &found.entry {
                Entry::Tag(_) => tag_path(PAY, &image).unwrap(),
                Entry::Digest(digest) => digest_path(PAY, &image, digest).unwrap(),
            };
            prop_assert_eq!(&back, &path);
        }
        let _ = revoked_of(PAY, &path);
    }
}
