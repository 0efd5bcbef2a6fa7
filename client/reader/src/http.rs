//! HTTP to a `trust-server`, or to any TUF repository: reading with a counted limit, writing JSON.
//!
//! - HTTP/1.1, no compression asked for and none accepted; TLS by [`crate::tls`].
//! - The limit holds on the body as it is read, whatever `Content-Length` says; a stated length over it fails at once.
//! - Time is bounded four ways: to connect, between two packets, in all, and by a least rate.
//! - At most three redirects, same host, never from TLS to plain HTTP; the token never follows one.
//! - Plain HTTP goes to this machine only, or where it is allowed explicitly; this machine is never reached by a proxy.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, PRAGMA, RETRY_AFTER,
};
use reqwest::{Client, Method, Response, StatusCode, Url};
use tokio::time::Instant;

use crate::registry::Reason as RegistryReason;
use crate::tls::{self, TlsOptions};
use crate::transport::{FetchError, Transport};

const MAX_REDIRECTS: usize = 3;
/// Longest token, in bytes.
const MAX_TOKEN: usize = 4_096;
/// A body comes with at least this many bytes a second, once the grace is over.
const LEAST_RATE: u64 = 1_024;

/// How a server is reached.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// Authorities of TLS.
    pub tls: TlsOptions,
    /// A token for the server; sent to it alone.
    pub token: Option<Token>,
    /// Whether plain HTTP to another machine is allowed.
    pub allow_plain_http: bool,
    /// How long a connection may take to come up.
    pub connect: Duration,
    /// How long nothing may come.
    pub idle: Duration,
    /// How long one file may take in all.
    pub whole: Duration,
    /// How long a body may come slower than 1 KB/s.
    pub grace: Duration,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            tls: TlsOptions::default(),
            token: None,
            allow_plain_http: false,
            connect: Duration::from_secs(10),
            idle: Duration::from_secs(30),
            whole: Duration::from_secs(60),
            grace: Duration::from_secs(10),
        }
    }
}

/// A bearer token. It is never printed.
#[derive(Clone)]
pub struct Token(HeaderValue);

impl Token {
    /// Reads a token; surrounding white space is dropped. `None` if it is empty, too long or cannot stand in a header.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.is_empty() || text.len() > MAX_TOKEN || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return None;
        }
        let mut value = HeaderValue::from_str(&format!("Bearer {text}")).ok()?;
        value.set_sensitive(true);
        Some(Self(value))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

/// An answer to a request that writes: any status.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) body: Bytes,
}

/// Fetches over HTTP.
#[derive(Clone)]
pub struct HttpTransport {
    base: Arc<Url>,
    client: Client,
    options: Arc<HttpOptions>,
}

impl fmt::Debug for HttpTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpTransport").field("base", &self.base.as_str()).finish_non_exhaustive()
    }
}

impl HttpTransport {
    /// A transport to this address (`https://HOST[:PORT][/PATH]`). Files of authorities are read here, for TLS alone.
    pub fn new(address: &str, options: HttpOptions) -> Result<Self, FetchError> {
        let base = read_address(address)?;
        let local = is_this_machine(&base);
        let secure = base.scheme() == "https";
        if !secure && !local && !options.allow_plain_http {
            return Err(FetchError::InsecureRefused);
        }
        // A redirect may lead from plain HTTP to TLS.
        let config = if secure || !local { tls::client_config(&options.tls) } else { tls::trusting_nobody() };
        let mut builder = Client::builder()
            .tls_backend_preconfigured(config.map_err(|error| FetchError::Setup(error.to_string()))?)
            .http1_only()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .connect_timeout(options.connect)
            .read_timeout(options.idle)
            .user_agent(concat!("trust/", env!("CARGO_PKG_VERSION")));
        if local {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|_| FetchError::Setup("the HTTP client cannot be set up".to_owned()))?;
        Ok(Self { base: Arc::new(base), client, options: Arc::new(options) })
    }

    /// The address, with a `/` at its end.
    pub fn address(&self) -> &str {
        self.base.as_str()
    }

    async fn get(&self, path: &str, limit: u64, past_caches: bool) -> Result<Bytes, FetchError> {
        let whole = self.options.whole;
        tokio::time::timeout(whole, self.get_following(path, limit, past_caches))
            .await
            .unwrap_or(Err(FetchError::Timeout))
    }

