//! What the programs read beside the libraries: admission reviews of a cluster, manifests as YAML.

use serde::de::IgnoredAny;
use trust::manifests::files::Input;
use trust::manifests::pin::{Pins, pinned};
use trust::manifests::scan;
use trust::manifests::yaml::Tree;
use trust_gate::admission::image_review::ImageReview;
use trust_gate::admission::review::{Review, uid_of};
use trust_gate::gatekeeper::{Answer, Question};

/// A question of the Kubernetes API server.
pub fn admission_review(data: &[u8]) {
    let uid = uid_of(data);
    let Ok(review) = Review::parse(data) else { return };
    assert_eq!(uid.as_deref(), Some(review.uid.as_str()), "the question is answered under another name");
    serde_json::from_slice::<IgnoredAny>(data).expect("what is a review is JSON");
    // Half of a surrogate pair in what nobody reads is passed over, and cannot be made a text.
    if let Ok(other) = serde_json::from_slice::<serde_json::Value>(data) {
        assert_eq!(other["request"]["uid"].as_str(), Some(review.uid.as_str()));
    }
    let _ = (review.is_pod(), review.is_deletion());
}

/// A question of the API server's plugin ImagePolicyWebhook.
pub fn image_review(data: &[u8]) {
    let Ok(review) = ImageReview::parse(data) else { return };
    let Ok(other) = serde_json::from_slice::<serde_json::Value>(data) else { return };
    assert_eq!(other["kind"], "ImageReview");
    let namespace = other["spec"]["namespace"].as_str().filter(|name| !name.is_empty());
    assert_eq!(review.namespace.as_deref(), namespace, "another namespace is judged");
}

/// A question of Gatekeeper.
pub fn provider_request(data: &[u8]) {
    let Ok(question) = Question::parse(data) else { return };
    let answer = Answer::failed(&"nothing is decided here").to_json(&question);
    let answer: serde_json::Value = serde_json::from_slice(&answer).expect("an answer is JSON");
    assert_eq!(answer["response"]["items"], serde_json::json!([]));
    if let Ok(other) = serde_json::from_slice::<serde_json::Value>(data) {
        assert_eq!(other["apiVersion"], answer["apiVersion"], "the answer is of another version");
    }
}

/// A manifest file.
pub fn yaml_manifest(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(tree) = Tree::read(text) else { return };
    let again = Tree::read(text).expect("read before");
    assert_eq!(format!("{tree:?}"), format!("{again:?}"));
    let Ok(scan) = scan(text) else { return };
    // Digests are added and nothing else, or the file is refused.
    const DIGEST: &str = "@sha256:f022f022f022f022f022f022f022f022f022f022f022f022f022f022f022f022";
    let pins: Pins = scan.images.iter().map(|found| (found.node, DIGEST.to_owned())).collect();
    let input = Input { name: "fuzz.yaml".to_owned(), path: None, text: text.to_owned() };
    if let Ok(out) = pinned(&input, &scan, &pins) {
        assert_eq!(out.replace(DIGEST, ""), text.replace(DIGEST, ""), "only digests are added");
        assert!(out.matches(DIGEST).count() >= pins.len());
    }
}
