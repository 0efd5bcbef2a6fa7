//! Policies, environments and subjects of the tests.

use std::collections::BTreeMap;

use trust_image::{Digest, ImageFacts, PlatformFacts, Reference};
use trust_policy::{Cloud, Environment, LoadError, Policy, PolicyIdentity, Source, Subject, shipped};

pub(crate) const KEY: &str = "com.example.data";
pub(crate) const NOW: i64 = 1_900_000_000;

pub(crate) fn source(path: &str, text: &str) -> Source {
    Source { path: path.to_owned(), bytes: text.as_bytes().to_vec() }
}

pub(crate) fn identity() -> PolicyIdentity {
    PolicyIdentity {
        collection: "registry.example.com/policy".to_owned(),
        version: 12,
        digest: String::new(),
        signed_by: vec!["secops".to_owned()],
    }
}

/// The shipped files that are published, as they are.
pub(crate) fn shipped_sources() -> Vec<Source> {
    let published = shipped::FILES.iter().filter(|(path, _)| path.ends_with(".cedar") || path.ends_with(".json"));
    published.map(|(path, text)| source(&format!("_{path}"), text)).collect()
}

pub(crate) fn dictionary() -> Source {
    shipped_sources().into_iter().find(|s| s.path.starts_with("_labels/")).unwrap()
}

pub(crate) fn shipped_policy() -> Policy {
    Policy::load(&shipped_sources(), identity()).unwrap()
}

/// A policy of these rules and the shipped dictionary.
pub(crate) fn load(rules: &str) -> Result<Policy, LoadError> {
    Policy::load(&[source("_policy/main.cedar", rules), dictionary()], identity())
}

pub(crate) fn environment(cloud: Cloud) -> Environment {
    let text = format!("name = \"{cloud}-eu\"\ncloud = \"{cloud}\"\n");
    Environment::from_toml(&text, &format!("{cloud}-eu.toml")).unwrap()
}

pub(crate) fn public() -> Environment {
    environment(Cloud::Public)
}

pub(crate) fn private() -> Environment {
    environment(Cloud::Private)
}

pub(crate) fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

pub(crate) fn platform(name: &str, pairs: &[(&str, &str)]) -> PlatformFacts {
    PlatformFacts { platform: name.to_owned(), digest: Digest::of(name.as_bytes()), labels: labels(pairs) }
}

pub(crate) fn subject(platforms: Vec<PlatformFacts>) -> Subject {
    Subject {
        reference: Reference::parse("registry.example.com/hr/payroll:7").unwrap(),
        digest: Digest::of(b"index"),
        collection: "registry.example.com/hr".to_owned(),
        root_version: 3,
        signers: vec!["alice".to_owned(), "ci".to_owned()],
        conflicts: Vec::new(),
        tag_moved: None,
        facts: Some(ImageFacts {
            media_type: "application/vnd.oci.image.index.v1+json".to_owned(),
            signed: "2030-01-01T00:00:00Z".to_owned(),
            tags: vec!["7".to_owned()],
            platforms,
            annotations: BTreeMap::new(),
            stated: BTreeMap::new(),
        }),
    }
}

/// One platform with one label.
pub(crate) fn marked(value: &str) -> Subject {
    subject(vec![platform("linux/amd64", &[(KEY, value)])])
}
