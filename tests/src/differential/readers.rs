//! The readers, each with its own state, and what one of them believes after one update.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use sigstore_tuf::cache::MetadataStore;
use sigstore_tuf::{Repository as SigstoreRepository, Updater, UpdaterConfig};
use tempfile::TempDir;
use tough::{RepositoryLoader, TargetName, Transport, TransportError, TransportErrorKind, TransportStream};
use url::Url;

use crate::simulator::reader::ReaderClient;
use crate::simulator::{Client, Failure, Stages, Wire, WireError, now};

/// Who reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// The stages of `trust-tuf`.
    Ours,
    /// The shipped reader.
    Reader,
    /// sigstore-tuf.
    Sigstore,
    /// tough.
    Tough,
    /// python-tuf.
    Python,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ours => "ours",
            Self::Reader => "our reader",
            Self::Sigstore => "sigstore-tuf",
            Self::Tough => "tough",
            Self::Python => "python-tuf",
        })
    }
}

/// What a path was found to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A target with this length and these hashes, in lower-case hex.
    Target {
        /// Length in bytes.
        length: u64,
        /// Hashes of known algorithms by name.
        hashes: BTreeMap<String, String>,
    },
    /// No such target.
    Nothing,
    /// It could not be decided.
    Failed(String),
}

/// What a reader believes after one update.
#[derive(Debug, Clone)]
pub struct Observed {
    /// Whether the update was accepted, or why not.
    pub refresh: Result<(), String>,
    /// The trusted versions of root, timestamp, snapshot and targets that are kept; `None` where the reader does not tell.
    pub kept: Option<[u64; 4]>,
    /// What each path was found to be, in the order asked; empty if the update was refused.
    pub found: Vec<Found>,
}

/// A client that is there for several updates.
pub trait Oracle {
    /// Who it is.
    fn who(&self) -> Who;
    /// One update, then these look-ups.
    fn observe(&mut self, paths: &[String]) -> Observed;
}

fn version_of(bytes: &[u8]) -> u64 {
    // Not by our parser, which refuses what others keep.
    let file: Option<serde_json::Value> = serde_json::from_slice(bytes).ok();
    file.and_then(|file| file.get("signed")?.get("version")?.as_u64()).unwrap_or(0)
}

/// The versions in these files, by `ROLE.json`.
pub fn versions(files: &BTreeMap<String, Vec<u8>>) -> [u64; 4] {
    ["root.json", "timestamp.json", "snapshot.json", "targets.json"]
        .map(|name| files.get(name).map_or(0, |bytes| version_of(bytes)))
}

/// One of ours.
pub struct Own<C> {
    who: Who,
    client: C,
}

impl Own<Stages> {
    /// The stages of `trust-tuf`.
    pub fn stages(pinned: &[u8], wire: &Arc<Wire>) -> Self {
        Self { who: Who::Ours, client: Stages::new(pinned.to_vec(), Arc::clone(wire)) }
    }
}

impl Own<ReaderClient> {
    /// The shipped reader.
    pub fn reader(pinned: &[u8], wire: &Arc<Wire>) -> Self {
        Self { who: Who::Reader, client: ReaderClient::new(pinned.to_vec(), Arc::clone(wire)) }
    }
}

fn failed(failure: &Failure) -> String {
    format!("{failure:?}")
}

impl<C: Client> Oracle for Own<C> {
    fn who(&self) -> Who {
        self.who
    }

    fn observe(&mut self, paths: &[String]) -> Observed {
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        let answers = self.client.lookups(now(), &paths);
        let kept = Some(versions(&self.client.files()));
        let answers = match answers {
            Err(e) => return Observed { refresh: Err(failed(&e)), kept, found: Vec::new() },
            Ok(answers) => answers,
        };
        let found = answers.into_iter().map(|answer| match answer {
            Err(e) => Found::Failed(failed(&e)),
            Ok(answer) => match answer.outcome.hit() {
                None => Found::Nothing,
                Some(hit) => {
                    let hashes = &hit.target.hashes;
                    let sha256 = hashes.sha256.map(|h| ("sha256".to_owned(), hex::encode(h)));
                    let sha512 = hashes.sha512.map(|h| ("sha512".to_owned(), hex::encode(h)));
                    Found::Target { length: hit.target.length, hashes: sha256.into_iter().chain(sha512).collect() }
                }
            },
        });
        Observed { refresh: Ok(()), kept, found: found.collect() }
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// A wire as the transport of the two others in Rust.
#[derive(Clone)]
struct WireTransport(Arc<Wire>);

impl fmt::Debug for WireTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WireTransport")
    }
}

impl SigstoreRepository for WireTransport {
    fn fetch_metadata<'a>(&'a self, name: &'a str, max_length: u64) -> sigstore_tuf::transport::FetchFuture<'a> {
        let answer = match self.0.fetch(name, max_length) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(WireError::NotFound) => Ok(None),
            Err(e) => Err(sigstore_tuf::error::Error::transport(format!("{e:?}"))),
        };
        Box::pin(async move { answer })
    }

    fn fetch_target<'a>(&'a self, path: &'a str, max_length: u64) -> sigstore_tuf::transport::FetchFuture<'a> {
        self.fetch_metadata(path, max_length)
    }
}

#[derive(Default)]
struct Shelf(Mutex<BTreeMap<String, Vec<u8>>>);

#[derive(Clone, Default)]
struct Kept(Arc<Shelf>);

impl MetadataStore for Kept {
    fn load(&self, name: &str) -> sigstore_tuf::error::Result<Option<Vec<u8>>> {
        Ok(self.0.0.lock().expect("nobody panics inside").get(name).cloned())
    }

