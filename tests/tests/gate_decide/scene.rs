//! The scene of the tests on deciders: an image collection, a policy collection, a clock that is set, and questions.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::Semaphore;
use trust_decide::{
    Answer, AnyTransport, Clock, Decider, Environments, Mode, Outcome, Pinned, PolicyFrom, Question, Settings,
    StartError,
};
use trust_image::{Digest, ImageFacts, PlatformFacts};
use trust_policy::{Action, Environment};
use trust_reader::catalogue::Code;
use trust_reader::http::HttpOptions;
use trust_reader::verify::Require;
use trust_tests::simulator::{Delegate, Fault, PERMITS, Repository, Served, TestKey, now};
use trust_tuf::json::{self, Value};
use trust_tuf::{CollectionName, UtcTime};

pub(super) const PAY: &str = "registry.example.com/pay";
pub(super) const POLICY: &str = "registry.example.com/policy";
pub(super) const API: &str = "registry.example.com/pay/api:v1";

/// What is marked fit may run in public clouds, everything signed in private ones.
pub(super) const RULES: &str = r#"
    @id("fit") permit (principal, action, resource) when { resource.fit.contains("com.example.data") };
    @id("private") permit (principal, action, resource) when { principal.cloud == "private" };
"#;
pub(super) const CLOSED: &str = r#"
    @id("nothing") @reason("the doors are closed") forbid (principal, action, resource);
    @id("all") permit (principal, action, resource);
"#;
pub(super) const LABELS: &str = r#"{"schema":"trust/labels/v1","labels":{"com.example.data":{"description":"d","owner":"o",
    "values":{"public":{"fit":["public","private"]},"PII":{"fit":["private"]}}}}}"#;

pub(super) struct Set(pub(super) AtomicI64);

impl Clock for Set {
    fn now(&self) -> UtcTime {
        UtcTime::from_unix(self.0.load(Ordering::Relaxed)).expect("a time")
    }
}

/// An image collection, a policy collection, and a gate.
pub(super) struct Scene {
    pub(super) pay: Repository,
    pub(super) policy: Repository,
    pub(super) folder: TempDir,
    pub(super) clock: Arc<Set>,
    pub(super) permits: Arc<Semaphore>,
    pub(super) with_policy: bool,
    pub(super) environments: Environments,
    pub(super) max_staleness: Duration,
}

pub(super) fn environment(name: &str, cloud: &str) -> Environment {
    Environment::from_toml(&format!("name = \"{name}\"\ncloud = \"{cloud}\""), "the test").expect("an environment")
}

pub(super) fn manifest(n: u8) -> Vec<u8> {
    vec![n; 100]
}

pub(super) fn digest(n: u8) -> Digest {
    Digest::of(&manifest(n))
}

pub(super) fn after(seconds: i64) -> UtcTime {
    now().plus_secs(seconds).expect("a time")
}

/// Facts of a single image with one label.
pub(super) fn facts(n: u8, label: &str) -> Value {
    let facts = ImageFacts {
        media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
        signed: "2031-05-01T00:00:00Z".to_owned(),
        tags: vec!["v1".to_owned()],
        platforms: vec![PlatformFacts {
            platform: "linux/amd64".to_owned(),
            digest: digest(n),
            labels: [("com.example.data".to_owned(), label.to_owned())].into(),
        }],
        annotations: BTreeMap::new(),
        stated: BTreeMap::new(),
    };
    json::parse(&facts.to_custom().expect("small")).expect("JSON")
}

pub(super) fn sign(repo: &mut Repository, tag: &str, n: u8, label: &str) {
    let entry = format!("api/@sha256-{}", digest(n).hex());
    for path in [format!("api/{tag}"), entry] {
        repo.add_target("alice", &path, &manifest(n));
        repo.role("alice").set(&["targets", &path, "custom"], facts(n, label));
    }
}

pub(super) fn publish_role(repo: &mut Repository, role: &str) {
    repo.role(role).bump();
    repo.publish();
}

