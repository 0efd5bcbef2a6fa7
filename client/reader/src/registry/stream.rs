//! One registry as the upstream of a gate: manifests by digest, and blobs as streams, whole or a part of them.
//!
//! Invariant: the caller hands over parsed parts (a path that fits the grammar, a digest, two numbers), and the URL is made of
//! them here; nothing that a client of the gate sent travels on. A manifest comes back only if its bytes have the digest. A
//! blob comes as it is: whoever passes it on hashes it. No compression is asked for, and none accepted. A blob's redirect is
//! followed to the upstream's own host and to hosts that were named, a manifest's never; credentials go to the upstream
//! alone, and those of a [`Caller`] never into a second request. Deliberately absent: retries.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_RANGE, HeaderMap, HeaderValue, LOCATION, RANGE, TRANSFER_ENCODING,
};
use reqwest::{Method, Response, StatusCode, Url};
use trust_image::Digest;
use trust_image::manifest::MAX_MANIFEST_LEN;
use trust_image::reference::{canonical_domain, check_path};

use super::auth_file::AuthSources;
use super::blob::{Blob, Times};
use super::caller::Caller;
use super::client::{
    RegistryClient, RegistryOptions, Repository, Way, compare, limit, manifest_headers, same_origin, url, with,
};
use super::error::{Reason, RegistryError};
use super::http::{Scheme, host_of, is_this_machine, refusal};
use crate::tls::TlsOptions;

/// Redirects that are followed for one blob.
const MAX_REDIRECTS: usize = 3;

/// How an upstream is reached.
#[derive(Debug, Clone)]
pub struct UpstreamOptions {
    /// `https://HOST[:PORT]` or `http://HOST[:PORT]`, and nothing behind it. Plain HTTP is used exactly if it is written here.
    pub address: String,
    /// Certificate authorities.
    pub tls: TlsOptions,
    /// The gate's own credentials; by default none.
    pub auth: AuthSources,
    /// Hosts (`HOST[:PORT]`) to which a blob may be redirected, beside the upstream's own.
    pub redirect_hosts: BTreeSet<String>,
    /// How long a connection may take to come up; 10 s by default.
    pub connect: Duration,
    /// How long a manifest, or the head of a blob's answer, may take with its login; 30 s by default.
    pub answer: Duration,
    /// How long nothing of a blob may come; 30 s by default.
    pub idle: Duration,
    /// How long one blob may take in all; 1 h by default.
    pub whole: Duration,
}

impl UpstreamOptions {
    /// The usual times, the machine's certificate authorities, no credentials.
    pub fn at(address: &str) -> UpstreamOptions {
        UpstreamOptions {
            address: address.to_owned(),
            tls: TlsOptions::default(),
            auth: AuthSources::none(),
            redirect_hosts: BTreeSet::new(),
            connect: Duration::from_secs(10),
            answer: Duration::from_secs(30),
            idle: Duration::from_secs(30),
            whole: Duration::from_secs(3_600),
        }
    }
}

/// One registry that a gate asks, with the gate's login or with that of a caller. Its debug form shows no credentials.
#[derive(Clone)]
pub struct Upstream {
    pub(super) client: Arc<RegistryClient>,
    /// Who asks, if not the gate itself.
    pub(super) caller: Option<Arc<Caller>>,
    scheme: Scheme,
    /// Canonical `HOST[:PORT]`.
    pub(super) host: Arc<str>,
    /// `SCHEME://HOST[:PORT]`
    pub(super) base: Arc<str>,
    redirect_hosts: Arc<BTreeSet<String>>,
    pub(super) answer: Duration,
    idle: Duration,
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream").field("base", &self.base).finish_non_exhaustive()
    }
}

/// A part of a blob: the first and the last byte, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The first byte.
    pub first: u64,
    /// The last byte, not before the first.
    pub last: u64,
}

