//! What hangs on an image without being one: signatures, attestations, lists of parts.
//!
//! Invariant: an [`Artifact`] is nothing that a runtime starts. Docker takes a manifest for an image by the media type of its config
//! (some wrong ones too, and whatever its layers are called), containerd by that of its layers; so both must be foreign to all of
//! them. That a config is called an image's makes it none, also if it is one of a tool's signatures: who reads the layers of such
//! a thing as a file system would run them. Deliberately absent: what an artifact says.

use serde_json::Value;
use trust_image::manifest::Annotations;
use trust_image::{Digest, Manifest, MediaType, json};

/// The longest type of an artifact, in bytes.
const MAX_KIND: usize = 255;

/// What Docker starts, beside what begins like one of [`RUNNABLE`]: registries have called configs of images so.
const TAKEN_FOR_IMAGES: &[&str] = &["", "application/octet-stream", "application/json", "text/html", "text/plain"];
/// How the media types of what runtimes start begin: configs, layers, plugins.
const RUNNABLE: &[&str] = &["application/vnd.docker.", "application/vnd.oci.image."];

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
        && !is_runnable(config)
        && image.layers.iter().all(|layer| !is_layer(&layer.media_type));
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

fn begins(media_type: &str) -> bool {
    RUNNABLE.iter().any(|start| media_type.starts_with(start))
}

fn is_runnable(config: &str) -> bool {
    let config = plain(config);
    TAKEN_FOR_IMAGES.contains(&config.as_str()) || begins(&config)
}

fn is_layer(layer: &str) -> bool {
    begins(&plain(layer))
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
        let old = of("application/vnd.example.config", "application/spdx+json", json!({})).unwrap();
        assert_eq!((old.kind.as_str(), old.subject), ("application/vnd.example.config", None));
        for config in [
            "application/vnd.oci.image.config.v1+json",
            "application/vnd.oci.image.config.v1+json; charset=utf-8",
            "Application/vnd.oci.image.config.v1+JSON",
            "application/vnd.docker.container.image.v1+json",
            "application/vnd.docker.plugin.v1+json",
            "application/octet-stream",
            "application/json",
            "text/html",
        ] {
            assert_eq!(of(config, "application/spdx+json", more.clone()), None, "{config}");
        }
        for layer in [
            "application/vnd.oci.image.layer.v1.tar",
            "application/vnd.oci.image.layer.v1.tar+gzip",
            "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
            "application/vnd.docker.image.rootfs.diff.tar.gzip",
        ] {
            assert_eq!(of(EMPTY, layer, more.clone()), None, "{layer}");
        }
        for more in [json!({ "subject": "sha256:00" }), json!({ "subject": {} }), json!({ "artifactType": "a b" })] {
            assert_eq!(of(EMPTY, "application/spdx+json", more.clone()), None, "{more}");
        }
    }
}
