//! A gate on loopback between a hostile upstream and a decider that says what the test wants.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use trust_image::{Digest, Manifest};
use trust_reader::catalogue::exit;
use trust_reader::registry::{Upstream, UpstreamOptions};

use super::door;
use super::permit::Permits;
use super::ruling::{Asked, Denial, Rules, Ruling, SignedImage};

pub(super) const HOST: &str = "registry.example.com";
pub(super) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// How the upstream answers.
#[derive(Clone)]
pub(super) enum Answer {
    /// A whole answer; `Content-Length` is added.
    Full(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// These bytes and then the end of the connection.
    Raw(Vec<u8>),
}

pub(super) fn ok(body: impl Into<Vec<u8>>) -> Answer {
    Answer::Full(200, Vec::new(), body.into())
}

pub(super) fn with(code: u16, name: &'static str, value: impl Into<String>) -> Answer {
    Answer::Full(code, vec![(name, value.into())], Vec::new())
}

/// The upstream: holds content by path, and lies where it was told to.
#[derive(Default)]
pub(super) struct Hostile {
    content: Mutex<HashMap<String, Vec<u8>>>,
    lies: Mutex<HashMap<String, Answer>>,
    asked: Mutex<Vec<(String, BTreeMap<String, String>)>>,
}

impl Hostile {
    /// Holds this under `/v2/NAME/KIND/DIGEST`.
    pub(super) fn hold(&self, name: &str, kind: &str, content: &[u8]) -> Digest {
        let digest = Digest::of(content);
        self.content.lock().unwrap().insert(format!("/v2/{name}/{kind}/{digest}"), content.to_vec());
        digest
    }

    pub(super) fn lie(&self, path: &str, answer: Answer) {
        self.lies.lock().unwrap().insert(path.to_owned(), answer);
    }

    /// `METHOD PATH` of the requests so far.
    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().iter().map(|(line, _)| line.clone()).collect()
    }

    /// The values of one header in all requests so far.
    pub(super) fn headers(&self, name: &str) -> Vec<String> {
        self.asked.lock().unwrap().iter().filter_map(|(_, headers)| headers.get(name).cloned()).collect()
    }

    fn answer(&self, line: &str, headers: BTreeMap<String, String>) -> Answer {
        let path = line.split(' ').nth(1).unwrap().to_owned();
        let range = headers.get("range").cloned();
        self.asked.lock().unwrap().push((line.to_owned(), headers));
        if let Some(lie) = self.lies.lock().unwrap().get(&path) {
            return lie.clone();
        }
        let Some(content) = self.content.lock().unwrap().get(&path).cloned() else {
            return Answer::Full(404, Vec::new(), br#"{"errors":[{"code":"UPSTREAM_SAYS"}]}"#.to_vec());
        };
        let junk = vec![
            ("Set-Cookie", "session=upstream".to_owned()),
            ("Link", "<http://evil.example/>".to_owned()),
            ("WWW-Authenticate", "Basic realm=\"upstream\"".to_owned()),
            ("Content-Type", "text/html".to_owned()),
            ("Docker-Content-Digest", Digest::of(b"a lie").to_string()),
        ];
        match range.as_deref().and_then(|r| r.strip_prefix("bytes=")?.split_once('-')) {
            Some((first, last)) => {
                let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
                let stated = format!("bytes {first}-{last}/{}", content.len());
                Answer::Full(206, [junk, vec![("Content-Range", stated)]].concat(), content[first..=last].to_vec())
            }
            None => Answer::Full(200, junk, content),
        }
    }

    pub(super) async fn start() -> (Arc<Hostile>, SocketAddr) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let hostile = Arc::new(Hostile::default());
        let shared = Arc::clone(&hostile);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move { serve(stream, &shared).await });
            }
        });
        (hostile, address)
    }
}

