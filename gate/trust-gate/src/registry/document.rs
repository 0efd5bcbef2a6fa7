//! A manifest or index whose bytes were hashed, with what it leads to.
//!
//! Invariant: a [`Document`] has exactly the bytes of its digest, one meaning (`trust_image::Manifest` refuses what other readers
//! could take for something else), and no content that lies elsewhere: an entry with `urls` would make a runtime fetch past
//! every gate. The media type is the one in the body. Deliberately absent: whether anybody may have it.

use bytes::Bytes;
use serde_json::Value;
use trust_image::json::{self, JsonError};
use trust_image::{Digest, Manifest, ManifestError, MediaType};

use super::artifact::{self, Artifact};

/// Memory that a document takes beside its bytes and links, about.
const OVERHEAD: usize = 256;

/// A verified manifest or index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Document {
    pub(crate) digest: Digest,
    pub(crate) bytes: Bytes,
    pub(crate) kind: MediaType,
    pub(crate) links: Links,
    /// What it is beside, if it is nothing that a runtime starts.
    pub(crate) artifact: Option<Box<Artifact>>,
}

/// What a document leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Links {
    /// Config and layers: blobs with their stated lengths.
    Blobs(Vec<(Digest, u64)>),
    /// Manifests, and whether the entry calls it an index. Entries of other media types lead nowhere.
    Manifests(Vec<(Digest, bool)>),
}

/// Why bytes are no document, although they have the digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DocumentError {
    /// Not the digest that was asked for; nothing is read of it.
    #[error("the bytes have another digest")]
    Digest,
    /// It has several meanings, or none.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// Content that is to be fetched from elsewhere.
    #[error("the manifest names addresses (\"urls\") from which a runtime would fetch past the gate")]
    Elsewhere,
}

impl Document {
    /// Hashes and reads.
    pub(crate) fn read(digest: &Digest, bytes: Bytes) -> Result<Document, DocumentError> {
        if !digest.verify(&bytes) {
            return Err(DocumentError::Digest);
        }
        let manifest = Manifest::parse(&bytes)?;
        let body = json::parse(&bytes).map_err(ManifestError::from)?;
        if leads_elsewhere(&body).map_err(ManifestError::from)? {
            return Err(DocumentError::Elsewhere);
        }
        let artifact = artifact::read(&manifest, &body).map(Box::new);
        let kind = manifest.media_type();
        let links = match manifest {
            Manifest::Image(image) => {
                let parts = std::iter::once(&image.config).chain(&image.layers);
                Links::Blobs(parts.map(|part| (part.digest, part.size)).collect())
            }
            Manifest::Index(index) => {
                let listed = |media_type: &str| MediaType::parse(media_type).map(MediaType::is_index);
                let entries = index.manifests.iter();
                Links::Manifests(entries.filter_map(|e| Some((e.digest, listed(&e.media_type)?))).collect())
            }
        };
        Ok(Document { digest: *digest, bytes, kind, links, artifact })
    }

    /// Memory that this takes, about, in bytes.
    pub(crate) fn weight(&self) -> usize {
        let links = match &self.links {
            Links::Blobs(list) => size_of_val(list.as_slice()),
            Links::Manifests(list) => size_of_val(list.as_slice()),
        };
        self.bytes.len() + links + OVERHEAD
    }
}

/// Whether a descriptor of the document has `urls`.
fn leads_elsewhere(body: &Value) -> Result<bool, JsonError> {
    let Some(body) = body.as_object() else { return Ok(false) };
    let lists = ["config", "layers", "manifests"].into_iter().filter_map(|name| body.get(name));
    for list in lists {
        let entries = list.as_array().map_or(std::slice::from_ref(list), Vec::as_slice);
        for entry in entries.iter().filter_map(Value::as_object) {
            let urls = json::member(entry, "urls")?;
            if urls.is_some_and(|urls| !urls.is_null() && urls.as_array().is_none_or(|list| !list.is_empty())) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn read(text: &str) -> Result<Document, DocumentError> {
        let bytes = Bytes::from(text.replace("HEX", HEX));
        Document::read(&Digest::of(&bytes), bytes)
    }

    #[test]
    fn g33_content_that_lies_elsewhere_is_refused() {
        let image = |urls: &str| {
            format!(
                r#"{{"schemaVersion":2,"config":{{"mediaType":"c","digest":"sha256:HEX","size":1}},
                "layers":[{{"mediaType":"l","digest":"sha256:HEX","size":2{urls}}}]}}"#
            )
        };
        assert_eq!(read(&image(r#","urls":["https://evil.example/layer"]"#)), Err(DocumentError::Elsewhere));
        assert_eq!(read(&image(r#","urls":"https://evil.example/layer""#)), Err(DocumentError::Elsewhere));
        assert!(matches!(read(&image(r#","URLs":["https://evil.example/"]"#)), Err(DocumentError::Manifest(_))));
        for fine in ["", r#","urls":[]"#, r#","urls":null"#] {
            let document = read(&image(fine)).unwrap();
            let digest = Digest::of(b"");
            assert_eq!(document.links, Links::Blobs(vec![(digest, 1), (digest, 2)]));
            assert_eq!(document.kind, MediaType::OciManifest);
        }
    }

    #[test]
    fn other_bytes_than_the_digest_names_are_never_read() {
        let bytes = Bytes::from_static(b"{}");
        assert_eq!(Document::read(&Digest::of(b"{} "), bytes), Err(DocumentError::Digest));
    }

    #[test]
    fn entries_of_unknown_kinds_lead_nowhere() {
        let document = read(
            r#"{"schemaVersion":2,"manifests":[
            {"mediaType":"application/octet-stream","digest":"sha256:HEX","size":1},
            {"mediaType":"application/vnd.oci.image.index.v1+json","digest":"sha256:HEX","size":1}]}"#,
        );
        assert_eq!(document.unwrap().links, Links::Manifests(vec![(Digest::of(b""), true)]));
    }
}
