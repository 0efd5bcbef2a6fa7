//! The repositories that all readers of a run read: made from numbers, with throw-away keys, the same bytes every time.
//!
//! A folder of one repository holds `pinned.json` (the first root), `path` (the target to be looked up), and the served
//! files at two moments: `before/` and `after/` another image was published. Of a repository with bins only the bin of the
//! wanted path is written, since no reader of one target asks for another; the snapshot lists all of them.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use trust_tuf::json::Value;
use trust_tuf::model::sha256;

use crate::simulator::{Repository, RoleDocument};

/// How a repository lists its targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// How many targets there are.
    pub targets: usize,
    /// In one file; or in 2^k succinct bins (TAP 15).
    pub bits: Option<u32>,
}

const PREFIX: &str = "bin";

impl Shape {
    /// One file.
    pub const fn flat(targets: usize) -> Self {
        Self { targets, bits: None }
    }

    /// 2^`bits` bins.
    pub const fn bins(targets: usize, bits: u32) -> Self {
        Self { targets, bits: Some(bits) }
    }

    /// The target that is looked up: in the middle.
    pub fn wanted(self) -> String {
        path(self.targets / 2)
    }

    fn bin_of(self, path: &str) -> Option<u32> {
        let [a, b, c, d, ..] = sha256(path.as_bytes());
        self.bits.map(|bits| u32::from_be_bytes([a, b, c, d]) >> (32 - bits))
    }

    fn bin_name(self, number: u32) -> String {
        let digits = self.bits.map_or(1, |bits| bits.div_ceil(4).max(1) as usize);
        format!("{PREFIX}-{number:0digits$x}")
    }

    /// The role that lists the wanted target.
    pub fn role(self) -> String {
        self.bin_of(&self.wanted()).map_or_else(|| "targets".to_owned(), |number| self.bin_name(number))
    }
}

fn path(n: usize) -> String {
    format!("services/api/v{n}")
}

/// An entry as long as one of `trust sign`: about 235 bytes with its path.
fn entry(n: usize) -> Value {
    let image = Value::object([
        ("mediaType", Value::from("application/vnd.oci.image.manifest.v1+json")),
        ("signed", Value::from("2026-01-01T00:00:00Z")),
    ]);
    let hash = hex::encode(sha256(format!("manifest {n}").as_bytes()));
    Value::object([
        ("custom", Value::object([("image", image)])),
        ("hashes", Value::object([("sha256", Value::from(hash))])),
        ("length", Value::from(1_000 + n as u64 % 1_000)),
    ])
}

fn entries(numbers: impl Iterator<Item = usize>) -> Value {
    Value::Object(numbers.map(|n| (path(n), entry(n))).collect())
}

fn write(folder: &Path, name: &str, role: &RoleDocument) -> io::Result<Vec<u8>> {
    let bytes = role.bytes();
    std::fs::write(folder.join(name), &bytes)?;
    Ok(bytes)
}

/// Writes a repository into `folder`, which is made.
pub fn make(shape: Shape, folder: &Path) -> io::Result<()> {
    let moments = [folder.join("before"), folder.join("after")];
    for moment in &moments {
        std::fs::create_dir_all(moment)?;
    }
    std::fs::write(folder.join("path"), shape.wanted())?;
    let mut repository = Repository::unpublished();
    write(folder, "pinned.json", &repository.roles["root"])?;
    let mut bin = shape.bits.map(|_| delegate_to_bins(&mut repository, shape));
    if bin.is_none() {
        repository.role("targets").set(&["targets"], entries(0..shape.targets));
    }
    for (version, moment) in (1..).zip(&moments) {
        if version == 2 {
            // Another image: in its own bin, if there are bins; then only the snapshot says that it is there.
            for role in ["snapshot", "timestamp"] {
                repository.role(role).bump();
            }
            if bin.is_some() {
                let other = other_bin(shape);
                repository.role("snapshot").set(&["meta", &format!("{other}.json"), "version"], 2_u64);
            } else {
                repository.role("targets").bump();
                repository.role("targets").set(&["targets", "services/api/other"], entry(shape.targets));
            }
        }
        let targets = write(moment, &repository.file_name("targets"), &repository.roles["targets"])?;
        if let Some((name, role)) = &mut bin {
            write(moment, &format!("1.{name}.json"), role)?;
        }
        let listed = repository.entry(repository.roles["targets"].version(), &targets);
        repository.role("snapshot").set(&["meta", "targets.json"], listed);
        let snapshot = write(moment, &repository.file_name("snapshot"), &repository.roles["snapshot"])?;
        let listed = repository.entry(version, &snapshot);
        repository.role("timestamp").set(&["meta", "snapshot.json"], listed);
        write(moment, "timestamp.json", &repository.roles["timestamp"])?;
    }
    Ok(())
}

