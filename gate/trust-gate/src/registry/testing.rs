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

use super::door::{self, Door};
use super::permit::Permits;
use super::ruling::{Answering, Asked, Denial, Rules, Ruling, SignedImage};
use crate::config::Login;

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
    /// These bytes and then one in each second, without end.
    Drip(Vec<u8>),
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
    /// Bodies of requests, by `METHOD PATH`.
    bodies: Mutex<HashMap<String, Vec<u8>>>,
    /// Logins that are let in, if a login is wanted at all, and such that are known and denied.
    logins: Mutex<Option<(Vec<String>, Vec<String>)>>,
}

/// The challenge of an upstream that wants a login.
pub(super) const CHALLENGE: &str =
    "Bearer realm=\"https://auth.example.com/token\",service=\"up\",scope=\"repository:team/app:pull\"";

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

    /// From now on these logins are let in, and those are known and denied.
    pub(super) fn let_in(&self, allowed: &[&str], denied: &[&str]) {
        let own = |list: &[&str]| list.iter().map(|login| (*login).to_owned()).collect();
        *self.logins.lock().unwrap() = Some((own(allowed), own(denied)));
    }

    /// The body that came with the last `METHOD PATH`.
    pub(super) fn body(&self, line: &str) -> Option<Vec<u8>> {
        self.bodies.lock().unwrap().get(line).cloned()
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
        if let Some((allowed, denied)) = self.logins.lock().unwrap().as_ref() {
            let login = headers.get("authorization").cloned().unwrap_or_default();
            if !allowed.contains(&login) {
                self.asked.lock().unwrap().push((line.to_owned(), headers));
                let known = denied.contains(&login);
                let challenge = vec![("WWW-Authenticate", CHALLENGE.to_owned()), ("Set-Cookie", "a=b".to_owned())];
                return Answer::Full(if known { 403 } else { 401 }, challenge, b"{}".to_vec());
            }
        }
        if path == "/v2/" {
            self.asked.lock().unwrap().push((line.to_owned(), headers));
            return ok("{}");
        }
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
    let headers: BTreeMap<String, String> = rest.lines().filter_map(pair).collect();
    let mut body = bytes.split_off(head.len() + 4);
    let length = headers.get("content-length").and_then(|n| n.parse::<usize>().ok());
    let chunked = headers.contains_key("transfer-encoding");
    while length.is_some_and(|length| body.len() < length) || (chunked && !body.ends_with(b"0\r\n\r\n")) {
        let Ok(n @ 1..) = stream.read(&mut buffer).await else { break };
        body.extend_from_slice(&buffer[..n]);
    }
    hostile.bodies.lock().unwrap().insert(line.to_owned(), body);
    match hostile.answer(line, headers) {
        Answer::Raw(bytes) => {
            let _ = stream.write_all(&bytes).await;
        }
        Answer::Drip(bytes) => {
            let mut sent = stream.write_all(&bytes).await;
            while sent.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
                sent = stream.write_all(b"x").await;
            }
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
    fn answer<'r>(&'r self, asked: Asked<'r>) -> Answering<'r> {
        self.log.lock().unwrap().push(asked.image.to_owned());
        Box::pin(std::future::ready(self.rule(&asked)))
    }

    fn rule(&self, asked: &Asked<'_>) -> Ruling {
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

    fn names(&self, host: &str) -> Vec<(String, String)> {
        let signed = self.signed.lock().unwrap();
        let tagged = signed.iter().filter_map(|(name, images)| {
            let name = name.strip_prefix(host)?.strip_prefix('/')?.to_owned();
            Some((name, images.iter().find_map(|image| image.tag.clone())?))
        });
        tagged.collect()
    }
}

/// The gate with both.
pub(super) struct World {
    pub(super) upstream: Arc<Hostile>,
    pub(super) upstream_address: SocketAddr,
    pub(super) fake: Arc<Fake>,
    pub(super) gate: SocketAddr,
    pub(super) switches: Switches,
}

/// The switches of a door.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Switches {
    pub(super) push: bool,
    pub(super) login: Login,
    pub(super) catalog: bool,
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
        World::with(Switches::default()).await
    }

    pub(super) async fn with(switches: Switches) -> World {
        let (upstream, upstream_address) = Hostile::start().await;
        let fake = Arc::new(Fake::default());
        let gate = gate(&fake, upstream_address, switches).await;
        World { upstream, upstream_address, fake, gate, switches }
    }

    /// The gate has forgotten all that it held in memory.
    pub(super) async fn restart(&mut self) {
        self.gate = gate(&self.fake, self.upstream_address, self.switches).await;
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

    /// Sends bytes as they are and reads until the gate closes: all that came, and whether it closed.
    pub(super) async fn raw_to_end(&self, request: &[u8], idle: Duration) -> (String, bool) {
        let mut stream = TcpStream::connect(self.gate).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut bytes = Vec::new();
        let closed = loop {
            match tokio::time::timeout(idle, stream.read_buf(&mut bytes)).await {
                Ok(Ok(1..)) => {}
                Ok(_) => break true,
                Err(_) => break false,
            }
        };
        (String::from_utf8_lossy(&bytes).into_owned(), closed)
    }

    /// A request with a body.
    pub(super) async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Got {
        let mut request = format!("{method} {path} HTTP/1.1\r\nhost: gate\r\nconnection: close\r\n");
        headers.iter().for_each(|(name, value)| request.push_str(&format!("{name}: {value}\r\n")));
        request.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
        self.raw(&[request.as_bytes(), body].concat(), false).await.expect("no answer")
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

async fn gate(fake: &Arc<Fake>, upstream: SocketAddr, switches: Switches) -> SocketAddr {
    let options = UpstreamOptions {
        answer: Duration::from_secs(5),
        idle: Duration::from_secs(5),
        ..UpstreamOptions::at(&format!("http://{upstream}"))
    };
    let door = Door {
        permits: Permits::new(HOST.to_owned(), Box::new(Arc::clone(fake))),
        upstream: Upstream::new(options).unwrap(),
        login: switches.login,
        push: switches.push,
        catalog: switches.catalog,
        pushing: tokio::sync::Semaphore::new(super::door::PUSHES),
    };
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = door::router(Arc::new(door));
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
