//! A decider and reviews for tests of the doors.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Map, Value, json};
use trust_image::{Digest, Reference, workload};

use crate::decides::{Asked, Decides, Judges, Verdict};

/// Allows the images under `signed.example.com/`, and what is pinned to the digest that they have.
#[derive(Default)]
pub(crate) struct Fake {
    /// What was asked: image, namespace, dry run.
    pub(crate) asked: Mutex<Vec<(String, Option<String>, bool)>>,
    /// How long each decision takes.
    pub(crate) delay: Duration,
    /// Whether a decision breaks.
    pub(crate) breaks: bool,
    /// Why it is not ready.
    pub(crate) trouble: Option<String>,
}

/// The digest of a signed image: one for each name and tag.
pub(crate) fn digest(image: &str) -> Digest {
    let reference = Reference::parse(image).unwrap();
    Digest::of(format!("{}:{}", reference.name(), reference.tag().unwrap_or_default()).as_bytes())
}

/// Whether the fake allows this image.
pub(crate) fn is_signed(image: &str) -> bool {
    let Ok(reference) = Reference::parse(image) else { return false };
    reference.name().starts_with("signed.example.com/")
        && reference.tag() != Some("moved")
        && reference.digest().is_none_or(|written| {
            let mut bare = image.to_owned();
            bare.truncate(image.find('@').unwrap());
            *written == digest(&bare)
        })
}

impl Judges for Fake {
    fn decide(&self, asked: &Asked<'_>) -> Verdict {
        std::thread::sleep(self.delay);
        assert!(!self.breaks, "broken on purpose");
        let namespace = asked.namespace.map(str::to_owned);
        self.asked.lock().unwrap().push((asked.image.to_owned(), namespace, asked.dry_run));
        let digest = is_signed(asked.image).then(|| {
            let bare = asked.image.split('@').next().unwrap();
            digest(bare)
        });
        let line = match digest {
            None => "is not signed\n(E1001)",
            Some(_) if asked.image.contains("/excepted") => "exception inc-7 lifts rule\nnothing",
            Some(_) => "",
        };
        let line = line.to_owned();
        let exception = (digest.is_some() && !line.is_empty()).then(|| "inc-7".to_owned());
        Verdict {
            digest,
            pinned: digest.and_then(|digest| trust_image::pin::pinned(asked.image, &digest)).map(Arc::from),
            exception,
            line,
            trials: Vec::new(),
            environment: "public-eu".to_owned(),
            policy: Some("policy@7".to_owned()),
        }
    }
}

impl Decides for Fake {
    fn trouble(&self) -> Option<String> {
        self.trouble.clone()
    }
}

/// An object of a known kind around a pod spec.
pub(crate) fn object(group: &str, kind: &str, spec: &Value) -> Value {
    let prefix: &[&str] = match kind {
        "Pod" => &["spec"],
        "PodTemplate" => &["template", "spec"],
        "CronJob" => &["spec", "jobTemplate", "spec", "template", "spec"],
        _ => &["spec", "template", "spec"],
    };
    let inner = prefix.iter().rev().fold(spec.clone(), |inner, name| json!({ *name: inner }));
    let mut object: Map<String, Value> = serde_json::from_value(inner).unwrap();
    object.insert("apiVersion".into(), json!(if group.is_empty() { "v1".to_owned() } else { format!("{group}/v1") }));
    object.insert("kind".into(), json!(kind));
    object.insert("metadata".into(), json!({"name": "web", "labels": {"app": "web"}}));
    Value::Object(object)
}

/// The review of such an object.
pub(crate) fn review(operation: &str, object: Value, old: Value) -> Value {
    let of = if object.is_null() { &old } else { &object };
    let api_version = of["apiVersion"].as_str().unwrap_or("v1");
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": {"group": group, "version": version, "kind": of["kind"]},
            "resource": {"group": group, "version": version, "resource": "things"},
            "name": "web", "namespace": "shop", "operation": operation,
            "userInfo": {"username": "alice", "groups": ["system:authenticated"]},
            "object": object, "oldObject": old, "dryRun": false,
            "options": {"apiVersion": "meta.k8s.io/v1", "kind": "CreateOptions"},
        }
    })
}

/// Each kind that the walk knows.
pub(crate) fn kinds() -> Vec<(&'static str, &'static str)> {
    workload::kinds().collect()
}
