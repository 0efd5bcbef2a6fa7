//! The HTTP side of the registry client: which scheme a host gets, connections, statuses, and bodies with a counted limit.
//!
//! Invariant: the HTTP library follows no redirect by itself; plain HTTP goes only to this machine or to hosts that the options
//! name; a host of this machine is never reached through a proxy. TLS authorities are loaded at the first TLS connection.

use std::collections::{BTreeSet, HashMap};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Client, Method, Response, StatusCode, Url};
use tokio_rustls::TlsConnector;

use super::error::{NOT_TLS, Reason};
use crate::tls::{self, TlsOptions};

/// Longest body of an answer that is read for its side effects only, in bytes.
const MAX_IGNORED_LEN: u64 = 64 * 1024;

/// How a registry is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }
}

/// Connections to registries and token servers.
pub(crate) struct Http {
    pub(super) tls: TlsOptions,
    plain_hosts: BTreeSet<String>,
    pub(super) timeout: Duration,
    connect_timeout: Duration,
    plain: OnceLock<Client>,
    secure: OnceLock<Client>,
    secure_local: OnceLock<Client>,
    /// For connections with one answer.
    pub(super) direct: OnceLock<TlsConnector>,
    /// Answers on connections of their own, now.
    pub(super) running: Arc<AtomicUsize>,
    probed: Mutex<HashMap<String, Scheme>>,
}

impl Http {
    pub(crate) fn new(
        tls: TlsOptions,
        plain_hosts: BTreeSet<String>,
        timeout: Duration,
        connect_timeout: Duration,
    ) -> Http {
        let probed = Mutex::default();
        Http {
            tls,
            plain_hosts,
            timeout,
            connect_timeout,
            plain: OnceLock::new(),
            secure: OnceLock::new(),
            secure_local: OnceLock::new(),
            direct: OnceLock::new(),
            running: Arc::default(),
            probed,
        }
    }

    /// The scheme of a registry (canonical `HOST[:PORT]`): plain HTTP if the options name it; TLS for every host that is not
    /// this machine. A registry on this machine gets plain HTTP unless authorities were given: then it is asked whether it
    /// speaks TLS.
    pub(crate) async fn scheme_of(&self, host: &str) -> Result<Scheme, Reason> {
        if self.plain_hosts.contains(host) {
            return Ok(Scheme::Http);
        }
        if !is_this_machine(host) {
            return Ok(Scheme::Https);
        }
        if self.tls.ca_files.is_empty() {
            return Ok(Scheme::Http);
        }
        if let Some(scheme) = self.probed.lock().unwrap_or_else(PoisonError::into_inner).get(host) {
            return Ok(*scheme);
        }
        let url = Url::parse(&format!("https://{host}/v2/")).map_err(|_| Reason::InvalidHost(host.to_owned()))?;
        let scheme = match self.send(Method::GET, &url, HeaderMap::new()).await {
            Ok(answer) => {
                // Read to its end so that the connection can be used again; the body says nothing.
                let _ = self.body(answer, MAX_IGNORED_LEN).await;
                Scheme::Https
            }
            Err(Reason::Unreachable(NOT_TLS)) => Scheme::Http,
            Err(other) => return Err(other),
        };
        self.probed.lock().unwrap_or_else(PoisonError::into_inner).insert(host.to_owned(), scheme);
        Ok(scheme)
    }

    /// Whether a URL may be asked at all: TLS, or plain HTTP where it is allowed.
    pub(crate) fn check(&self, url: &Url) -> Result<(), Reason> {
        let host = host_of(url);
        match url.scheme() {
            "https" => Ok(()),
            "http" if is_this_machine(&host) || self.plain_hosts.contains(&host) => Ok(()),
            "http" => Err(Reason::InsecureRefused(host)),
            _ => Err(Reason::Malformed("a URL that is neither http nor https".to_owned())),
        }
    }

    /// Sends a request without body and gives the answer with its head read. Any status is an answer.
    pub(crate) async fn send(&self, method: Method, url: &Url, headers: HeaderMap) -> Result<Response, Reason> {
        self.run(self.client(url)?.request(method, url.clone()).headers(headers)).await
    }

    /// Sends a request with a body that is passed on as it comes.
    pub(crate) async fn send_body(
        &self,
        method: Method,
        url: &Url,
        headers: HeaderMap,
        body: reqwest::Body,
    ) -> Result<Response, Reason> {
        self.run(self.client(url)?.request(method, url.clone()).headers(headers).body(body)).await
    }

