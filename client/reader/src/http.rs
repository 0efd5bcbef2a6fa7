//! HTTP to a `trust-server`, or to any TUF repository: reading with a counted limit, writing JSON.
//!
//! - HTTP/1.1, no compression asked for and none accepted; TLS by [`crate::tls`].
//! - The limit holds on the body as it is read, whatever `Content-Length` says; a stated length over it fails at once.
//! - Time is bounded four ways: to connect, between two packets, in all, and by a least rate ([`crate::limits`]).
//! - At most three redirects, same host, never from TLS to plain HTTP; the token never follows one.
//! - Plain HTTP goes to this machine only, or where it is allowed explicitly; this machine is never reached by a proxy.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{
    AGE, AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, DATE, HeaderMap, HeaderValue, LOCATION, PRAGMA,
    RETRY_AFTER,
};
use reqwest::{Client, Method, Response, StatusCode, Url};
use tokio::time::Instant;
use trust_tuf::UtcTime;

use crate::limits;
use crate::registry::Reason as RegistryReason;
use crate::tls::{self, TlsOptions};
use crate::transport::{Body, FetchError, Pieces, TimeLimit, Transport};

const NO_DATE: i64 = i64::MIN;

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
            connect: limits::CONNECT,
            idle: limits::IDLE,
            whole: limits::WHOLE,
            grace: limits::GRACE,
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
        if text.is_empty() || text.len() > limits::TOKEN_BYTES || !text.bytes().all(|b| b.is_ascii_graphic()) {
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
    // Unix seconds by the `Date` of the last answer; `NO_DATE` before there is one.
    said: Arc<AtomicI64>,
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
        Ok(Self { base: Arc::new(base), client, options: Arc::new(options), said: Arc::new(AtomicI64::new(NO_DATE)) })
    }

    /// The address, with a `/` at its end.
    pub fn address(&self) -> &str {
        self.base.as_str()
    }

    async fn get(&self, path: &str, limit: u64, past_caches: bool) -> Result<Bytes, FetchError> {
        let whole = async { self.get_following(path, limit, past_caches).await?.whole().await };
        tokio::time::timeout(self.options.whole, whole).await.unwrap_or_else(|_| Err(self.late()))
    }

    async fn get_following(&self, path: &str, limit: u64, past_caches: bool) -> Result<Received, FetchError> {
        let mut url = self.url(path)?;
        for hop in 0..=limits::REDIRECTS {
            let mut headers = HeaderMap::new();
            if past_caches {
                headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
                headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
            }
            if let (Some(Token(token)), 0) = (&self.options.token, hop) {
                headers.insert(AUTHORIZATION, token.clone());
            }
            let answer = self
                .client
                .get(url.clone())
                .headers(headers)
                .send()
                .await
                .map_err(|error| of_http(&error, &self.options))?;
            self.said.store(date(answer.headers()).map_or(NO_DATE, UtcTime::unix), Ordering::Relaxed);
            let status = answer.status();
            if matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
                url = redirected(&url, answer.headers())?;
                continue;
            }
            return match status {
                StatusCode::OK => Received::new(answer, limit, &self.options),
                other => Err(of_status(other, answer.headers())),
            };
        }
        Err(FetchError::Redirects { limit: limits::REDIRECTS })
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
            let answer = request.send().await.map_err(|error| of_http(&error, &self.options))?;
            let (status, retry_after) = (answer.status().as_u16(), retry_after(answer.headers()));
            let body = Received::new(answer, limit, &self.options)?.whole().await?;
            Ok(Answer { status, retry_after, body })
        };
        let late = Err(FetchError::Timeout(TimeLimit::Whole(whole)));
        tokio::time::timeout(whole, exchange).await.unwrap_or(late)
    }

    fn late(&self) -> FetchError {
        FetchError::Timeout(TimeLimit::Whole(self.options.whole))
    }

    fn url(&self, path: &str) -> Result<Url, FetchError> {
        Url::parse(&format!("{}{path}", self.base)).map_err(|_| FetchError::Setup("no URL can be made".to_owned()))
    }
}

/// A body as it is read. The end of the connection is its end only where no other one was stated.
struct Received {
    answer: Response,
    limit: u64,
    options: Arc<HttpOptions>,
    began: Instant,
    len: u64,
}

