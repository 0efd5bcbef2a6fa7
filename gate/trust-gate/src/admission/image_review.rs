//! `ImageReview` of `imagepolicy.k8s.io/v1alpha1`: what the API server's plugin ImagePolicyWebhook asks about Pods.
//!
//! Invariants: every image is decided before anything is said, each once; a tag alone is denied where it is denied in a Pod,
//! since this plugin cannot change one; annotations (which whoever makes the Pod writes) are not read. Deliberately absent:
//! volumes and workloads, which this plugin does not show.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use serde::Serialize;
use serde_json::{Map, Value};
use trust_image::json;

use super::judge::{Rules, one_line, shown, told};
use super::review::ReviewError;
use crate::config::{Mode, Tags};
use crate::decides::{Asked, Judges, Verdict};

const API_VERSION: &str = "imagepolicy.k8s.io/v1alpha1";
const KIND: &str = "ImageReview";
const READ: &[&str] = &["apiVersion", "kind", "spec", "containers", "image", "namespace"];
const MAX_VALUES: usize = 10_000;
/// Containers of one review.
const MAX_CONTAINERS: usize = 1_000;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageReview {
    images: Vec<String>,
    /// Where the Pod is to run.
    pub namespace: Option<String>,
}

impl ImageReview {
    /// Reads a review, whose length the caller has limited.
    pub fn parse(bytes: &[u8]) -> Result<Self, ReviewError> {
        let Value::Object(review) = json::parse_only(bytes, READ, MAX_VALUES)? else {
            return Err(ReviewError::NotAReview);
        };
        let is = |name, wanted: &str| Ok::<_, ReviewError>(text(&review, name)? == Some(wanted));
        if !is("apiVersion", API_VERSION)? || !is("kind", KIND)? {
            return Err(ReviewError::NotAReview);
        }
        let Some(Value::Object(spec)) = json::member(&review, "spec")? else { return Err(ReviewError::Member("spec")) };
        let namespace = text(spec, "namespace")?.filter(|name| !name.is_empty()).map(str::to_owned);
        let containers = match json::member(spec, "containers")? {
            None | Some(Value::Null) => &[],
            Some(Value::Array(containers)) if containers.len() <= MAX_CONTAINERS => containers.as_slice(),
            Some(_) => return Err(ReviewError::Member("spec.containers")),
        };
        let mut images = Vec::with_capacity(containers.len());
        for container in containers {
            let Value::Object(container) = container else { return Err(ReviewError::Member("spec.containers")) };
            images.push(text(container, "image")?.unwrap_or_default().to_owned());
        }
        Ok(Self { images, namespace })
    }
}

fn text<'v>(object: &'v Map<String, Value>, name: &'static str) -> Result<Option<&'v str>, ReviewError> {
    match json::member(object, name)? {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(ReviewError::Member(name)),
    }
}

/// The answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// Whether the Pod may be made.
    pub allowed: bool,
    /// Why not.
    pub message: String,
    pub(super) audit: BTreeMap<&'static str, String>,
}

/// Decides on all images of a Pod. Ends with a denial soon after `deadline`.
pub fn answer(review: &ImageReview, rules: Rules, decider: &dyn Judges, deadline: Instant) -> Answer {
    let mut failures = Vec::new();
    let mut decided: HashMap<&str, Verdict> = HashMap::new();
    for image in &review.images {
        if decided.contains_key(image.as_str()) {
            continue;
        }
        if Instant::now() >= deadline {
            failures.push("the time was over before every image was decided; try again".to_owned());
            break;
        }
        let verdict = decider.decide(&Asked {
            image,
            namespace: review.namespace.as_deref(),
            door: "imagereview",
            // It says nothing of who asks.
            whom: "",
            dry_run: false,
            mode: rules.mode,
            digest_only: rules.tags == Tags::Deny,
        });
        match verdict.digest {
            None => failures.push(format!("{}: {}", shown(image), one_line(&verdict.line))),
            Some(digest) => match verdict.pinned.as_deref() {
                Some(pinned) if pinned == image || rules.tags == Tags::Allow => {}
                Some(pinned) => {
                    failures.push(format!("{}: the Pod names the tag alone; name {}", shown(image), shown(pinned)))
                }
                None => failures.push(format!("{}: cannot be bound to the verified {digest}", shown(image))),
            },
        }
        decided.insert(image, verdict);
    }
    let mut answer = Answer { allowed: failures.is_empty() || rules.mode != Mode::Enforce, ..Answer::default() };
    let decision = match (failures.is_empty(), rules.mode) {
        (true, _) => "allow",
        (false, Mode::Enforce) => "deny",
        (false, Mode::Warn) => "warn",
        (false, Mode::Audit) => "audit",
    };
    answer.audit.insert("decision", decision.to_owned());
    if !failures.is_empty() {
        answer.message = told(&failures);
    }
    answer
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Out<'a> {
    api_version: &'static str,
    kind: &'static str,
    spec: Spec,
    status: Status<'a>,
}

