//! A server in one process with a signer of the tests: real keys, real files, a clock that the test moves, and every way
//! to misbehave.

#![allow(dead_code, unreachable_pub, missing_docs)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Request as HttpRequest, StatusCode};
use tower::ServiceExt;
use trust_server::Fut;
use trust_server::app::auth::{AccessRules, Scope, new_token};
use trust_server::app::{App, Options};
use trust_server::signer_link::{SignerError, SignerLink, sort};
use trust_server::store::{Event, SqliteStore, Store, TokenRow};
use trust_tuf::draft::{Draft, NewDelegation};
use trust_tuf::model::{MetaEntry, Role};
use trust_tuf::repository::{Publication, RepositoryState, Rules};
use trust_tuf::trusted::{RootStage, TrustedSet};
use trust_tuf::{CollectionName, Hashes, PublicKey, RoleName, RoleType, Signature, TargetInfo, UtcTime, Version};
use trust_wire::api::{PublicationRequest, PublicationResponse, Versions};
use trust_wire::signer::{
    CollectionFiles, CollectionState, Reply, Request, Resigned, Signed, decode, read_frame, write_frame,
};

pub const NAME: &str = "r.example/pay";
/// When the tests began: files that are fresh for a program are fresh for the clock of the tests, and the other way round.
pub static START: LazyLock<i64> = LazyLock::new(|| {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
});
const DAY: i64 = 86_400;

pub struct Key(Ed25519KeyPair);

impl Key {
    pub fn new(seed: u8) -> Self {
        Self(Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap())
    }

    pub fn public(&self) -> PublicKey {
        PublicKey::ed25519(self.0.public_key().as_ref()).unwrap()
    }

    fn signature(&self, message: &[u8]) -> Signature {
        Signature { keyid: self.public().id(), sig: self.0.sign(message).as_ref().to_vec() }
    }
}

pub fn sign(draft: &Draft, keys: &[&Key]) -> Vec<u8> {
    let payload = draft.payload();
    draft.assemble(keys.iter().map(|key| key.signature(&payload)))
}

pub fn time(seconds: i64) -> UtcTime {
    UtcTime::from_unix(seconds).unwrap()
}

pub fn expires() -> UtcTime {
    time(*START + 300 * DAY)
}

// ---- what people sign ----

pub fn root_key() -> Key {
    Key::new(1)
}

pub fn targets_key() -> Key {
    Key::new(2)
}

pub fn alice_key() -> Key {
    Key::new(3)
}

pub fn snapshot_key() -> Key {
    Key::new(11)
}

pub fn timestamp_key() -> Key {
    Key::new(12)
}

pub fn first_root() -> Vec<u8> {
    let mut draft = Draft::root(expires());
    draft.set_role(RoleType::Root, &[root_key().public()], 1);
    draft.set_role(RoleType::Targets, &[targets_key().public()], 1);
    draft.set_role(RoleType::Snapshot, &[snapshot_key().public()], 1);
    draft.set_role(RoleType::Timestamp, &[timestamp_key().public()], 1);
    sign(&draft, &[&root_key()])
}

pub fn next_root(before: &[u8]) -> Vec<u8> {
    sign(&Draft::next(before, expires()).unwrap(), &[&root_key()])
}

pub fn info(content: &[u8]) -> TargetInfo {
    TargetInfo { length: content.len() as u64, hashes: Hashes::of(content), custom: None }
}

pub fn first_targets() -> Vec<u8> {
    sign(&Draft::targets(expires()), &[&targets_key()])
}

pub fn next_targets(before: &[u8], path: &str, content: &[u8]) -> Vec<u8> {
    let mut draft = Draft::next(before, expires()).unwrap();
    draft.set_target(path, &info(content));
    sign(&draft, &[&targets_key()])
}

pub fn delegating_targets(before: &[u8]) -> Vec<u8> {
    let mut draft = Draft::next(before, expires()).unwrap();
    draft.set_delegation(&NewDelegation {
        name: "alice".to_owned(),
        keys: vec![alice_key().public()],
        threshold: 1,
        terminating: false,
        patterns: vec!["api/*".to_owned()],
    });
    sign(&draft, &[&targets_key()])
}

