//! The judge: a client that has seen everything which the signer ever released.
//!
//! It knows which first roots were admitted, and otherwise believes only the rules of a client (`trust_tuf::trusted`), each
//! collection with its persisted state, so that rollback and equivocation show.

use std::collections::{BTreeMap, BTreeSet};

use trust_tuf::UtcTime;
use trust_tuf::json::{self, Value};
use trust_tuf::model::sha256;
use trust_tuf::trusted::{RootStage, TrustedSet};
use trust_wire::signer::{Reply, Request, Resigned};

const WEEK: i64 = 7 * 86_400;
const QUARTER: i64 = 90 * 86_400;

#[derive(Debug, Default)]
struct Seen {
    roots: Vec<Vec<u8>>,
    snapshots: BTreeMap<u64, Vec<u8>>,
    timestamps: BTreeMap<u64, Vec<u8>>,
}

#[derive(Debug, Default)]
pub struct Checker {
    /// SHA-256 of the admitted first root of each collection.
    pub admitted: BTreeMap<String, [u8; 32]>,
    /// Whether the signer admits by itself.
    pub dev: bool,
    seen: BTreeMap<String, Seen>,
    files: BTreeMap<[u8; 32], Vec<u8>>,
}

impl Checker {
    /// How many signatures were released.
    pub fn signatures(&self) -> u64 {
        let count = |file: &Vec<u8>| json::parse(file).unwrap().get("signatures").unwrap().as_array().unwrap().len();
        let files = self.seen.values().flat_map(|s| s.snapshots.values().chain(s.timestamps.values()));
        files.map(|file| count(file) as u64).sum()
    }

    pub fn released(&self, collection: &str) -> usize {
        self.seen.get(collection).map_or(0, |s| s.snapshots.len() + s.timestamps.len())
    }

    pub fn saw(&mut self, now: UtcTime, request: &Request, reply: &Reply) {
        if let Request::Publish { roles, .. } = request {
            for file in roles.values() {
                self.files.insert(sha256(&file.0), file.0.clone());
            }
        }
        match (request, reply) {
            (Request::Publish { collection, roots, .. }, Reply::Published(signed)) => {
                let first = self.seen.get(collection).is_none_or(|seen| seen.roots.is_empty());
                if first {
                    let hash = sha256(&roots.first().expect("a first publication has a root").0);
                    let admitted = if self.dev { Some(&hash) } else { self.admitted.get(collection) };
                    assert_eq!(admitted, Some(&hash), "{collection}: signed for a root that nobody admitted");
                }
                let seen = self.seen.entry(collection.clone()).or_default();
                for root in roots {
                    // The same publication asked again brings the same roots again.
                    if !seen.roots.contains(&root.0) {
                        seen.roots.push(root.0.clone());
                    }
                }
                self.check(now, collection, Some(&signed.snapshot.0), &signed.timestamp.0);
            }
            (Request::Resign { collections }, Reply::Resigned { timestamps }) => {
                assert_eq!(collections.len(), timestamps.len());
                for (collection, answer) in collections.iter().zip(timestamps) {
                    if let Resigned::Done { snapshot, timestamp, .. } = answer {
                        self.check(now, collection, snapshot.as_ref().map(|s| s.0.as_slice()), &timestamp.0);
                    }
                }
            }
            (Request::Files { collection }, Reply::Files { files: Some(files) }) => {
                self.check(now, collection, Some(&files.signed.snapshot.0), &files.signed.timestamp.0);
            }
            (_, Reply::Published(_) | Reply::Resigned { .. }) => panic!("an answer to another question"),
            _ => {}
        }
    }

    /// Files that the signer released for a collection, new ones or the last ones again.
    fn check(&mut self, now: UtcTime, collection: &str, snapshot: Option<&[u8]>, timestamp: &[u8]) {
        let before = self.seen.get(collection).expect("nothing is signed for a collection without a publication");
        let last_snapshot = before.snapshots.last_key_value().map(|(v, b)| (*v, b.clone()));
        let last_timestamp = before.timestamps.last_key_value().map(|(v, b)| (*v, b.clone()));

        let snapshot = snapshot.map(<[u8]>::to_vec).or(last_snapshot.clone().map(|(_, b)| b)).unwrap();
        let (snapshot_version, new_snapshot) = self.one_body(collection, "snapshot", &snapshot, now, QUARTER);
        let (timestamp_version, new_timestamp) = self.one_body(collection, "timestamp", timestamp, now, WEEK);
        assert!(!new_snapshot || new_timestamp, "{collection}: a new snapshot without a timestamp for it");

        let seen = &self.seen[collection];
        assert_eq!(*seen.snapshots.last_key_value().unwrap().0, snapshot_version, "{collection}: an old snapshot");
        assert_eq!(*seen.timestamps.last_key_value().unwrap().0, timestamp_version, "{collection}: an old timestamp");
        if !new_timestamp {
            return; // given again: judged before
        }
        self.as_a_client(collection, last_timestamp.map(|(_, b)| b), last_snapshot.map(|(_, b)| b));
    }

