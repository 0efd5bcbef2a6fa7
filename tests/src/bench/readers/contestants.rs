//! Who takes part, and what each does.
//!
//! All readers do the same: from their own state folder and the served files to the verified entry of one target. Where
//! that is fair they are served from the folder itself, by the smallest transport that their interface allows; so what is
//! compared is the readers and not their HTTP clients. Those over HTTP each have their own client. `core` and `floor` have
//! no state: bytes in memory, no rules left out (core), no rules at all (floor).

use std::io;
use std::path::{Path, PathBuf};

use super::cached::{Cached, Map};
use super::floor::Floor;
use super::ours::{Core, Ours, Process, Way};
use super::peers::{Sigstore, Tough, Waiting};
use super::worker::Work;

/// Who takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contestant {
    /// A process that does nothing.
    Empty,
    /// What no reader can leave out.
    Floor,
    /// The rules of `core/tuf`, from bytes in memory.
    Core,
    /// `client/reader` with its state folder. Nothing is remembered from one update to the next.
    Ours,
    /// The same as a gate uses it: the process stays up and hands to each update what the one before it verified.
    OursStaying,
    /// `client/reader` with its own HTTP client.
    OursHttp,
    /// The same in a process that stays up.
    OursHttpStaying,
    /// sigstore-tuf with its file store.
    Sigstore,
    /// tough with its datastore, served from the folder.
    Tough,
    /// The same over HTTP, as it comes.
    ToughHttp,
    /// The same over HTTP, without waiting before a request.
    ToughHttpAtOnce,
    /// python-tuf with its metadata folder. Its interface wants a new `Updater` for each update, also in a process that stays up.
    Python,
    /// The same with its own HTTP client, as it comes.
    PythonHttp,
    /// The same, the client kept from update to update.
    PythonHttpKept,
    /// A verdict that was reached before.
    Cached,
    /// A look into a map.
    Map,
}

impl Contestant {
    /// All.
    pub const ALL: [Self; 16] = [
        Self::Empty,
        Self::Floor,
        Self::Core,
        Self::Ours,
        Self::OursStaying,
        Self::OursHttp,
        Self::OursHttpStaying,
        Self::Sigstore,
        Self::Tough,
        Self::ToughHttp,
        Self::ToughHttpAtOnce,
        Self::Python,
        Self::PythonHttp,
        Self::PythonHttpKept,
        Self::Cached,
        Self::Map,
    ];

    /// Its name in arguments and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Floor => "floor",
            Self::Core => "core",
            Self::Ours => "ours",
            Self::OursStaying => "ours-staying",
            Self::OursHttp => "ours-http",
            Self::OursHttpStaying => "ours-http-staying",
            Self::Sigstore => "sigstore-tuf",
            Self::Tough => "tough",
            Self::ToughHttp => "tough-http",
            Self::ToughHttpAtOnce => "tough-http-at-once",
            Self::Python => "python-tuf",
            Self::PythonHttp => "python-tuf-http",
            Self::PythonHttpKept => "python-tuf-http-kept",
            Self::Cached => "cached",
            Self::Map => "map",
        }
    }

    /// Whether it is of this project. Then that it cannot read a repository is an error, and no result.
    pub const fn is_ours(self) -> bool {
        use Contestant::{Cached, Core, Empty, Floor, Map, Ours, OursHttp, OursHttpStaying, OursStaying};
        matches!(self, Empty | Floor | Core | Ours | OursStaying | OursHttp | OursHttpStaying | Cached | Map)
    }

    /// Whether it is python-tuf, and how that fetches.
    pub const fn python(self) -> Option<&'static str> {
        match self {
            Self::Python => Some("folder"),
            Self::PythonHttp => Some("http"),
            Self::PythonHttpKept => Some("http-kept"),
            _ => None,
        }
    }
}

/// What a reader knows before an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Nothing but the pinned root.
    Cold,
    /// Everything that is served.
    Warm,
    /// Everything that was served before another image was published, in its state folder.
    Changed,
    /// The same, in the memory of a process that stayed up.
    Renewed,
    /// Nothing, and nothing is done.
    Empty,
}

impl Moment {
    /// Its name in arguments and tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cold => "cold",
            Self::Warm => "warm",
            Self::Changed => "changed",
            Self::Renewed => "renewed",
            Self::Empty => "empty",
        }
    }

    /// The moment of this name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Cold, Self::Warm, Self::Changed, Self::Renewed, Self::Empty]
            .into_iter()
            .find(|moment| moment.name() == name)
    }
}

