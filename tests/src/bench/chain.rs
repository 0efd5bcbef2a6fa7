//! The whole chain in process: root, timestamp, snapshot and targets from bytes to a trusted target, beside the work
//! that cannot be left out (hash the bytes, check the signatures, parse the JSON into plain structures).

use std::collections::BTreeMap;
use std::hint::black_box;

use super::report::{Row, time};
use super::{beside, ratio};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde::Deserialize;
use trust_tuf::draft::Draft;
use trust_tuf::lookup::{Lookup, Step};
use trust_tuf::trusted::RootStage;
use trust_tuf::{MetaEntry, PublicKey, RoleType, Signature, TargetInfo, UtcTime, Version, json};

const ROUNDS: usize = 20;

/// A repository of four files.
pub struct Repository {
    /// `1.root.json`.
    pub root: Vec<u8>,
    /// `timestamp.json`.
    pub timestamp: Vec<u8>,
    /// `1.snapshot.json`.
    pub snapshot: Vec<u8>,
    /// `1.targets.json`.
    pub targets: Vec<u8>,
    /// What was signed, by whom: for the floor.
    signed: Vec<(Vec<u8>, Vec<u8>, Vec<u8>)>,
}

fn signed(pair: &Ed25519KeyPair, draft: &Draft, all: &mut Vec<(Vec<u8>, Vec<u8>, Vec<u8>)>) -> Vec<u8> {
    let key = PublicKey::ed25519(pair.public_key().as_ref()).unwrap();
    let message = draft.payload();
    let sig = pair.sign(&message).as_ref().to_vec();
    all.push((pair.public_key().as_ref().to_vec(), message, sig.clone()));
    draft.assemble([Signature { keyid: key.id(), sig }])
}

/// Makes a repository with this many tags, each with facts as `trust sign` writes them.
pub fn repository(tags: usize) -> Repository {
    let pair = |n: u8| Ed25519KeyPair::from_seed_unchecked(&[n; 32]).unwrap();
    let key = |p: &Ed25519KeyPair| PublicKey::ed25519(p.public_key().as_ref()).unwrap();
    let expires = UtcTime::parse("2035-01-01T00:00:00Z").unwrap();
    let pairs: Vec<Ed25519KeyPair> = (1..=4).map(pair).collect();
    let mut all = Vec::new();
    let mut root = Draft::root(expires);
    for (role, pair) in RoleType::ALL.into_iter().zip(&pairs) {
        root.set_role(role, &[key(pair)], 1);
    }
    let [root_pair, timestamp_pair, snapshot_pair, targets_pair] = pairs.as_slice() else { unreachable!() };
    let root = signed(root_pair, &root, &mut all);
    // The first root is checked as its own.
    let mut targets = Draft::targets(expires);
    for n in 0..tags {
        let mut info = TargetInfo::of(format!("manifest {n}").as_bytes());
        let facts = format!(
            r#"{{"image":{{"annotations":{{}},"mediaType":"application/vnd.oci.image.manifest.v1+json","platforms":[],"signed":"2026-01-01T00:00:00Z","tags":["v{n}"]}}}}"#
        );
        info.custom = Some(json::parse(facts.as_bytes()).unwrap());
        targets.set_target(&format!("api/v{n}"), &info);
    }
    let targets = signed(targets_pair, &targets, &mut all);
    let entry = MetaEntry::of(Version::ONE, &targets);
    let snapshot = signed(snapshot_pair, &Draft::snapshot(Version::ONE, expires, [("targets", &entry)]), &mut all);
    let entry = MetaEntry::of(Version::ONE, &snapshot);
    let timestamp = signed(timestamp_pair, &Draft::timestamp(Version::ONE, expires, &entry), &mut all);
    Repository { root, timestamp, snapshot, targets, signed: all }
}

/// Ours: the whole update from bytes, and one look-up.
pub fn ours(repository: &Repository, path: &str) -> bool {
    let now = UtcTime::parse("2030-01-01T00:00:00Z").unwrap();
    let stage = RootStage::pinned(repository.root.as_slice(), now).unwrap().finish().unwrap();
    let (stage, _) = stage.accept(repository.timestamp.as_slice()).unwrap();
    let set = stage.accept(repository.snapshot.as_slice()).unwrap().accept(repository.targets.as_slice()).unwrap();
    let mut lookup = Lookup::new(&set, path);
    while let Step::Need(_) = lookup.step(&set).unwrap() {}
    lookup.outcome().hit().is_some()
}

#[derive(Deserialize)]
#[allow(dead_code)] // the floor parses everything and uses little of it
struct Plain {
    signatures: Vec<BTreeMap<String, String>>,
    signed: PlainSigned,
}

#[derive(Deserialize)]
#[allow(dead_code)]
struct PlainSigned {
    version: u64,
    expires: String,
    #[serde(default)]
    meta: BTreeMap<String, PlainEntry>,
    #[serde(default)]
    targets: BTreeMap<String, PlainEntry>,
}

#[derive(Deserialize)]
#[allow(dead_code)]
struct PlainEntry {
    #[serde(default)]
    version: u64,
    #[serde(default)]
    length: u64,
    #[serde(default)]
    hashes: BTreeMap<String, String>,
    #[serde(default)]
    custom: Option<serde_json::Value>,
}

/// The floor: hash the two files that another one names, check the four signatures over given canonical bytes, parse.
pub fn floor(repository: &Repository, path: &str) -> bool {
    for bytes in [&repository.snapshot, &repository.targets] {
        black_box(trust_tuf::model::sha256(bytes));
    }
    for (key, message, sig) in &repository.signed {
        UnparsedPublicKey::new(&ED25519, key).verify(message, sig).unwrap();
    }
    let parse = |bytes: &[u8]| serde_json::from_slice::<Plain>(bytes).unwrap();
    black_box((parse(&repository.root), parse(&repository.timestamp), parse(&repository.snapshot)));
    parse(&repository.targets).signed.targets.contains_key(path)
}

/// Measures and tells.
pub fn rows() -> Vec<Row> {
    let row = |tags: usize| {
        let repository = repository(tags);
        let operations = if tags > 100 { 50 } else { 500 };
        let (ours, floor) = beside(
            ROUNDS,
            operations,
            || assert!(ours(&repository, "api/v7")),
            || assert!(floor(&repository, "api/v7")),
        );
        let ratio = ratio(ours.cpu(), floor.cpu());
        Row {
            what: format!("whole chain in process, {tags} tags"),
            wall: ours.wall(),
            worst: ours.worst(),
            cpu: Some(ours.cpu()),
            peak: None,
            beside: format!("hashes, signatures, plain parse: CPU {}", time(floor.cpu())),
            ratio: Some(ratio),
            goal: Some(("CPU ≤ 1.5 × the floor's".to_owned(), ratio <= 1.5)),
        }
    };
    [10, 1_000].into_iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_of_the_figure_find_the_target() {
        let repository = repository(10);
        assert!(ours(&repository, "api/v7") && floor(&repository, "api/v7"));
        assert!(!ours(&repository, "api/v10") && !floor(&repository, "api/v10"));
    }
}
