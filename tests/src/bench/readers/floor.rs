//! What no reader can leave out: SHA-256 of each file that another one names, every signature over given canonical bytes
//! (same provider of cryptography, keys and messages ready), and one pass over each file ([`Scan`]) that checks
//! that it is whole and takes out what is wanted.
//!
//! No rules, no dates, no state, no files: a floor and not a reader.

use std::hint::black_box;
use std::io;
use std::path::Path;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use serde_json::Value;
use trust_tuf::model::sha256;

use super::contestants::Moment;
use super::scan::Scan;

/// A file with what its check needs.
struct Signed {
    bytes: Vec<u8>,
    /// Where the signed part stands.
    start: usize,
    key: Vec<u8>,
    signature: Vec<u8>,
}

impl Signed {
    fn read(path: &Path, keys: &Value) -> io::Result<Self> {
        let bytes = std::fs::read(path)?;
        let wrong = || io::Error::other(format!("{}: not as it is made here", path.display()));
        let place = bytes.windows(10).position(|w| w == b",\"signed\":").ok_or_else(wrong)?;
        let head = bytes.get(..place).map(|head| [head, b"}"].concat()).ok_or_else(wrong)?;
        let head: Value = serde_json::from_slice(&head)?;
        let signature = &head["signatures"][0];
        let public = &keys[signature["keyid"].as_str().ok_or_else(wrong)?]["keyval"]["public"];
        let decoded = |value: &Value| hex::decode(value.as_str().unwrap_or_default()).map_err(io::Error::other);
        let (key, signature) = (decoded(public)?, decoded(&signature["sig"])?);
        let signed = Self { start: place + 10, bytes, key, signature };
        signed.verify().ok_or_else(wrong)?;
        Ok(signed)
    }

    fn verify(&self) -> Option<()> {
        let message = self.bytes.get(self.start..self.bytes.len() - 1)?;
        UnparsedPublicKey::new(&ED25519, &self.key).verify(message, &self.signature).ok()
    }

    /// Passes over the file; members of `signed` are given to the callback, which passes over them.
    fn scan<'a>(&'a self, mut member: impl FnMut(&mut Scan<'a>, &'a [u8]) -> Option<()>) -> Option<()> {
        let mut scan = Scan::new(&self.bytes)?;
        scan.object(|scan, name| if name == b"signed" { scan.object(&mut member) } else { scan.skip() })?;
        scan.end()
    }

    /// Length and SHA-256 of a listed target.
    fn target(&self, path: &[u8]) -> Option<(u64, [u8; 32])> {
        let (mut length, mut hash) = (None, None);
        self.scan(|scan, name| match name {
            b"targets" => scan.object(|scan, name| {
                if name != path {
                    return scan.skip();
                }
                scan.object(|scan, name| match name {
                    b"length" => scan.integer().map(|n| length = Some(n)),
                    b"hashes" => scan.object(|scan, _| scan.string().map(|text| hash = Some(text))),
                    _ => scan.skip(),
                })
            }),
            _ => scan.skip(),
        })?;
        let mut out = [0; 32];
        hex::decode_to_slice(hash?, &mut out).ok()?;
        Some((length?, out))
    }

    /// Versions of all files that a snapshot lists, in its order, which is that of the names.
    fn listed<'a>(&'a self, mut entry: impl FnMut(&'a [u8], u64) -> Option<()>) -> Option<()> {
        self.scan(|scan, name| match name {
            b"meta" => scan.object(|scan, name| {
                let mut version = 0;
                scan.object(|scan, member| match member {
                    b"version" => scan.integer().map(|n| version = n),
                    _ => scan.skip(),
                })?;
                entry(name, version)
            }),
            _ => scan.skip(),
        })
    }
}

/// The floor of one repository.
pub struct Floor {
    path: Vec<u8>,
    root: Signed,
    timestamp: Signed,
    snapshot: Signed,
    targets: Signed,
    bin: Option<Signed>,
    /// What was there before another image was published, if that is the case.
    before: Option<Before>,
}

struct Before {
    timestamp: Signed,
    snapshot: Signed,
    /// What the snapshot listed.
    listed: Vec<(Vec<u8>, u64)>,
}