pub fn undelegating_targets(before: &[u8]) -> Vec<u8> {
    let mut draft = Draft::next(before, expires()).unwrap();
    assert!(draft.remove_delegation("alice"));
    sign(&draft, &[&targets_key()])
}

pub fn first_alice() -> Vec<u8> {
    sign(&Draft::targets(expires()), &[&alice_key()])
}

// ---- the signer of the tests ----

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    Good,
    Down,
    /// Signs, then the answer is lost.
    LosesAnswer,
    Refuses(&'static str),
    /// Answers something else.
    OtherAnswer,
    /// Signs with a key that the root does not name.
    WrongKey,
    /// The same, with the timestamp only.
    WrongTimestampKey,
    /// Leaves a role out of the snapshot.
    LeavesOut,
    /// Answers with the set before.
    Older,
    /// States more than it has, and hands over the set before the newest.
    ClaimsMore,
    /// Makes files that are expired.
    Expired,
    /// The timestamp names another snapshot.
    OtherSnapshot,
}

#[derive(Clone)]
struct Held {
    state: RepositoryState,
    roots: Vec<Vec<u8>>,
    signed: Signed,
    before: Option<Box<Held>>,
}

pub struct FakeSigner {
    held: Mutex<BTreeMap<String, Held>>,
    mode: Mutex<Mode>,
    clock: Arc<AtomicI64>,
    pub life: AtomicI64,
    pub asked: AtomicUsize,
}

impl FakeSigner {
    pub fn set(&self, mode: Mode) {
        *self.mode.lock().unwrap() = mode;
    }

    fn mode(&self) -> Mode {
        self.mode.lock().unwrap().clone()
    }

    fn now(&self) -> UtcTime {
        time(self.clock.load(Ordering::SeqCst))
    }

    fn rules(&self) -> Rules {
        Rules { now: self.now(), allow_example_keys: false }
    }

    fn cover(&self, state: &RepositoryState, before: Option<&Signed>, mode: &Mode) -> Signed {
        let version = |n: Option<u64>| Version::new(n.unwrap_or(0) + 1).unwrap();
        let (life, now) = (self.life.load(Ordering::SeqCst), self.now());
        let expires = if *mode == Mode::Expired { now } else { now.plus_secs(life).unwrap() };
        let mut meta = state.meta();
        if *mode == Mode::LeavesOut {
            meta.remove("alice");
        }
        let snapshot_version = version(before.map(|b| b.snapshot_version));
        let entries = meta.iter().map(|(role, entry)| (role.as_str(), entry));
        let snapshot = Draft::snapshot(snapshot_version, expires.plus_secs(7 * DAY).unwrap(), entries);
        // A root may name the other key: then it is the right one.
        let other = Key::new(99);
        let named = state.root().role(RoleType::Snapshot).holds(&other.public());
        let key = if *mode == Mode::WrongKey || named { other } else { snapshot_key() };
        let snapshot = sign(&snapshot, &[&key]);
        self.timestamp(snapshot_version, snapshot, version(before.map(|b| b.timestamp_version)), expires, mode)
    }

    fn timestamp(&self, snapshot: Version, bytes: Vec<u8>, version: Version, expires: UtcTime, mode: &Mode) -> Signed {
        let key = if *mode == Mode::WrongTimestampKey { Key::new(98) } else { timestamp_key() };
        let entry = match mode {
            Mode::OtherSnapshot => MetaEntry::of(snapshot, b"other"),
            _ => MetaEntry::of(snapshot, &bytes),
        };
        let timestamp = sign(&Draft::timestamp(version, expires, &entry), &[&key]);
        let half = self.life.load(Ordering::SeqCst) / 2;
        Signed {
            snapshot_version: snapshot.get(),
            snapshot: bytes.into(),
            timestamp_version: version.get(),
            timestamp: timestamp.into(),
            resign_at: self.now().plus_secs(half).unwrap().to_string(),
        }
    }

