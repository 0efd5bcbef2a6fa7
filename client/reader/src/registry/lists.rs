//! What an upstream lists and what it lets somebody do: answers that prove nothing, for a gate that looks at each entry itself.
//!
//! Invariant: as in [`Upstream`]: URLs are made of parsed parts, no redirect is followed, bodies have a limit and requests a
//! deadline. Nothing here is believed: a tag or a list says only what to look at.

use bytes::Bytes;
use reqwest::header::{ACCEPT, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode};
use trust_image::Digest;
use trust_image::reference::check_tag;

use super::client::{Way, manifest_headers, url};
use super::error::{Reason, RegistryError};
use super::http::refusal;
use super::stream::Upstream;

impl Upstream {
    /// Whether the upstream lets whoever asks in at all: `/v2/`.
    pub async fn ping(&self) -> Result<(), RegistryError> {
        self.look("", "/v2/", Method::GET).await
    }

    /// Whether whoever asks may have the manifest with this digest, and it is there.
    pub async fn head_manifest(&self, path: &str, digest: &Digest) -> Result<(), RegistryError> {
        self.look(path, &format!("/v2/{path}/manifests/{digest}"), Method::HEAD).await
    }

    /// Whether whoever asks may list the tags of the repository. What they are is not read.
    pub async fn may_list(&self, path: &str) -> Result<(), RegistryError> {
        self.look(path, &format!("/v2/{path}/tags/list?n=1"), Method::GET).await
    }

    /// Whether whoever asks may list the repositories. What they are is not read.
    pub async fn may_list_all(&self) -> Result<(), RegistryError> {
        self.look("", "/v2/_catalog?n=1", Method::GET).await
    }

    /// Whatever is under a tag: at most 4 MiB, unproven.
    pub async fn tagged(&self, path: &str, tag: &str) -> Result<Bytes, RegistryError> {
        check_tag(tag).map_err(|error| Reason::Malformed(error.to_string()).of(&self.host, path))?;
        self.read(path, &format!("/v2/{path}/manifests/{tag}"), manifest_headers()).await
    }

    /// The index of what refers to this digest, as the upstream has it, unproven.
    pub async fn referrers(&self, path: &str, digest: &Digest) -> Result<Bytes, RegistryError> {
        let index = HeaderValue::from_static("application/vnd.oci.image.index.v1+json");
        self.read(path, &format!("/v2/{path}/referrers/{digest}"), HeaderMap::from_iter([(ACCEPT, index)])).await
    }

    async fn read(&self, path: &str, rest: &str, headers: HeaderMap) -> Result<Bytes, RegistryError> {
        let repository = self.repository(path, || rest.to_owned())?;
        let exchange = async {
            self.document(&repository, &url(&format!("{}{rest}", self.base))?, headers).await.map(Bytes::from)
        };
        let result = tokio::time::timeout(self.answer, exchange).await.unwrap_or(Err(Reason::Timeout));
        result.map_err(|reason| reason.of(&self.host, rest))
    }

    /// One request whose status alone counts. `path` is the repository, or empty.
    async fn look(&self, path: &str, rest: &str, method: Method) -> Result<(), RegistryError> {
        // What belongs to no repository is asked with the scope of one that nobody has.
        let repository = self.repository(if path.is_empty() { "v2" } else { path }, || rest.to_owned())?;
        let exchange = async {
            let url = url(&format!("{}{rest}", self.base))?;
            let (answer, credentials_sent) = self.ask(Way::Kept, &repository, method, &url, manifest_headers()).await?;
            match answer.status() {
                StatusCode::OK => Ok(()),
                other => Err(refusal(other, answer.headers(), credentials_sent)),
            }
        };
        let result = tokio::time::timeout(self.answer, exchange).await.unwrap_or(Err(Reason::Timeout));
        result.map_err(|reason| reason.of(&self.host, rest))
    }
}
