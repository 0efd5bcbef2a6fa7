//! The trust anchor: a root file that came from elsewhere, for exactly one collection.
//!
//! Deliberately absent: trust on first use. A fingerprint can be turned into its root file with [`fetch_pinned`]: the
//! server may deliver the bytes, but not choose them.

use trust_tuf::model::sha256;
use trust_tuf::{CollectionName, Version, limits};

use crate::catalogue::Code;
use crate::layout::Layout;
use crate::problems::{Failure, Scene};
use crate::sources::Sources;
use crate::transport::{FetchError, Transport};
use crate::verdict::Problem;

/// A pinned root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    /// The collection that the root is pinned for.
    pub collection: CollectionName,
    /// The bytes of the root file.
    pub root: Vec<u8>,
}

impl Anchor {
    /// The fingerprint of the pinned root.
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.root)
    }
}

/// The fingerprint of a root file: SHA-256 of its bytes, 64 lower-case hex digits.
pub fn fingerprint(bytes: &[u8]) -> String {
    hex::encode(sha256(bytes))
}

/// Fetches the root file with this fingerprint (64 hex digits), whatever its version.
pub async fn fetch_pinned<T: Transport>(
    transport: &T,
    collection: &CollectionName,
    wanted: &str,
) -> Result<Anchor, Problem> {
    fetch_from(transport, collection, wanted).await.map_err(|missing| missing.problem(collection, wanted))
}

/// The same from the first place that has it. Mirrors can only add the very file that is wanted: if nobody has it, the server's
/// answer counts.
pub async fn fetch_pinned_from<T: Transport>(
    sources: &Sources<T>,
    collection: &CollectionName,
    wanted: &str,
) -> Result<Anchor, Problem> {
    let mut missing = Vec::new();
    for transport in sources.iter() {
        match fetch_from(transport, collection, wanted).await {
            Ok(anchor) => return Ok(anchor),
            Err(why) => missing.push(why),
        }
    }
    // A mirror without the collection does not make an outage of the server "no such collection", nor the other way round.
    let of_all: Vec<(String, String)> = missing.iter().map(|m| (m.server.clone(), m.to_string())).collect();
    let main = missing.iter().position(|m| !matches!(m.why, Why::NoCollection)).unwrap_or(0);
    let main = missing.into_iter().nth(main).ok_or_else(|| Problem::new(Code::NoSuchCollection))?;
    let problem = main.problem(collection, wanted);
    if of_all.len() < 2 {
        return Err(problem);
    }
    Err(of_all.into_iter().fold(problem, |problem, (server, why)| problem.fact("tried", format!("{server}: {why}"))))
}

/// Why a place does not give the pinned root.
struct Missing {
    server: String,
    why: Why,
}

enum Why {
    NoCollection,
    Other {
        first: String,
    },
    /// As many roots as are looked through.
    TooMany {
        first: String,
    },
    Fetch {
        file: String,
        error: FetchError,
    },
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.why {
            Why::NoCollection => f.write_str("the collection is not there"),
            Why::Other { first } => write!(f, "no root there has the fingerprint; the first has {first}"),
            Why::TooMany { .. } => write!(f, "not among the first {} roots", limits::ROOTS_PER_UPDATE),
            Why::Fetch { file, error } => write!(f, "{file}: {error}"),
        }
    }
}

impl Missing {
    fn problem(self, collection: &CollectionName, wanted: &str) -> Problem {
        let differs = |first: &str| {
            Problem::new(Code::FingerprintDiffers)
                .fact("collection", collection)
                .fact("pinned", wanted)
                .fact("root v1", first)
        };
        match &self.why {
            Why::NoCollection => {
                Problem::new(Code::NoSuchCollection).fact("collection", collection).fact("server", &self.server)
            }
            Why::Other { first } => differs(first),
            Why::TooMany { first } => differs(first).fact("found", &self),
            Why::Fetch { file, error } => {
                let failure = Failure::Fetch { file: file.clone(), error: error.clone() };
                Scene::online(collection.as_str(), self.server).problem(failure)
            }
        }
    }
}

async fn fetch_from<T: Transport>(transport: &T, collection: &CollectionName, wanted: &str) -> Result<Anchor, Missing> {
    let layout = Layout::of(collection);
    let missing = |why| Err(Missing { server: transport.describe(), why });
    let mut version = Some(Version::ONE);
    let mut first = None;
    for _ in 0..limits::ROOTS_PER_UPDATE {
        let Some(v) = version else { break };
        let file = format!("{v}.root.json");
        match transport.fetch(&layout.metadata(&file), limits::ROOT_BYTES).await {
            Ok(bytes) => {
                let got = fingerprint(&bytes);
                if got.eq_ignore_ascii_case(wanted) {
                    return Ok(Anchor { collection: collection.clone(), root: Vec::from(bytes) });
                }
                first.get_or_insert(got);
            }
            Err(FetchError::NotFound) => {
                return missing(first.map_or(Why::NoCollection, |first| Why::Other { first }));
            }
            Err(error) => return missing(Why::Fetch { file, error }),
        }
        version = v.next();
    }
    missing(Why::TooMany { first: first.unwrap_or_default() })
}

#[cfg(test)]
mod tests;