    /// Forgets its newest publication, as a signer from an old copy would.
    pub fn rewind(&self, name: &str) {
        let mut all = self.held.lock().unwrap();
        let before = all.remove(name).unwrap().before.unwrap();
        all.insert(name.to_owned(), *before);
    }

    /// Publishes past the server, as another replica would.
    pub fn publish(&self, name: &str, publication: &Publication) -> Result<Signed, String> {
        self.publish_as(name, publication, &Mode::Good)
    }

    fn publish_as(&self, name: &str, publication: &Publication, mode: &Mode) -> Result<Signed, String> {
        let mut all = self.held.lock().unwrap();
        let before = all.get(name).cloned();
        if let Some(held) = &before {
            let roots = publication.roots.iter().all(|root| held.roots.contains(root));
            let roles = publication.roles.iter().all(|(role, file)| {
                held.state.roles().get(role).is_some_and(|held| held.bytes().as_ref() == file.as_slice())
            });
            if roots && roles {
                return Ok(held.signed.clone());
            }
        }
        let checked = match &before {
            Some(held) => held.state.check(publication, &self.rules()),
            None => RepositoryState::first(CollectionName::parse(name).unwrap(), publication, &self.rules()),
        }
        .map_err(|refusal| refusal.to_string())?;
        let signed = match (mode, &before) {
            (Mode::Older, Some(held)) => held.signed.clone(),
            _ => self.cover(&checked.state, before.as_ref().map(|held| &held.signed), mode),
        };
        if !matches!(mode, Mode::Good | Mode::LosesAnswer) {
            return Ok(signed);
        }
        let mut roots = before.as_ref().map(|held| held.roots.clone()).unwrap_or_default();
        roots.extend(checked.roots.iter().map(|root| root.bytes().to_vec()));
        let before = before.map(Box::new);
        all.insert(name.to_owned(), Held { state: checked.state, roots, signed: signed.clone(), before });
        Ok(signed)
    }

    fn resign(&self, name: &str, mode: &Mode) -> Resigned {
        let mut all = self.held.lock().unwrap();
        let Some(held) = all.get_mut(name) else {
            return Resigned::Refused { rule: "S8".to_owned(), reason: "unknown".to_owned() };
        };
        if let Mode::Refuses(rule) = mode {
            return Resigned::Refused { rule: (*rule).to_owned(), reason: "no".to_owned() };
        }
        let mut signed = held.signed.clone();
        if self.now() >= UtcTime::parse(&held.signed.resign_at).unwrap() {
            // An older one: other bytes under the version that was shown.
            let ahead = u64::from(*mode != Mode::Older);
            let version = Version::new(held.signed.timestamp_version + ahead).unwrap();
            let snapshot = Version::new(held.signed.snapshot_version).unwrap();
            let life = if *mode == Mode::Expired { 0 } else { self.life.load(Ordering::SeqCst) };
            let expires = self.now().plus_secs(life).unwrap();
            signed = self.timestamp(snapshot, held.signed.snapshot.0.clone(), version, expires, mode);
            if *mode == Mode::Good {
                held.signed = signed.clone();
            }
        }
        Resigned::Done {
            snapshot: None,
            snapshot_version: signed.snapshot_version,
            timestamp_version: signed.timestamp_version,
            timestamp: signed.timestamp,
            resign_at: signed.resign_at,
        }
    }