    /// One body for each version, for ever; a new version is exactly the next; no life over the ceiling.
    fn one_body(&mut self, collection: &str, role: &str, file: &[u8], now: UtcTime, ceiling: i64) -> (u64, bool) {
        let value = json::parse(file).unwrap();
        let signed = value.get("signed").unwrap();
        assert_eq!(signed.get("_type").and_then(Value::as_str), Some(role));
        let version = signed.get("version").and_then(Value::as_u64).unwrap();
        let seen = self.seen.get_mut(collection).unwrap();
        let bodies = if role == "snapshot" { &mut seen.snapshots } else { &mut seen.timestamps };
        if let Some(before) = bodies.get(&version) {
            assert_eq!(before, file, "{collection}: two bodies for {role} {version}");
            return (version, false);
        }
        let last = bodies.last_key_value().map_or(0, |(v, _)| *v);
        assert!(version > last, "{collection}: {role} went from {last} to {version}");
        let expires = signed.get("expires").and_then(Value::as_str).and_then(UtcTime::parse).unwrap();
        let life = expires.secs_since(now);
        assert!(life > 0 && life <= ceiling, "{collection}: {role} lives {life} s");
        bodies.insert(version, file.to_vec());
        (version, true)
    }

    /// A client that persisted the set before sees the newest set: it accepts all of it, down to the last role.
    fn as_a_client(&self, collection: &str, old_timestamp: Option<Vec<u8>>, old_snapshot: Option<Vec<u8>>) {
        let seen = &self.seen[collection];
        // People's files may be expired by now; that is theirs, and for the client of another test.
        let now = UtcTime::from_unix(0).unwrap();
        let (first, later) = seen.roots.split_first().unwrap();
        if !self.dev {
            assert_eq!(self.admitted.get(collection), Some(&sha256(first)));
        }
        let mut stage = RootStage::pinned(first.as_slice(), now).unwrap();
        for root in later {
            stage.advance(root.as_slice()).expect("an accepted root that is not chained");
        }
        let mut stage = stage.finish().unwrap();
        if let Some(old) = old_timestamp {
            stage.offer_local(old);
        }
        let timestamp = seen.timestamps.last_key_value().unwrap().1;
        let (mut stage, _) = stage.accept(timestamp.as_slice()).expect("timestamp");
        let floor = old_snapshot.is_some_and(|old| stage.offer_local(old));
        let newest = seen.snapshots.last_key_value().unwrap().1;
        assert_eq!(
            stage.wanted().version.get(),
            *seen.snapshots.last_key_value().unwrap().0,
            "names the newest snapshot"
        );
        let stage = stage.accept(newest.as_slice()).expect("snapshot");
        let listed: BTreeMap<String, Option<[u8; 32]>> = stage
            .snapshot()
            .meta()
            .iter()
            .map(|(file, entry)| {
                let hash = entry.hashes.as_ref().and_then(|h| h.sha256);
                (file.strip_suffix(".json").unwrap().to_owned(), hash)
            })
            .collect();
        let file = |role: &str| self.files.get(&listed[role].expect("a hash")).expect("a file that somebody sent");
        let mut set = stage.accept(file("targets").as_slice()).expect("targets");

        let mut reached = BTreeSet::from(["targets".to_owned()]);
        let mut waiting = vec!["targets".to_owned()];
        while let Some(delegator) = waiting.pop() {
            for child in children(&set, &delegator) {
                let wanted = set.request(&delegator, &child).expect("a delegated role that is not listed");
                set.accept_role(&wanted, file(&child).as_slice()).expect("a delegated role");
                assert!(reached.insert(child.clone()), "two delegators");
                waiting.push(child);
            }
        }
        // What nobody delegates any more stays listed only as what it was (a floor of clients that saw it).
        for (role, hash) in listed.iter().filter(|(role, _)| !reached.contains(*role)) {
            assert!(floor, "{collection}: {role} is listed and not delegated");
            let before = seen.snapshots.values().rev().nth(1).or(seen.snapshots.values().next()).unwrap();
            let value = json::parse(before).unwrap();
            let entry = value.get("signed").and_then(|s| s.get("meta")).and_then(|m| m.get(&format!("{role}.json")));
            let old = entry.and_then(|e| e.get("hashes")?.get("sha256")?.as_str());
            assert_eq!(old.map(str::to_owned), hash.map(hex::encode), "{collection}: tombstone {role} changed");
        }
    }
}

fn children(set: &TrustedSet, delegator: &str) -> Vec<String> {
    let names = |file: &trust_tuf::Targets| -> Vec<String> {
        file.delegations().into_iter().flat_map(|d| d.roles()).map(|d| d.name().to_owned()).collect()
    };
    if delegator == "targets" {
        return names(set.targets());
    }
    let parents = ["targets"];
    parents.iter().find_map(|parent| set.delegated(parent, delegator)).map(|f| names(f)).unwrap_or_default()
}

/// The version that a file claims.
pub fn version_of(file: &[u8]) -> u64 {
    json::parse(file).unwrap().get("signed").unwrap().get("version").unwrap().as_u64().unwrap()
}

/// When a file expires, in Unix seconds.
pub fn expiry_of(file: &[u8]) -> i64 {
    let value = json::parse(file).unwrap();
    UtcTime::parse(value.get("signed").unwrap().get("expires").unwrap().as_str().unwrap()).unwrap().unix()
}

/// The roles that a snapshot lists, with their versions.
pub fn listed(snapshot: &[u8]) -> BTreeMap<String, u64> {
    let value = json::parse(snapshot).unwrap();
    let meta = value.get("signed").unwrap().get("meta").unwrap().as_object().unwrap();
    let version = |entry: &Value| entry.get("version").unwrap().as_u64().unwrap();
    meta.iter().map(|(file, entry)| (file.strip_suffix(".json").unwrap().to_owned(), version(entry))).collect()
}
