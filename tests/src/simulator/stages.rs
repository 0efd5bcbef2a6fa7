//! The smallest complete client: the stages of `trust_tuf::trusted` with a disk in memory. It shows what the core alone
//! promises, and how a caller has to drive it.

use std::collections::BTreeMap;
use std::sync::Arc;

use trust_tuf::limits;
use trust_tuf::lookup::{Lookup, LookupError, Step};
use trust_tuf::names::percent_encode;
use trust_tuf::trusted::{Freshness, RootStage, TrustedSet};
use trust_tuf::{UpdateError, UtcTime};

use super::{Answer, Client, Failure, Wire, WireError};

/// The client.
pub struct Stages {
    pinned: Vec<u8>,
    wire: Arc<Wire>,
    disk: BTreeMap<String, Vec<u8>>,
}

impl From<UpdateError> for Failure {
    fn from(e: UpdateError) -> Self {
        Self::Refused(e)
    }
}

fn role_file(role: &str) -> String {
    format!("{}.json", percent_encode(role))
}

impl Stages {
    /// A client that has never updated, with this root pinned.
    pub fn new(pinned: Vec<u8>, wire: Arc<Wire>) -> Self {
        Self { pinned, wire, disk: BTreeMap::new() }
    }

    fn fetch(&self, file: &str, limit: u64) -> Result<Vec<u8>, Failure> {
        self.wire.fetch(file, limit).map_err(|error| Failure::Fetch { file: file.to_owned(), error })
    }

    fn keep(&mut self, file: &str, bytes: &[u8]) {
        self.disk.insert(file.to_owned(), bytes.to_vec());
    }

    fn update(&mut self, now: UtcTime) -> Result<TrustedSet, Failure> {
        let mut roots = RootStage::pinned(self.pinned.as_slice(), now)?;
        self.keep("root.json", &roots.root().bytes().clone());
        // Kept roots count only as links of the chain from the pinned one.
        while let Some(bytes) =
            roots.next_version().and_then(|v| self.disk.get(&format!("root_history/{v}.root.json"))).cloned()
        {
            if roots.advance(bytes).is_err() {
                break;
            }
        }
        self.keep("root.json", &roots.root().bytes().clone());
        while let Some(version) = roots.next_version() {
            let bytes = match self.fetch(&format!("{version}.root.json"), limits::ROOT_BYTES) {
                Err(Failure::Fetch { error: WireError::NotFound, .. }) => break,
                other => other?,
            };
            roots.advance(bytes.as_slice())?;
            self.keep("root.json", &bytes);
            self.keep(&format!("root_history/{version}.root.json"), &bytes);
        }
        let prefixed = roots.root().consistent_snapshot();
        let name = |version: trust_tuf::Version, role: &str| {
            if prefixed { format!("{version}.{}", role_file(role)) } else { role_file(role) }
        };

        let mut stage = roots.finish()?;
        if let Some(bytes) = self.disk.get("timestamp.json") {
            stage.offer_local(bytes.as_slice());
        }
        let (mut stage, freshness) = stage.accept(self.fetch("timestamp.json", limits::TIMESTAMP_BYTES)?)?;
        if freshness == Freshness::New {
            self.keep("timestamp.json", &stage.timestamp().bytes().clone());
        }

        if let Some(bytes) = self.disk.get("snapshot.json") {
            stage.offer_local(bytes.as_slice());
        }
        let mut stage = match stage.accept_local() {
            Ok(next) => next,
            Err(stage) => {
                let wanted = stage.wanted();
                let bytes = self.fetch(&name(wanted.version, "snapshot"), wanted.limit)?;
                let next = stage.accept(bytes)?;
                self.keep("snapshot.json", &next.snapshot().bytes().clone());
                next
            }
        };

        if let Some(bytes) = self.disk.get("targets.json") {
            stage.offer_local(bytes.as_slice());
        }
        match stage.accept_local() {
            Ok(set) => Ok(set),
            Err(stage) => {
                let wanted = stage.wanted()?;
                let bytes = self.fetch(&name(wanted.version, "targets"), wanted.limit)?;
                let set = stage.accept(bytes)?;
                self.keep("targets.json", &set.targets().bytes().clone());
                Ok(set)
            }
        }
    }

    fn search(&mut self, set: &mut TrustedSet, path: &str) -> Result<Answer, Failure> {
        let mut lookup = Lookup::new(set, path);
        while self.load(set, &mut lookup)? {}
        Ok(Answer { outcome: lookup.outcome() })
    }

    fn load(&mut self, set: &mut TrustedSet, lookup: &mut Lookup) -> Result<bool, Failure> {
        let request = match lookup.step(set).map_err(Failure::Undecided)? {
            Step::Done => return Ok(false),
            Step::Need(request) => request,
        };
        if let Some(bytes) = self.disk.get(&role_file(&request.role))
            && set.accept_role(&request, bytes.as_slice()).is_ok()
        {
            return Ok(true);
        }
        let file = role_file(&request.role);
        let remote =
            if set.root().consistent_snapshot() { format!("{}.{file}", request.wanted.version) } else { file.clone() };
        match self.fetch(&remote, request.wanted.limit) {
            Ok(bytes) => match set.accept_role(&request, bytes.as_slice()) {
                Ok(_) => self.keep(&file, &bytes),
                Err(e) => lookup.failed(e.into()).map_err(Failure::Undecided)?,
            },
            Err(failure) => {
                // Reported with its cause if it decides the look-up.
                let unavailable = LookupError::Unavailable { role: request.role.clone() };
                lookup.failed(unavailable).map_err(|_| failure)?;
            }
        }
        Ok(true)
    }
}

impl Client for Stages {
    fn refresh(&mut self, now: UtcTime) -> Result<(), Failure> {
        self.update(now).map(|_| ())
    }

    fn lookups(&mut self, now: UtcTime, paths: &[&str]) -> Result<Vec<Result<Answer, Failure>>, Failure> {
        let mut set = self.update(now)?;
        Ok(paths.iter().map(|path| self.search(&mut set, path)).collect())
    }

    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        self.disk.iter().filter(|(name, _)| !name.contains('/')).map(|(n, b)| (n.clone(), b.clone())).collect()
    }

    fn plant(&mut self, file: &str, bytes: &[u8]) {
        self.keep(file, bytes);
    }
}
