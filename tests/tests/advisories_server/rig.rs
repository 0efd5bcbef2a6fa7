//! The three who judge a publication, in one process: the rules themselves, the server behind its HTTP routes on a store of
//! its own, and the signer behind its requests. All are asked the same question and must say no for themselves: the signer
//! does not believe the server, and the server does not ask the signer for what breaks a rule.

use std::collections::BTreeMap;
use std::os::unix::fs::DirBuilderExt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request as HttpRequest, StatusCode};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tower::ServiceExt;
use trust_keys::Passphrase;
use trust_server::Fut;
use trust_server::app::auth::{AccessRules, Scope, new_token};
use trust_server::app::{App, Options};
use trust_server::signer_link::{SignerError, SignerLink, sort};
use trust_server::store::{Event, SqliteStore, Store as _, TokenRow};
use trust_signer::store::{Admission, Store};
use trust_signer::vault::{DEV_COST, new_identity};
use trust_signer::{Config, OsEntropy, SignerCore, Vault};
use trust_tests::simulator::{TestKey, days, now};
use trust_tuf::draft::{Draft, NewDelegation};
use trust_tuf::model::sha256;
use trust_tuf::repository::{Publication, Refusal, RepositoryState, Rules};
use trust_tuf::{CollectionName, PublicKey, RoleName, RoleType, UtcTime};
use trust_wire::api::{PublicationRequest, Versions};
use trust_wire::proof::key_from_json;
use trust_wire::signer::{Reply, Request};

pub(crate) const NAME: &str = "registry.example.com/pay";

/// What each of the three said to one publication.
#[derive(Debug)]
pub(crate) struct Verdicts {
    pub(crate) rules: Result<(), Refusal>,
    pub(crate) status: StatusCode,
    pub(crate) server: String,
    pub(crate) signer: Result<(), String>,
    pub(crate) text: String,
}

struct Link(Arc<Mutex<SignerCore>>);

impl SignerLink for Link {
    fn call(&self, request: Request) -> Fut<'_, Result<Reply, SignerError>> {
        let reply = sort(self.0.lock().unwrap().handle(now(), request));
        Box::pin(async move { reply })
    }
}

/// The rig: one collection that was born, with a targets file and a delegated role.
pub(crate) struct Rig {
    pub(crate) dir: TempDir,
    pub(crate) root: TestKey,
    pub(crate) targets: TestKey,
    pub(crate) alice: TestKey,
    /// What is current, as somebody who only knows the rules holds it.
    pub(crate) state: RepositoryState,
    core: Arc<Mutex<SignerCore>>,
    app: Arc<App>,
    router: Router,
    runtime: Runtime,
    admin: String,
    number: u32,
}

pub(crate) fn later() -> UtcTime {
    now().plus_secs(days(180)).unwrap()
}

pub(crate) fn rules() -> Rules {
    Rules { now: now(), allow_example_keys: false }
}

pub(crate) fn sign(draft: &Draft, keys: &[&TestKey]) -> Vec<u8> {
    let payload = draft.payload();
    draft.assemble(keys.iter().map(|k| k.signature(&payload)))
}

pub(crate) fn collection() -> CollectionName {
    CollectionName::parse(NAME).unwrap()
}

fn publication(roots: &[Vec<u8>], roles: &[(&str, Vec<u8>)]) -> Publication {
    let roles = roles.iter().map(|(n, b)| (RoleName::parse(n).unwrap(), b.clone())).collect();
    Publication { roots: roots.to_vec(), roles }
}

async fn open(dir: &std::path::Path, core: &Arc<Mutex<SignerCore>>) -> (Arc<App>, Router, Arc<SqliteStore>) {
    let store = Arc::new(SqliteStore::open(&dir.join("server")).unwrap());
    let options = Options {
        access: AccessRules { anonymous_read: true },
        allow_example_keys: false,
        patience: Duration::from_secs(20),
    };
    let link = Arc::new(Link(Arc::clone(core)));
    let app = App::open(Arc::clone(&store) as _, link, Arc::new(now), options).await.unwrap();
    app.round().await;
    (Arc::clone(&app), trust_server::api::router(app), store)
}

impl Rig {
    /// A collection whose `targets` delegates `api/*` to alice.
    pub(crate) fn new() -> Self {
        let memory = std::path::Path::new("/dev/shm");
        let dir = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() }.unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let signer = dir.path().join("signer");
        std::fs::DirBuilder::new().mode(0o700).create(&signer).unwrap();
        let passphrase = Passphrase::new("of the tests").unwrap();
        let identity = new_identity(&passphrase, DEV_COST).unwrap();
        Store::create(&signer, &identity).unwrap();
        let vault = Arc::new(Vault::open(&identity, &passphrase).unwrap());
        // The time stands still here: a rate would never be given back.
        let mut config = Config::default();
        (config.publications_per_second, config.signatures_per_second) = (1_000_000, 1_000_000);
        let store = Store::open(&signer).unwrap();
        let mut core = SignerCore::new(store, vault, Box::new(OsEntropy), config, false);
        let [root, targets, alice] = [1, 2, 3].map(TestKey::ed25519);
        let mut draft = Draft::root(later());
        draft.set_role(RoleType::Root, &[root.public()], 1);
        draft.set_role(RoleType::Targets, &[targets.public()], 1);
        for role in [RoleType::Snapshot, RoleType::Timestamp] {
            draft.set_role(role, &[online_key(&mut core, role)], 1);
        }
        let root_file = sign(&draft, &[&root]);
        let admission = Admission { root_sha256: sha256(&root_file), by: "command".to_owned() };
        Store::open(&signer).unwrap().admit(&collection(), &admission, now()).unwrap();