    async fn get_following(&self, path: &str, limit: u64, past_caches: bool) -> Result<Bytes, FetchError> {
        let mut url = self.url(path)?;
        for hop in 0..=MAX_REDIRECTS {
            let mut headers = HeaderMap::new();
            if past_caches {
                headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
                headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
            }
            if let (Some(Token(token)), 0) = (&self.options.token, hop) {
                headers.insert(AUTHORIZATION, token.clone());
            }
            let answer =
                self.client.get(url.clone()).headers(headers).send().await.map_err(|error| of_http(&error, false))?;
            let status = answer.status();
            if matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
                url = redirected(&url, answer.headers())?;
                continue;
            }
            return match status {
                StatusCode::OK => self.body(answer, limit).await,
                other => Err(of_status(other, answer.headers())),
            };
        }
        Err(FetchError::Redirect)
    }

    /// Sends a request with or without a JSON body. Nothing is followed; any status is an answer.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
        limit: u64,
        whole: Duration,
    ) -> Result<Answer, FetchError> {
        let mut request = self.client.request(method, self.url(path)?);
        if let Some(Token(token)) = &self.options.token {
            request = request.header(AUTHORIZATION, token.clone());
        }
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json").body(body);
        }
        let exchange = async {
            let answer = request.send().await.map_err(|error| of_http(&error, false))?;
            let (status, retry_after) = (answer.status().as_u16(), retry_after(answer.headers()));
            let body = self.body(answer, limit).await?;
            Ok(Answer { status, retry_after, body })
        };
        tokio::time::timeout(whole, exchange).await.unwrap_or(Err(FetchError::Timeout))
    }

    fn url(&self, path: &str) -> Result<Url, FetchError> {
        Url::parse(&format!("{}{path}", self.base)).map_err(|_| FetchError::Setup("no URL can be made".to_owned()))
    }

    async fn body(&self, mut answer: Response, limit: u64) -> Result<Bytes, FetchError> {
        if answer.headers().get_all(CONTENT_ENCODING).iter().any(|v| v.as_bytes() != b"identity") {
            return Err(FetchError::Encoding);
        }
        if answer.content_length().is_some_and(|len| len > limit) {
            return Err(FetchError::TooLarge { limit });
        }
        let began = Instant::now();
        let mut bytes = BytesMut::new();
        loop {
            let chunk = answer.chunk().await.map_err(|error| of_http(&error, true))?;
            let Some(chunk) = chunk else { return Ok(bytes.freeze()) };
            let len = u64::try_from(bytes.len().saturating_add(chunk.len())).unwrap_or(u64::MAX);
            if len > limit {
                return Err(FetchError::TooLarge { limit });
            }
            bytes.extend_from_slice(&chunk);
            let elapsed = began.elapsed();
            if elapsed > self.options.grace && len / elapsed.as_secs().max(1) < LEAST_RATE {
                return Err(FetchError::Timeout);
            }
        }
    }
}

impl Transport for HttpTransport {
    async fn fetch(&self, path: &str, limit: u64) -> Result<Bytes, FetchError> {
        self.get(path, limit, false).await
    }

    async fn fetch_past_caches(&self, path: &str, limit: u64) -> Result<Bytes, FetchError> {
        self.get(path, limit, true).await
    }

    fn describe(&self) -> String {
        self.base.as_str().trim_end_matches('/').to_owned()
    }
}

/// An address as it may be shown: a user name or password in it is left out, whether or not the rest is an address.
pub fn shown_address(address: &str) -> String {
    let (scheme, rest) = address.split_once("://").unwrap_or(("", address));
    match rest.rsplit_once('@') {
        None => address.to_owned(),
        Some((_, place)) if scheme.is_empty() => format!("…@{place}"),
        Some((_, place)) => format!("{scheme}://…@{place}"),
    }
}

fn read_address(address: &str) -> Result<Url, FetchError> {
    let setup = |why: &str| FetchError::Setup(format!("the server's address cannot be used: {why}"));
    let mut text = address.to_owned();
    if !text.ends_with('/') {
        text.push('/');
    }
    let url = Url::parse(&text).map_err(|_| setup("it is no URL"))?;
    if !matches!(url.scheme(), "https" | "http") || url.host_str().is_none() {
        return Err(setup("it is neither https:// nor http://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(setup("it holds a user name or password, which would be shown in messages"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(setup("it holds a query or fragment"));
    }
    Ok(url)
}

fn is_this_machine(url: &Url) -> bool {
    url.host_str().is_some_and(|host| {
        let address = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        host == "localhost" || address.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
    })
}

fn redirected(from: &Url, headers: &HeaderMap) -> Result<Url, FetchError> {
    let target = headers.get(LOCATION).and_then(|value| value.to_str().ok()).ok_or(FetchError::Redirect)?;
    let to = from.join(target).map_err(|_| FetchError::Redirect)?;
    let same_port = from.port_or_known_default() == to.port_or_known_default();
    let allowed = match (from.scheme(), to.scheme()) {
        ("http", "https") => true,
        (a, b) => a == b && same_port,
    };
    if allowed && from.host_str() == to.host_str() { Ok(to) } else { Err(FetchError::Redirect) }
}

fn of_status(status: StatusCode, headers: &HeaderMap) -> FetchError {
    match status.as_u16() {
        401 => FetchError::Unauthorized,
        403 => FetchError::Forbidden,
        404 => FetchError::NotFound,
        429 => FetchError::RateLimited { retry_after: retry_after(headers) },
        300..=399 => FetchError::Redirect,
        other => FetchError::Status(other),
    }
}

/// `Retry-After` in whole seconds; the form with a date is not read.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse::<u32>().ok()?;
    Some(Duration::from_secs(seconds.into()))
}

/// What an error of the HTTP library means. Its own text is not used.
fn of_http(error: &reqwest::Error, in_body: bool) -> FetchError {
    match RegistryReason::of_http(error) {
        RegistryReason::Timeout => FetchError::Timeout,
        RegistryReason::Certificate(why) => FetchError::Certificate(why),
        _ if in_body => FetchError::Truncated,
        RegistryReason::Unreachable(why) => FetchError::Unreachable(why),
        _ => FetchError::Unreachable("no valid HTTP answer"),
    }
}

#[cfg(test)]
mod tests;