async fn serve(mut stream: TcpStream, hostile: &Hostile) {
    let mut bytes = Vec::new();
    let mut buffer = [0_u8; 4096];
    let head = loop {
        let Ok(n @ 1..) = stream.read(&mut buffer).await else { return };
        bytes.extend_from_slice(&buffer[..n]);
        if let Some((head, _)) = String::from_utf8_lossy(&bytes).split_once("\r\n\r\n") {
            break head.to_owned();
        }
    };
    let (line, rest) = head.split_once("\r\n").unwrap_or((&head, ""));
    let pair = |line: &str| line.split_once(": ").map(|(n, v)| (n.to_ascii_lowercase(), v.to_owned()));
    let line = line.trim_end_matches(" HTTP/1.1");
    match hostile.answer(line, rest.lines().filter_map(pair).collect()) {
        Answer::Raw(bytes) => {
            let _ = stream.write_all(&bytes).await;
        }
        Answer::Full(code, headers, body) => {
            let mut text = format!("HTTP/1.1 {code} X\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
            headers.iter().for_each(|(name, value)| text.push_str(&format!("{name}: {value}\r\n")));
            let _ = stream.write_all(format!("{text}\r\n").as_bytes()).await;
            if !line.starts_with("HEAD ") {
                let _ = stream.write_all(&body).await;
            }
        }
    }
    let _ = stream.shutdown().await;
}

/// A decider that says what it was told.
#[derive(Default)]
pub(super) struct Fake {
    allowed: Mutex<HashMap<String, (Digest, u64)>>,
    denied: Mutex<HashMap<String, Denial>>,
    signed: Mutex<HashMap<String, Vec<SignedImage>>>,
    revoked: Mutex<Vec<Digest>>,
    judged: Mutex<Option<HashMap<Digest, Vec<Digest>>>>,
    pub(super) trouble: Mutex<Option<Denial>>,
    /// What was asked aloud.
    pub(super) log: Mutex<Vec<String>>,
}

impl Fake {
    /// Signs a manifest under a tag and by its digest, as `trust sign` does.
    pub(super) fn sign(&self, name: &str, tag: &str, manifest: &[u8]) -> Digest {
        let (digest, length) = (Digest::of(manifest), manifest.len() as u64);
        self.sign_tag_alone(name, tag, manifest);
        self.allowed.lock().unwrap().insert(format!("{HOST}/{name}@{digest}"), (digest, length));
        let parts = match Manifest::parse(manifest) {
            Ok(Manifest::Index(index)) => index.manifests.iter().map(|entry| entry.digest).collect(),
            _ => Vec::new(),
        };
        let entry = SignedImage { tag: None, digest, parts };
        self.signed.lock().unwrap().entry(format!("{HOST}/{name}")).or_default().push(entry);
        digest
    }

    /// Signs as a TUF client does that knows no entries by digest.
    pub(super) fn sign_tag_alone(&self, name: &str, tag: &str, manifest: &[u8]) -> Digest {
        let (digest, length) = (Digest::of(manifest), manifest.len() as u64);
        self.allowed.lock().unwrap().insert(format!("{HOST}/{name}:{tag}"), (digest, length));
        let entry = SignedImage { tag: Some(tag.to_owned()), digest, parts: Vec::new() };
        self.signed.lock().unwrap().entry(format!("{HOST}/{name}")).or_default().push(entry);
        digest
    }

    /// What is signed is not listed: names can have more images than a list holds.
    pub(super) fn unlist(&self) {
        self.signed.lock().unwrap().clear();
    }

    /// The policy denies all that was signed under this digest.
    pub(super) fn deny(&self, digest: &Digest, line: &str) {
        let images = self.allowed.lock().unwrap();
        let found = images.iter().filter(|(_, (d, _))| d == digest).map(|(image, _)| image.clone());
        let denial = Denial {
            exit: exit::POLICY_DENIED,
            line: line.to_owned(),
            digest: Some(digest.to_string()),
            policy: Some("registry.example.com/policy@3".to_owned()),
            rules: vec!["pii-stays-at-home".to_owned()],
            hint: Some("ask data-protection@example.com".to_owned()),
        };
        self.denied.lock().unwrap().extend(found.map(|image| (image, denial.clone())));
    }

    /// From now on a policy decides. It judged these images of this index, which are all that its facts list as runnable.
    pub(super) fn judge(&self, index: &[u8], images: &[&[u8]]) {
        let images = images.iter().map(|image| Digest::of(image)).collect();
        self.judged.lock().unwrap().get_or_insert_default().insert(Digest::of(index), images);
    }

    pub(super) fn revoke(&self, digest: &Digest) {
        self.revoked.lock().unwrap().push(*digest);
    }
}

impl Rules for Arc<Fake> {
    fn rule(&self, asked: &Asked<'_>) -> Ruling {
        if !asked.quiet {
            self.log.lock().unwrap().push(asked.image.to_owned());
        }
        let deny = |exit: u8, line: &str| {
            Ruling::Denied(Box::new(Denial { exit, line: line.to_owned(), ..Denial::default() }))
        };
        if let Some(trouble) = self.trouble.lock().unwrap().clone() {
            return Ruling::Denied(Box::new(trouble));
        }
        let revoked = self.revoked.lock().unwrap();
        let found = self.allowed.lock().unwrap().get(asked.image).copied();
        let is_revoked = |digest: &Digest| revoked.contains(digest);
        let named = asked.image.split_once('@').and_then(|(_, digest)| Digest::parse(digest).ok());
        if named.as_ref().is_some_and(is_revoked) || found.is_some_and(|(digest, _)| is_revoked(&digest)) {
            return deny(exit::REVOKED, "revoked: leaked key");
        }
        if let Some(denial) = self.denied.lock().unwrap().get(asked.image) {
            return Ruling::Denied(Box::new(denial.clone()));
        }
        match found {
            Some((digest, length)) => {
                let judged = self.judged.lock().unwrap();
                let judged = judged.as_ref().map(|all| all.get(&digest).cloned().unwrap_or_default());
                Ruling::Allowed { digest, length, judged }
            }
            None => deny(exit::NOT_SIGNED, &format!("{} is not signed", asked.image)),
        }
    }

    fn signed(&self, name: &str) -> Vec<SignedImage> {
        self.signed.lock().unwrap().get(name).cloned().unwrap_or_default()
    }
}

/// The gate with both.
pub(super) struct World {
    pub(super) upstream: Arc<Hostile>,
    pub(super) upstream_address: SocketAddr,
    pub(super) fake: Arc<Fake>,
    pub(super) gate: SocketAddr,
}

/// What a client of the gate got.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Got {
    pub(super) status: u16,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Vec<u8>,
    /// Whether as many bytes came as were stated.
    pub(super) complete: bool,
}

