//! Admission reviews as an API server sends them, and what a gate answers.

use std::io;

use base64ct::{Base64, Encoding};
use serde_json::{Value, json};
use trust_image::Digest;

/// The review of a Deployment of the usual size, with these images.
pub(super) fn review(images: &[String]) -> Vec<u8> {
    let containers: Vec<Value> = images
        .iter()
        .enumerate()
        .map(|(i, image)| {
            json!({
                "name": format!("c{i}"), "image": image, "imagePullPolicy": "IfNotPresent",
                "env": [{"name": "REGION", "value": "eu"}, {"name": "LOG", "valueFrom": {"configMapKeyRef": {"name": "x", "key": "log"}}}],
                "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
                "resources": {"limits": {"memory": "256Mi"}, "requests": {"cpu": "100m", "memory": "128Mi"}},
                "readinessProbe": {"httpGet": {"path": "/ready", "port": "http", "scheme": "HTTP"}, "periodSeconds": 10},
                "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
            })
        })
        .collect();
    let spec = json!({
        "replicas": 3, "selector": {"matchLabels": {"app": "api"}}, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}},
        "template": {"metadata": {"labels": {"app": "api"}}, "spec": {
            "containers": containers, "restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler",
            "serviceAccountName": "api", "securityContext": {"runAsNonRoot": true}, "terminationGracePeriodSeconds": 30,
        }},
    });
    let kind = json!({"group": "apps", "version": "v1", "kind": "Deployment"});
    let resource = json!({"group": "apps", "version": "v1", "resource": "deployments"});
    json!({
        "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002", "kind": kind, "resource": resource,
            "requestKind": kind, "requestResource": resource, "name": "api", "namespace": "shop", "operation": "CREATE",
            "userInfo": {"username": "system:serviceaccount:ci:deployer", "groups": ["system:serviceaccounts", "system:authenticated"]},
            "object": {"kind": "Deployment", "apiVersion": "apps/v1", "spec": spec, "metadata": {
                "name": "api", "namespace": "shop", "labels": {"app": "api"}, "annotations": {"a": "b"},
                "managedFields": [{"manager": "kubectl", "operation": "Update", "apiVersion": "apps/v1", "fieldsType": "FieldsV1",
                    "fieldsV1": {"f:spec": {"f:replicas": {}, "f:template": {"f:spec": {"f:containers": {"k:{\"name\":\"c0\"}": {".": {}, "f:image": {}, "f:name": {}}}}}}}}],
            }},
            "oldObject": null, "dryRun": false,
            "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
        },
    })
    .to_string()
    .into_bytes()
}

/// The request with a review.
pub(super) fn request(body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST /mutate?timeout=5s HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// The answer is the one of a gate: allowed, each image with its digest.
pub(super) fn checked(answer: &[u8], images: &[String], digest: impl Fn(&str) -> Digest) -> io::Result<()> {
    let value: Value = serde_json::from_slice(answer)?;
    let patch =
        value["response"]["patch"].as_str().and_then(|patch| Base64::decode_vec(patch).ok()).unwrap_or_default();
    let patch = String::from_utf8_lossy(&patch);
    let places = |image: &str| patch.matches(&format!("\"{image}@{}\"", digest(image))).count();
    let wanted = |image: &String| images.iter().filter(|other| *other == image).count();
    match value["response"]["allowed"] == true && images.iter().all(|image| places(image) == wanted(image)) {
        true => Ok(()),
        false => Err(io::Error::other(format!("not the answer that is measured: {value}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_without_every_digest_is_not_measured() {
        let digest = |_: &str| Digest::of(b"x");
        let answer = |patch: &str| {
            let patch = Base64::encode_string(patch.as_bytes());
            json!({ "response": { "allowed": true, "patch": patch } }).to_string().into_bytes()
        };
        let images = ["a/b:c".to_owned(), "a/b:c".to_owned()];
        let pinned = format!("\"a/b:c@{}\"", Digest::of(b"x"));
        checked(&answer(&format!("[{pinned},{pinned}]")), &images, digest).unwrap();
        checked(&answer(&pinned), &images, digest).unwrap_err();
        checked(br#"{"response":{"allowed":false}}"#, &images, digest).unwrap_err();
    }
}