struct Nothing;

impl Work for Nothing {
    fn operate(&mut self) -> Result<(), String> {
        Ok(())
    }
}

struct Least(Floor, Moment);

impl Work for Least {
    fn operate(&mut self) -> Result<(), String> {
        self.0.work(self.1).map(drop).ok_or_else(|| "not found".to_owned())
    }
}

/// A reader with a state folder.
pub trait Reads {
    /// One update from `served`, with the state in `state`, and one look-up.
    fn read(&mut self, state: &Path, served: &str) -> Result<(), String>;
}

/// Runs a reader from the state that the moment says.
struct Kept<R> {
    reader: R,
    moment: Moment,
    state: PathBuf,
    older: PathBuf,
    base: String,
}

impl<R: Reads> Kept<R> {
    fn new(reader: R, moment: Moment, state: &Path, base: &str) -> io::Result<Self> {
        let (state, older) = (state.join("state"), state.join("older"));
        std::fs::create_dir_all(&state)?;
        let mut kept = Self { reader, moment, state, older, base: base.to_owned() };
        let before = match moment {
            Moment::Cold | Moment::Empty => return Ok(kept),
            Moment::Warm => "after",
            Moment::Changed | Moment::Renewed => "before",
        };
        kept.reader.read(&kept.state, &format!("{base}/{before}")).map_err(io::Error::other)?;
        if before == "before" {
            copy(&kept.state, &kept.older)?;
        }
        Ok(kept)
    }
}

/// Copies a folder with everything in it, with its permissions; links stay links.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::create_dir(to)?;
    std::fs::set_permissions(to, from.metadata()?.permissions())?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (kind, place) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            copy(&entry.path(), &place)?;
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(std::fs::read_link(entry.path())?, place)?;
        } else {
            std::fs::copy(entry.path(), place)?;
        }
    }
    Ok(())
}

impl<R: Reads> Work for Kept<R> {
    fn is_prepared(&self) -> bool {
        self.moment != Moment::Warm
    }

    fn prepare(&mut self) -> io::Result<()> {
        std::fs::remove_dir_all(&self.state)?;
        if self.moment == Moment::Cold { std::fs::create_dir(&self.state) } else { copy(&self.older, &self.state) }
    }

    fn operate(&mut self) -> Result<(), String> {
        self.reader.read(&self.state, &format!("{}/after", self.base))
    }
}

/// The contestant of this name.
pub fn contestant(name: &str, moment: Moment, folder: &Path, state: &Path, base: &str) -> io::Result<Box<dyn Work>> {
    let who = Contestant::ALL.into_iter().find(|who| who.name() == name);
    let local = folder.to_string_lossy();
    Ok(match who.ok_or_else(|| io::Error::other("no such contestant"))? {
        Contestant::Empty => Box::new(Nothing),
        Contestant::Floor => Box::new(Least(Floor::read(folder, moment)?, moment)),
        Contestant::Core => Box::new(Core::read(folder, moment)?),
        Contestant::Ours => Box::new(Kept::new(Ours::new(folder, Process::Ends, Way::Folder)?, moment, state, &local)?),
        Contestant::OursStaying => {
            Box::new(Kept::new(Ours::new(folder, Process::StaysUp, Way::Folder)?, moment, state, &local)?)
        }
        Contestant::OursHttp => Box::new(Kept::new(Ours::new(folder, Process::Ends, Way::Http)?, moment, state, base)?),
        Contestant::OursHttpStaying => {
            Box::new(Kept::new(Ours::new(folder, Process::StaysUp, Way::Http)?, moment, state, base)?)
        }
        Contestant::Sigstore => Box::new(Kept::new(Sigstore::new(folder)?, moment, state, &local)?),
        Contestant::Tough => Box::new(Kept::new(Tough::local(folder)?, moment, state, &format!("file://{local}"))?),
        Contestant::ToughHttp => Box::new(Kept::new(Tough::http(folder, Waiting::Default)?, moment, state, base)?),
        Contestant::ToughHttpAtOnce => Box::new(Kept::new(Tough::http(folder, Waiting::Never)?, moment, state, base)?),
        Contestant::Cached => Box::new(Cached::new(&state.join("state"))?),
        Contestant::Map => Box::new(Map::new()),
        Contestant::Python | Contestant::PythonHttp | Contestant::PythonHttpKept => {
            return Err(io::Error::other("python-tuf is a script"));
        }
    })
}