impl Got {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub(super) fn error(&self) -> Value {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        body["errors"][0].clone()
    }

    pub(super) fn code(&self) -> String {
        self.error()["code"].as_str().unwrap_or_default().to_owned()
    }
}

impl World {
    pub(super) async fn start() -> World {
        let (upstream, upstream_address) = Hostile::start().await;
        let fake = Arc::new(Fake::default());
        let gate = gate(&fake, upstream_address).await;
        World { upstream, upstream_address, fake, gate }
    }

    /// The gate has forgotten all that it held in memory.
    pub(super) async fn restart(&mut self) {
        self.gate = gate(&self.fake, self.upstream_address).await;
    }

    /// An image of one layer, held by the upstream under this name: manifest, config, layer.
    pub(super) fn image(&self, name: &str, text: &str) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
        let (config, layer) = (format!("config of {text}").into_bytes(), format!("layer of {text}").repeat(3_000));
        let layer = layer.into_bytes();
        let manifest = manifest(&config, &layer);
        self.upstream.hold(name, "manifests", &manifest);
        self.upstream.hold(name, "blobs", &config);
        self.upstream.hold(name, "blobs", &layer);
        (manifest, config, layer)
    }

    /// An index of these manifests, held by the upstream under this name.
    pub(super) fn index(&self, name: &str, kind: &str, children: &[&[u8]]) -> Vec<u8> {
        let index = index(kind, children);
        self.upstream.hold(name, "manifests", &index);
        index
    }

    pub(super) async fn get(&self, path: &str) -> Got {
        self.ask("GET", path, &[]).await
    }

    pub(super) async fn manifest(&self, name: &str, reference: impl ToString) -> Got {
        self.get(&format!("/v2/{name}/manifests/{}", reference.to_string())).await
    }

    pub(super) async fn blob(&self, name: &str, content: &[u8]) -> Got {
        self.get(&format!("/v2/{name}/blobs/{}", Digest::of(content))).await
    }

    pub(super) async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Got {
        let mut request = format!("{method} {path} HTTP/1.1\r\nhost: gate\r\nconnection: close\r\n");
        headers.iter().for_each(|(name, value)| request.push_str(&format!("{name}: {value}\r\n")));
        self.raw(format!("{request}\r\n").as_bytes(), method == "HEAD").await.expect("no answer")
    }

    /// Sends bytes as they are; `None` if the gate hangs up without an answer, or waits for more.
    pub(super) async fn raw(&self, request: &[u8], is_head: bool) -> Option<Got> {
        self.raw_within(request, is_head, Duration::from_secs(20)).await
    }

    /// The same; nothing for `idle` ends it.
    pub(super) async fn raw_within(&self, request: &[u8], is_head: bool, idle: Duration) -> Option<Got> {
        let mut stream = TcpStream::connect(self.gate).await.unwrap();
        stream.write_all(request).await.ok()?;
        let mut bytes = Vec::new();
        // A reset after a part is an incomplete answer as well.
        while let Ok(Ok(1..)) = tokio::time::timeout(idle, stream.read_buf(&mut bytes)).await {
            if read(&bytes, is_head).is_some_and(|got| got.complete && got.headers.contains_key("content-length")) {
                break;
            }
        }
        read(&bytes, is_head)
    }
}

