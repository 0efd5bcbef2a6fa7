//! Verified manifests in memory, and one fetch for all who ask for the same one.
//!
//! Invariant: what comes out was hashed; what cannot be verified is never kept as content. The cache is bounded by bytes, the
//! fetches at one time by number. That something is missing, wrong or ambiguous is remembered for a few seconds; that the
//! upstream cannot be reached is not remembered at all. Deliberately absent: whether anybody may have it; blobs.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use moka::{future, sync};
use tokio::sync::Semaphore;
use trust_image::Digest;
use trust_reader::registry::{Reason, RegistryError, Upstream};

use super::document::{Document, DocumentError};

/// Bytes of manifests that are kept.
const MAX_KEPT: u64 = 64 * 1024 * 1024;
/// Fetches of manifests at one time: with 4 MiB each, the most that is in flight.
const MAX_FETCHES: usize = 16;
/// How long a failure that is about the content is believed.
const FAILURE_LIFE: Duration = Duration::from_secs(5);
/// Failures that are remembered.
const MAX_FAILURES: u64 = 4_096;

type Key = (Arc<str>, Digest);

/// Why there is no verified manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ContentError {
    /// The upstream does not have it, serves something else, or cannot be asked.
    #[error(transparent)]
    Upstream(#[from] RegistryError),
    /// The bytes are the right ones and have no single meaning.
    #[error(transparent)]
    Document(#[from] DocumentError),
}

impl ContentError {
    /// Whether asking again at once is of no use.
    pub(crate) fn is_about_the_content(&self) -> bool {
        match self {
            ContentError::Document(_) => true,
            ContentError::Upstream(error) => matches!(
                error.reason,
                Reason::NotFound | Reason::DigestMismatch { .. } | Reason::TooLarge { .. } | Reason::Malformed(_)
            ),
        }
    }
}

/// The manifests of one upstream.
pub(crate) struct Content {
    kept: future::Cache<Key, Arc<Document>>,
    failed: sync::Cache<Key, Arc<ContentError>>,
    /// What nobody has signed and refers to nothing that may pass.
    useless: sync::Cache<Key, ()>,
    fetches: Semaphore,
}

impl Default for Content {
    fn default() -> Content {
        let weight = |_: &Key, document: &Arc<Document>| u32::try_from(document.weight()).unwrap_or(u32::MAX);
        Content {
            kept: future::Cache::builder().max_capacity(MAX_KEPT).weigher(weight).build(),
            failed: sync::Cache::builder().max_capacity(MAX_FAILURES).time_to_live(FAILURE_LIFE).build(),
            useless: sync::Cache::builder().max_capacity(MAX_FAILURES).time_to_live(FAILURE_LIFE).build(),
            fetches: Semaphore::new(MAX_FETCHES),
        }
    }
}

impl Content {
    /// The manifest with this digest in this repository: from memory, else from the upstream, once for all who wait.
    pub(crate) async fn manifest(
        &self,
        upstream: &Upstream,
        path: &str,
        digest: &Digest,
    ) -> Result<Arc<Document>, Arc<ContentError>> {
        let key: Key = (Arc::from(path), *digest);
        if upstream.has_caller() {
            // What one client may not see says nothing to another: neither a failure nor a fetch is shared.
            if let Some(document) = self.kept.get(&key).await {
                return Ok(document);
            }
            let document = self.fetch(upstream, path, digest).await.map_err(Arc::new)?;
            self.kept.insert(key, Arc::clone(&document)).await;
            return Ok(document);
        }
        if let Some(failure) = self.failed.get(&key) {
            return Err(failure);
        }
        let result = self.kept.try_get_with(key.clone(), self.fetch(upstream, path, digest)).await;
        result.inspect_err(|error| {
            if error.is_about_the_content() {
                self.failed.insert(key, Arc::clone(error));
            }
        })
    }

    /// The same for something that nobody has signed: it is kept only once it is known to be of use, so that those who ask for
    /// anything push nothing out of memory. `None`: it was of no use a moment ago.
    pub(crate) async fn glimpse(
        &self,
        upstream: &Upstream,
        path: &str,
        digest: &Digest,
    ) -> Option<Result<Arc<Document>, Arc<ContentError>>> {
        let key: Key = (Arc::from(path), *digest);
        if self.useless.contains_key(&key) {
            return None;
        }
        if let Some(document) = self.kept.get(&key).await {
            return Some(Ok(document));
        }
        if !upstream.has_caller()
            && let Some(failure) = self.failed.get(&key)
        {
            return Some(Err(failure));
        }
        let result = self.fetch(upstream, path, digest).await.map_err(Arc::new);
        if let (Err(error), false) = (&result, upstream.has_caller())
            && error.is_about_the_content()
        {
            self.failed.insert(key, Arc::clone(error));
        }
        Some(result)
    }

    /// What was glimpsed is of use, or not.
    pub(crate) async fn judge(&self, path: &str, document: &Arc<Document>, is_of_use: bool) {
        let key: Key = (Arc::from(path), document.digest);
        match is_of_use {
            true => self.kept.insert(key, Arc::clone(document)).await,
            false => self.useless.insert(key, ()),
        }
    }

    async fn fetch(&self, upstream: &Upstream, path: &str, digest: &Digest) -> Result<Arc<Document>, ContentError> {
        // The semaphore is never closed.
        let _place = self.fetches.acquire().await.ok();
        let bytes: Bytes = upstream.manifest(path, digest).await.inspect_err(|error| {
            if matches!(error.reason, Reason::DigestMismatch { .. }) {
                tracing::error!(%error, "the upstream serves other content under a signed digest");
            }
        })?;
        Ok(Arc::new(Document::read(digest, bytes)?))
    }
}
