//! What refers to an image: the list, the tags that stand for it, and the artifacts themselves.
//!
//! Invariant: artifacts are not signed. One comes out only if its bytes were hashed, it is nothing that a runtime starts
//! ([`super::artifact`]), it refers to a digest of the same name (by its bytes, or by the tag that a signing tool put it under), and
//! that digest may pass now. What the upstream lists says only what to look at: every entry of an answer is made of verified bytes.
//! These tags are the only ones that the upstream is ever asked for. An artifact that refers to an artifact does not come.
//! Deliberately absent: further pages of the upstream's list.

use std::sync::Arc;

use axum::response::Response;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use trust_image::{Digest, Manifest, MediaType};
use trust_reader::catalogue::exit;
use trust_reader::registry::Reason;

use super::client::Client;
use super::content::ContentError;
use super::document::Document;
use super::permit::{Permits, of_content, of_upstream};
use super::reply::{Refusal, whole};
use super::ruling::Ruling;

/// Artifacts that are fetched at one time for all clients: they must not stand in the way of images.
const MAX_FETCHES: usize = 4;
const FILTERED: HeaderName = HeaderName::from_static("oci-filters-applied");

/// The places of fetches.
pub(crate) struct Looks(pub(crate) Arc<Semaphore>);

impl Default for Looks {
    fn default() -> Self {
        Looks(Arc::new(Semaphore::new(MAX_FETCHES)))
    }
}

/// What a tag stands for that is no image's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Special {
    /// `sha256-HEX`: the list of what refers to it, where a registry has no other.
    List(Digest),
    /// `sha256-HEX.sig`, `.att`, `.sbom`: an artifact that a signing tool put beside it.
    Beside(Digest),
}

/// Reads such a tag.
pub(crate) fn special(tag: &str) -> Option<Special> {
    let rest = tag.strip_prefix("sha256-")?;
    let (hex, end) = rest.split_once('.').map_or((rest, None), |(hex, end)| (hex, Some(end)));
    let digest = Digest::parse(&format!("sha256:{hex}")).ok()?;
    match end {
        None => Some(Special::List(digest)),
        Some("sig" | "att" | "sbom") => Some(Special::Beside(digest)),
        Some(_) => None,
    }
}

/// The answer with the list.
pub(crate) async fn answer(
    permits: &Permits,
    name: &str,
    subject: &Digest,
    kind: Option<&str>,
    is_head: bool,
    client: &Client,
) -> Result<Response, Refusal> {
    let bytes = list(permits, name, subject, kind, client).await?;
    let mut response = whole(StatusCode::OK, MediaType::OciIndex.as_str(), bytes, is_head);
    if kind.is_some() {
        response.headers_mut().insert(FILTERED, HeaderValue::from_static("artifactType"));
    }
    Ok(response)
}

/// The manifest under one of these tags; `None` if it stands for nothing that may pass.
pub(crate) async fn by_tag(
    permits: &Permits,
    name: &str,
    tag: &str,
    special: Special,
    client: &Client,
) -> Result<Option<Arc<Document>>, Refusal> {
    let subject = match special {
        Special::List(subject) | Special::Beside(subject) => subject,
    };
    let Some(image) = permits.subject(name, &subject, client).await? else { return Ok(None) };
    let read = |bytes: Bytes| Document::read(&Digest::of(&bytes), bytes);
    let document = match special {
        Special::List(_) => {
            let bytes = list(permits, name, &subject, None, client).await?;
            read(bytes).map_err(|error| of_content(&error.into()))?
        }
        Special::Beside(_) => {
            let bytes = match client.upstream.tagged(name, tag).await {
                Ok(bytes) => bytes,
                Err(error) if error.reason == Reason::NotFound => {
                    return Err(Refusal::manifest_unknown("nothing was put beside this image under this tag"));
                }
                Err(error) => return Err(of_upstream(&error)),
            };
            let document = read(bytes).map_err(|error| of_content(&error.into()))?;
            let Some(artifact) = &document.artifact else { return Err(runs()) };
            if artifact.subject.is_some_and(|stated| stated != subject) || is_revoked(permits, name, &document, client)
            {
                return Ok(None);
            }
            permits.reach.learn(name, &document);
            permits.reach.attach(name, &document.digest, &subject);
            document
        }
    };
    permits.passes(&image, client).await?;
    Ok(Some(Arc::new(document)))
}

/// Notes what an artifact refers to, if this digest is one.
pub(crate) async fn look(permits: &Permits, name: &str, digest: &Digest, client: &Client) -> Result<(), Refusal> {
    let glimpse = async {
        // The semaphore is never closed.
        let _place = permits.looks.0.acquire().await.ok();
        permits.content.glimpse(&client.upstream, name, digest).await
    };
    let document = match glimpse.await {
        None => return Ok(()),
        Some(Ok(document)) => document,
        Some(Err(error)) if may_pass_later(&error) => return Err(of_content(&error)),
        // It stays what it is: not signed. (docker-registry answers with 500 if the digest is that of a config.)
        Some(Err(_)) => return Ok(()),
    };
    let subject = document.artifact.as_ref().and_then(|artifact| artifact.subject);
    let is_of_use = match subject {
        Some(subject) => permits.subject(name, &subject, client).await?.is_some(),
        None => false,
    };
    permits.content.judge(name, &document, is_of_use).await;
    if let (Some(subject), true) = (subject, is_of_use) {
        permits.reach.learn(name, &document);
        permits.reach.attach(name, digest, &subject);
    }
    Ok(())
}