impl Upstream {
    /// An upstream at this address. Opens nothing and reads no file yet.
    pub fn new(options: UpstreamOptions) -> Result<Upstream, RegistryError> {
        let wrong = || Reason::InvalidHost(options.address.clone()).of(&options.address, "the upstream's address");
        let (scheme, rest) = match options.address.split_once("://") {
            Some(("https", rest)) => (Scheme::Https, rest),
            Some(("http", rest)) => (Scheme::Http, rest),
            _ => return Err(wrong()),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let rest = if scheme == Scheme::Http { rest.strip_suffix(":80").unwrap_or(rest) } else { rest };
        let host = canonical_domain(rest).map_err(|_| wrong())?;
        let canonical = |name: &String| {
            canonical_domain(name).map_err(|_| Reason::InvalidHost(name.clone()).of(name, "a host for redirects"))
        };
        let redirect_hosts: BTreeSet<String> =
            options.redirect_hosts.iter().map(canonical).collect::<Result<_, _>>()?;
        let plain_http_hosts = match scheme {
            Scheme::Http if !is_this_machine(&host) => BTreeSet::from([host.clone()]),
            _ => BTreeSet::new(),
        };
        let client = RegistryClient::new(RegistryOptions {
            tls: options.tls,
            plain_http_hosts,
            // The times of this module are shorter; this one ends what they cannot see.
            timeout: options.whole,
            connect_timeout: options.connect,
            auth: options.auth,
            ..RegistryOptions::default()
        })?;
        let base = format!("{}://{host}", scheme.as_str());
        Ok(Upstream {
            client: Arc::new(client),
            caller: None,
            scheme,
            host: host.into(),
            base: base.into(),
            redirect_hosts: Arc::new(redirect_hosts),
            answer: options.answer,
            idle: options.idle,
        })
    }

    /// The same upstream, asked by this caller: with its login, and never with the gate's.
    pub fn asked_by(&self, caller: Arc<Caller>) -> Upstream {
        Upstream { caller: Some(caller), ..self.clone() }
    }

    /// Whether a caller's login is used instead of the gate's.
    pub fn has_caller(&self) -> bool {
        self.caller.is_some()
    }

    /// `SCHEME://HOST[:PORT]`, for messages.
    pub fn address(&self) -> &str {
        &self.base
    }

    /// The bytes of the manifest with this digest in the repository `path`: at most 4 MiB, hashed. What they mean is for the
    /// caller to read.
    pub async fn manifest(&self, path: &str, digest: &Digest) -> Result<Bytes, RegistryError> {
        let subject = || format!("{path}@{digest}");
        let repository = self.repository(path, subject)?;
        let exchange = async {
            let url = url(&format!("{}/manifests/{digest}", repository.base))?;
            let bytes = self.document(&repository, &url, manifest_headers()).await?;
            compare(digest, &bytes)?;
            Ok(Bytes::from(bytes))
        };
        let result = tokio::time::timeout(self.answer, exchange).await.unwrap_or(Err(Reason::Timeout));
        result.map_err(|reason| reason.of(&self.host, subject()))
    }

    /// A whole answer of at most 4 MiB, as it came.
    pub(super) async fn document(
        &self,
        repository: &Repository,
        url: &Url,
        mut headers: HeaderMap,
    ) -> Result<Vec<u8>, Reason> {
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let (answer, credentials_sent) = self.ask(Way::Kept, repository, Method::GET, url, headers).await?;
        if answer.status() != StatusCode::OK {
            return Err(refusal(answer.status(), answer.headers(), credentials_sent));
        }
        plain(answer.headers())?;
        let stated = answer.content_length();
        let bytes = self.client.http.body(answer, limit(MAX_MANIFEST_LEN)).await?;
        if stated.is_some_and(|stated| stated != limit(bytes.len())) {
            return Err(Reason::Unreachable("the answer was cut off"));
        }
        Ok(bytes)
    }

    /// Sends a request to the upstream itself: with the caller's login, whose refusal is the caller's to answer, or with the
    /// gate's.
    pub(super) async fn ask(
        &self,
        way: Way,
        repository: &Repository,
        method: Method,
        url: &Url,
        headers: HeaderMap,
    ) -> Result<(Response, bool), Reason> {
        let Some(caller) = &self.caller else {
            return self.client.ask_by(way, repository, method, url, headers).await;
        };
        let answer = self.client.send_by(way, method, url, caller.with(&headers)).await?;
        caller.hear(&answer);
        Ok((answer, caller.has_login()))
    }

    /// Whether the blob is there, and its length if the registry states it. Nothing of this is proven.
    pub async fn head_blob(&self, path: &str, digest: &Digest) -> Result<Option<u64>, RegistryError> {
        let answer = self.open(Way::Kept, path, digest, Method::HEAD, None).await?;
        // The length of an answer without a body is in the header alone.
        let stated = answer.headers().get(reqwest::header::CONTENT_LENGTH);
        Ok(stated.and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok()))
    }

    /// Opens the blob, or a part of it. The registry may answer a request for a part with the whole: [`Blob::span`] says it.
    pub async fn blob(&self, path: &str, digest: &Digest, span: Option<Span>) -> Result<Blob, RegistryError> {
        self.blob_by(Way::Kept, path, digest, span).await
    }

