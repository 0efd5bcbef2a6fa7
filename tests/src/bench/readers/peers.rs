//! sigstore-tuf and tough as contestants.

use std::io;
use std::path::Path;
use std::time::Duration;

use sigstore_tuf::error::Error as SigstoreError;
use sigstore_tuf::transport::FetchFuture;
use sigstore_tuf::{FileStore, Repository as SigstoreRepository, Updater, UpdaterConfig};
use tough::{FilesystemTransport, HttpTransportBuilder, RepositoryLoader, TargetName};
use url::Url;

use super::contestants::Reads;
use super::ours::runtime;

/// What every reader is given.
pub struct Wanted {
    pub(super) root: Vec<u8>,
    pub(super) path: String,
}

impl Wanted {
    pub(super) fn read(folder: &Path) -> io::Result<Self> {
        Ok(Self {
            root: std::fs::read(folder.join("pinned.json"))?,
            path: std::fs::read_to_string(folder.join("path"))?,
        })
    }
}

/// A folder as the transport of sigstore-tuf.
struct Folder(std::path::PathBuf);

impl SigstoreRepository for Folder {
    fn fetch_metadata<'a>(&'a self, name: &'a str, max_length: u64) -> FetchFuture<'a> {
        Box::pin(async move {
            match std::fs::read(self.0.join(name)) {
                Ok(bytes) if bytes.len() as u64 <= max_length => Ok(Some(bytes)),
                Ok(_) => Err(SigstoreError::transport("too large")),
                Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(e) => Err(SigstoreError::transport(e.to_string())),
            }
        })
    }

    fn fetch_target<'a>(&'a self, path: &'a str, max_length: u64) -> FetchFuture<'a> {
        self.fetch_metadata(path, max_length)
    }
}

/// sigstore-tuf.
pub struct Sigstore {
    wanted: Wanted,
    runtime: tokio::runtime::Runtime,
}

impl Sigstore {
    pub(super) fn new(folder: &Path) -> io::Result<Self> {
        Ok(Self { wanted: Wanted::read(folder)?, runtime: runtime()? })
    }
}

impl Reads for Sigstore {
    fn read(&mut self, state: &Path, served: &str) -> Result<(), String> {
        let now = jiff::Timestamp::now();
        let mut config = UpdaterConfig::default();
        // It does not take the length that the snapshot states.
        config.targets_max_length = 64 << 20;
        let text = |e: SigstoreError| e.to_string();
        let updater = Updater::new(Folder(served.into()), &self.wanted.root).map_err(text)?;
        let mut updater = updater.with_config(config).with_store(FileStore::new(state));
        let info = self.runtime.block_on(async {
            updater.refresh(now).await?;
            updater.get_target_info(&self.wanted.path, now).await
        });
        info.map_err(text)?.map(drop).ok_or_else(|| "not found".to_owned())
    }
}

/// How long tough waits before a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// As it comes: 100 ms before each one, also the first.
    Default,
    /// Not at all.
    Never,
}

/// tough.
pub struct Tough {
    wanted: Wanted,
    runtime: tokio::runtime::Runtime,
    http: Option<Waiting>,
}

impl Tough {
    pub(super) fn local(folder: &Path) -> io::Result<Self> {
        Ok(Self { wanted: Wanted::read(folder)?, runtime: runtime()?, http: None })
    }

    pub(super) fn http(folder: &Path, waiting: Waiting) -> io::Result<Self> {
        Ok(Self { http: Some(waiting), ..Self::local(folder)? })
    }
}

impl Reads for Tough {
    fn read(&mut self, state: &Path, served: &str) -> Result<(), String> {
        let url = Url::parse(&format!("{served}/")).map_err(|e| e.to_string())?;
        let loader = RepositoryLoader::new(&self.wanted.root, url.clone(), url).datastore(state);
        let loader = match self.http {
            None => loader.transport(FilesystemTransport),
            Some(Waiting::Default) => loader.transport(HttpTransportBuilder::new().build()),
            Some(Waiting::Never) => {
                loader.transport(HttpTransportBuilder::new().initial_backoff(Duration::ZERO).build())
            }
        };
        let repository = self.runtime.block_on(loader.load()).map_err(|e| e.to_string())?;
        let name = TargetName::new(self.wanted.path.as_str()).map_err(|e| e.to_string())?;
        repository.targets().signed.find_target(&name, false).map(drop).map_err(|e| e.to_string())
    }
}