#[derive(Serialize)]
struct Spec {}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Status<'a> {
    allowed: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'a str,
    audit_annotations: &'a BTreeMap<&'static str, String>,
}

/// The review that carries this answer.
pub fn to_json(answer: &Answer) -> Vec<u8> {
    let status = Status { allowed: answer.allowed, reason: &answer.message, audit_annotations: &answer.audit };
    let out = Out { api_version: API_VERSION, kind: KIND, spec: Spec {}, status };
    // Strings and maps with string keys always have a JSON form.
    serde_json::to_vec(&out).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::testing::{Fake, digest};

    const SIGNED: &str = "signed.example.com/a:1";

    fn judged(spec: Value, rules: Rules, fake: &Fake) -> Value {
        let review = json!({"apiVersion": API_VERSION, "kind": KIND, "spec": spec});
        let review = ImageReview::parse(review.to_string().as_bytes()).unwrap();
        let answer = answer(&review, rules, fake, Instant::now() + Duration::from_secs(60));
        serde_json::from_slice(&to_json(&answer)).unwrap()
    }

    #[test]
    fn one_bad_image_of_a_pod_denies_and_each_image_is_decided_once() {
        let fake = Fake::default();
        let pinned = format!("{SIGNED}@{}", digest(SIGNED));
        let good = vec![json!({"image": pinned}); 50];
        let spec =
            json!({"containers": good, "namespace": "shop", "annotations": {"a.image-policy.k8s.io/break-glass": "1"}});
        let answer = judged(spec, Rules::default(), &fake);
        assert_eq!((&answer["apiVersion"], &answer["kind"]), (&json!(API_VERSION), &json!(KIND)));
        assert_eq!(answer["status"]["allowed"], true);
        assert_eq!(*fake.asked.lock().unwrap(), [(pinned.clone(), Some("shop".to_owned()), false)]);
        let spec = json!({"containers": [{"image": pinned}, {"image": "unsigned.example.com/a:1"}, {}],
            "annotations": {"a.image-policy.k8s.io/break-glass": "true"}});
        let answer = judged(spec.clone(), Rules::default(), &fake);
        assert_eq!(answer["status"]["allowed"], false);
        assert!(answer["status"]["reason"].as_str().unwrap().contains("2 reasons"), "{answer}");
        let warn = judged(spec, Rules { mode: Mode::Warn, ..Rules::default() }, &fake);
        assert_eq!(
            (&warn["status"]["allowed"], &warn["status"]["auditAnnotations"]["decision"]),
            (&json!(true), &json!("warn"))
        );
    }

    #[test]
    fn a_tag_alone_is_denied_because_this_plugin_cannot_pin_it() {
        let spec = json!({"containers": [{"image": SIGNED}]});
        let answer = judged(spec.clone(), Rules::default(), &Fake::default());
        assert_eq!(answer["status"]["allowed"], false);
        assert!(answer["status"]["reason"].as_str().unwrap().contains("the tag alone"), "{answer}");
        let rules = Rules { tags: Tags::Allow, pin: crate::config::Pin::Off, ..Rules::default() };
        assert_eq!(judged(spec, rules, &Fake::default())["status"]["allowed"], true);
    }

    #[test]
    fn what_is_no_image_review_is_refused() {
        let spec = json!({"containers": []});
        for review in [
            json!({"kind": KIND, "spec": spec}),
            json!({"apiVersion": "imagepolicy.k8s.io/v1", "kind": KIND, "spec": spec}),
            json!({"apiVersion": API_VERSION, "kind": "AdmissionReview", "spec": spec}),
            json!({"apiVersion": API_VERSION, "kind": KIND}),
            json!({"apiVersion": API_VERSION, "kind": KIND, "spec": {"containers": {}}}),
            json!({"apiVersion": API_VERSION, "kind": KIND, "spec": {"containers": ["x"]}}),
            json!({"apiVersion": API_VERSION, "kind": KIND, "spec": {"containers": [{"image": 5}]}}),
            json!({"apiVersion": API_VERSION, "kind": KIND, "spec": {"containers": [{"Image": "x"}]}}),
            json!({"apiVersion": API_VERSION, "kind": KIND, "spec": {"Containers": []}}),
            json!({"apiVersion": API_VERSION, "kind": KIND, "spec": {"containers": vec![json!({}); MAX_CONTAINERS + 1]}}),
        ] {
            assert!(ImageReview::parse(review.to_string().as_bytes()).is_err(), "{review}");
        }
        let twice =
            format!(r#"{{"apiVersion":"{API_VERSION}","kind":"{KIND}","spec":{{"containers":[]}},"spec":{{}}}}"#);
        assert!(ImageReview::parse(twice.as_bytes()).is_err());
    }
}