impl Floor {
    /// Reads what [`super::repositories::make`] wrote.
    pub fn read(folder: &Path, moment: Moment) -> io::Result<Self> {
        let member = |path: &Path, member: &[&str]| -> io::Result<Value> {
            let file: Value = serde_json::from_slice(&std::fs::read(path)?)?;
            Ok(member.iter().fold(&file["signed"], |value, name| &value[name]).clone())
        };
        let root = folder.join("pinned.json");
        let keys = member(&root, &["keys"])?;
        let after = folder.join("after");
        let names: Vec<_> = std::fs::read_dir(&after)?.filter_map(|entry| Some(entry.ok()?.path())).collect();
        let only = |part: &str| names.iter().find(|path| path.to_string_lossy().contains(part));
        let targets = only(".targets.json").ok_or(io::ErrorKind::NotFound)?;
        let bin = only(".bin-").map(|bin| Signed::read(bin, &member(targets, &["delegations", "keys"])?));
        let before = || -> io::Result<Before> {
            let snapshot = Signed::read(&folder.join("before/1.snapshot.json"), &keys)?;
            let mut listed = Vec::new();
            snapshot.listed(|name, version| {
                listed.push((name.to_vec(), version));
                Some(())
            });
            Ok(Before { timestamp: Signed::read(&folder.join("before/timestamp.json"), &keys)?, snapshot, listed })
        };
        Ok(Self {
            path: std::fs::read(folder.join("path"))?,
            root: Signed::read(&root, &keys)?,
            timestamp: Signed::read(&after.join("timestamp.json"), &keys)?,
            snapshot: Signed::read(&after.join("2.snapshot.json"), &keys)?,
            targets: Signed::read(targets, &keys)?,
            bin: bin.transpose()?,
            before: matches!(moment, Moment::Changed | Moment::Renewed).then(before).transpose()?,
        })
    }

    /// The work of one operation.
    pub fn work(&self, moment: Moment) -> Option<(u64, [u8; 32])> {
        match (moment, &self.before) {
            (Moment::Renewed, Some(before)) => self.renewed(before),
            (_, before) => self.chain(before.as_ref()),
        }
    }

    /// All files from bytes to the wanted target. Of what was stored before, timestamp and snapshot count as well: they are
    /// what no version may fall below.
    fn chain(&self, before: Option<&Before>) -> Option<(u64, [u8; 32])> {
        black_box((sha256(&self.snapshot.bytes), sha256(&self.targets.bytes)));
        let stored = before.iter().flat_map(|b| [&b.timestamp, &b.snapshot]);
        let top = [&self.root, &self.timestamp, &self.snapshot, &self.targets];
        for file in stored.clone().chain(top).chain(&self.bin) {
            file.verify()?;
        }
        for file in stored.chain([&self.root, &self.timestamp]) {
            file.scan(|scan, _| scan.skip())?;
        }
        self.compare(before)?;
        match &self.bin {
            Some(bin) => self.targets.scan(|scan, _| scan.skip()).and_then(|()| bin.target(&self.path)),
            None => self.targets.target(&self.path),
        }
    }

    /// Everything before is known and verified already: the new timestamp, the new snapshot, and what lists the target.
    fn renewed(&self, before: &Before) -> Option<(u64, [u8; 32])> {
        black_box(sha256(&self.snapshot.bytes));
        let listing = self.bin.as_ref().unwrap_or(&self.targets);
        for file in [&self.timestamp, &self.snapshot, listing] {
            file.verify()?;
        }
        self.timestamp.scan(|scan, _| scan.skip())?;
        self.compare(Some(before))?;
        listing.target(&self.path)
    }

    /// Passes over the snapshot; every entry of the one before is still there, with at least its version.
    fn compare(&self, before: Option<&Before>) -> Option<()> {
        let Some(before) = before else { return self.snapshot.scan(|scan, _| scan.skip()) };
        let mut known = before.listed.iter();
        self.snapshot.listed(|name, version| {
            // Both are sorted and nothing was added, so that one that is gone is met as another name.
            let (known, least) = known.next()?;
            (name == known && version >= *least).then_some(())
        })?;
        known.next().is_none().then_some(())
    }
}
