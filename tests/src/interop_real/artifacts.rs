//! Artifacts that belong to an image (a bill of materials), put into a registry as its clients do: blobs, a manifest with
//! `subject`, and, where the registry has no referrers API, the index under the tag `sha256-HEX`.

use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};
use trust_image::Digest;

use crate::stack::images::Image;
use crate::stack::scene::HttpAnswer;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// What kind of artifact it is.
pub const KIND: &str = "application/vnd.example.bill-of-materials";

/// One request with a body.
pub fn send(address: &str, method: &str, path: &str, kind: &str, body: &[u8]) -> io::Result<HttpAnswer> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    HttpAnswer::parse(&answer, method == "HEAD")
}

/// An artifact in a registry.
#[derive(Debug, Clone)]
pub struct Artifact {
    /// The manifest.
    pub descriptor: Value,
    /// Its one layer.
    pub blob: String,
    /// What the layer holds.
    pub content: String,
    /// Whether the registry said that it took note of the subject (`OCI-Subject`).
    pub noted: bool,
}

/// Puts an artifact of this image into `REGISTRY/NAME`.
pub fn attach(registry: &str, name: &str, image: &Image, content: &str) -> io::Result<Artifact> {
    let (empty, layer) = (blob(registry, name, b"{}")?, blob(registry, name, content.as_bytes())?);
    let bytes = fs::read(image.layout.join("blobs/sha256").join(image.digest.trim_start_matches("sha256:")))?;
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": KIND,
        "config": { "mediaType": EMPTY, "digest": empty, "size": 2 },
        "layers": [{ "mediaType": "application/spdx+json", "digest": layer, "size": content.len() }],
        "subject": { "mediaType": MANIFEST, "digest": image.digest, "size": bytes.len() },
    });
    let manifest = serde_json::to_vec(&manifest)?;
    let digest = Digest::of(&manifest).to_string();
    let answer = send(registry, "PUT", &format!("/v2/{name}/manifests/{digest}"), MANIFEST, &manifest)?;
    wants(&answer, 201, "an artifact")?;
    let descriptor = json!({ "mediaType": MANIFEST, "digest": digest, "size": manifest.len(), "artifactType": KIND });
    let noted = answer.header("oci-subject").is_some();
    Ok(Artifact { descriptor, blob: layer, content: content.to_owned(), noted })
}

/// Writes the index under the tag that stands for the referrers of an image.
pub fn tag(registry: &str, name: &str, image: &Image, artifact: &Artifact) -> io::Result<()> {
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [artifact.descriptor] });
    let tag = image.digest.replace(':', "-");
    let answer = send(registry, "PUT", &format!("/v2/{name}/manifests/{tag}"), INDEX, &serde_json::to_vec(&index)?)?;
    wants(&answer, 201, "the index of referrers")
}

fn blob(registry: &str, name: &str, bytes: &[u8]) -> io::Result<String> {
    let answer = send(registry, "POST", &format!("/v2/{name}/blobs/uploads/"), "application/octet-stream", b"")?;
    wants(&answer, 202, "an upload")?;
    let place = answer.header("location").unwrap_or_default().to_owned();
    let path = match place.split_once("://") {
        Some((_, rest)) => rest.find('/').and_then(|n| rest.get(n..)).unwrap_or_default().to_owned(),
        None => place,
    };
    let digest = Digest::of(bytes).to_string();
    let joint = if path.contains('?') { '&' } else { '?' };
    let path = format!("{path}{joint}digest={digest}");
    wants(&send(registry, "PUT", &path, "application/octet-stream", bytes)?, 201, "a blob")?;
    Ok(digest)
}

fn wants(answer: &HttpAnswer, status: u16, what: &str) -> io::Result<()> {
    if answer.status == status {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&answer.body).into_owned();
    Err(io::Error::other(format!("{what}: the registry answered {} {said}", answer.status)))
}
