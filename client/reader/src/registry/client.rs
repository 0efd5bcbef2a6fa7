//! The registry client: which digest a tag has, manifests and blobs whose bytes were hashed here.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue, LOCATION, WWW_AUTHENTICATE};
use reqwest::{Method, Response, StatusCode, Url};
use trust_image::config::MAX_CONFIG_LEN;
use trust_image::manifest::MAX_MANIFEST_LEN;
use trust_image::reference::{DOCKER_HUB, canonical_domain};
use trust_image::{Digest, Manifest, Reference};

use super::auth_file::AuthSources;
use super::challenge;
use super::error::{NOT_TLS, Reason, RegistryError};
use super::http::{Http, Scheme, refusal};
use super::token;
use crate::tls::TlsOptions;

/// The host that serves the images of Docker Hub.
const DOCKER_HUB_HOST: &str = "registry-1.docker.io";
/// Redirects that are followed for one blob.
const MAX_REDIRECTS: usize = 3;
/// Tokens that one client keeps.
const MAX_TOKENS: usize = 1024;

/// How registries are reached.
#[derive(Debug, Clone)]
pub struct RegistryOptions {
    /// Certificate authorities.
    pub tls: TlsOptions,
    /// Registries (`HOST[:PORT]`) that are asked by plain HTTP because somebody said so. Loopback addresses and `localhost` need
    /// no entry.
    pub plain_http_hosts: BTreeSet<String>,
    /// Deadline of one request with its body; 30 s by default.
    pub timeout: Duration,
    /// Deadline of one connection; 10 s by default.
    pub connect_timeout: Duration,
    /// Deadline of one inspection of an image with all its platforms; 120 s by default.
    pub inspect_timeout: Duration,
    /// Where credentials come from; by default from nowhere.
    pub auth: AuthSources,
}

impl Default for RegistryOptions {
    fn default() -> Self {
        RegistryOptions {
            tls: TlsOptions::default(),
            plain_http_hosts: BTreeSet::new(),
            timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(10),
            inspect_timeout: Duration::from_secs(120),
            auth: AuthSources::none(),
        }
    }
}

/// A client of any number of registries. Its debug form shows no credentials.
pub struct RegistryClient {
    pub(super) http: Http,
    auth: AuthSources,
    tokens: Mutex<HashMap<(Scheme, String, String), Token>>,
    pub(crate) inspect_timeout: Duration,
}

/// The connection for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// One that is kept for others.
    Kept,
    /// One of its own, for a large answer.
    Own,
}

#[derive(Clone)]
pub(super) struct Token {
    header: HeaderValue,
    until: Option<Instant>,
    with_credentials: bool,
}

/// A manifest or index as served, hashed and read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedManifest {
    /// Digest of the bytes, by our own hash.
    pub digest: Digest,
    /// The bytes as received; at most 4 MiB.
    pub bytes: Vec<u8>,
    /// What they say. The media type is in here, never from a header.
    pub manifest: Manifest,
}

/// Where one image's repository is.
pub(super) struct Repository {
    /// Canonical `HOST[:PORT]`, under which credentials are stored and errors are told.
    pub(super) host: String,
    pub(super) scheme: Scheme,
    pub(super) path: String,
    /// `SCHEME://HOST/v2/PATH`
    pub(super) base: String,
}

impl fmt::Debug for RegistryClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryClient").field("auth", &self.auth).finish_non_exhaustive()
    }
}

impl RegistryClient {
    /// A client with these options. Opens nothing and reads no file yet.
    pub fn new(options: RegistryOptions) -> Result<RegistryClient, RegistryError> {
        let canonical =
            |host: String| canonical_domain(&host).map_err(|_| Reason::InvalidHost(host.clone()).of(&host, "options"));
        let plain = options.plain_http_hosts.into_iter().map(canonical).collect::<Result<_, _>>()?;
        let http = Http::new(options.tls, plain, options.timeout, options.connect_timeout);
        Ok(RegistryClient {
            http,
            auth: options.auth,
            tokens: Mutex::default(),
            inspect_timeout: options.inspect_timeout,
        })
    }

    /// The digest that the registry names for the reference's tag (or for its digest, if it has no tag). A hint and no
    /// proof: only bytes that hash to it prove anything. Asks by HEAD; if that names no digest, gets the manifest and
    /// hashes it.
    pub async fn head_manifest(&self, image: &Reference) -> Result<Digest, RegistryError> {
        let repository = self.open(image).await?;
        let (reference, subject) = match (image.tag(), image.digest()) {
            (Some(tag), _) => (tag.to_owned(), format!("{}:{tag}", repository.path)),
            (None, Some(digest)) => (digest.to_string(), format!("{}@{digest}", repository.path)),
            (None, None) => return Err(Reason::Incomplete("tag").of(&repository.host, repository.path)),
        };
        let found = self.head(&repository, &reference).await.map_err(|reason| reason.of(&repository.host, subject))?;
        match (found, image.tag(), image.digest()) {
            (_, None, Some(digest)) => Ok(*digest),
            (Some(digest), _, _) => Ok(digest),
            (None, _, _) => self.manifest_by_tag(image).await.map(|fetched| fetched.digest),
        }
    }