    /// Posts a form (already encoded).
    pub(crate) async fn post_form(&self, url: &Url, form: String) -> Result<Response, Reason> {
        let kind = (reqwest::header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.run(self.client(url)?.post(url.clone()).header(kind.0, kind.1).body(form)).await
    }

    async fn run(&self, request: reqwest::RequestBuilder) -> Result<Response, Reason> {
        request.timeout(self.timeout).send().await.map_err(|error| Reason::of_http(&error))
    }

    /// Reads a body of at most `limit` bytes; the count is ours, whatever `Content-Length` says.
    pub(crate) async fn body(&self, mut answer: Response, limit: u64) -> Result<Vec<u8>, Reason> {
        let too_large = Reason::TooLarge { limit };
        if answer.content_length().is_some_and(|len| len > limit) {
            return Err(too_large);
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| Reason::of_http(&error))? {
            let len = bytes.len().saturating_add(chunk.len());
            if u64::try_from(len).is_ok_and(|len| len > limit) {
                return Err(too_large);
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    fn client(&self, url: &Url) -> Result<&Client, Reason> {
        self.check(url)?;
        let local = is_this_machine(&host_of(url));
        let (slot, secure) = match (url.scheme(), local) {
            ("http", _) => (&self.plain, false),
            (_, true) => (&self.secure_local, true),
            _ => (&self.secure, true),
        };
        if let Some(client) = slot.get() {
            return Ok(client);
        }
        let config = if secure { tls::client_config(&self.tls)? } else { tls::trusting_nobody()? };
        let mut builder = Client::builder()
            .tls_backend_preconfigured(config)
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .connect_timeout(self.connect_timeout)
            .user_agent(concat!("trust/", env!("CARGO_PKG_VERSION")));
        if local || !secure {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|_| Reason::Unreachable("the HTTP client cannot be set up"))?;
        Ok(slot.get_or_init(|| client))
    }
}

/// What a status other than 200 means.
pub(crate) fn refusal(status: StatusCode, headers: &HeaderMap, credentials_sent: bool) -> Reason {
    match status.as_u16() {
        401 => Reason::Unauthorized { credentials_sent },
        403 => Reason::Forbidden,
        404 => Reason::NotFound,
        429 => Reason::RateLimited { retry_after: retry_after(headers) },
        300..=399 => Reason::RedirectRefused,
        other => Reason::Upstream(other),
    }
}

/// `Retry-After` in whole seconds; the form with a date is not read.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse::<u32>().ok()?;
    Some(Duration::from_secs(seconds.into()))
}

/// `HOST[:PORT]` of a URL in the canonical form of image names.
pub(crate) fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) if port != 443 => format!("{host}:{port}"),
        _ => host.to_owned(),
    }
}

/// Whether `HOST[:PORT]` is a loopback address or `localhost`.
pub(crate) fn is_this_machine(host: &str) -> bool {
    if let Some((address, _)) = host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return address.parse().is_ok_and(|address: Ipv6Addr| address.is_loopback());
    }
    let name = host.split_once(':').map_or(host, |(name, _)| name);
    name == "localhost" || name.parse().is_ok_and(|address: Ipv4Addr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_only_look_like_this_machine_are_not() {
        for host in [
            "localhost.example.com",
            "127.0.0.1.example.com",
            "127.0.0.1.nip.io:80",
            "128.0.0.1",
            "127.1",
            "0x7f.0.0.1",
            "[::2]",
            "[::ffff:127.0.0.1]:80",
            "example.com",
            "localhostx:1",
            "0.0.0.0",
        ] {
            assert!(!is_this_machine(host), "{host}");
        }
        for host in ["localhost", "localhost:5000", "127.0.0.1:5000", "127.9.9.9", "[::1]", "[::1]:5000"] {
            assert!(is_this_machine(host), "{host}");
        }
    }

    #[test]
    fn plain_http_is_refused_for_every_other_host_and_port() {
        let http = Http::new(
            TlsOptions::default(),
            ["plain.example.com:5000".to_owned()].into(),
            Duration::from_secs(1),
            Duration::from_secs(1),
        );
        let check = |url: &str| http.check(&Url::parse(url).unwrap());
        assert_eq!(check("http://plain.example.com/"), Err(Reason::InsecureRefused("plain.example.com".to_owned())));
        assert_eq!(check("http://user@example.com/"), Err(Reason::InsecureRefused("example.com".to_owned())));
        assert_eq!(
            check("http://localhost.example.com/"),
            Err(Reason::InsecureRefused("localhost.example.com".to_owned()))
        );
        assert!(matches!(check("file:///etc/passwd"), Err(Reason::Malformed(_))));
        assert_eq!(check("http://plain.example.com:5000/x"), Ok(()));
        assert_eq!(check("http://127.0.0.1:5000/x"), Ok(()));
        assert_eq!(check("http://[::1]:5000/x"), Ok(()));
        assert_eq!(check("https://example.com/x"), Ok(()));
    }
}
