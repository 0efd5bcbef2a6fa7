//! One repository, one client, one time.

use std::collections::BTreeMap;

use trust_tuf::error::{MetadataError, Reason};
use trust_tuf::json::{self, Value};
use trust_tuf::{UtcTime, Version};

use super::reader::ReaderClient;
use super::{Answer, Client, Failure, Repository, Stages};

/// The time of the tests, if they do not say otherwise. In the past of the machine's clock or not: nothing here reads it.
pub const NOW: &str = "2031-06-01T00:00:00Z";

/// [`NOW`].
pub fn now() -> UtcTime {
    UtcTime::parse(NOW).expect("a time")
}

/// Days in seconds.
pub const fn days(n: i64) -> i64 {
    n * 86_400
}

/// Reads a failure that must be a refusal of a file.
pub fn refused(result: Result<impl Sized, Failure>) -> (String, Reason) {
    match result {
        Ok(_) => panic!("accepted"),
        Err(failure) => match failure.refusal() {
            Some((role, reason)) => (role.to_owned(), reason.clone()),
            None => panic!("another failure: {failure:?}"),
        },
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Stages,
    Reader,
}

/// One repository, one client, one time.
pub struct World {
    /// The repository.
    pub repo: Repository,
    /// The client, with the repository's first root pinned.
    pub client: Box<dyn Client>,
    /// The reference time of the next update.
    pub now: UtcTime,
    kind: Kind,
}

impl World {
    fn new(kind: Kind) -> Self {
        Self::with(kind, Repository::new())
    }

    fn with(kind: Kind, repo: Repository) -> Self {
        let client = Self::make(kind, &repo, repo.pinned.clone());
        Self { repo, client, now: now(), kind }
    }

    fn make(kind: Kind, repo: &Repository, pinned: Vec<u8>) -> Box<dyn Client> {
        match kind {
            Kind::Stages => Box::new(Stages::new(pinned, repo.wire.clone())),
            Kind::Reader => Box::new(ReaderClient::new(pinned, repo.wire.clone())),
        }
    }

    /// A fresh repository and the stages of `trust-tuf`.
    pub fn stages() -> Self {
        Self::new(Kind::Stages)
    }

    /// A fresh repository and the shipped reader.
    pub fn reader() -> Self {
        Self::new(Kind::Reader)
    }

    /// Whether the client is the shipped reader. It is stricter about its own disk than the core alone.
    pub fn is_reader(&self) -> bool {
        self.kind == Kind::Reader
    }

    /// The client forgets everything; another root may be pinned.
    pub fn new_client(&mut self, pinned: Vec<u8>) {
        self.client = Self::make(self.kind, &self.repo, pinned);
    }

    /// Another repository, and a client that has never updated.
    pub fn restart(&mut self, repo: Repository) {
        *self = Self::with(self.kind, repo);
    }

    /// One update.
    pub fn refresh(&mut self) -> Result<(), Failure> {
        self.client.refresh(self.now)
    }

    /// One update that must succeed.
    pub fn refreshed(&mut self) {
        self.refresh().expect("the repository is fine");
    }

    /// One update that must be refused: the role and the reason.
    pub fn refused(&mut self) -> (String, Reason) {
        refused(self.refresh())
    }

    /// One update that must be refused because these bytes are no metadata file.
    pub fn malformed(&mut self, role: &str) -> MetadataError {
        match self.refused() {
            (of, Reason::Metadata(e)) if of == role => e,
            other => panic!("another refusal: {other:?}"),
        }
    }

    /// One update and a look-up.
    pub fn lookup(&mut self, path: &str) -> Result<Answer, Failure> {
        self.client.lookup(self.now, path)
    }

    /// The versions of the kept files by name without `.json`.
    pub fn kept(&self) -> BTreeMap<String, u64> {
        let version = |bytes: &[u8]| json::parse(bytes).ok()?.get("signed")?.get("version").and_then(Value::as_u64);
        self.client
            .files()
            .into_iter()
            .filter_map(|(name, bytes)| Some((name.strip_suffix(".json")?.to_owned(), version(&bytes)?)))
            .collect()
    }

    /// Asserts which files are kept: versions of root, timestamp, snapshot and targets (0: none), and that each is
    /// byte for byte what the repository published under that version.
    #[track_caller]
    pub fn assert_kept(&self, root: u64, timestamp: u64, snapshot: u64, targets: u64) {
        let kept = self.kept();
        let of = |role: &str| kept.get(role).copied().unwrap_or(0);
        assert_eq!(
            (of("root"), of("timestamp"), of("snapshot"), of("targets")),
            (root, timestamp, snapshot, targets),
            "kept versions of root, timestamp, snapshot, targets"
        );
    }

    /// A version.
    pub fn version(n: u64) -> Version {
        Version::new(n).expect("a version")
    }
}

/// Writes each attack as one test for every client: `stages::NAME` for the core alone, `reader::NAME` for the shipped
/// reader.
#[macro_export]
macro_rules! attacks {
    ($($(#[$meta:meta])* fn $name:ident($world:ident) $body:block)*) => {
        $($(#[$meta])* fn $name($world: &mut $crate::simulator::World) $body)*

        mod stages {
            $(#[test] fn $name() { super::$name(&mut $crate::simulator::World::stages()); })*
        }

        $crate::with_the_reader! {
            mod reader {
                $(#[test] fn $name() { super::$name(&mut $crate::simulator::World::reader()); })*
            }
        }
    };
}