    fn answer(&self, request: Request, mode: &Mode) -> Reply {
        match request {
            Request::Prepare { .. } | Request::Commit {} => {
                Reply::Failed { reason: "nothing was shown on this connection".to_owned() }
            }
            Request::Health {} => Reply::Health { identity: serde_json::Value::Null, collections: 0 },
            Request::NewOnlineKeys { .. } => Reply::NewOnlineKeys { proofs: Vec::new() },
            Request::Publish { .. } if *mode == Mode::OtherAnswer => Reply::State { state: None },
            Request::Publish { collection, roots, roles, .. } => {
                let roots = roots.into_iter().map(|f| f.0).collect();
                let mut publication = Publication { roots, ..Publication::default() };
                for (name, file) in roles {
                    publication.roles.insert(RoleName::parse(&name).unwrap(), file.0);
                }
                match self.publish_as(&collection, &publication, mode) {
                    Ok(signed) => Reply::Published(signed),
                    Err(reason) => Reply::Refused { rule: "S3".to_owned(), reason },
                }
            }
            Request::Resign { collections } => {
                Reply::Resigned { timestamps: collections.iter().map(|name| self.resign(name, mode)).collect() }
            }
            Request::State { collection } => {
                let all = self.held.lock().unwrap();
                let state = all.get(&collection).map(|held| CollectionState {
                    root: held.state.root().version().get(),
                    snapshot: held.signed.snapshot_version + if *mode == Mode::ClaimsMore { 10 } else { 0 },
                    timestamp: held.signed.timestamp_version,
                    roles: held.state.roles().iter().map(|(n, r)| (n.as_str().to_owned(), r.version().get())).collect(),
                });
                Reply::State { state }
            }
            Request::Files { collection } => {
                let all = self.held.lock().unwrap();
                let held = all.get(&collection).map(|held| match (mode, &held.before) {
                    (Mode::Older | Mode::ClaimsMore, Some(before)) => &**before,
                    _ => held,
                });
                let files = held.map(|held| CollectionFiles {
                    roots: held.roots.iter().map(|root| root.clone().into()).collect(),
                    roles: held
                        .state
                        .roles()
                        .iter()
                        .map(|(name, role)| (name.as_str().to_owned(), role.bytes().to_vec().into()))
                        .collect(),
                    signed: held.signed.clone(),
                });
                Reply::Files { files }
            }
        }
    }
}

impl FakeSigner {
    pub fn new(clock: Arc<AtomicI64>) -> Arc<Self> {
        Arc::new(Self {
            held: Mutex::default(),
            mode: Mutex::new(Mode::Good),
            clock,
            life: AtomicI64::new(DAY),
            asked: AtomicUsize::new(0),
        })
    }

    /// The reply on the wire; `None`: the connection is closed without one.
    fn reply(&self, request: Request) -> Option<Reply> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let publish = matches!(request, Request::Publish { .. });
        match self.mode() {
            Mode::Down => None,
            Mode::Refuses(rule) if publish => Some(Reply::Refused { rule: rule.to_owned(), reason: "no".to_owned() }),
            mode @ Mode::LosesAnswer if publish => {
                self.answer(request, &mode);
                None
            }
            mode => Some(self.answer(request, &mode)),
        }
    }

    /// Answers on a Unix socket until the process ends.
    pub fn listen(self: &Arc<Self>, socket: &Path) {
        let listener = std::os::unix::net::UnixListener::bind(socket).unwrap();
        let signer = Arc::clone(self);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, signer) = (stream.unwrap(), Arc::clone(&signer));
                std::thread::spawn(move || {
                    let mut shown = None;
                    while let Ok(Some(frame)) = read_frame(&mut stream) {
                        let request = match (decode(&frame).unwrap(), shown.take()) {
                            (Request::Prepare { collection, roots, roles, grant }, _) => {
                                shown = Some(Request::Publish { collection, roots, roles, grant });
                                continue;
                            }
                            (Request::Commit {}, Some(publication)) => publication,
                            (request, _) => request,
                        };
                        let Some(reply) = signer.reply(request) else { return };
                        if write_frame(&mut stream, &reply).is_err() {
                            return;
                        }
                    }
                });
            }
        });
    }
}

impl SignerLink for FakeSigner {
    fn call(&self, request: Request) -> Fut<'_, Result<Reply, SignerError>> {
        let down = || SignerError::Unavailable("down".to_owned());
        let answer = self.reply(request).ok_or_else(down).and_then(sort);
        Box::pin(async move { answer })
    }
}

// ---- the server ----

