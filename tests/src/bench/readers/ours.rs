//! Ours as contestants: the rules alone, and the reader with its state folder.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use trust_reader::anchor::Anchor;
use trust_reader::http::{HttpOptions, HttpTransport};
use trust_reader::layout::Layout;
use trust_reader::reader::{Options, Reader};
use trust_reader::state::StateStore;
use trust_reader::transport::{Body, FetchError, Pieces, Transport};
use trust_tuf::lookup::{Lookup, Step};
use trust_tuf::trusted::{RootStage, TrustedSet};
use trust_tuf::{CollectionName, UtcTime};

use super::contestants::{Moment, Reads};
use super::peers::Wanted;
use super::worker::Work;

pub(super) fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// Always the same, so that the record of the last update, which is written once a minute, is not written while warm.
fn now() -> UtcTime {
    UtcTime::from_unix(1_900_000_000).unwrap_or(UtcTime::EPOCH)
}

type Bytes = Arc<[u8]>;

/// Reads a file into one place, so that memory never holds it twice.
fn bytes(path: &Path) -> io::Result<Bytes> {
    let mut file = File::open(path)?;
    let length = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
    let mut bytes: Bytes = std::iter::repeat_n(0, length).collect();
    file.read_exact(Arc::get_mut(&mut bytes).ok_or(io::ErrorKind::Other)?)?;
    Ok(bytes)
}

/// The files of one moment.
struct Files {
    timestamp: Bytes,
    snapshot: Bytes,
    targets: Bytes,
    bin: Option<Bytes>,
}

impl Files {
    fn read(folder: &Path) -> io::Result<Self> {
        let paths: Vec<PathBuf> = std::fs::read_dir(folder)?.filter_map(|e| Some(e.ok()?.path())).collect();
        let only = |part: &str| paths.iter().find(|path| path.to_string_lossy().contains(part)).map(|path| bytes(path));
        let role = |part: &str| only(part).unwrap_or_else(|| Err(io::ErrorKind::NotFound.into()));
        Ok(Self {
            timestamp: role("/timestamp.json")?,
            snapshot: role(".snapshot.json")?,
            targets: role(".targets.json")?,
            bin: only(".bin-").transpose()?,
        })
    }
}

/// The rules of `core/tuf`, from bytes in memory.
pub struct Core {
    path: String,
    root: Bytes,
    after: Files,
    /// What is known, if another image was published since.
    before: Option<Files>,
    /// The same, in a process that stayed up.
    earlier: Option<TrustedSet>,
}

impl Core {
    /// Reads what [`super::repositories::make`] wrote.
    pub fn read(folder: &Path, moment: Moment) -> io::Result<Self> {
        let before = matches!(moment, Moment::Changed | Moment::Renewed).then(|| Files::read(&folder.join("before")));
        let mut core = Self {
            path: std::fs::read_to_string(folder.join("path"))?,
            root: bytes(&folder.join("pinned.json"))?,
            after: Files::read(&folder.join("after"))?,
            before: before.transpose()?,
            earlier: None,
        };
        if let (Moment::Renewed, Some(before)) = (moment, &core.before) {
            core.earlier = Some(core.update(before, None).map_err(io::Error::other)?);
        }
        Ok(core)
    }

    /// One update to these files, with what is known before, and one look-up.
    fn update(&self, files: &Files, known: Option<&Files>) -> Result<TrustedSet, String> {
        fn text(e: impl std::fmt::Display) -> String {
            e.to_string()
        }
        let stage = match &self.earlier {
            Some(earlier) => RootStage::pinned_after(self.root.clone(), now(), earlier),
            None => RootStage::pinned(self.root.clone(), now()),
        };
        let mut stage = stage.map_err(text)?.finish().map_err(text)?;
        if let Some(known) = known {
            stage.offer_local(known.timestamp.clone()).then_some(()).ok_or("the stored timestamp")?;
        }
        let (mut stage, _) = stage.accept(files.timestamp.clone()).map_err(text)?;
        if let Some(known) = known {
            stage.offer_local(known.snapshot.clone()).then_some(()).ok_or("the stored snapshot")?;
        }
        let stage = stage.accept(files.snapshot.clone()).map_err(text)?;
        let mut set = stage.accept(files.targets.clone()).map_err(text)?;
        let mut lookup = Lookup::new(&set, &self.path);
        while let Step::Need(request) = lookup.step(&set).map_err(text)? {
            let bin = files.bin.clone().ok_or("a role that is not there")?;
            set.accept_role(&request, bin).map_err(text)?;
        }
        lookup.outcome().hit().map(|_| set).ok_or_else(|| "not found".to_owned())
    }
}

