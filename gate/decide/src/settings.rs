//! What a decider is started with. Whoever makes this value has read it from a file; here it is checked.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use trust_image::target;
use trust_policy::Environment;
use trust_reader::catalogue::Code;
use trust_reader::http::HttpOptions;
use trust_reader::problems::Scene;
use trust_reader::sources::check_mirrors;
use trust_reader::verdict::Problem;
use trust_reader::verify::Require;
use trust_tuf::trusted::RootStage;
use trust_tuf::{CollectionName, UtcTime};

/// Collections that one decider keeps.
pub(crate) const MAX_COLLECTIONS: usize = 256;

/// A collection with its pinned root and the server to read it from.
#[derive(Debug, Clone)]
pub struct Pinned {
    /// The collection.
    pub collection: CollectionName,
    /// The bytes of the pinned root file.
    pub root: Vec<u8>,
    /// The server's address.
    pub server: String,
    /// Addresses of its mirrors, the best first.
    pub mirrors: Vec<String>,
    /// How they are reached. A token is for the server alone.
    pub http: HttpOptions,
}

/// Where the policy comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PolicyFrom {
    /// This collection, one of [`Settings::collections`]: its `_policy` and `_labels`, and nobody else's.
    Collection(CollectionName),
    /// Nowhere: what is validly signed passes.
    SignaturesAlone,
}

/// Where images are to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Environments {
    /// All in one environment.
    Fixed(Environment),
    /// By the name of the namespace; one that is not listed, or none, is [`Environment::strictest`].
    Namespaces(BTreeMap<String, Environment>),
}

/// What a decider is started with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The collections, each name once. An image belongs to the longest name that covers it.
    pub collections: Vec<Pinned>,
    /// Where the policy comes from.
    pub policy: PolicyFrom,
    /// Where images are to run.
    pub environments: Environments,
    /// The persistent folder of trusted states. Losing it loses the protection against rollback.
    pub state: PathBuf,
    /// How often each collection is refreshed; a tenth of it is jitter.
    pub refresh: Duration,
    /// How long an allow is given after the last successful refresh.
    pub max_staleness: Duration,
    /// The decision log; `None`: decisions are not logged.
    pub log: Option<PathBuf>,
    /// Who must have signed, beside what the policy says.
    pub require: Require,
}

/// Why a decider does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting cannot be used.
    #[error("{0}")]
    Settings(Problem),
    /// There is no verified policy, and it was not said that signatures alone decide.
    #[error("{0}")]
    NoPolicy(Problem),
    /// The decision log cannot be opened.
    #[error("{0}")]
    Log(Problem),
    /// The state folder cannot be used, or another process uses it.
    #[error("{0}")]
    State(Problem),
}

impl StartError {
    /// The problem, with text and exit code.
    pub fn problem(&self) -> &Problem {
        match self {
            Self::Settings(problem) | Self::NoPolicy(problem) | Self::Log(problem) | Self::State(problem) => problem,
        }
    }
}

impl Settings {
    /// Whether these settings can be used at all; whether servers and files answer is seen at the start.
    pub(crate) fn check(&self) -> Result<(), StartError> {
        let refused = |found: &str, what: &dyn std::fmt::Display| {
            Err(StartError::Settings(Problem::new(Code::Configuration).fact("setting", what).fact("found", found)))
        };
        if self.collections.is_empty() {
            return refused("no collection is pinned: everything would be denied", &"collections");
        }
        if self.collections.len() > MAX_COLLECTIONS {
            return refused("there are too many collections", &MAX_COLLECTIONS);
        }
        for (at, pinned) in self.collections.iter().enumerate() {
            let name = &pinned.collection;
            // One that is not canonical would never be found, and a shorter name would speak for its images.
            if target::check_collection(name.as_str()).is_err() {
                return refused("the collection's name is not canonical (host in lower case, no default port)", name);
            }
            // Its own signatures, whatever its expiry: a newer root may follow.
            if let Err(error) = RootStage::pinned(pinned.root.clone(), UtcTime::EPOCH) {
                return Err(StartError::Settings(Scene::offline(name.as_str()).problem(error.into())));
            }
            if let Err(why) = check_mirrors(Some(&pinned.server), &pinned.mirrors) {
                return refused(&why, name);
            }
            if self.collections.iter().skip(at + 1).any(|other| other.collection == *name) {
                return refused("the collection is pinned twice", name);
            }
        }
        if let PolicyFrom::Collection(name) = &self.policy
            && !self.collections.iter().any(|pinned| pinned.collection == *name)
        {
            return refused("the policy collection is none of the collections", name);
        }
        if self.refresh.is_zero() || self.refresh > self.max_staleness {
            return refused("it must be more than 0 and not more than max_staleness", &"refresh");
        }
        Ok(())
    }
}