impl Received {
    fn new(answer: Response, limit: u64, options: &Arc<HttpOptions>) -> Result<Self, FetchError> {
        if answer.headers().get_all(CONTENT_ENCODING).iter().any(|v| v.as_bytes() != b"identity") {
            return Err(FetchError::Encoding);
        }
        if answer.content_length().is_some_and(|len| len > limit) {
            return Err(FetchError::TooLarge { limit });
        }
        Ok(Self { answer, limit, options: Arc::clone(options), began: Instant::now(), len: 0 })
    }

    async fn piece(&mut self) -> Result<Option<Bytes>, FetchError> {
        let piece = self.answer.chunk().await.map_err(|error| of_body(&error, &self.options))?;
        let Some(piece) = piece else { return Ok(None) };
        self.len = self.len.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        if self.len > self.limit {
            return Err(FetchError::TooLarge { limit: self.limit });
        }
        let elapsed = self.began.elapsed();
        if elapsed > self.options.grace && self.len / elapsed.as_secs().max(1) < limits::LEAST_RATE {
            return Err(FetchError::Timeout(TimeLimit::Rate(limits::LEAST_RATE)));
        }
        Ok(Some(piece))
    }

    async fn whole(mut self) -> Result<Bytes, FetchError> {
        let mut bytes = BytesMut::new();
        while let Some(piece) = self.piece().await? {
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes.freeze())
    }
}

impl Pieces for Received {
    fn next(&mut self) -> Pin<Box<dyn Future<Output = Result<Option<Bytes>, FetchError>> + Send + '_>> {
        Box::pin(self.piece())
    }
}

impl Transport for HttpTransport {
    async fn fetch(&self, path: &str, limit: u64) -> Result<Bytes, FetchError> {
        self.get(path, limit, false).await
    }

    async fn fetch_past_caches(&self, path: &str, limit: u64) -> Result<Bytes, FetchError> {
        self.get(path, limit, true).await
    }

    /// The time of the whole is for the answer to begin; then the least rate bounds it.
    async fn open(&self, path: &str, limit: u64) -> Result<Body, FetchError> {
        let answer = tokio::time::timeout(self.options.whole, self.get_following(path, limit, false)).await;
        Ok(Box::new(answer.unwrap_or_else(|_| Err(self.late()))?))
    }

    fn describe(&self) -> String {
        self.base.as_str().trim_end_matches('/').to_owned()
    }

    fn server_time(&self) -> Option<UtcTime> {
        Some(self.said.load(Ordering::Relaxed)).filter(|said| *said != NO_DATE).and_then(UtcTime::from_unix)
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

/// Whether an address can be that of a server: `https://` or `http://`, without a user name, password or query.
pub fn check_address(address: &str) -> Result<(), FetchError> {
    read_address(address).map(drop)
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

/// `Date`, and the time since then for which a cache on the way says it held the answer.
fn date(headers: &HeaderMap) -> Option<UtcTime> {
    let text = headers.get(DATE)?.to_str().ok()?;
    let made = UtcTime::from_unix(chrono::DateTime::parse_from_rfc2822(text).ok()?.timestamp())?;
    let held = headers.get(AGE).and_then(|age| age.to_str().ok()?.trim().parse::<u32>().ok());
    made.plus_secs(held.map_or(0, i64::from))
}

/// What an error of the HTTP library means. Its own text is not used.
fn of_http(error: &reqwest::Error, options: &HttpOptions) -> FetchError {
    match RegistryReason::of_http(error) {
        RegistryReason::Timeout if error.is_connect() => FetchError::Timeout(TimeLimit::Connect(options.connect)),
        RegistryReason::Timeout => FetchError::Timeout(TimeLimit::Idle(options.idle)),
        RegistryReason::Certificate(why) => FetchError::Certificate(why),
        RegistryReason::Unreachable(why) => FetchError::Unreachable(why),
        _ => FetchError::Unreachable("no valid HTTP answer"),
    }
}

/// The same once the body has begun.
fn of_body(error: &reqwest::Error, options: &HttpOptions) -> FetchError {
    match of_http(error, options) {
        FetchError::Unreachable(_) => FetchError::Truncated,
        other => other,
    }
}

#[cfg(test)]
mod tests;