    /// The same for a large one: it has a connection of its own and takes little memory, however slowly it is read.
    pub async fn large_blob(&self, path: &str, digest: &Digest, span: Option<Span>) -> Result<Blob, RegistryError> {
        self.blob_by(Way::Own, path, digest, span).await
    }

    async fn blob_by(&self, way: Way, path: &str, digest: &Digest, span: Option<Span>) -> Result<Blob, RegistryError> {
        let answer = self.open(way, path, digest, Method::GET, span).await?;
        let is_part = answer.status() == StatusCode::PARTIAL_CONTENT;
        let chunked = answer.headers().contains_key(TRANSFER_ENCODING);
        let length = answer.content_length().filter(|_| !chunked);
        let times = Times { idle: self.idle, whole: self.client.http.timeout };
        let span = span.filter(|_| is_part);
        Ok(Blob::new(answer, length, span, times, &self.host, format!("{path} blob {digest}")))
    }

    pub(super) fn repository(&self, path: &str, subject: impl Fn() -> String) -> Result<Repository, RegistryError> {
        check_path(path).map_err(|error| Reason::Malformed(error.to_string()).of(&self.host, subject()))?;
        let base = format!("{}/v2/{path}", self.base);
        Ok(Repository { host: self.host.to_string(), scheme: self.scheme, path: path.to_owned(), base })
    }

    /// The head of the answer with a blob: 200, or 206 for exactly the span.
    async fn open(
        &self,
        way: Way,
        path: &str,
        digest: &Digest,
        method: Method,
        span: Option<Span>,
    ) -> Result<Response, RegistryError> {
        let subject = || format!("{path} blob {digest}");
        let repository = self.repository(path, subject)?;
        let exchange = async {
            let asked = url(&format!("{}/blobs/{digest}", repository.base))?;
            let mut headers = HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static("identity"))]);
            if let Some(Span { first, last }) = span {
                let value = HeaderValue::from_str(&format!("bytes={first}-{last}"));
                headers.insert(RANGE, value.map_err(|_| Reason::Malformed("a range".to_owned()))?);
            }
            let mut url = asked.clone();
            let (mut answer, credentials_sent) =
                self.ask(way, &repository, method.clone(), &url, headers.clone()).await?;
            for _ in 0..MAX_REDIRECTS {
                if !answer.status().is_redirection() {
                    break;
                }
                url = self.redirected(&url, answer.headers())?;
                let own = self.caller.is_none() && same_origin(&url, &asked);
                let token = self.client.known_token(&repository).filter(|_| own);
                answer = self.client.send_by(way, method.clone(), &url, with(&headers, token)).await?;
            }
            match (answer.status(), span) {
                (StatusCode::OK, _) => {}
                (StatusCode::PARTIAL_CONTENT, Some(span)) => check_part(span, answer.headers())?,
                (other, _) => return Err(refusal(other, answer.headers(), credentials_sent)),
            }
            plain(answer.headers())?;
            Ok(answer)
        };
        let result = tokio::time::timeout(self.answer, exchange).await.unwrap_or(Err(Reason::Timeout));
        result.map_err(|reason| reason.of(&self.host, subject()))
    }

    fn redirected(&self, from: &Url, headers: &HeaderMap) -> Result<Url, Reason> {
        let target = headers.get(LOCATION).and_then(|value| value.to_str().ok()).ok_or(Reason::RedirectRefused)?;
        let to = from.join(target).map_err(|_| Reason::RedirectRefused)?;
        if from.scheme() == "https" && to.scheme() != "https" {
            return Err(Reason::RedirectRefused);
        }
        let host = host_of(&to);
        if host != *self.host && !self.redirect_hosts.contains(&host) {
            return Err(Reason::RedirectRefused);
        }
        self.client.http.check(&to).map_err(|_| Reason::RedirectRefused)?;
        Ok(to)
    }
}

/// Refuses an answer that somebody encoded: its bytes are not those that were asked for.
fn plain(headers: &HeaderMap) -> Result<(), Reason> {
    match headers.get_all(CONTENT_ENCODING).iter().all(|value| value.as_bytes() == b"identity") {
        true => Ok(()),
        false => Err(Reason::Malformed("an encoded answer, which nobody asked for".to_owned())),
    }
}

/// Whether the answer says that it holds exactly this part.
fn check_part(span: Span, headers: &HeaderMap) -> Result<(), Reason> {
    let stated = headers.get(CONTENT_RANGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let prefix = format!("bytes {}-{}/", span.first, span.last);
    match stated.starts_with(&prefix) {
        true => Ok(()),
        false => Err(Reason::Malformed("another part than the one asked for".to_owned())),
    }
}