impl Work for Core {
    fn operate(&mut self) -> Result<(), String> {
        self.update(&self.after, self.before.as_ref()).map(drop)
    }
}

/// A folder as the reader's transport.
struct Folder(PathBuf);

impl Transport for Folder {
    async fn fetch(&self, path: &str, limit: u64) -> Result<tough::Bytes, FetchError> {
        match std::fs::read(self.0.join(path)) {
            Ok(bytes) if bytes.len() as u64 <= limit => Ok(bytes.into()),
            Ok(_) => Err(FetchError::TooLarge { limit }),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Err(FetchError::NotFound),
            Err(_) => Err(UNREADABLE),
        }
    }

    async fn open(&self, path: &str, limit: u64) -> Result<Body, FetchError> {
        match File::open(self.0.join(path)) {
            Ok(file) => Ok(Box::new(Open(file.take(limit.saturating_add(1)), limit))),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Err(FetchError::NotFound),
            Err(_) => Err(UNREADABLE),
        }
    }
}

const UNREADABLE: FetchError = FetchError::Unreachable("the folder");

/// A file of the folder in pieces, with what is left of its limit.
struct Open(io::Take<File>, u64);

impl Pieces for Open {
    fn next(&mut self) -> Pin<Box<dyn Future<Output = Result<Option<tough::Bytes>, FetchError>> + Send + '_>> {
        let mut piece = vec![0; 64 * 1024];
        let piece = match self.0.read(&mut piece) {
            Ok(0) => Ok(None),
            Ok(length) if length as u64 <= self.1 => {
                self.1 -= length as u64;
                piece.truncate(length);
                Ok(Some(piece.into()))
            }
            Ok(_) => Err(FetchError::TooLarge { limit: self.1 }),
            Err(_) => Err(UNREADABLE),
        };
        Box::pin(std::future::ready(piece))
    }
}

/// Whether an update knows what the one before it verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Process {
    /// It has the files in the state folder, and verifies all of them again.
    Ends,
    /// What its own process verified is handed to it, as a gate does. The state folder is opened, locked and read for each
    /// update all the same: other processes may use it in between.
    StaysUp,
}

/// How files come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Straight from the folder.
    Folder,
    /// By the reader's own HTTP client, which is kept from update to update as a gate does.
    Http,
}

/// Where the reader fetches from.
enum Fetches {
    Folder,
    /// One client for each address.
    Http(BTreeMap<String, HttpTransport>),
}

/// The reader.
pub struct Ours {
    anchor: Anchor,
    path: String,
    runtime: tokio::runtime::Runtime,
    fetches: Fetches,
    process: Process,
    earlier: Option<TrustedSet>,
}

impl Ours {
    pub(super) fn new(folder: &Path, process: Process, way: Way) -> io::Result<Self> {
        let Wanted { root, path } = Wanted::read(folder)?;
        let collection = CollectionName::parse("registry.example.com/services").map_err(io::Error::other)?;
        let fetches = match way {
            Way::Folder => Fetches::Folder,
            Way::Http => Fetches::Http(BTreeMap::new()),
        };
        let anchor = Anchor { collection, root };
        Ok(Self { anchor, path, runtime: runtime()?, fetches, process, earlier: None })
    }

    fn update(&mut self, state: &Path, transport: impl Transport) -> Result<(), String> {
        let store = StateStore::open_at(state, "bench", Duration::from_secs(5)).map_err(|e| e.to_string())?;
        let earlier = self.earlier.take();
        let options = Options { layout: Some(Layout::foreign("", "")), earlier, ..Options::default() };
        let (found, set) = self.runtime.block_on(async {
            let mut reader = Reader::refresh_with(self.anchor.clone(), store, transport, now(), options)
                .await
                .map_err(|problem| format!("{problem:?}"))?;
            let found = reader.lookup(&self.path).await.map_err(|problem| format!("{problem:?}"))?;
            Ok::<_, String>((found.hit().is_some(), reader.trusted().clone()))
        })?;
        if self.process == Process::StaysUp {
            self.earlier = Some(set);
        }
        if found { Ok(()) } else { Err("not found".to_owned()) }
    }
}

impl Reads for Ours {
    fn read(&mut self, state: &Path, served: &str) -> Result<(), String> {
        let Fetches::Http(clients) = &mut self.fetches else { return self.update(state, Folder(served.into())) };
        let client = match clients.get(served) {
            Some(client) => client.clone(),
            None => {
                let client = HttpTransport::new(served, HttpOptions::default()).map_err(|e| e.to_string())?;
                clients.entry(served.to_owned()).or_insert(client).clone()
            }
        };
        self.update(state, client)
    }
}
