//! A small HTTP server for tests: each request goes to a closure, which answers, lies, stalls or floods.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use trust_image::{Digest, Reference};

use super::{RegistryClient, RegistryOptions};

pub(super) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(super) const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// Held by tests that write a program and start it: a fork of another test would inherit the file while it is open for
/// writing, and the start would fail with "text file busy".
pub(super) static STARTING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: String,
}

impl Request {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

pub(super) enum Answer {
    /// A whole answer; `Content-Length` is added.
    Full(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// These bytes and then the end of the connection.
    Raw(Vec<u8>),
    /// A chunked body without end.
    Endless,
    /// The head of an answer, then one byte in 50 ms without end.
    Drip,
    /// Nothing at all, until the client leaves.
    Silence,
}

pub(super) fn ok(body: impl Into<Vec<u8>>) -> Answer {
    Answer::Full(200, Vec::new(), body.into())
}

pub(super) fn status(code: u16) -> Answer {
    Answer::Full(code, Vec::new(), b"{\"errors\":[]}".to_vec())
}

pub(super) fn with(code: u16, name: &'static str, value: impl Into<String>) -> Answer {
    Answer::Full(code, vec![(name, value.into())], Vec::new())
}

pub(super) struct FakeRegistry {
    pub(super) port: u16,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl FakeRegistry {
    pub(super) async fn start(handler: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> FakeRegistry {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (log, handler) = (Arc::clone(&seen), Arc::new(handler));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (log, handler) = (Arc::clone(&log), Arc::clone(&handler));
                tokio::spawn(async move { serve(stream, &log, &*handler).await });
            }
        });
        FakeRegistry { port, seen }
    }

    /// A registry that serves these documents under `/v2/team/app`, each by its digest, and a tag `v1` for the last one.
    pub(super) async fn holding(documents: Vec<Vec<u8>>) -> FakeRegistry {
        FakeRegistry::start(move |request| hold(&documents, &request.path)).await
    }

    pub(super) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(super) fn image(&self, rest: &str) -> Reference {
        Reference::parse(&format!("{}/team/app{rest}", self.host())).unwrap()
    }

    pub(super) fn by_digest(&self, content: &[u8]) -> Reference {
        self.image(&format!("@{}", Digest::of(content)))
    }

    pub(super) fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }

    pub(super) fn asked(&self) -> Vec<String> {
        self.seen().iter().map(|request| format!("{} {}", request.method, request.path)).collect()
    }
}

pub(super) fn hold(documents: &[Vec<u8>], path: &str) -> Answer {
    let last = path.rsplit('/').next().unwrap();
    let found = documents.iter().find(|document| Digest::of(document).to_string() == last);
    let found = found.or(if last == "v1" { documents.last() } else { None });
    match found {
        Some(document) if path.starts_with("/v2/team/app/") => ok(document.clone()),
        _ => status(404),
    }
}

pub(super) fn client() -> RegistryClient {
    RegistryClient::new(RegistryOptions::default()).unwrap()
}

async fn serve(mut stream: TcpStream, log: &Mutex<Vec<Request>>, handler: &(dyn Fn(&Request) -> Answer + Send + Sync)) {
    let Some(request) = read(&mut stream).await else { return };
    log.lock().unwrap().push(request.clone());
    let head_only = request.method == "HEAD";
    match handler(&request) {
        Answer::Full(code, headers, body) => {
            let mut text = format!("HTTP/1.1 {code} X\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
            for (name, value) in headers {
                text.push_str(&format!("{name}: {value}\r\n"));
            }
            text.push_str("\r\n");
            let _ = stream.write_all(text.as_bytes()).await;
            if !head_only {
                let _ = stream.write_all(&body).await;
            }
        }
        Answer::Raw(bytes) => {
            let _ = stream.write_all(&bytes).await;
        }
        Answer::Endless => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
            let chunk = [b"10000\r\n".as_slice(), &[b'x'; 0x10000], b"\r\n"].concat();
            while stream.write_all(&chunk).await.is_ok() {}
        }
        Answer::Drip => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
            while stream.write_all(b"1\r\nx\r\n").await.is_ok() {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        }
        Answer::Silence => {
            let _ = stream.read(&mut [0u8; 1]).await;
        }
    }
    let _ = stream.shutdown().await;
}

async fn read(stream: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    let mut buffer = [0u8; 4096];
    loop {
        let n = stream.read(&mut buffer).await.ok().filter(|n| *n > 0)?;
        bytes.extend_from_slice(&buffer[..n]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let mut lines = head.lines();
        let mut first = lines.next()?.split(' ');
        let (method, path) = (first.next()?.to_owned(), first.next()?.to_owned());
        let headers: BTreeMap<_, _> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let length: usize = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
        if body.len() >= length {
            return Some(Request { method, path, headers, body: body.to_owned() });
        }
    }
}
