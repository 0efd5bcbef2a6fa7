//! One repository of the simulator and one client of the suite's protocol, without processes: what the cases of the suite
//! are told in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;
use trust_tuf::UtcTime;
use trust_tuf::json::{self, Value};

use super::{Failed, download, init, refresh};
use crate::simulator::reader::WireTransport;
use crate::simulator::{Repository, now};

/// One repository, one client, one time.
pub struct Scene {
    /// The repository.
    pub repo: Repository,
    /// The time of the next command.
    pub now: UtcTime,
    folder: TempDir,
    runtime: tokio::runtime::Runtime,
}

impl Scene {
    /// A repository, and a client with its first root pinned.
    pub fn new(repo: Repository) -> Self {
        let scene = Self::unpinned(repo);
        init(&scene.metadata_dir(), &scene.repo.pinned, scene.now).expect("a root that verifies");
        scene
    }

    /// A repository, and a client that was never told of a root.
    pub fn unpinned(repo: Repository) -> Self {
        // In memory where that is possible: the reader waits for the disk after every file.
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        Self { repo, now: now(), folder: folder.expect("a folder"), runtime }
    }

    /// The state.
    pub fn metadata_dir(&self) -> PathBuf {
        self.folder.path().join("metadata")
    }

    /// Where targets go.
    pub fn target_dir(&self) -> PathBuf {
        self.folder.path().join("targets")
    }

    fn transport(&self) -> WireTransport {
        WireTransport(Arc::clone(&self.repo.wire))
    }

    /// `refresh`.
    pub fn refresh(&self) -> Result<(), Failed> {
        self.runtime.block_on(refresh(&self.metadata_dir(), self.transport(), self.now)).map(|_| ())
    }

    /// `download`.
    pub fn download(&self, names: &[&str]) -> Result<(), Failed> {
        self.runtime.block_on(async {
            let mut reader = refresh(&self.metadata_dir(), self.transport(), self.now).await?;
            download(&mut reader, names, &self.target_dir()).await
        })
    }

    /// The requests since the last call.
    pub fn requests(&self) -> Vec<String> {
        self.repo.wire.take_requests()
    }

    /// The delegated roles that a `download` which asked nothing before asks for, in order.
    pub fn visited_by_download(&self, name: &str) -> (Result<(), Failed>, Vec<String>) {
        self.requests();
        let result = self.download(&[name]);
        let requests = self.requests();
        let (top, rest) = requests.split_at(4.min(requests.len()));
        assert_eq!(top.first().map(String::as_str), Some("2.root.json"), "{top:?}");
        assert_eq!(top.get(1).map(String::as_str), Some("timestamp.json"), "{top:?}");
        let role = |file: &String| {
            let file = file.strip_suffix(".json").filter(|file| !file.starts_with("targets/"))?;
            Some(file.split_once('.').map_or(file, |(_, role)| role).to_owned())
        };
        (result, rest.iter().filter_map(role).collect())
    }

    /// What lies at the top of the state as metadata, as the suite reads it: every `*.json`, with its version.
    pub fn trusted(&self) -> BTreeMap<String, u64> {
        let version = |bytes: &[u8]| json::parse(bytes).ok()?.get("signed")?.get("version").and_then(Value::as_u64);
        let mut found = BTreeMap::new();
        for entry in std::fs::read_dir(self.metadata_dir()).expect("the state") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
            if let Some(role) = name.strip_suffix(".json") {
                let version = std::fs::read(&path).ok().and_then(|bytes| version(&bytes));
                found.insert(role.to_owned(), version.unwrap_or_else(|| panic!("{name} is no metadata")));
            }
        }
        found
    }

    /// Every file in the folder of targets, by its path there.
    pub fn targets(&self) -> BTreeMap<String, Vec<u8>> {
        let mut found = BTreeMap::new();
        let mut waiting = vec![self.target_dir()];
        while let Some(folder) = waiting.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten() {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    waiting.push(path);
                } else {
                    let name = path.strip_prefix(self.target_dir()).expect("below").to_string_lossy().into_owned();
                    found.insert(name, std::fs::read(&path).expect("a file"));
                }
            }
        }
        found
    }
}
