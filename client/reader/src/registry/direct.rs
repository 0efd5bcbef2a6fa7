//! A connection of its own for one large answer, read in small pieces.
//!
//! The HTTP library reads whatever a socket holds at one time, some 400 kB, and keeps two or three such pieces for each answer:
//! a hundred layers at once would take more than a hundred megabytes. Long pieces are cheaper to read and to pass on. So the few
//! that come alone have long ones, and among many each new one has a short one. A layer is worth a connection; for all else, and where a proxy stands between, the library's own are used. Invariants as in [`super::http`]: plain
//! HTTP only where it is allowed, the same authorities, no redirect. Deliberately absent: keeping connections.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use reqwest::header::{HOST, HeaderMap, HeaderValue, USER_AGENT};
use reqwest::{Body, Method, Response, Url};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::error::{Reason, of_source};
use super::http::{Http, is_this_machine};
use crate::tls;

/// The longest and the shortest piece that is read at one time, in bytes.
const LONG: usize = 512 * 1024;
const SHORT: usize = 64 * 1024;
/// What the pieces of all that run should take together, as long as they are not short already.
const TOGETHER: usize = 3 * 1024 * 1024;
/// The variables with which people name a proxy.
const PROXIES: &[&str] = &["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];

impl Http {
    /// Sends a request without body and gives the answer with its head read; its body comes in small pieces.
    pub(crate) async fn send_direct(&self, method: Method, url: &Url, headers: HeaderMap) -> Result<Response, Reason> {
        self.check(url)?;
        let host = url.host_str().unwrap_or_default();
        if !is_this_machine(host) && PROXIES.iter().any(|name| std::env::var_os(name).is_some()) {
            return self.send(method, url, headers).await;
        }
        let connect = async {
            let bare = host.trim_start_matches('[').trim_end_matches(']');
            let stream = TcpStream::connect((bare, url.port_or_known_default().unwrap_or_default())).await;
            let stream = stream.map_err(|error| of_io(&error, "no connection"))?;
            stream.set_nodelay(true).map_err(|error| of_io(&error, "no connection"))?;
            let running = Running::one_more(&self.running);
            if url.scheme() != "https" {
                return exchange(stream, running, method, url, headers).await;
            }
            let name = ServerName::try_from(bare.to_owned()).map_err(|_| Reason::InvalidHost(bare.to_owned()))?;
            let stream = self.connector()?.connect(name, stream).await;
            let stream = stream.map_err(|error| of_io(&error, "the TLS handshake failed"))?;
            exchange(stream, running, method, url, headers).await
        };
        tokio::time::timeout(self.timeout, connect).await.unwrap_or(Err(Reason::Timeout))
    }

    fn connector(&self) -> Result<&TlsConnector, Reason> {
        if let Some(connector) = self.direct.get() {
            return Ok(connector);
        }
        let connector = TlsConnector::from(Arc::new(tls::client_config(&self.tls)?));
        Ok(self.direct.get_or_init(|| connector))
    }
}

/// One of those that run at a time.
struct Running {
    all: Arc<AtomicUsize>,
    number: usize,
}

impl Running {
    fn one_more(all: &Arc<AtomicUsize>) -> Self {
        Self { all: Arc::clone(all), number: all.fetch_add(1, Ordering::Relaxed).saturating_add(1) }
    }

    /// The longest piece of this one.
    fn piece(&self) -> usize {
        TOGETHER.checked_div(self.number).unwrap_or(SHORT).clamp(SHORT, LONG)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.all.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    running: Running,
    method: Method,
    url: &Url,
    headers: HeaderMap,
) -> Result<Response, Reason> {
    let mut builder = http1::Builder::new();
    let handshake = builder.max_buf_size(running.piece()).handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| of_hyper(&error))?;
    // It ends with the answer, or when nobody wants more of it.
    tokio::spawn(async move {
        let ended = connection.await;
        drop(running);
        ended
    });
    let target = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    let wrong = || Reason::Malformed("a URL that cannot be asked".to_owned());
    let mut request = http::Request::builder().method(method).uri(target).body(Body::default()).map_err(|_| wrong())?;
    *request.headers_mut() = headers;
    let host = match url.port() {
        Some(port) => format!("{}:{port}", url.host_str().unwrap_or_default()),
        None => url.host_str().unwrap_or_default().to_owned(),
    };
    request.headers_mut().insert(HOST, HeaderValue::try_from(host).map_err(|_| wrong())?);
    request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(concat!("trust/", env!("CARGO_PKG_VERSION"))));
    let answer = sender.send_request(request).await.map_err(|error| of_hyper(&error))?;
    Ok(Response::from(answer.map(Body::wrap)))
}

fn of_io(error: &io::Error, otherwise: &'static str) -> Reason {
    of_source(error).unwrap_or(Reason::Unreachable(otherwise))
}

fn of_hyper(error: &hyper::Error) -> Reason {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(current) = source {
        if let Some(reason) = of_source(current) {
            return reason;
        }
        source = current.source();
    }
    Reason::Unreachable("no valid HTTP answer")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_have_long_pieces_and_a_hundred_together_stay_small() {
        let all = Arc::new(AtomicUsize::new(0));
        let running: Vec<_> = (0..100).map(|_| Running::one_more(&all)).collect();
        let pieces: Vec<usize> = running.iter().map(Running::piece).collect();
        assert_eq!((pieces[0], pieces[99]), (LONG, SHORT));
        assert!(pieces.iter().sum::<usize>() < 16 * 1024 * 1024, "{}", pieces.iter().sum::<usize>());
        drop(running);
        assert_eq!(Running::one_more(&all).piece(), LONG);
    }
}