pub struct World {
    pub dir: tempfile::TempDir,
    pub signer: Arc<FakeSigner>,
    pub clock: Arc<AtomicI64>,
    pub app: Arc<App>,
    pub store: Arc<SqliteStore>,
    pub router: Router,
    pub admin: String,
    pub anonymous_read: bool,
}

impl World {
    pub async fn new() -> Self {
        Self::with(true).await
    }

    pub async fn with(anonymous_read: bool) -> Self {
        let clock = Arc::new(AtomicI64::new(*START));
        let signer = FakeSigner::new(Arc::clone(&clock));
        let dir = tempfile::tempdir().unwrap();
        let (app, store) = open(&dir.path().join("data"), &signer, &clock, anonymous_read).await;
        let router = trust_server::api::router(Arc::clone(&app));
        let mut world = Self { dir, signer, clock, app, store, router, admin: String::new(), anonymous_read };
        world.admin = world.token("admin", "*=read,publish,admin").await;
        world.app.round().await;
        world
    }

    /// The process is told to end, and starts again; the background work has not run yet.
    pub async fn restart(&mut self) {
        self.app.flush().await.unwrap();
        self.crash().await;
    }

    /// The process is gone at once, and starts again.
    pub async fn crash(&mut self) {
        let (app, store) = open(&self.dir.path().join("data"), &self.signer, &self.clock, self.anonymous_read).await;
        self.router = trust_server::api::router(Arc::clone(&app));
        (self.app, self.store) = (app, store);
    }

    /// Takes a copy of the database, as an operator would with the server stopped.
    pub async fn backup(&self, name: &str) {
        self.app.flush().await.unwrap();
        self.copy_now(name);
    }

    /// A copy of what is in the database at this moment.
    pub fn copy_now(&self, name: &str) {
        copy(&self.dir.path().join("data"), &self.dir.path().join(name));
    }

    /// Puts the copy back, and starts again.
    pub async fn restore(&mut self, name: &str) {
        // A folder of its own: the old process still has the other files open.
        let data = self.dir.path().join("data");
        let replaced = tempfile::tempdir_in(self.dir.path()).unwrap().keep();
        std::fs::rename(&data, replaced.join("data")).unwrap();
        copy(&self.dir.path().join(name), &data);
        self.crash().await;
    }

    pub async fn token(&self, name: &str, scope: &str) -> String {
        self.token_until(name, scope, None).await
    }

    pub async fn token_until(&self, name: &str, scope: &str, expires: Option<i64>) -> String {
        let (text, sha256) = new_token().unwrap();
        let scope = Scope::parse(scope).unwrap().to_string();
        let row = TokenRow { name: name.to_owned(), sha256, scope, created: 0, expires, revoked: None };
        assert!(self.store.add_token(row, event()).await.unwrap());
        text
    }

    pub async fn send(&self, method: &str, path: &str, token: Option<&str>, body: Vec<u8>) -> Answer {
        let mut request = HttpRequest::builder().method(method).uri(path);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        self.raw(request.body(Body::from(body)).unwrap()).await
    }

    pub async fn raw(&self, request: HttpRequest<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        Answer { status: head.status, headers: head.headers, body }
    }

    pub async fn fetch(&self, path: &str) -> Answer {
        self.send("GET", path, None, Vec::new()).await
    }

    pub async fn file(&self, file: &str) -> Answer {
        self.fetch(&format!("/tuf/{NAME}/_metadata/{file}")).await
    }

    pub async fn publish(&self, request: &PublicationRequest) -> Answer {
        let body = serde_json::to_vec(request).unwrap();
        self.send("POST", &format!("/v1/{NAME}/_publications"), Some(&self.admin), body).await
    }

    /// Reserves, and publishes root 1 and targets 1.
    pub async fn born(&self) -> Vec<u8> {
        let body = format!("{{\"name\":\"{NAME}\"}}").into_bytes();
        let answer = self.send("POST", "/v1/_collections", Some(&self.admin), body).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        let answer = self.publish(&first_request()).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        first_targets()
    }

