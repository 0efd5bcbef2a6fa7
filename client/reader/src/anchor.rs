//! The trust anchor: a root file that came from elsewhere, for exactly one collection.
//!
//! Deliberately absent: trust on first use. A fingerprint can be turned into its root file with [`fetch_pinned`]: the
//! server may deliver the bytes, but not choose them.

use trust_tuf::model::sha256;
use trust_tuf::{CollectionName, Version, limits};

use crate::catalogue::Code;
use crate::layout::Layout;
use crate::problems::{Failure, Scene};
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
    let layout = Layout::of(collection);
    let scene = Scene::online(collection.as_str(), transport.describe());
    let mut version = Some(Version::ONE);
    let mut first = None;
    for _ in 0..limits::ROOTS_PER_UPDATE {
        let Some(v) = version else { break };
        let file = format!("{v}.root.json");
        match transport.fetch(&layout.metadata(&file), limits::ROOT_BYTES).await {
            Ok(bytes) => {
                let got = fingerprint(&bytes);
                if got.eq_ignore_ascii_case(wanted) {
                    return Ok(Anchor { collection: collection.clone(), root: bytes.to_vec() });
                }
                first.get_or_insert(got);
            }
            Err(FetchError::NotFound) => break,
            Err(error) => return Err(scene.problem(Failure::Fetch { file, error })),
        }
        version = v.next();
    }
    let Some(first) = first else {
        return Err(Problem::new(Code::NoSuchCollection)
            .fact("collection", collection)
            .fact("server", transport.describe()));
    };
    Err(Problem::new(Code::FingerprintDiffers)
        .fact("collection", collection)
        .fact("pinned", wanted)
        .fact("root v1", first))
}

#[cfg(test)]
mod tests;
