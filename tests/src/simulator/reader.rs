//! The shipped reader, on a real folder, fed from a [`Wire`].

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::runtime::Runtime;
use trust_reader::anchor::Anchor;
use trust_reader::layout::Layout;
use trust_reader::problems;
use trust_reader::reader::{Options, Reader};
use trust_reader::state::StateStore;
use trust_reader::transport::{FetchError, Transport};
use trust_reader::verdict::Problem;
use trust_tuf::{CollectionName, UtcTime};

use super::{Answer, Client, Failure, Wire, WireError};

/// A wire as the reader's transport.
#[derive(Clone)]
struct WireTransport(Arc<Wire>);

impl Transport for WireTransport {
    async fn fetch(&self, path: &str, limit: u64) -> Result<tough::Bytes, FetchError> {
        self.0.fetch(path, limit).map(Into::into).map_err(|error| match error {
            WireError::NotFound => FetchError::NotFound,
            WireError::Status(401) => FetchError::Unauthorized,
            WireError::Status(403) => FetchError::Forbidden,
            WireError::Status(429) => FetchError::RateLimited { retry_after: None },
            WireError::Status(status) => FetchError::Status(status),
            WireError::Reset => FetchError::Truncated,
            WireError::TooLarge => FetchError::TooLarge { limit },
        })
    }
}

/// The reader with its folder. Each update opens the folder anew, as another process would.
pub struct ReaderClient {
    anchor: Anchor,
    wire: Arc<Wire>,
    folder: TempDir,
    runtime: Runtime,
}

impl ReaderClient {
    /// A reader that has never updated, with this root pinned.
    pub fn new(pinned: Vec<u8>, wire: Arc<Wire>) -> Self {
        let collection = CollectionName::parse("registry.example.com/pay").expect("a name");
        // In memory where that is possible: the reader waits for the disk after every file.
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
        Self {
            anchor: Anchor { collection, root: pinned },
            wire,
            folder: folder.expect("a folder"),
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime"),
        }
    }

    fn update(&self, now: UtcTime) -> Result<Reader<WireTransport>, Failure> {
        let store = StateStore::open_at(&self.folder.path().join("state"), "attacked", Duration::from_secs(5))
            .map_err(|e| Failure::Other(e.to_string()))?;
        let options = Options { layout: Some(Layout::foreign("", "targets/")), ..Options::default() };
        let transport = WireTransport(Arc::clone(&self.wire));
        let reader = Reader::refresh_with(self.anchor.clone(), store, transport, now, options);
        self.runtime.block_on(reader).map_err(|problem| failure(&problem))
    }
}

fn failure(problem: &Problem) -> Failure {
    match problem.failure.as_deref() {
        Some(problems::Failure::Update(e)) => Failure::Refused(e.clone()),
        // The same refusal, with a guess at its cause.
        Some(problems::Failure::OtherRoot { after, .. }) => Failure::Refused(after.clone()),
        Some(problems::Failure::Lookup(e)) => Failure::Undecided(e.clone()),
        Some(problems::Failure::Fetch { file, error }) => {
            let error = match error {
                FetchError::NotFound => WireError::NotFound,
                FetchError::Unauthorized => WireError::Status(401),
                FetchError::Forbidden => WireError::Status(403),
                FetchError::RateLimited { .. } => WireError::Status(429),
                FetchError::Status(status) => WireError::Status(*status),
                FetchError::Truncated => WireError::Reset,
                FetchError::TooLarge { .. } => WireError::TooLarge,
                other => return Failure::Other(other.to_string()),
            };
            Failure::Fetch { file: file.clone(), error }
        }
        other => Failure::Other(format!("{other:?}")),
    }
}

impl Client for ReaderClient {
    fn refresh(&mut self, now: UtcTime) -> Result<(), Failure> {
        self.update(now).map(|_| ())
    }

    fn lookups(&mut self, now: UtcTime, paths: &[&str]) -> Result<Vec<Result<Answer, Failure>>, Failure> {
        let mut reader = self.update(now)?;
        let search = |path: &&str| {
            let outcome = self.runtime.block_on(reader.lookup(path)).map_err(|problem| failure(&problem))?;
            Ok(Answer { outcome })
        };
        Ok(paths.iter().map(search).collect())
    }

    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let Ok(entries) = std::fs::read_dir(self.folder.path().join("state")) else { return BTreeMap::new() };
        entries
            .filter_map(|entry| {
                let name = entry.ok()?.file_name().into_string().ok()?;
                let bytes = std::fs::read(self.folder.path().join("state").join(&name)).ok()?;
                name.ends_with(".json").then_some((name, bytes))
            })
            .collect()
    }

    fn plant(&mut self, file: &str, bytes: &[u8]) {
        std::fs::write(self.folder.path().join("state").join(file), bytes).expect("the file is there");
    }
}