fn read(bytes: &[u8], is_head: bool) -> Option<Got> {
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let pair = |line: &str| line.split_once(':').map(|(n, v)| (n.to_ascii_lowercase(), v.trim().to_owned()));
    let headers: BTreeMap<_, _> = lines.filter_map(pair).collect();
    let body = bytes[end + 4..].to_vec();
    let stated = headers.get("content-length").and_then(|n| n.parse::<usize>().ok());
    let bodiless = is_head || matches!(status, 204 | 304);
    let complete = stated.is_none_or(|n| n == if bodiless { n } else { body.len() });
    Some(Got { status, headers, body, complete })
}

async fn gate(fake: &Arc<Fake>, upstream: SocketAddr) -> SocketAddr {
    let options = UpstreamOptions {
        answer: Duration::from_secs(5),
        idle: Duration::from_secs(5),
        ..UpstreamOptions::at(&format!("http://{upstream}"))
    };
    let permits = Permits::new(HOST.to_owned(), Box::new(Arc::clone(fake)), Upstream::new(options).unwrap());
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = door::router(Arc::new(permits));
    tokio::spawn(trust_listen::serve(listener, None, router, std::future::pending()));
    address
}

pub(super) fn descriptor(kind: &str, content: &[u8]) -> Value {
    json!({ "mediaType": kind, "digest": Digest::of(content).to_string(), "size": content.len() })
}

pub(super) fn manifest(config: &[u8], layer: &[u8]) -> Vec<u8> {
    let config = descriptor("application/vnd.oci.image.config.v1+json", config);
    let layer = descriptor("application/vnd.oci.image.layer.v1.tar", layer);
    serde_json::to_vec(&json!({ "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": [layer] }))
        .unwrap()
}

/// An index whose entries are called `kind`.
pub(super) fn index(kind: &str, children: &[&[u8]]) -> Vec<u8> {
    let entries: Vec<Value> = children.iter().map(|child| descriptor(kind, child)).collect();
    serde_json::to_vec(&json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries })).unwrap()
}