    /// The manifest under the reference's tag. What it is worth is for the caller to say, by its digest.
    pub async fn manifest_by_tag(&self, image: &Reference) -> Result<FetchedManifest, RegistryError> {
        let repository = self.open(image).await?;
        let tag = image.tag().ok_or_else(|| Reason::Incomplete("tag").of(&repository.host, repository.path.clone()))?;
        let subject = format!("{}:{tag}", repository.path);
        let bytes = self
            .manifest_bytes(&repository, tag)
            .await
            .map_err(|reason| reason.of(&repository.host, subject.clone()))?;
        let digest = Digest::of(&bytes);
        read(digest, bytes).map_err(|reason| reason.of(&repository.host, subject))
    }

    /// The manifest with this digest in the reference's repository: its bytes have been hashed.
    pub async fn manifest_by_digest(
        &self,
        image: &Reference,
        digest: &Digest,
    ) -> Result<FetchedManifest, RegistryError> {
        let repository = self.open(image).await?;
        let subject = format!("{}@{digest}", repository.path);
        let result = async {
            let bytes = self.manifest_bytes(&repository, &digest.to_string()).await?;
            compare(digest, &bytes)?;
            read(*digest, bytes)
        };
        result.await.map_err(|reason| reason.of(&repository.host, subject))
    }

    /// The blob with this digest, if it is an image config: at most 8 MiB, hashed.
    pub async fn config_blob(&self, image: &Reference, digest: &Digest) -> Result<Vec<u8>, RegistryError> {
        let repository = self.open(image).await?;
        let subject = format!("{} blob {digest}", repository.path);
        let result = async {
            let bytes = self.blob_bytes(&repository, digest, limit(MAX_CONFIG_LEN)).await?;
            compare(digest, &bytes)?;
            Ok(bytes)
        };
        result.await.map_err(|reason: Reason| reason.of(&repository.host, subject))
    }

    async fn open(&self, image: &Reference) -> Result<Repository, RegistryError> {
        let host = image.canonical_domain();
        let path = image.canonical_path().to_owned();
        let scheme = self.http.scheme_of(host).await.map_err(|reason| reason.of(host, path.clone()))?;
        let endpoint = if host == DOCKER_HUB { DOCKER_HUB_HOST } else { host };
        let base = format!("{}://{endpoint}/v2/{path}", scheme.as_str());
        Ok(Repository { host: host.to_owned(), scheme, path, base })
    }

    /// HEAD of a manifest: the digest in its header, if there is a readable one.
    async fn head(&self, repository: &Repository, reference: &str) -> Result<Option<Digest>, Reason> {
        let url = url(&format!("{}/manifests/{reference}", repository.base))?;
        let (answer, credentials_sent) = self.ask(repository, Method::HEAD, &url, manifest_headers()).await?;
        match answer.status() {
            StatusCode::OK => {
                let named = answer.headers().get("docker-content-digest").and_then(|value| value.to_str().ok());
                Ok(named.and_then(|named| Digest::parse(named).ok()))
            }
            StatusCode::METHOD_NOT_ALLOWED => Ok(None),
            other => Err(refusal(other, answer.headers(), credentials_sent)),
        }
    }

    async fn manifest_bytes(&self, repository: &Repository, reference: &str) -> Result<Vec<u8>, Reason> {
        let url = url(&format!("{}/manifests/{reference}", repository.base))?;
        let (answer, credentials_sent) = self.ask(repository, Method::GET, &url, manifest_headers()).await?;
        match answer.status() {
            StatusCode::OK => self.http.body(answer, limit(MAX_MANIFEST_LEN)).await,
            other => Err(refusal(other, answer.headers(), credentials_sent)),
        }
    }

    async fn blob_bytes(&self, repository: &Repository, digest: &Digest, limit: u64) -> Result<Vec<u8>, Reason> {
        let asked = url(&format!("{}/blobs/{digest}", repository.base))?;
        let mut url = asked.clone();
        let (mut answer, credentials_sent) = self.ask(repository, Method::GET, &url, HeaderMap::new()).await?;
        for _ in 0..MAX_REDIRECTS {
            if !answer.status().is_redirection() {
                break;
            }
            url = self.redirected(&url, answer.headers())?;
            // Storage on another host has its own way to know us (a signed URL); it never sees our login.
            let token = self.known_token(repository).filter(|_| same_origin(&url, &asked));
            answer = self.send(Method::GET, &url, with(&HeaderMap::new(), token)).await?;
        }
        match answer.status() {
            StatusCode::OK => self.http.body(answer, limit).await,
            other => Err(refusal(other, answer.headers(), credentials_sent)),
        }
    }