    /// What a TUF client that knows only root 1 sees.
    pub async fn client(&self) -> TrustedSet {
        let now = time(self.clock.load(Ordering::SeqCst));
        let mut stage = RootStage::pinned(first_root(), now).unwrap();
        loop {
            let version = stage.next_version().unwrap();
            let answer = self.file(&format!("{version}.root.json")).await;
            if answer.status == StatusCode::NOT_FOUND {
                break;
            }
            stage.advance(answer.body.to_vec()).unwrap();
        }
        let timestamp = self.file("timestamp.json").await;
        assert_eq!(timestamp.status, StatusCode::OK, "{timestamp:?}");
        let (stage, _) = stage.finish().unwrap().accept(timestamp.body.to_vec()).unwrap();
        let snapshot = self.file(&format!("{}.snapshot.json", stage.wanted().version)).await;
        let stage = stage.accept(snapshot.body.to_vec()).unwrap();
        let entries: Vec<_> =
            stage.snapshot().meta().iter().map(|(file, entry)| format!("{}.{file}", entry.version)).collect();
        for file in entries {
            assert_eq!(self.file(&file).await.status, StatusCode::OK, "{file} is listed");
        }
        let targets = self.file(&format!("{}.targets.json", stage.wanted().unwrap().version)).await;
        stage.accept(targets.body.to_vec()).unwrap()
    }

    pub fn pass(&self, seconds: i64) {
        self.clock.fetch_add(seconds, Ordering::SeqCst);
    }
}

async fn open(
    data: &Path,
    signer: &Arc<FakeSigner>,
    clock: &Arc<AtomicI64>,
    anonymous_read: bool,
) -> (Arc<App>, Arc<SqliteStore>) {
    let store = Arc::new(SqliteStore::open(data).unwrap());
    let options = Options {
        access: AccessRules { anonymous_read },
        allow_example_keys: false,
        patience: Duration::from_secs(10),
    };
    let clock = Arc::clone(clock);
    let clock = Arc::new(move || time(clock.load(Ordering::SeqCst)));
    let link = Arc::clone(signer) as Arc<dyn SignerLink>;
    let app = App::open(Arc::clone(&store) as Arc<dyn Store>, link, clock, options).await.unwrap();
    (app, store)
}

fn copy(from: &Path, to: &Path) {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    std::fs::DirBuilder::new().mode(0o700).create(to).unwrap();
    assert_eq!(std::fs::metadata(from).unwrap().permissions().mode() & 0o777, 0o700);
    let source = rusqlite::Connection::open(from.join("server.db")).unwrap();
    source.execute("VACUUM INTO ?1", [to.join("server.db").to_str().unwrap()]).unwrap();
}

pub fn event() -> Event {
    let (actor, detail) = ("test".to_owned(), String::new());
    Event { time: 0, actor, action: "test", collection: None, detail }
}

#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    pub fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }

    pub fn rule(&self) -> String {
        self.json()["error"]["rule"].as_str().unwrap_or_default().to_owned()
    }

    pub fn published(&self) -> PublicationResponse {
        assert_eq!(self.status, StatusCode::OK, "{self:?}");
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }
}

pub fn key(number: u32) -> String {
    format!("test-idempotency-{number:04}")
}

pub fn first_request() -> PublicationRequest {
    PublicationRequest {
        idempotency_key: key(1),
        expected: Versions::default(),
        roots: vec![first_root().into()],
        roles: BTreeMap::from([("targets".to_owned(), first_targets().into())]),
        blobs: Vec::new(),
        grant: None,
    }
}

/// A publication of roles on these versions.
pub fn request(number: u32, root: u64, roles: &[(&str, u64, Vec<u8>)]) -> PublicationRequest {
    let versions = roles.iter().filter(|(_, version, _)| *version > 0);
    PublicationRequest {
        idempotency_key: key(number),
        expected: Versions {
            root: Some(root),
            roles: versions.map(|(name, version, _)| ((*name).to_owned(), *version)).collect(),
        },
        roots: Vec::new(),
        roles: roles.iter().map(|(name, _, file)| ((*name).to_owned(), file.clone().into())).collect(),
        blobs: Vec::new(),
        grant: None,
    }
}
