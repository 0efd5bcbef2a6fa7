//! The shipped reader, on a real folder, fed from a [`Wire`].

use std::cell::RefCell;
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
use trust_tuf::trusted::TrustedSet;
use trust_tuf::{CollectionName, UtcTime};

use super::{Answer, Client, Failure, Wire, WireError};

/// What is only for the shipped reader. Where there is none, a macro of this name leaves it out.
#[macro_export]
macro_rules! with_the_reader {
    ($($item:item)*) => { $($item)* };
}

/// A wire as the reader's transport.
#[derive(Clone)]
pub struct WireTransport(pub Arc<Wire>);

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

    fn describe(&self) -> String {
        "https://trust.example.com".to_owned()
    }

    fn server_time(&self) -> Option<UtcTime> {
        self.0.time()
    }
}

/// The reader with its folder. Each update opens the folder anew, as another process would.
pub struct ReaderClient {
    anchor: Anchor,
    wire: Arc<Wire>,
    folder: TempDir,
    runtime: Runtime,
    // What the process still knows, if it stays up between updates.
    earlier: Option<RefCell<Option<TrustedSet>>>,
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
            earlier: None,
        }
    }

    /// The same in a process that stays up: each update is told what the one before it verified.
    pub fn staying_up(self) -> Self {
        Self { earlier: Some(RefCell::default()), ..self }
    }

    /// The process ends, and what it knew with it.
    pub fn restart(&self) {
        if let Some(earlier) = &self.earlier {
            earlier.take();
        }
    }

    fn remember(&self, reader: &Reader<WireTransport>) {
        if let Some(earlier) = &self.earlier {
            earlier.replace(Some(reader.trusted().clone()));
        }
    }

    fn update(&self, now: UtcTime) -> Result<Reader<WireTransport>, Failure> {
        self.updated(now).map_err(|problem| failure(&problem))
    }

    fn updated(&self, now: UtcTime) -> Result<Reader<WireTransport>, Problem> {
        self.updated_with(self.store()?, now)
    }

    fn updated_with(&self, store: StateStore, now: UtcTime) -> Result<Reader<WireTransport>, Problem> {
        let transport = WireTransport(Arc::clone(&self.wire));
        let earlier = self.earlier.as_ref().and_then(|earlier| earlier.borrow().clone());
        let options = Options { earlier, ..Self::options() };
        let reader = Reader::refresh_with(self.anchor.clone(), store, transport, now, options);
        self.runtime.block_on(reader)
    }

    /// An update whose process dies: after this many steps of writing, nothing is written any more.
    pub fn crash(&self, now: UtcTime, steps: usize) {
        if let Ok(store) = self.store() {
            store.kill_after(steps);
            let _ = self.updated_with(store, now);
            self.restart();
        }
    }

    /// The stored chain of roots, from the first one without a gap.
    pub fn root_history(&self) -> Vec<Vec<u8>> {
        let folder = self.folder.path().join("state/root_history");
        (1..).map_while(|version| std::fs::read(folder.join(format!("{version}.root.json"))).ok()).collect()
    }

    fn options() -> Options {
        Options { layout: Some(Layout::foreign("", "targets/")), ..Options::default() }
    }

    fn store(&self) -> Result<StateStore, Problem> {
        StateStore::open_at(&self.folder.path().join("state"), "attacked", Duration::from_secs(5))
            .map_err(|error| Problem::from(&error))
    }

    /// One update: what it warns of, or what a person is told.
    pub fn told(&self, now: UtcTime) -> Result<Vec<String>, Problem> {
        self.updated(now).map(|reader| reader.warnings().to_vec())
    }

    /// The same for a look-up after it.
    pub fn told_of(&self, now: UtcTime, path: &str) -> Result<(), Problem> {
        let mut reader = self.updated(now)?;
        self.runtime.block_on(reader.lookup(path)).map(|_| ())
    }

    /// The stored files alone.
    pub fn told_offline(&self, now: UtcTime) -> Result<(), Problem> {
        Reader::<WireTransport>::offline_with(self.anchor.clone(), self.store()?, now, Self::options()).map(|_| ())
    }
}

fn failure(problem: &Problem) -> Failure {
    match problem.failure.as_deref() {
        Some(problems::Failure::Update(e)) => Failure::Refused(e.clone()),
        // The same refusal, with a guess at its cause.
        Some(problems::Failure::OtherRoot { after, .. } | problems::Failure::ClockAhead { after, .. }) => {
            Failure::Refused(after.clone())
        }
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
        let answers = paths.iter().map(search).collect();
        self.remember(&reader);
        Ok(answers)
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

    fn strays(&self) -> Vec<String> {
        let names = |folder: &Path| -> Vec<String> {
            let entries = std::fs::read_dir(folder).expect("the folder is there");
            entries.map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
        };
        let known = |name: &str| matches!(name, "format" | "lock" | "root_history") || name.ends_with(".json");
        let above = names(self.folder.path()).into_iter().filter(|name| name != "state");
        let inside = names(&self.folder.path().join("state")).into_iter().filter(|name| !known(name));
        let history = names(&self.folder.path().join("state/root_history"));
        above.chain(inside).chain(history.into_iter().filter(|name| !name.ends_with(".root.json"))).collect()
    }

    fn plant(&mut self, file: &str, bytes: &[u8]) {
        std::fs::write(self.folder.path().join("state").join(file), bytes).expect("the file is there");
    }
}
