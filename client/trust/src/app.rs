//! What every command runs with: settings, clock, terminal, and the parts that are made only when they are needed.
//!
//! Invariant: making an [`App`] contacts nobody, reads no key and starts no runtime, so that `trust resolve --offline` is
//! quick. The deadline of the command counts the time that it waits for others, not for the person at the terminal.

use std::cell::{Cell, OnceCell};
use std::future::Future;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use trust_reader::verdict::Problem;
use trust_tuf::UtcTime;

use crate::cli::Globals;
use crate::fault;
use crate::prompt::Terminal;
use crate::settings::{Environment, Settings, TokenPlace};

/// Largest token file that is read, in bytes.
const MAX_TOKEN_BYTES: u64 = 8 * 1024;

/// One run of a command.
pub struct App {
    /// The flags of every command.
    pub globals: Globals,
    /// The settings in force.
    pub settings: Settings,
    /// The environment.
    pub environment: Environment,
    /// A person at a terminal, or nobody.
    pub terminal: Terminal,
    waited: Cell<Duration>,
    runtime: OnceCell<tokio::runtime::Runtime>,
}

impl App {
    /// A run with these settings.
    pub fn new(globals: Globals, settings: Settings, environment: Environment) -> Self {
        let terminal = Terminal::find(&settings.non_interactive);
        Self { globals, settings, environment, terminal, waited: Cell::default(), runtime: OnceCell::new() }
    }

    /// The time of this machine, whole seconds.
    pub fn now(&self) -> Result<UtcTime, Problem> {
        let seconds = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_secs()).ok(),
            Err(before) => i64::try_from(before.duration().as_secs()).ok().map(|s| -s),
        };
        seconds.and_then(UtcTime::from_unix).ok_or_else(fault::clock)
    }

    /// Runs network work, at most until the deadline of the command.
    pub fn wait<T>(&self, work: impl Future<Output = Result<T, Problem>>) -> Result<T, Problem> {
        let runtime = match self.runtime.get() {
            Some(runtime) => runtime,
            None => {
                let made = tokio::runtime::Builder::new_current_thread().enable_all().build();
                let made = made.map_err(|e| fault::internal(&format!("no runtime: {e}")))?;
                self.runtime.get_or_init(|| made)
            }
        };
        let began = Instant::now();
        let left = self.settings.timeout.value.saturating_sub(self.waited.get());
        // The timer is made inside: it belongs to the runtime.
        let result = runtime.block_on(async { tokio::time::timeout(left, work).await });
        self.waited.set(self.waited.get().saturating_add(began.elapsed()));
        result.unwrap_or_else(|_| Err(fault::deadline(self.settings.timeout.value)))
    }

    /// Refuses what needs a network when there must be none.
    pub fn need_network(&self, what: &str) -> Result<(), Problem> {
        if self.settings.offline.value { Err(fault::offline(what, &self.settings.offline.origin)) } else { Ok(()) }
    }

    /// The server's address.
    pub fn server(&self) -> Result<String, Problem> {
        self.settings.server.as_ref().map(|server| server.value.clone()).ok_or_else(fault::no_server)
    }

    /// The token for publishing, if there is one. It is read only when it is needed.
    pub fn token(&self) -> Result<Option<zeroize::Zeroizing<String>>, Problem> {
        let Some(place) = &self.settings.token else { return Ok(None) };
        let text = match &place.value {
            TokenPlace::Variable => {
                let value = self.environment.raw("TRUST_TOKEN").and_then(|value| value.into_string().ok());
                zeroize::Zeroizing::new(value.ok_or_else(|| fault::token("TRUST_TOKEN is not text"))?)
            }
            TokenPlace::File(path) => read_token(path)?,
        };
        let token = text.trim();
        if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(fault::token(&format!("{} holds no token", place.origin)));
        }
        Ok(Some(zeroize::Zeroizing::new(token.to_owned())))
    }
}

fn read_token(path: &Path) -> Result<zeroize::Zeroizing<String>, Problem> {
    use std::io::Read;
    use std::os::unix::fs::MetadataExt;
    let bad = |why: String| fault::token(&format!("token file {}: {why}", path.display()));
    let file = crate::settings::paths::open_now(path).map_err(|e| bad(e.to_string()))?;
    let metadata = file.metadata().map_err(|e| bad(e.to_string()))?;
    if metadata.is_file() && metadata.mode() & 0o077 != 0 {
        return Err(bad(format!("mode {:04o} lets others read it; run: chmod 600", metadata.mode() & 0o7777)));
    }
    let mut text = zeroize::Zeroizing::new(String::with_capacity(8 * 1024 + 1));
    file.take(MAX_TOKEN_BYTES + 1).read_to_string(&mut text).map_err(|e| bad(e.to_string()))?;
    if u64::try_from(text.len()).is_ok_and(|n| n > MAX_TOKEN_BYTES) {
        return Err(bad("it is too large".to_owned()));
    }
    Ok(text)
}