    fn store(&self, name: &str, bytes: &[u8]) -> sigstore_tuf::error::Result<()> {
        self.0.0.lock().expect("nobody panics inside").insert(name.to_owned(), bytes.to_vec());
        Ok(())
    }
}

/// sigstore-tuf.
pub struct Sigstore {
    pinned: Vec<u8>,
    wire: Arc<Wire>,
    kept: Kept,
    runtime: tokio::runtime::Runtime,
}

impl Sigstore {
    /// A client that has never updated.
    pub fn new(pinned: &[u8], wire: &Arc<Wire>) -> Self {
        Self { pinned: pinned.to_vec(), wire: Arc::clone(wire), kept: Kept::default(), runtime: runtime() }
    }
}

impl Oracle for Sigstore {
    fn who(&self) -> Who {
        Who::Sigstore
    }

    fn observe(&mut self, paths: &[String]) -> Observed {
        let at = jiff::Timestamp::from_second(now().unix()).expect("a time");
        let text = |e: sigstore_tuf::error::Error| format!("{e}: {e:?}");
        let mut config = UpdaterConfig::default();
        config.max_root_rotations = 1_024;
        let updater = Updater::new(WireTransport(Arc::clone(&self.wire)), &self.pinned);
        let result = updater.map_err(text).and_then(|updater| {
            let mut updater = updater.with_config(config).with_store(self.kept.clone());
            self.runtime.block_on(async {
                updater.refresh(at).await.map_err(text)?;
                let mut found = Vec::new();
                for path in paths {
                    found.push(match updater.get_target_info(path, at).await {
                        Ok(None) => Found::Nothing,
                        Ok(Some(target)) => known(target.length, target.hashes),
                        Err(e) => Found::Failed(text(e)),
                    });
                }
                Ok(found)
            })
        });
        let files = self.kept.0.0.lock().expect("nobody panics inside").clone();
        let kept = Some(versions(&files));
        match result {
            Ok(found) => Observed { refresh: Ok(()), kept, found },
            Err(e) => Observed { refresh: Err(e), kept, found: Vec::new() },
        }
    }
}

/// A target with the hashes that ours know as well, in lower case.
fn known(length: u64, hashes: BTreeMap<String, String>) -> Found {
    let hashes = hashes.into_iter().filter(|(name, _)| name == "sha256" || name == "sha512");
    Found::Target { length, hashes: hashes.map(|(name, hash)| (name, hash.to_lowercase())).collect() }
}

#[tough::async_trait]
impl Transport for WireTransport {
    async fn fetch(&self, url: Url) -> Result<TransportStream, TransportError> {
        let name = url.path().trim_start_matches("/metadata/").to_owned();
        match self.0.fetch(&name, u64::MAX) {
            Ok(bytes) => Ok(Box::pin(OneChunk(Some(bytes.into())))),
            Err(WireError::NotFound) => Err(TransportError::new(TransportErrorKind::FileNotFound, url)),
            Err(e) => Err(TransportError::new_with_cause(TransportErrorKind::Other, url, format!("{e:?}"))),
        }
    }
}

struct OneChunk(Option<tough::Bytes>);

impl futures_core::Stream for OneChunk {
    type Item = Result<tough::Bytes, TransportError>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        std::task::Poll::Ready(self.0.take().map(Ok))
    }
}

/// tough. It judges expiry by the machine's clock.
pub struct Tough {
    pinned: Vec<u8>,
    wire: Arc<Wire>,
    folder: TempDir,
    runtime: tokio::runtime::Runtime,
}

impl Tough {
    /// A client that has never updated.
    pub fn new(pinned: &[u8], wire: &Arc<Wire>) -> Self {
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
        Self { pinned: pinned.to_vec(), wire: Arc::clone(wire), folder: folder.expect("a folder"), runtime: runtime() }
    }
}

impl Oracle for Tough {
    fn who(&self) -> Who {
        Who::Tough
    }

    fn observe(&mut self, paths: &[String]) -> Observed {
        fn text(e: &dyn std::error::Error) -> String {
            let mut line = e.to_string();
            let mut cause = e.source();
            while let Some(e) = cause {
                line = format!("{line}: {e}");
                cause = e.source();
            }
            line
        }
        let base = Url::parse("http://repository.example/metadata/").expect("an address");
        let loader = RepositoryLoader::new(&self.pinned, base.clone(), base)
            .datastore(self.folder.path())
            .transport(WireTransport(Arc::clone(&self.wire)));
        match self.runtime.block_on(loader.load()) {
            Err(e) => Observed { refresh: Err(text(&e)), kept: None, found: Vec::new() },
            Ok(repository) => {
                let kept = [
                    repository.root().signed.version.get(),
                    repository.timestamp().signed.version.get(),
                    repository.snapshot().signed.version.get(),
                    repository.targets().signed.version.get(),
                ];
                let found = paths.iter().map(|path| {
                    let name = match TargetName::new(path.as_str()) {
                        Ok(name) => name,
                        Err(e) => return Found::Failed(text(&e)),
                    };
                    match repository.targets().signed.find_target(&name, false) {
                        Err(_) => Found::Nothing,
                        Ok(target) => {
                            let mut hashes = BTreeMap::new();
                            hashes.insert("sha256".to_owned(), hex::encode(&target.hashes.sha256));
                            for (name, hash) in &target.hashes._extra {
                                hashes.insert(name.clone(), hash.as_str().unwrap_or("").to_owned());
                            }
                            known(target.length, hashes)
                        }
                    }
                });
                Observed { refresh: Ok(()), kept: Some(kept), found: found.collect() }
            }
        }
    }
}
