//! The three commands on the reader and its state.

use std::io::Read;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use tough::Bytes;
use trust_reader::anchor::{Anchor, fingerprint};
use trust_reader::http::{HttpOptions, HttpTransport};
use trust_reader::layout::Layout;
use trust_reader::reader::{Options, Reader};
use trust_reader::state::{LOCK_WAIT, StateError, StateStore};
use trust_reader::target::{TargetError, TargetFolder};
use trust_reader::transport::{Body, FetchError, Transport};
use trust_reader::verdict::Problem;
use trust_tuf::model::Role;
use trust_tuf::trusted::RootStage;
use trust_tuf::{CollectionName, UpdateError, UtcTime, Version, limits};

use super::{Command, Refresh};

/// The reader asks for a name; a repository that is no collection of ours has none.
const NAME: &str = "tuf-conformance.invalid/repository";
// No name of a metadata file has a slash.
const TARGETS: &str = "targets/";

/// Why a command did not do all that it was to do.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// The update, a search or a download failed.
    #[error("{}", .0.text())]
    Problem(Box<Problem>),
    /// The state cannot be used.
    #[error("{0}")]
    State(#[from] StateError),
    /// The folder of targets cannot be used.
    #[error("{0}")]
    Folder(#[from] TargetError),
    /// The given root cannot be trusted.
    #[error("the trusted root cannot be used: {0}")]
    Root(#[from] UpdateError),
    /// The file of the given root cannot be read.
    #[error("the trusted root cannot be read: {0}")]
    Read(std::io::ErrorKind),
    /// Another root is pinned here already.
    #[error("another root is pinned in this folder")]
    PinnedAlready,
    /// No root was pinned here.
    #[error("no root is pinned in this folder: init comes first")]
    NotPinned,
    /// An address cannot be used.
    #[error("{0}")]
    Address(#[from] FetchError),
    /// Nobody lists this target.
    #[error("there is no target `{0}`")]
    NoSuchTarget(String),
    /// The machine.
    #[error("{0}")]
    Machine(&'static str),
}

impl From<Problem> for Failed {
    fn from(problem: Problem) -> Self {
        Self::Problem(Box::new(problem))
    }
}

/// Does one command, at the time of the machine.
pub fn run(command: &Command) -> Result<(), Failed> {
    match command {
        Command::Init { metadata_dir, trusted_root } => init(metadata_dir, &read_root(trusted_root)?, now()?),
        Command::Refresh(wanted) => wait(async {
            refresh(&wanted.metadata_dir, Sites::new(&wanted.metadata_url, None)?, now()?).await?;
            Ok(())
        }),
        Command::Download(wanted) => wait(async {
            let Refresh { metadata_dir, metadata_url } = &wanted.refresh;
            let sites = Sites::new(metadata_url, Some(&wanted.target_url))?;
            let mut reader = refresh(metadata_dir, sites, now()?).await?;
            download(&mut reader, &wanted.names, &wanted.target_dir).await
        }),
    }
}

fn wait(work: impl Future<Output = Result<(), Failed>>) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|_| Failed::Machine("no runtime"))?.block_on(work)
}

fn now() -> Result<UtcTime, Failed> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).ok();
    let now = since.and_then(|since| UtcTime::from_unix(i64::try_from(since.as_secs()).ok()?));
    now.ok_or(Failed::Machine("the clock says no time that is understood"))
}

fn read_root(path: &Path) -> Result<Vec<u8>, Failed> {
    let mut root = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| Failed::Read(error.kind()))?;
    file.take(limits::ROOT_BYTES + 1).read_to_end(&mut root).map_err(|error| Failed::Read(error.kind()))?;
    Ok(root)
}

fn store(folder: &Path) -> Result<StateStore, StateError> {
    StateStore::open_at(folder, NAME, LOCK_WAIT)
}

/// Pins a root that verifies. Another one can be pinned only in another folder.
pub fn init(folder: &Path, root: &[u8], now: UtcTime) -> Result<(), Failed> {
    let version = RootStage::pinned(root, now)?.root().version();
    let mut store = store(folder)?;
    let fingerprint = fingerprint(root);
    match store.anchor() {
        Some(pinned) if pinned == fingerprint => return Ok(()),
        Some(_) => return Err(Failed::PinnedAlready),
        None => {}
    }
    store.begin(&fingerprint, false)?;
    Ok(store.keep_root(version, root)?)
}

/// The root that `init` pinned: somewhere in the unbroken chain below the newest one, known by its fingerprint.
fn pinned(store: &StateStore) -> Result<Anchor, Failed> {
    let collection = CollectionName::parse(NAME).map_err(|_| Failed::Machine("no name"))?;
    let mut version = store.newest_root();
    while let Some(at) = version {
        let Some(root) = store.root(at)? else { break };
        if Some(fingerprint(&root).as_str()) == store.anchor() {
            return Ok(Anchor { collection, root: root.to_vec() });
        }
        version = at.get().checked_sub(1).and_then(Version::new);
    }
    Err(Failed::NotPinned)
}

/// One update of the state in this folder. Targets lie below `targets/` of the transport, all metadata at its top.
pub async fn refresh<T: Transport>(folder: &Path, transport: T, now: UtcTime) -> Result<Reader<T>, Failed> {
    let store = store(folder)?;
    let anchor = pinned(&store)?;
    let options = Options { layout: Some(Layout::foreign("", TARGETS)), ..Options::default() };
    Ok(Reader::refresh_with(anchor, store, transport, now, options).await?)
}

/// Brings targets into a folder, in order, up to the first that fails.
pub async fn download<T: Transport>(
    reader: &mut Reader<T>,
    names: &[impl AsRef<str>],
    folder: &Path,
) -> Result<(), Failed> {
    for name in names.iter().map(AsRef::as_ref) {
        let found = reader.find(name).await?.ok_or_else(|| Failed::NoSuchTarget(name.to_owned()))?;
        reader.download(name, &found.target, &TargetFolder::open(folder)?).await?;
    }
    Ok(())
}

/// Metadata and targets of one repository, which may lie on two servers.
struct Sites {
    metadata: HttpTransport,
    targets: Option<HttpTransport>,
}

impl Sites {
    fn new(metadata: &str, targets: Option<&str>) -> Result<Self, FetchError> {
        let site = |url: &str| HttpTransport::new(url, HttpOptions::default());
        Ok(Self { metadata: site(metadata)?, targets: targets.map(site).transpose()? })
    }

    fn of<'a>(&self, path: &'a str) -> Result<(&HttpTransport, &'a str), FetchError> {
        match path.strip_prefix(TARGETS) {
            None => Ok((&self.metadata, path)),
            Some(file) => Ok((self.targets.as_ref().ok_or(FetchError::NotFound)?, file)),
        }
    }
}

impl Transport for Sites {
    async fn fetch(&self, path: &str, limit: u64) -> Result<Bytes, FetchError> {
        let (site, file) = self.of(path)?;
        site.fetch(file, limit).await
    }

    async fn fetch_past_caches(&self, path: &str, limit: u64) -> Result<Bytes, FetchError> {
        let (site, file) = self.of(path)?;
        site.fetch_past_caches(file, limit).await
    }

    async fn open(&self, path: &str, limit: u64) -> Result<Body, FetchError> {
        let (site, file) = self.of(path)?;
        site.open(file, limit).await
    }

    fn describe(&self) -> String {
        self.metadata.describe()
    }
}