    fn redirected(&self, from: &Url, headers: &HeaderMap) -> Result<Url, Reason> {
        let target = headers.get(LOCATION).and_then(|value| value.to_str().ok()).ok_or(Reason::RedirectRefused)?;
        let to = from.join(target).map_err(|_| Reason::RedirectRefused)?;
        if from.scheme() == "https" && to.scheme() != "https" {
            return Err(Reason::RedirectRefused);
        }
        self.http.check(&to).map_err(|_| Reason::RedirectRefused)?;
        Ok(to)
    }

    /// Sends a request to the registry itself and answers its challenge once. Says whether stored credentials were used.
    pub(super) async fn ask(
        &self,
        repository: &Repository,
        method: Method,
        url: &Url,
        headers: HeaderMap,
    ) -> Result<(Response, bool), Reason> {
        self.ask_by(Way::Kept, repository, method, url, headers).await
    }

    /// The same, by a connection of this kind.
    pub(super) async fn ask_by(
        &self,
        way: Way,
        repository: &Repository,
        method: Method,
        url: &Url,
        headers: HeaderMap,
    ) -> Result<(Response, bool), Reason> {
        let known = self.known_token(repository);
        let mut credentials_sent = known.as_ref().is_some_and(|token| token.with_credentials);
        let answer = self.send_by(way, method.clone(), url, with(&headers, known)).await?;
        if answer.status() != StatusCode::UNAUTHORIZED {
            return Ok((answer, credentials_sent));
        }
        self.forget_token(repository);
        let values = answer.headers().get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let challenges: Vec<_> = values.flat_map(challenge::parse).collect();
        drop(answer);
        let credentials = self.auth.find(&repository.host, &repository.path).await?;
        let grant =
            token::answer(&self.http, repository.scheme, &repository.path, &challenges, credentials.as_ref()).await?;
        let token = Token { header: grant.header, until: grant.until, with_credentials: grant.with_credentials };
        credentials_sent = token.with_credentials;
        let answer = self.send_by(way, method, url, with(&headers, Some(token.clone()))).await?;
        if answer.status() == StatusCode::UNAUTHORIZED {
            return Err(Reason::Unauthorized { credentials_sent });
        }
        self.keep_token(repository, token);
        Ok((answer, credentials_sent))
    }

    pub(super) async fn send(&self, method: Method, url: &Url, headers: HeaderMap) -> Result<Response, Reason> {
        self.send_by(Way::Kept, method, url, headers).await
    }

    pub(super) async fn send_by(
        &self,
        way: Way,
        method: Method,
        url: &Url,
        headers: HeaderMap,
    ) -> Result<Response, Reason> {
        let answer = match way {
            Way::Kept => self.http.send(method, url, headers).await,
            Way::Own => self.http.send_direct(method, url, headers).await,
        };
        match answer {
            // Said so that the reader of the message finds the flag.
            Err(Reason::Unreachable(NOT_TLS)) => Err(Reason::InsecureRefused(super::http::host_of(url))),
            other => other,
        }
    }

    pub(super) fn known_token(&self, repository: &Repository) -> Option<Token> {
        let tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.get(&repository.key()).filter(|token| token.until.is_none_or(|until| Instant::now() < until)).cloned()
    }

    fn forget_token(&self, repository: &Repository) {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).remove(&repository.key());
    }

    fn keep_token(&self, repository: &Repository, token: Token) {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if tokens.len() >= MAX_TOKENS {
            tokens.clear();
        }
        tokens.insert(repository.key(), token);
    }
}

impl Repository {
    fn key(&self) -> (Scheme, String, String) {
        (self.scheme, self.host.clone(), self.path.clone())
    }
}

pub(super) fn url(text: &str) -> Result<Url, Reason> {
    Url::parse(text).map_err(|_| Reason::Malformed("a URL that cannot be built".to_owned()))
}

pub(super) fn same_origin(a: &Url, b: &Url) -> bool {
    a.scheme() == b.scheme() && a.host_str() == b.host_str() && a.port_or_known_default() == b.port_or_known_default()
}

pub(super) fn limit(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

pub(super) fn compare(expected: &Digest, bytes: &[u8]) -> Result<(), Reason> {
    let got = expected.of_same_algorithm(bytes);
    match got == *expected {
        true => Ok(()),
        false => Err(Reason::DigestMismatch { expected: Box::new(*expected), got: Box::new(got) }),
    }
}

fn read(digest: Digest, bytes: Vec<u8>) -> Result<FetchedManifest, Reason> {
    let manifest = Manifest::parse(&bytes).map_err(|error| Reason::Malformed(error.to_string()))?;
    Ok(FetchedManifest { digest, bytes, manifest })
}

/// Our own full Accept list: with less, registries convert a manifest into another one with another digest.
pub(super) fn manifest_headers() -> HeaderMap {
    let kinds = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
                 application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";
    HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(kinds))])
}

pub(super) fn with(headers: &HeaderMap, token: Option<Token>) -> HeaderMap {
    let mut headers = headers.clone();
    if let Some(token) = token {
        headers.insert(AUTHORIZATION, token.header);
    }
    headers
}
