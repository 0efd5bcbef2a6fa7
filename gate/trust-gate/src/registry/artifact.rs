//! What hangs on an image without being one: signatures, attestations, lists of parts.
//!
//! Invariant: an [`Artifact`] is nothing that a runtime starts. Docker takes a manifest for an image by the media type of its config
//! (some wrong ones too, and whatever its layers are called), containerd by that of its layers, and runtimes of other kinds
//! (WebAssembly, SIF) by types of their own, of which there are more every year; so config and layers must be of types that are
//! listed here. What a type says is a claim: what is in such a layer is looked at before it passes ([`is_text`]). That a config is called an image's makes it none, also if it is one of a tool's signatures: who reads the layers of such
//! a thing as a file system would run them. Deliberately absent: what an artifact says.

use serde_json::Value;
use trust_image::manifest::Annotations;
use trust_image::{Digest, Manifest, MediaType, json};

/// The longest type of an artifact, in bytes.
const MAX_KIND: usize = 255;

/// How the media types of configs and layers begin that may pass: signatures, attestations, lists of parts, findings.
const LISTED: &[&str] = &[
    "application/vnd.oci.empty.v1+json",
    "application/vnd.cncf.notary.signature",
    "application/jose+json",
    "application/vnd.dev.cosign.",
    "application/vnd.dev.sigstore.bundle",
    "application/vnd.dsse.envelope.",
    "application/vnd.in-toto",
    "application/spdx+json",
    "application/vnd.spdx+json",
    "text/spdx",
    "application/vnd.cyclonedx",
    "application/vnd.syft+json",
    "application/sarif+json",
];
/// The largest blob of an artifact, in bytes: it is held whole while it is looked at.
pub(crate) const MAX_BLOB: u64 = 4 * 1024 * 1024;

/// A manifest that refers to another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Artifact {
    /// What it calls itself.
    pub(crate) kind: String,
    /// What it refers to, by its own bytes.
    pub(crate) subject: Option<Digest>,
    pub(crate) annotations: Annotations,
}

/// The artifact in a parsed manifest, whose JSON this is; `None` if a runtime could start it.
pub(crate) fn read(manifest: &Manifest, body: &Value) -> Option<Artifact> {
    let Manifest::Image(image) = manifest else { return None };
    let config = image.config.media_type.as_str();
    let foreign = image.media_type == MediaType::OciManifest
        && is_listed(config)
        && image.layers.iter().all(|layer| is_listed(&layer.media_type));
    let body = body.as_object().filter(|_| foreign)?;
    let member = |name: &'static str| json::member(body, name).ok();
    let subject = match member("subject")? {
        None | Some(Value::Null) => None,
        Some(subject) => Some(Digest::parse(json::member(subject.as_object()?, "digest").ok()??.as_str()?).ok()?),
    };
    let kind = match member("artifactType")? {
        None | Some(Value::Null) => config,
        Some(kind) => kind.as_str()?,
    };
    let fits = kind.len() <= MAX_KIND && kind.bytes().all(|b| b.is_ascii_graphic());
    fits.then(|| Artifact { kind: kind.to_owned(), subject, annotations: image.annotations.clone() })
}

/// What stands before parameters, in lower case.
fn plain(media_type: &str) -> String {
    media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn is_listed(media_type: &str) -> bool {
    let media_type = plain(media_type);
    LISTED.iter().any(|start| media_type.starts_with(start))
}

/// Whether content is text, as all of the listed types are: no archive, no program and no file system is.
pub(crate) fn is_text(content: &[u8]) -> bool {
    !content.contains(&0) && std::str::from_utf8(content).is_ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const EMPTY: &str = "application/vnd.oci.empty.v1+json";

    fn of(config: &str, layer: &str, more: Value) -> Option<Artifact> {
        let digest = Digest::of(b"").to_string();
        let mut body = json!({ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": { "mediaType": config, "digest": digest, "size": 2 },
            "layers": [{ "mediaType": layer, "digest": digest, "size": 1 }] });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        read(&Manifest::parse(&serde_json::to_vec(&body).unwrap()).unwrap(), &body)
    }

    #[test]
    fn g32_what_a_runtime_could_start_is_no_artifact() {
        let subject = Digest::of(b"image");
        let more =
            json!({ "subject": { "mediaType": "x", "digest": subject.to_string(), "size": 1 }, "artifactType": "a/b" });
        let sbom = of(EMPTY, "application/spdx+json", more.clone()).unwrap();
        assert_eq!((sbom.kind.as_str(), sbom.subject), ("a/b", Some(subject)));
        let notary = "application/vnd.cncf.notary.signature";
        let old = of(notary, "application/jose+json", json!({})).unwrap();
        assert_eq!((old.kind.as_str(), old.subject), (notary, None));
        for config in [
            "application/vnd.oci.image.config.v1+json",
            "application/vnd.oci.image.config.v1+json; charset=utf-8",
            "Application/vnd.oci.image.config.v1+JSON",
            "application/vnd.docker.container.image.v1+json",
            "application/vnd.docker.plugin.v1+json",
            "application/octet-stream",
            "application/json",
            "text/html",
            "application/vnd.wasm.config.v0+json",
            "application/vnd.sylabs.sif.config.v1+json",
            "application/vnd.unknown",
        ] {
            assert_eq!(of(config, "application/spdx+json", more.clone()), None, "{config}");
        }
        for layer in [
            "application/vnd.oci.image.layer.v1.tar",
            "application/vnd.oci.image.layer.v1.tar+gzip",
            "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
            "application/vnd.docker.image.rootfs.diff.tar.gzip",
            "application/wasm",
            "application/tar",
            "application/x-foo",
        ] {
            assert_eq!(of(EMPTY, layer, more.clone()), None, "{layer}");
        }
        for more in [json!({ "subject": "sha256:00" }), json!({ "subject": {} }), json!({ "artifactType": "a b" })] {
            assert_eq!(of(EMPTY, "application/spdx+json", more.clone()), None, "{more}");
        }
    }
}
