//! Which real counterparts were built, as tests/tools/interop.sh tells: one line for each, `NAME VERSION PATH`, or
//! `NAME VERSION - REASON`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A program of somebody else, or why it is not there.
#[derive(Debug, Clone)]
pub struct Counterpart {
    /// Its release.
    pub version: String,
    /// Where it lies, or the reason.
    pub program: Result<PathBuf, String>,
}

/// All of them, by name.
#[derive(Debug, Clone, Default)]
pub struct Counterparts(BTreeMap<String, Counterpart>);

impl Counterparts {
    /// Reads the list.
    pub fn read(list: &Path) -> io::Result<Self> {
        let mut found = BTreeMap::new();
        for line in fs::read_to_string(list)?.lines() {
            let mut words = line.splitn(3, ' ');
            let (Some(name), Some(version), Some(rest)) = (words.next(), words.next(), words.next()) else { continue };
            let program = match rest.strip_prefix("- ") {
                Some(reason) => Err(reason.to_owned()),
                None => Ok(PathBuf::from(rest)),
            };
            found.insert(name.to_owned(), Counterpart { version: version.to_owned(), program });
        }
        Ok(Self(found))
    }

    /// The program, or a sentence that says why it is not there.
    pub fn program(&self, name: &str) -> Result<PathBuf, String> {
        match self.0.get(name) {
            Some(counterpart) => counterpart.program.clone().map_err(|why| format!("{name}: {why}")),
            None => Err(format!("{name}: it is not in the list of what was built")),
        }
    }

    /// The programs, or the sentences of all that are not there.
    pub fn programs<const N: usize>(&self, names: [&str; N]) -> Result<[PathBuf; N], String> {
        let found = names.map(|name| self.program(name));
        let missing: Vec<&str> = found.iter().filter_map(|f| f.as_ref().err().map(String::as_str)).collect();
        if !missing.is_empty() {
            return Err(missing.join("; "));
        }
        Ok(found.map(Result::unwrap_or_default))
    }

    /// `NAME VERSION` of each that is there.
    pub fn versions(&self) -> String {
        let there = self.0.iter().filter(|(_, c)| c.program.is_ok());
        there.map(|(name, c)| format!("{name} {}", c.version)).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_built_is_named_with_its_reason_and_never_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let list = dir.path().join("built");
        fs::write(&list, "etcd v3 /cache/etcd\nhelm v3 - not built: no such module (log)\nbroken\n").unwrap();
        let built = Counterparts::read(&list).unwrap();
        assert_eq!(built.program("etcd"), Ok(PathBuf::from("/cache/etcd")));
        assert_eq!(built.program("helm"), Err("helm: not built: no such module (log)".to_owned()));
        assert_eq!(built.programs(["etcd"]), Ok([PathBuf::from("/cache/etcd")]));
        let missing = built.programs(["etcd", "helm", "ctr"]).unwrap_err();
        assert_eq!(missing, "helm: not built: no such module (log); ctr: it is not in the list of what was built");
        assert_eq!(built.versions(), "etcd v3");
    }
}