impl Scene {
    /// `api:v1` is image 1, signed by alice and fit for public clouds; the policy is [`RULES`].
    pub(super) fn new() -> Self {
        let mut pay = Repository::new();
        pay.delegate(
            "targets",
            &Delegate::new("_revoked", &TestKey::ed25519(101), &["_revoked/*", "_revoked/*/*"]).terminating(),
        );
        pay.delegate("targets", &Delegate::new("alice", &TestKey::ed25519(100), &["*/*"]));
        sign(&mut pay, "v1", 1, "public");
        publish_role(&mut pay, "targets");
        let mut policy = Repository::new();
        for (role, key) in [("_policy", 110), ("_labels", 111)] {
            let delegate = Delegate::new(role, &TestKey::ed25519(key), &[&format!("{role}/*")]).terminating();
            policy.delegate("targets", &delegate);
        }
        policy.add_target("_policy", "_policy/main.cedar", RULES.as_bytes());
        policy.add_target("_labels", "_labels/data.json", LABELS.as_bytes());
        publish_role(&mut policy, "targets");
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
        Self {
            pay,
            policy,
            folder: folder.expect("a folder"),
            clock: Arc::new(Set(AtomicI64::new(now().unix()))),
            permits: Arc::new(Semaphore::new(PERMITS as usize)),
            with_policy: true,
            environments: Environments::Fixed(environment("public-eu", "public")),
            max_staleness: Duration::from_secs(3_600),
        }
    }

    pub(super) fn set_time(&self, time: UtcTime) {
        self.clock.0.store(time.unix(), Ordering::Relaxed);
    }

    pub(super) fn set_rules(&mut self, rules: &str) {
        self.policy.add_target("_policy", "_policy/main.cedar", rules.as_bytes());
        publish_role(&mut self.policy, "_policy");
    }

    pub(super) fn log(&self) -> std::path::PathBuf {
        self.folder.path().join("decisions.log")
    }

    pub(super) fn settings(&self) -> Settings {
        let pinned = |name: &str, repo: &Repository| Pinned {
            mirrors: Vec::new(),
            collection: CollectionName::parse(name).expect("a name"),
            root: repo.pinned.clone(),
            server: "https://trust.example.com".to_owned(),
            http: HttpOptions::default(),
        };
        let policy = CollectionName::parse(POLICY).expect("a name");
        let mut collections = vec![pinned(PAY, &self.pay)];
        if self.with_policy {
            collections.push(pinned(POLICY, &self.policy));
        }
        Settings {
            collections,
            policy: if self.with_policy { PolicyFrom::Collection(policy) } else { PolicyFrom::SignaturesAlone },
            environments: self.environments.clone(),
            state: self.folder.path().join("state"),
            refresh: Duration::from_secs(60),
            max_staleness: self.max_staleness,
            log: Some(self.log()),
            require: Require::default(),
        }
    }

    pub(super) async fn start_with(&self, settings: Settings) -> Result<Arc<Decider>, StartError> {
        let (pay, policy) = (Arc::clone(&self.pay.wire), Arc::clone(&self.policy.wire));
        Decider::start_on(settings, self.clock.clone(), |pinned| {
            let wire = Arc::clone(if pinned.collection.as_str() == PAY { &pay } else { &policy });
            let folder = format!("tuf/{}/", pinned.collection);
            Ok(AnyTransport::new(Served { wire, folder, permits: Arc::clone(&self.permits) }))
        })
        .await
    }

    pub(super) async fn start(&self) -> Arc<Decider> {
        self.start_with(self.settings()).await.expect("it starts")
    }

    /// Nothing can be fetched any more.
    pub(super) fn cut(&self) {
        for repo in [&self.pay, &self.policy] {
            for file in repo.wire.files().keys() {
                repo.wire.fault(file, Fault::Reset);
            }
            for next in 2..9 {
                repo.wire.fault(&format!("{next}.root.json"), Fault::Reset);
            }
        }
    }

    pub(super) fn mend(&self) {
        self.pay.wire.heal();
        self.policy.wire.heal();
    }

    pub(super) fn lines(&self) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(self.log()).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }
}

pub(super) fn question(image: &str) -> Question<'_> {
    Question {
        image,
        namespace: None,
        action: Action::Deploy,
        door: "test",
        whom: "alice",
        dry_run: false,
        mode: Mode::Enforce,
        digest_only: false,
    }
}

pub(super) fn ask(decider: &Decider, image: &str) -> Answer {
    decider.decide(&question(image))
}

#[track_caller]
pub(super) fn denied(answer: &Answer) -> Code {
    match &answer.outcome {
        Outcome::Denied(denied) => {
            assert_ne!(answer.exit(), 0);
            assert_eq!(answer.json()["ok"], false);
            denied.problem.code
        }
        Outcome::Allowed(_) => panic!("allowed: {}", answer.line()),
    }
}

#[track_caller]
pub(super) fn allowed(answer: &Answer) -> Arc<trust_decide::Allowed> {
    match &answer.outcome {
        Outcome::Allowed(allowed) => Arc::clone(allowed),
        Outcome::Denied(denied) => panic!("denied: {} {}", answer.line(), denied.problem.text()),
    }
}