/// Whether the upstream could not be asked at all.
fn may_pass_later(error: &ContentError) -> bool {
    match error {
        ContentError::Upstream(error) => {
            matches!(error.reason, Reason::Unreachable(_) | Reason::Timeout | Reason::RateLimited { .. })
        }
        ContentError::Document(_) => false,
    }
}

fn runs() -> Refusal {
    let message =
        "what lies under this tag is not signed, and its config or layers are those of an image: it could be run";
    Refusal::new(StatusCode::FORBIDDEN, "DENIED", message)
}

fn is_revoked(permits: &Permits, name: &str, document: &Document, client: &Client) -> bool {
    match permits.rule(name, &document.digest, &client.whom) {
        Ruling::Denied(denial) => denial.exit == exit::REVOKED,
        Ruling::Allowed { .. } => false,
    }
}

/// The list as bytes: an index, empty for what may not pass.
async fn list(
    permits: &Permits,
    name: &str,
    subject: &Digest,
    kind: Option<&str>,
    client: &Client,
) -> Result<Bytes, Refusal> {
    let mut entries = Vec::new();
    if permits.subject(name, subject, client).await?.is_some() {
        for digest in candidates(name, subject, client).await? {
            entries.push(digest);
        }
    }
    let mut found = Vec::new();
    for document in fetch(permits, name, &entries, client).await? {
        let Some(artifact) = document.artifact.as_deref().filter(|a| a.subject == Some(*subject)) else { continue };
        if kind.is_some_and(|kind| kind != artifact.kind) || is_revoked(permits, name, &document, client) {
            continue;
        }
        permits.reach.learn(name, &document);
        permits.reach.attach(name, &document.digest, subject);
        let mut entry = json!({
            "mediaType": document.kind.as_str(),
            "digest": document.digest.to_string(),
            "size": document.bytes.len(),
            "artifactType": artifact.kind,
        });
        if let (false, Some(entry)) = (artifact.annotations.is_empty(), entry.as_object_mut()) {
            let annotations = artifact.annotations.iter().map(|(k, v)| (k.clone(), Value::from(v.as_str())));
            entry.insert("annotations".to_owned(), Value::Object(annotations.collect()));
        }
        found.push(entry);
    }
    let body = json!({ "schemaVersion": 2, "mediaType": MediaType::OciIndex.as_str(), "manifests": found });
    Ok(body.to_string().into())
}

/// What the upstream says refers to it: by the protocol's list, or by the tag where it has none.
async fn candidates(name: &str, subject: &Digest, client: &Client) -> Result<Vec<Digest>, Refusal> {
    let listed = match client.upstream.referrers(name, subject).await {
        Err(error) if matches!(error.reason, Reason::NotFound | Reason::Upstream(400..=499)) => {
            // Other hashes have no tag: the protocol cuts theirs short.
            if subject.to_string().len() != "sha256:".len() + 64 {
                return Ok(Vec::new());
            }
            client.upstream.tagged(name, &format!("sha256-{}", subject.hex())).await
        }
        listed => listed,
    };
    let bytes = match listed {
        Ok(bytes) => bytes,
        Err(error) if error.reason == Reason::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(of_upstream(&error)),
    };
    match Manifest::parse(&bytes) {
        Ok(Manifest::Index(index)) => {
            let manifests = index.manifests.iter().filter(|entry| entry.media_type == MediaType::OciManifest.as_str());
            Ok(manifests.map(|entry| entry.digest).collect())
        }
        _ => {
            let message = "the registry behind this gate gave a list of referrers that is refused";
            Err(Refusal::new(StatusCode::BAD_GATEWAY, "UNKNOWN", message))
        }
    }
}

/// The documents that are there, in their order.
async fn fetch(
    permits: &Permits,
    name: &str,
    digests: &[Digest],
    client: &Client,
) -> Result<Vec<Arc<Document>>, Refusal> {
    let mut running = JoinSet::new();
    for (place, digest) in digests.iter().copied().enumerate() {
        let (content, places) = (Arc::clone(&permits.content), Arc::clone(&permits.looks.0));
        let (name, upstream) = (name.to_owned(), client.upstream.clone());
        running.spawn(async move {
            let _place = places.acquire().await.ok();
            (place, content.manifest(&upstream, &name, &digest).await)
        });
    }
    let mut found = Vec::new();
    while let Some(done) = running.join_next().await {
        match done {
            Ok((place, Ok(document))) => found.push((place, document)),
            Ok((_, Err(error))) if ContentError::is_about_the_content(&error) => {}
            Ok((_, Err(error))) => return Err(of_content(&error)),
            Err(_) => {
                let message = "the list could not be made";
                return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", message).retry_after(5));
            }
        }
    }
    found.sort_by_key(|(place, _)| *place);
    Ok(found.into_iter().map(|(_, document)| document).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_digests_and_known_endings_make_a_special_tag() {
        let digest = Digest::of(b"");
        let hex = digest.hex();
        assert_eq!(special(&format!("sha256-{hex}")), Some(Special::List(digest)));
        for end in ["sig", "att", "sbom"] {
            assert_eq!(special(&format!("sha256-{hex}.{end}")), Some(Special::Beside(digest)));
        }
        for tag in ["v1", "sha256-", "sha256-00", &format!("sha512-{hex}"), &format!("sha256-{hex}.exe")] {
            assert_eq!(special(tag), None, "{tag}");
        }
        assert_eq!(special(&format!("sha256-{}", hex.to_uppercase())), None);
        assert_eq!(special(&format!("sha256-{hex}.sig.sig")), None);
    }
}