fn other_bin(shape: Shape) -> String {
    let wanted = shape.bin_of(&shape.wanted()).unwrap_or(0);
    shape.bin_name(if wanted == 0 { 1 } else { 0 })
}

/// Delegates to bins and lists all of them. Gives the wanted one.
fn delegate_to_bins(repository: &mut Repository, shape: Shape) -> (String, RoleDocument) {
    let key = repository.new_key();
    let bits = shape.bits.unwrap_or(0);
    let succinct = Value::object([
        ("bit_length", Value::from(u64::from(bits))),
        ("keyids", Value::from(vec![Value::from(key.id())])),
        ("name_prefix", Value::from(PREFIX)),
        ("threshold", Value::from(1_u64)),
    ]);
    let keys = Value::Object(BTreeMap::from([(key.id().to_owned(), key.value())]));
    let delegations = Value::object([("keys", keys), ("succinct_roles", succinct)]);
    repository.role("targets").set(&["delegations"], delegations);
    // Versions alone, as whoever has many bins lists them.
    let all = (0..1_u32 << bits)
        .map(|number| (format!("{}.json", shape.bin_name(number)), Value::object([("version", Value::from(1_u64))])));
    repository.role("snapshot").set(&["meta"], Value::Object(all.collect()));
    let wanted = shape.bin_of(&shape.wanted());
    let mut role = repository.roles["targets"].clone();
    role.unset(&["delegations"]);
    role.set(&["targets"], entries((0..shape.targets).filter(|n| shape.bin_of(&path(*n)) == wanted)));
    role.signers = vec![key];
    (shape.role(), role)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_have_the_names_of_the_proposal() {
        for (bits, name) in [(1, "bin-1"), (3, "bin-7"), (5, "bin-1f"), (11, "bin-7fe"), (14, "bin-3ff0")] {
            let shape = Shape::bins(1, bits);
            assert_eq!(shape.bin_of("v1.json").map(|number| shape.bin_name(number)).as_deref(), Some(name));
        }
    }

    fn files_in(folder: &Path) -> BTreeMap<String, Vec<u8>> {
        let file = |path: std::path::PathBuf| {
            (path.file_name().unwrap().to_string_lossy().into(), std::fs::read(path).unwrap())
        };
        std::fs::read_dir(folder).unwrap().map(|entry| file(entry.unwrap().path())).collect()
    }

    #[test]
    fn a_repository_is_the_same_bytes_every_time() {
        for shape in [Shape::flat(3), Shape::bins(20, 3)] {
            let folder = tempfile::tempdir().unwrap();
            let read = |name: &str| {
                let folder = folder.path().join(name);
                make(shape, &folder).unwrap();
                let files = |moment: &str| files_in(&folder.join(moment));
                (files("before"), files("after"))
            };
            let (before, after) = read("a");
            assert_eq!((&before, &after), (&read("b").0, &read("b").1));
            assert_ne!(before["timestamp.json"], after["timestamp.json"]);
            assert!(after.contains_key("2.snapshot.json"));
            assert_eq!(after.contains_key("2.targets.json"), shape.bits.is_none());
        }
    }
}
