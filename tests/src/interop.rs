//! The readers that are not ours: tough, sigstore-tuf and python-tuf load what the tests publish.
//!
//! [`Readers`] keeps the state of each, so that one value that loads every stage of a story is a client that was there all
//! the time; [`load_everywhere`] is a client that comes now. A reader that refuses is an error that names it. python-tuf
//! needs `target/tools/venv` (`make tools`): where it is missing, `SKIPPED: …` is printed and the others go on.
//!
//! They read the machine's clock: what they load must not be expired by it.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use sigstore_tuf::{FileStore, Repository as SigstoreRepository, Updater, UpdaterConfig};
use tempfile::TempDir;
use tough::{
    FilesystemTransport, IntoVec, RepositoryLoader, TargetName, Transport, TransportError, TransportErrorKind,
    TransportStream,
};
use url::Url;

use crate::simulator::Wire;

/// Where a repository is served.
#[derive(Debug, Clone)]
pub enum Source {
    /// A folder with `metadata/` and `targets/`.
    Folder(PathBuf),
    /// The address of a collection on a `trust-server` on loopback: `http://127.0.0.1:PORT/tuf/COLLECTION`.
    Http(String),
}

/// What all readers agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The versions of root, timestamp, snapshot and targets.
    pub versions: [u64; 4],
    /// The target's bytes; `None` if it is not listed.
    pub target: Option<Vec<u8>>,
}

/// Loads a repository in a new client of every kind. `target` is looked up and, if it is listed, downloaded and checked.
pub fn load_everywhere(source: &Source, root: &[u8], target: &str) -> Result<Loaded, String> {
    Readers::new().load(source, root, target)
}

/// One client of each kind, with its state.
pub struct Readers {
    state: TempDir,
    runtime: tokio::runtime::Runtime,
}

impl Default for Readers {
    fn default() -> Self {
        Self::new()
    }
}