        let core = Arc::new(Mutex::new(core));
        let (app, router, store) = runtime.block_on(open(dir.path(), &core));
        let (admin, sha256) = new_token().unwrap();
        let scope = Scope::parse("*=read,publish,admin").unwrap().to_string();
        let row = TokenRow { name: "admin".to_owned(), sha256, scope, created: 0, expires: None, revoked: None };
        let event =
            Event { time: 0, actor: "test".to_owned(), action: "test", collection: None, detail: String::new() };
        assert!(runtime.block_on(store.add_token(row, event)).unwrap());

        let first = publication(&[root_file], &[("targets", sign(&Draft::targets(later()), &[&targets]))]);
        let state = RepositoryState::first(collection(), &first, &rules()).unwrap().state;
        let mut rig = Self { dir, root, targets, alice, state, core, app, router, runtime, admin, number: 0 };
        let (status, text) = rig.send("POST", "/v1/_collections", format!("{{\"name\":\"{NAME}\"}}").into_bytes());
        assert_eq!(status, StatusCode::OK, "{text}");
        let roles = first.roles.iter().map(|(n, b)| (n.as_str().to_owned(), b.clone())).collect::<Vec<_>>();
        let (status, text) = rig.upload(Versions::default(), &first.roots, &roles);
        assert_eq!(status, StatusCode::OK, "{text}");
        let alice = rig.alice.clone();
        let next = rig.next_targets(|d| d.set_delegation(&delegation("alice", &alice, &["api/*"])));
        let file = sign(&Draft::targets(later()), &[&alice]);
        rig.published(&[], &[("targets", next), ("alice", file)]);
        rig
    }

    /// The server is told to end, and another one starts on its store.
    pub(crate) fn restart_server(&mut self) {
        self.runtime.block_on(self.app.flush()).unwrap();
        (self.app, self.router, _) = self.runtime.block_on(open(self.dir.path(), &self.core));
    }

    /// One request to the server, as the admin.
    pub(crate) fn send(&self, method: &str, path: &str, body: Vec<u8>) -> (StatusCode, String) {
        let (status, body) = self.raw(method, path, body);
        (status, String::from_utf8_lossy(&body).into_owned())
    }

    fn raw(&self, method: &str, path: &str, body: Vec<u8>) -> (StatusCode, Vec<u8>) {
        let request = HttpRequest::builder().method(method).uri(path);
        let request = request.header("authorization", format!("Bearer {}", self.admin)).body(Body::from(body)).unwrap();
        self.runtime.block_on(async {
            let answer = self.router.clone().oneshot(request).await.unwrap();
            let status = answer.status();
            (status, axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap().to_vec())
        })
    }

    /// A served metadata file; `None`: 404.
    pub(crate) fn served(&self, file: &str) -> Option<Vec<u8>> {
        let (status, body) = self.raw("GET", &format!("/tuf/{NAME}/_metadata/{file}"), Vec::new());
        match status {
            StatusCode::OK => Some(body),
            StatusCode::NOT_FOUND => None,
            other => panic!("{file}: {other}"),
        }
    }

    fn upload(&mut self, expected: Versions, roots: &[Vec<u8>], roles: &[(String, Vec<u8>)]) -> (StatusCode, String) {
        self.number += 1;
        let request = PublicationRequest {
            idempotency_key: format!("test-idempotency-{:06}", self.number),
            expected,
            roots: roots.iter().map(|b| b.as_slice().into()).collect(),
            roles: roles.iter().map(|(n, b)| (n.clone(), b.as_slice().into())).collect(),
            blobs: Vec::new(),
            grant: None,
        };
        self.send("POST", &format!("/v1/{NAME}/_publications"), serde_json::to_vec(&request).unwrap())
    }

    /// What is current, as a publication has to say it.
    fn versions(&self, roles: &[(String, Vec<u8>)]) -> Versions {
        let current = self.state.roles();
        let of = |(name, _): &(String, Vec<u8>)| {
            let version = RoleName::parse(name).ok().and_then(|n| current.get(&n).map(|r| version_of(r.bytes())));
            version.map(|v| (name.clone(), v))
        };
        let roles: BTreeMap<String, u64> = roles.iter().filter_map(of).collect();
        Versions { root: Some(version_of(self.state.root().bytes())), roles }
    }

    /// The same files under any role names, to server and signer alone: the rules know only names that are names.
    pub(crate) fn judge_named(
        &mut self,
        roots: &[Vec<u8>],
        roles: &[(String, Vec<u8>)],
    ) -> (StatusCode, String, Result<(), String>) {
        let (status, text) = self.upload(self.versions(roles), roots, roles);
        let request = Request::Publish {
            collection: NAME.to_owned(),
            roots: roots.iter().map(|b| b.as_slice().into()).collect(),
            roles: roles.iter().map(|(n, b)| (n.clone(), b.as_slice().into())).collect(),
            grant: None,
        };
        let signer = match self.core.lock().unwrap().handle(now(), request) {
            Reply::Published(_) => Ok(()),
            Reply::Refused { rule, .. } => Err(rule),
            other => panic!("{other:?}"),
        };
        (status, text, signer)
    }

    /// Asks all three.
    pub(crate) fn judge(&mut self, roots: &[Vec<u8>], roles: &[(&str, Vec<u8>)]) -> Verdicts {
        let checked = self.state.check(&publication(roots, roles), &rules());
        let named: Vec<_> = roles.iter().map(|(n, b)| ((*n).to_owned(), b.clone())).collect();
        let (status, text, signer) = self.judge_named(roots, &named);
        let server = serde_json::from_str::<serde_json::Value>(&text).unwrap_or_default();
        let server = server["error"]["rule"].as_str().unwrap_or_default().to_owned();
        Verdicts { rules: checked.map(|_| ()), status, server, signer, text }
    }

    /// All three refuse, each for itself, and what is served stays what it was. The rules' reason.
    #[track_caller]
    pub(crate) fn refused(&mut self, what: &str, roots: &[Vec<u8>], roles: &[(&str, Vec<u8>)]) -> Refusal {
        let before = self.served("timestamp.json").expect("a timestamp");
        let verdicts = self.judge(roots, roles);
        let Err(refusal) = verdicts.rules else { panic!("{what}: the rules take it") };
        assert_eq!(verdicts.status, StatusCode::UNPROCESSABLE_ENTITY, "{what}: the server: {}", verdicts.text);
        assert!(!verdicts.server.is_empty(), "{what}: the server names no rule: {}", verdicts.text);
        match verdicts.signer {
            Err(rule) => assert!(rule.starts_with('S'), "{what}: the signer: {rule}"),
            Ok(()) => panic!("{what}: the signer signs it"),
        }
        assert_eq!(self.served("timestamp.json").as_ref(), Some(&before), "{what}: something was published");
        refusal
    }

    /// All three take it.
    #[track_caller]
    pub(crate) fn published(&mut self, roots: &[Vec<u8>], roles: &[(&str, Vec<u8>)]) {
        let checked = self.state.check(&publication(roots, roles), &rules()).unwrap_or_else(|e| panic!("{e}"));
        let verdicts = self.judge(roots, roles);
        assert_eq!(verdicts.status, StatusCode::OK, "{}", verdicts.text);
        assert_eq!(verdicts.signer, Ok(()));
        self.state = checked.state;
    }

    /// A publication as it should be still goes through: nothing that was refused is in its way.
    #[track_caller]
    pub(crate) fn goes_on(&mut self) {
        let next = self.next_targets(|_| ());
        self.published(&[], &[("targets", next)]);
    }

    pub(crate) fn next_targets(&self, change: impl FnOnce(&mut Draft)) -> Vec<u8> {
        self.next("targets", &self.targets, change)
    }

    pub(crate) fn next(&self, role: &str, key: &TestKey, change: impl FnOnce(&mut Draft)) -> Vec<u8> {
        let mut draft = Draft::next(self.state.roles()[&RoleName::parse(role).unwrap()].bytes(), later()).unwrap();
        change(&mut draft);
        sign(&draft, &[key])
    }

    pub(crate) fn next_root(&self, change: impl FnOnce(&mut Draft)) -> Vec<u8> {
        let mut draft = Draft::next(self.state.root().bytes(), later()).unwrap();
        change(&mut draft);
        sign(&draft, &[&self.root])
    }
}

fn version_of(file: &[u8]) -> u64 {
    let value = trust_tuf::json::parse(file).unwrap();
    value.get("signed").and_then(|s| s.get("version")).and_then(trust_tuf::json::Value::as_u64).unwrap()
}

pub(crate) fn delegation(name: &str, key: &TestKey, patterns: &[&str]) -> NewDelegation {
    NewDelegation {
        name: name.to_owned(),
        keys: vec![key.public()],
        threshold: 1,
        terminating: false,
        patterns: patterns.iter().map(|p| (*p).to_owned()).collect(),
    }
}

fn online_key(core: &mut SignerCore, role: RoleType) -> PublicKey {
    let nonce = "nonce-nonce-nonce".to_owned();
    let roles = vec![role.to_string()];
    let request = Request::NewOnlineKeys { collection: NAME.to_owned(), roles, nonce: nonce.clone() };
    let Reply::NewOnlineKeys { proofs } = core.handle(now(), request) else { panic!("no key") };
    let identity = key_from_json(&proofs[0].identity).unwrap().id();
    proofs[0].check(NAME, role, &nonce, &identity).unwrap()
}
