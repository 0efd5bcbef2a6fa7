//! What a client sees of a repository: files by name, faults, and a record of what was asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use trust_tuf::UtcTime;

/// What goes wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// These bytes are served instead.
    Bytes(Vec<u8>),
    /// This HTTP status.
    Status(u16),
    /// The connection ends before the answer.
    Reset,
}

/// Why a file did not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WireError {
    /// 404.
    NotFound,
    /// Another status.
    Status(u16),
    /// The connection ended.
    Reset,
    /// More bytes than asked for.
    TooLarge,
}

#[derive(Default)]
struct State {
    files: BTreeMap<String, Vec<u8>>,
    faults: BTreeMap<String, Fault>,
    requests: Vec<String>,
    time: Option<UtcTime>,
}

/// The served files. Names are as in a URL below the base: `timestamp.json`, `2.root.json`, `1.%2Fx.json`.
#[derive(Default)]
pub struct Wire {
    state: Mutex<State>,
}

impl Wire {
    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().expect("no test panics inside"))
    }

    /// Serves a file.
    pub fn put(&self, name: &str, bytes: Vec<u8>) {
        self.with(|s| s.files.insert(name.to_owned(), bytes));
    }

    /// The bytes that are served under this name, without a request.
    pub fn file(&self, name: &str) -> Option<Vec<u8>> {
        self.with(|s| s.files.get(name).cloned())
    }

    /// All files.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        self.with(|s| s.files.clone())
    }

    /// The names under which something is served or broken, in order.
    pub fn names(&self) -> Vec<String> {
        self.with(|s| s.files.keys().chain(s.faults.keys()).cloned().collect::<BTreeSet<_>>().into_iter().collect())
    }

    /// Takes a file away: 404.
    pub fn remove(&self, name: &str) {
        self.with(|s| s.files.remove(name));
    }

    /// Breaks a file until [`Self::heal`].
    pub fn fault(&self, name: &str, fault: Fault) {
        self.with(|s| s.faults.insert(name.to_owned(), fault));
    }

    /// What is wrong with a file.
    pub fn fault_of(&self, name: &str) -> Option<Fault> {
        self.with(|s| s.faults.get(name).cloned())
    }

    /// A wire of its own with the same files and no fault.
    pub fn copy(&self) -> Self {
        let copy = Self::default();
        for (name, bytes) in self.files() {
            copy.put(&name, bytes);
        }
        copy
    }

    /// Ends all faults.
    pub fn heal(&self) {
        self.with(|s| s.faults.clear());
    }

    /// From now on every answer says that it is this time.
    pub fn say_time(&self, time: Option<UtcTime>) {
        self.with(|s| s.time = time);
    }

    /// What the answers say.
    pub fn time(&self) -> Option<UtcTime> {
        self.with(|s| s.time)
    }

    /// The requests since the last call, in order.
    pub fn take_requests(&self) -> Vec<String> {
        self.with(|s| std::mem::take(&mut s.requests))
    }

    /// One request: at most `limit` bytes.
    pub fn fetch(&self, name: &str, limit: u64) -> Result<Vec<u8>, WireError> {
        self.with(|s| {
            s.requests.push(name.to_owned());
            let bytes = match s.faults.get(name) {
                Some(Fault::Status(404)) => return Err(WireError::NotFound),
                Some(Fault::Status(status)) => return Err(WireError::Status(*status)),
                Some(Fault::Reset) => return Err(WireError::Reset),
                Some(Fault::Bytes(bytes)) => bytes.clone(),
                None => s.files.get(name).cloned().ok_or(WireError::NotFound)?,
            };
            if bytes.len() as u64 > limit { Err(WireError::TooLarge) } else { Ok(bytes) }
        })
    }
}