impl Readers {
    /// Clients that have never updated.
    pub fn new() -> Self {
        let state = TempDir::new().expect("a folder");
        for name in ["tough", "sigstore-tuf", "python-tuf"] {
            std::fs::create_dir(state.path().join(name)).expect("a folder");
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        Self { state, runtime }
    }

    /// Updates every client and looks the target up. All must agree.
    pub fn load(&mut self, source: &Source, root: &[u8], target: &str) -> Result<Loaded, String> {
        let by = |reader: &'static str| move |e: String| format!("{reader}: {e}");
        let sigstore = self.sigstore(source, root, target).map_err(by("sigstore-tuf"))?;
        let tough = self.tough(source, root, target).map_err(by("tough"))?;
        agree("tough", &tough, "sigstore-tuf", &sigstore)?;
        if let Some(python) = python() {
            let python = self.python(&python, source, root, target).map_err(by("python-tuf"))?;
            agree("python-tuf", &python, "sigstore-tuf", &sigstore)?;
        } else {
            println!("SKIPPED: python-tuf: target/tools/venv is missing (make tools)");
        }
        Ok(sigstore)
    }

    /// Updates one client alone (`python-tuf`, `tough`, `sigstore-tuf`) and looks the target up; `None` if it is not here.
    pub fn load_by(&self, reader: &str, source: &Source, root: &[u8], target: &str) -> Option<Result<Loaded, String>> {
        match reader {
            "tough" => Some(self.tough(source, root, target)),
            "sigstore-tuf" => Some(self.sigstore(source, root, target)),
            _ => match python() {
                Some(python) => Some(self.python(&python, source, root, target)),
                None => {
                    println!("SKIPPED: python-tuf: target/tools/venv is missing (make tools)");
                    None
                }
            },
        }
    }

    fn sigstore(&self, source: &Source, root: &[u8], target: &str) -> Result<Loaded, String> {
        let now = jiff::Timestamp::now();
        // A client that slept long walks a chain longer than its default of 32.
        let mut config = UpdaterConfig::default();
        config.max_root_rotations = 1_024;
        let store = FileStore::new(self.state.path().join("sigstore-tuf"));
        let text = |e: sigstore_tuf::error::Error| e.to_string();
        let updater = Updater::new(SourceTransport(source.clone()), root).map_err(text)?;
        let mut updater = updater.with_config(config).with_store(store);
        self.runtime.block_on(async {
            updater.refresh(now).await.map_err(text)?;
            let target = match updater.get_target(target, now).await {
                Ok(bytes) => Some(bytes),
                Err(sigstore_tuf::error::Error::TargetNotFound(_)) => None,
                Err(e) => return Err(text(e)),
            };
            let set = updater.trusted();
            let versions = [
                set.root().version,
                set.timestamp().map_or(0, |r| r.version),
                set.snapshot().map_or(0, |r| r.version),
                set.targets_role("targets").map_or(0, |r| r.version),
            ];
            Ok(Loaded { versions, target })
        })
    }

    fn tough(&self, source: &Source, root: &[u8], target: &str) -> Result<Loaded, String> {
        fn text(e: impl std::error::Error) -> String {
            let mut line = e.to_string();
            let mut cause = e.source();
            while let Some(e) = cause {
                line = format!("{line}: {e}");
                cause = e.source();
            }
            line
        }
        let (metadata, targets) = (source.url("metadata")?, source.url("targets")?);
        let loader = RepositoryLoader::new(&root, metadata, targets).datastore(self.state.path().join("tough"));
        let loader = match source {
            Source::Folder(_) => loader.transport(FilesystemTransport),
            Source::Http(_) => loader.transport(SourceTransport(source.clone())),
        };
        self.runtime.block_on(async {
            let repository = loader.load().await.map_err(text)?;
            let versions = [
                repository.root().signed.version.get(),
                repository.timestamp().signed.version.get(),
                repository.snapshot().signed.version.get(),
                repository.targets().signed.version.get(),
            ];
            let name = TargetName::new(target).map_err(text)?;
            let target = match repository.read_target(&name).await.map_err(text)? {
                Some(stream) => Some(stream.into_vec().await.map_err(text)?),
                None => None,
            };
            Ok(Loaded { versions, target })
        })
    }

    fn python(&self, python: &Path, source: &Source, root: &[u8], target: &str) -> Result<Loaded, String> {
        let state = self.state.path().join("python-tuf");
        let pinned = self.state.path().join("pinned.json");
        std::fs::write(&pinned, root).map_err(|e| e.to_string())?;
        let output = Command::new(python)
            .arg(script("read_repository.py"))
            .args(["--metadata", source.url("metadata")?.as_str(), "--targets", source.url("targets")?.as_str()])
            .arg("--root")
            .arg(&pinned)
            .arg("--state")
            .arg(&state)
            .args(["--target", target])
            .env_remove("http_proxy")
            .env_remove("HTTP_PROXY")
            .output()
            .map_err(|e| e.to_string())?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr);
            return Err(text.lines().last().unwrap_or("no message").to_owned());
        }
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).map_err(|e| e.to_string())?;
        let version = |role: &str| answer["versions"][role].as_u64().unwrap_or(0);
        let versions = ["root", "timestamp", "snapshot", "targets"].map(version);
        let target = answer["target"].as_str().map(hex::decode).transpose().map_err(|e| e.to_string())?;
        Ok(Loaded { versions, target })
    }
}

fn agree(a: &str, of_a: &Loaded, b: &str, of_b: &Loaded) -> Result<(), String> {
    if of_a == of_b { Ok(()) } else { Err(format!("{a} and {b} disagree: {of_a:?}, {of_b:?}")) }
}

/// The Python that has python-tuf, if it is there.
pub fn python() -> Option<PathBuf> {
    let tools = std::env::var_os("TRUST_TOOLS").map(PathBuf::from);
    let tools = tools.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools"));
    let python = tools.join("venv/bin/python");
    python.exists().then_some(python)
}

/// A script of `tests/python`.
pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(name)
}

/// Lays the files of a wire out as a folder. A target in a directory is served under both names that readers ask for:
/// `dir/HASH.name`, and `HASH.dir/name` (tough).
pub fn write_folder(wire: &Wire, folder: &Path) -> io::Result<()> {
    for (name, bytes) in wire.files() {
        let names = match name.strip_prefix("targets/") {
            None => vec![format!("metadata/{name}")],
            Some(target) => {
                let (dir, last) = target.rsplit_once('/').unwrap_or(("", target));
                let both = last.split_once('.').filter(|_| !dir.is_empty());
                let other = both.map(|(hash, plain)| format!("targets/{hash}.{dir}/{plain}"));
                std::iter::once(name.clone()).chain(other).collect()
            }
        };
        for name in names {
            let path = folder.join(name);
            std::fs::create_dir_all(path.parent().unwrap_or(folder))?;
            std::fs::write(path, &bytes)?;
        }
    }
    Ok(())
}

