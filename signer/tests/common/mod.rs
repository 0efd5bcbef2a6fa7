//! A signer in this process, people who publish through it, and a checker that sees every signature ever made.

#![allow(dead_code, missing_docs, unreachable_pub)] // shared by several test programs, each of which uses a part

pub mod checker;
pub mod people;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};

use tempfile::TempDir;
use trust_keys::Passphrase;
use trust_signer::store::{Admission, Store};
use trust_signer::vault::{DEV_COST, new_identity};
use trust_signer::{Config, Entropy, Prepared, SignerCore, Vault};
use trust_tuf::model::sha256;
use trust_tuf::{CollectionName, UtcTime};
use trust_wire::signer::{Reply, Request, Resigned, Signed};

use checker::Checker;
use people::{Files, Team};

pub const DAY: i64 = 86_400;
pub const START: i64 = 1_900_000_000;

/// A small generator of numbers, the same for the same seed.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to `below` - 1.
    pub fn roll(&mut self, below: u64) -> u64 {
        self.next() % below
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        from.get(usize::try_from(self.roll(from.len().max(1) as u64)).unwrap())
    }
}

/// Randomness for keys that the test knows, and remembers.
pub struct KnownEntropy {
    dice: Dice,
    given: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Entropy for KnownEntropy {
    fn fill(&mut self, buffer: &mut [u8]) -> bool {
        for byte in buffer.iter_mut() {
            *byte = self.dice.next() as u8;
        }
        self.given.lock().unwrap().push(buffer.to_vec());
        true
    }
}

/// A folder for a store: in memory where there is such a place, because the tests sync thousands of times.
pub fn folder() -> TempDir {
    let shm = PathBuf::from("/dev/shm");
    let dir = if shm.is_dir() { TempDir::new_in(shm).unwrap() } else { TempDir::new().unwrap() };
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
    dir
}

/// One identity for all tests of a program: the derivation from the passphrase is slow on purpose.
fn template() -> &'static (TempDir, Arc<Vault>) {
    static TEMPLATE: OnceLock<(TempDir, Arc<Vault>)> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let dir = folder();
        let passphrase = Passphrase::new("of the tests").unwrap();
        let identity = new_identity(&passphrase, DEV_COST).unwrap();
        Store::create(dir.path(), &identity).unwrap();
        (dir, Arc::new(Vault::open(&identity, &passphrase).unwrap()))
    })
}

/// The usual configuration with a change.
pub fn config(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = Config::default();
    change(&mut config);
    config
}

/// A signer, its clock, and the checker.
pub struct World {
    pub dir: TempDir,
    pub core: Option<SignerCore>,
    pub config: Config,
    pub dev: bool,
    pub now: i64,
    pub checker: Checker,
    pub seeds: Arc<Mutex<Vec<Vec<u8>>>>,
    entropy_seed: u64,
}

impl World {
    pub fn new() -> Self {
        Self::with(1, Config::default(), false)
    }

    pub fn with(seed: u64, config: Config, dev: bool) -> Self {
        let dir = folder();
        fs::copy(template().0.path().join("signer.db"), dir.path().join("signer.db")).unwrap();
        let mut world = Self {
            dir,
            core: None,
            config,
            dev,
            now: START,
            checker: Checker::default(),
            seeds: Arc::default(),
            entropy_seed: seed,
        };
        world.restart();
        world
    }

    /// The process ends, and another one starts on the same store.
    pub fn restart(&mut self) {
        self.core = None;
        self.entropy_seed += 1_000_003;
        let entropy = KnownEntropy { dice: Dice::new(self.entropy_seed), given: Arc::clone(&self.seeds) };
        let store = Store::open(self.dir.path()).unwrap();
        let vault = Arc::clone(&template().1);
        self.core = Some(SignerCore::new(store, vault, Box::new(entropy), self.config.clone(), self.dev));
    }

    pub fn time(&self) -> UtcTime {
        UtcTime::from_unix(self.now).unwrap()
    }

    /// Asks, and shows question and answer to the checker.
    pub fn ask(&mut self, request: Request) -> Reply {
        let now = self.time();
        let reply = self.core.as_mut().unwrap().handle(now, request.clone());
        self.checker.saw(now, &request, &reply);
        reply
    }

    pub fn publish(&mut self, team: &Team, files: &Files) -> Result<Signed, (String, String)> {
        published(self.ask(files.request(&team.name)))
    }

    /// The first step of a publication in two.
    pub fn prepare(&mut self, name: &str, files: &Files) -> Prepared {
        let now = self.time();
        let Request::Publish { collection, roots, roles, grant } = files.request(name) else { panic!() };
        self.core.as_mut().unwrap().prepare(now, &collection, roots, roles, grant)
    }

    /// The second step; the checker sees a publication.
    pub fn commit(&mut self, name: &str, files: &Files, prepared: Prepared) -> Result<Signed, (String, String)> {
        let now = self.time();
        let reply = self.core.as_mut().unwrap().commit_prepared(now, prepared);
        self.checker.saw(now, &files.request(name), &reply);
        published(reply)
    }

    /// Publishes, and expects the refusal to name this rule.
    pub fn refused(&mut self, team: &Team, files: &Files, rule: &str) -> String {
        match self.publish(team, files) {
            Err((found, reason)) if found == rule => reason,
            other => panic!("expected {rule}, got {other:?}"),
        }
    }

    pub fn resign(&mut self, name: &str) -> Resigned {
        match self.ask(Request::Resign { collections: vec![name.to_owned()] }) {
            Reply::Resigned { timestamps } => timestamps.into_iter().next().unwrap(),
            other => panic!("{other:?}"),
        }
    }

    pub fn admit(&mut self, name: &str, first_root: &[u8]) {
        let collection = CollectionName::parse(name).unwrap();
        let admission = Admission { root_sha256: sha256(first_root), by: "command".to_owned() };
        Store::open(self.dir.path()).unwrap().admit(&collection, &admission, self.time()).unwrap();
        self.checker.admitted.insert(name.to_owned(), sha256(first_root));
    }

    /// A collection with its people, admitted and published once.
    pub fn born(&mut self, name: &str) -> Team {
        let mut team = Team::new(name, 7);
        team.fetch_online_keys(self);
        let first = team.first(self.now);
        self.admit(name, &first.roots[0]);
        self.publish(&team, &first).unwrap();
        team.accepted(&first);
        team
    }

    /// Looks at the durable side: the audit chain holds one entry for each signature.
    pub fn check_audit(&self) {
        let report = Store::open(self.dir.path()).unwrap().verify_audit().unwrap();
        assert!(report.signatures >= self.checker.signatures(), "every signature that left has its entry");
    }
}

fn published(reply: Reply) -> Result<Signed, (String, String)> {
    match reply {
        Reply::Published(signed) => Ok(signed),
        Reply::Refused { rule, reason } => Err((rule, reason)),
        Reply::Failed { reason } => Err(("failed".to_owned(), reason)),
        other => panic!("{other:?}"),
    }
}
