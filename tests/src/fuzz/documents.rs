//! What registries, clusters and people hand in: references, manifests, configurations, facts, workloads.

use trust_image::workload::custom::{CustomKind, CustomKinds};
use trust_image::{Digest, ImageConfig, ImageFacts, Manifest, Reference, json, workload};

/// An image reference, and the target names that it makes.
pub fn image_reference(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(digest) = Digest::parse(text) {
        assert_eq!(digest.to_string(), text, "one digest, two spellings");
    }
    let Ok(reference) = Reference::parse(text) else { return };
    let written = reference.to_string();
    let again = Reference::parse(&written).expect("written and read again");
    assert_eq!((again.name(), again.tag(), again.digest()), (reference.name(), reference.tag(), reference.digest()));
    assert_eq!(again.to_string(), written);
    assert_eq!(again.canonical_domain(), reference.canonical_domain());
    assert!(!reference.path().split('/').any(|part| matches!(part, "" | "." | "..")), "a name leaves its registry");
    let collection = format!("{}/{}", reference.canonical_domain(), reference.canonical_path());
    for collection in [collection.as_str(), "docker.io/library", "registry.example.com/pay"] {
        if let Ok(path) = trust_image::target::tag_path(collection, &reference) {
            assert!(trust_tuf::names::is_target_path(&path), "{path:?}");
            assert!(!trust_image::target::is_reserved(&path), "an image is called like a reserved target: {path:?}");
        }
    }
    for collection in ["docker.io/library", "registry.example.com/pay"] {
        let _ = trust_image::target::image_of(collection, text);
        let _ = trust_image::target::revoked_of(collection, text);
    }
}

/// A manifest or an index of a registry.
pub fn manifest(data: &[u8]) {
    let Ok(manifest) = Manifest::parse(data) else { return };
    let other: serde_json::Value = serde_json::from_slice(data).expect("what is a manifest is JSON");
    assert!(other.is_object());
    assert_eq!(
        manifest.annotations().len(),
        other.get("annotations").and_then(|a| a.as_object()).map_or(0, |a| a.len())
    );
    if let Manifest::Index(index) = &manifest {
        assert!(manifest.media_type().is_index());
        for entry in &index.manifests {
            let _ = (entry.is_attestation(), entry.is_image_config());
        }
    }
}

/// The configuration of an image: its labels.
pub fn image_config(data: &[u8]) {
    let Ok(config) = ImageConfig::parse(data) else { return };
    let other: serde_json::Value = serde_json::from_slice(data).expect("what is a configuration is JSON");
    let labels = other.get("config").and_then(|c| c.get("Labels")).and_then(|l| l.as_object());
    for (key, value) in &config.labels {
        assert_eq!(labels.and_then(|l| l.get(key)).and_then(|v| v.as_str()), Some(value.as_str()), "{key}");
    }
    assert_eq!(config.labels.len(), labels.map_or(0, |l| l.len()));
}

/// Signed facts of an image.
pub fn facts(data: &[u8]) {
    let Ok(Some(facts)) = ImageFacts::from_custom(data) else { return };
    // What is read may be more than what we would sign; what we would sign is read as the same.
    let Ok(written) = facts.to_custom() else { return };
    let again = ImageFacts::from_custom(&written).expect("written by us").expect("facts");
    assert_eq!(again.to_custom().expect("written before"), written, "facts change when they are written again");
    assert!(again.agrees_with(&again));
}

/// An object of a cluster: where its images are.
pub fn workload(data: &[u8]) {
    let Ok(object) = json::parse(data) else { return };
    let strictly = workload::images(&object);
    let anywhere = workload::images_anywhere(&object);
    if let Ok(places) = strictly {
        let also = anywhere.expect("a known kind is searched the same way");
        assert_eq!(format!("{places:?}"), format!("{also:?}"), "two answers for one object");
        assert!(places.len() <= workload::MAX_PLACES);
    }
}

/// A described path on the first line, an object of that kind on the rest.
pub fn described_kind(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Some((path, object)) = text.split_once('\n') else { return };
    let paths = [path.to_owned()];
    let Ok(object) = json::parse(object.as_bytes()) else { return };
    for (pod_specs, images) in [(&paths[..], &[][..]), (&[][..], &paths[..])] {
        let Ok(kind) = CustomKind::new("example.com", "Thing", pod_specs, images) else { return };
        let kinds = CustomKinds::new(vec![kind]).expect("one kind");
        let Ok(places) = workload::images_with(&object, &kinds) else { continue };
        for place in &places {
            let there = object.pointer(&place.path.pointer()).and_then(serde_json::Value::as_str).unwrap_or_default();
            assert_eq!(there, place.image, "{} is not what stands there", place.path);
            assert_eq!(places.iter().filter(|other| other.path == place.path).count(), 1, "{} twice", place.path);
        }
    }
}