/// The files of a folder that another repository wrote (`metadata/`, `targets/`), as a wire.
pub fn read_folder(folder: &Path) -> io::Result<BTreeMap<String, Vec<u8>>> {
    fn walk(folder: &Path, prefix: &str, files: &mut BTreeMap<String, Vec<u8>>) -> io::Result<()> {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            if entry.file_type()?.is_dir() {
                walk(&entry.path(), &format!("{name}/"), files)?;
            } else {
                files.insert(name, std::fs::read(entry.path())?);
            }
        }
        Ok(())
    }
    let mut files = BTreeMap::new();
    walk(&folder.join("metadata"), "", &mut files)?;
    walk(&folder.join("targets"), "targets/", &mut files)?;
    Ok(files)
}

impl Source {
    /// The address of `metadata` or `targets`, with a slash at its end.
    pub fn url(&self, part: &str) -> Result<Url, String> {
        match self {
            Self::Folder(folder) => {
                Url::from_directory_path(folder.join(part)).map_err(|()| "not an absolute folder".to_owned())
            }
            Self::Http(base) => {
                let text = format!("{}/_{part}/", base.trim_end_matches('/'));
                Url::parse(&text).map_err(|e| format!("{text}: {e}"))
            }
        }
    }

    /// One file: `None` if it is not there.
    fn read(&self, part: &str, name: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let bytes = match self {
            Self::Folder(folder) => match std::fs::read(folder.join(part).join(name)) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
                other => other?,
            },
            Self::Http(_) => {
                let url = self.url(part).map_err(io::Error::other)?;
                match get(&url.join(name).map_err(io::Error::other)?)? {
                    Some(bytes) => bytes,
                    None => return Ok(None),
                }
            }
        };
        if bytes.len() as u64 > limit { Err(io::Error::other("larger than the limit")) } else { Ok(Some(bytes)) }
    }
}

/// The smallest HTTP client: HTTP/1.0 on loopback, `None` for 404.
pub fn get(url: &Url) -> io::Result<Option<Vec<u8>>> {
    let (Some(host), Some(port)) = (url.host_str(), url.port()) else { return Err(io::Error::other("no address")) };
    let mut stream = TcpStream::connect((host, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    write!(stream, "GET {} HTTP/1.0\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n", url.path())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let head = answer.windows(4).position(|w| w == b"\r\n\r\n").ok_or_else(|| io::Error::other("cut off"))?;
    let (head, body) = answer.split_at(head);
    let head = String::from_utf8_lossy(head).into_owned();
    let mut lines = head.lines();
    match lines.next().unwrap_or("").split(' ').nth(1) {
        Some("200") => {}
        Some("404") => return Ok(None),
        status => return Err(io::Error::other(format!("{url}: status {status:?}"))),
    }
    let body = body.get(4..).unwrap_or(&[]).to_vec();
    let stated = lines.filter_map(|l| l.split_once(':')).find(|(n, _)| n.eq_ignore_ascii_case("content-length"));
    match stated.map(|(_, n)| n.trim().parse::<usize>()) {
        Some(Ok(n)) if body.len() != n => Err(io::Error::other("cut off")),
        _ => Ok(Some(body)),
    }
}

/// A [`Source`] as the transports of the two Rust readers.
#[derive(Debug, Clone)]
struct SourceTransport(Source);

impl SourceTransport {
    fn fetch(&self, part: &str, name: &str, limit: u64) -> sigstore_tuf::error::Result<Option<Vec<u8>>> {
        self.0.read(part, name, limit).map_err(|e| sigstore_tuf::error::Error::transport(e.to_string()))
    }
}

impl SigstoreRepository for SourceTransport {
    fn fetch_metadata<'a>(&'a self, name: &'a str, max_length: u64) -> sigstore_tuf::transport::FetchFuture<'a> {
        Box::pin(async move { self.fetch("metadata", name, max_length) })
    }

    fn fetch_target<'a>(&'a self, path: &'a str, max_length: u64) -> sigstore_tuf::transport::FetchFuture<'a> {
        Box::pin(async move { self.fetch("targets", path, max_length) })
    }
}

#[tough::async_trait]
impl Transport for SourceTransport {
    async fn fetch(&self, url: Url) -> Result<TransportStream, TransportError> {
        match get(&url) {
            Ok(Some(bytes)) => Ok(Box::pin(OneChunk(Some(bytes.into())))),
            Ok(None) => Err(TransportError::new(TransportErrorKind::FileNotFound, url)),
            Err(e) => Err(TransportError::new_with_cause(TransportErrorKind::Other, url, e)),
        }
    }
}

/// A stream of one piece.
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
