//! The audit log: one JSON line for each decision, written before the answer is given, each bound to the one before.
//!
//! Lines go with one write to a file opened for appending, under a lock beside it that nobody else can take, so that several threads
//! and processes make one chain (chain). What is asked for at the same moment goes with one write (queue). A line that could not be
//! written whole is a failure of all of its write, and the next one begins on a line of its own and says so. The file is synced with each refresh and not with each line: what was decided survives the program, and of a
//! power cut all but the last minute. Before each write it is looked whether the file still has its name; one that was moved away is
//! opened anew, and the chain goes on there; if that fails, nothing is allowed. Deliberately absent: moving it away (logrotate does), and deleting anything.

pub(crate) mod chain;
mod line;
mod open;
mod queue;
pub mod verify;
mod worker;

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{FileType, FlockOperation, OFlags};
use trust_reader::catalogue::Code;
use trust_reader::verdict::Problem;

use self::chain::{Head, MAX_LINE_LEN, Tail};
pub(crate) use self::line::{line, of_allow};
use self::open::{failed, open};
use self::queue::Queue;

/// The file in the state folder that keeps the head.
const HEAD_FILE: &str = "audit.head";
/// Largest file of a head, in bytes.
const MAX_HEAD_LEN: u64 = 256;
/// What the lock's name has behind that of the log.
const LOCK_END: &str = ".lock";
/// What goes with one write, in bytes; one line may be longer.
const MAX_WRITE: usize = MAX_LINE_LEN;
/// Bytes that a line's place in the chain usually takes.
const PLACE_LEN: usize = 128;

/// An open log.
#[derive(Debug)]
pub(crate) struct Log {
    path: PathBuf,
    head_file: PathBuf,
    inner: Mutex<Inner>,
    /// The head, for whoever asks while a write hangs.
    shown: Mutex<Head>,
    queue: Queue,
}

#[derive(Debug)]
struct Inner {
    file: Arc<File>,
    /// What is locked while a line is written: no file that somebody else may read, and with that hold.
    /// `None`: it is only looked at.
    lock: Option<Arc<File>>,
    /// Device and inode of the file.
    identity: (u64, u64),
    /// Whether it is a regular file, and no character device.
    is_file: bool,
    /// Where the last write of this process ended.
    end: u64,
    head: Head,
    /// Bytes of an incomplete line at the end.
    torn: u64,
}

/// The lock of a file, until it is dropped.
struct Held<'f>(&'f File);

impl<'f> Held<'f> {
    fn take(file: &'f File) -> std::io::Result<Self> {
        loop {
            match rustix::fs::flock(file, FlockOperation::LockExclusive) {
                Ok(()) => return Ok(Self(file)),
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let _ = rustix::fs::flock(self.0, FlockOperation::Unlock);
    }
}

impl Inner {
    /// Goes on from what is in a file.
    fn on(file: File, lock: Option<Arc<File>>, known: Head, path: &Path) -> Result<Self, Problem> {
        let stat = rustix::fs::fstat(&file).map_err(|errno| failed(path, std::io::Error::from(errno).kind()))?;
        let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        let identity = (stat.st_dev, stat.st_ino);
        let mut inner = Self { file: Arc::new(file), lock, identity, is_file, end: 0, head: known, torn: 0 };
        if is_file {
            inner.catch_up(u64::try_from(stat.st_size).unwrap_or(0), path)?;
        }
        Ok(inner)
    }

    /// Opens the log anew if its name means another file now, or none. The size of the file that the next line goes to.
    fn follow(&mut self, path: &Path) -> Result<u64, Problem> {
        let size_of = |stat: &rustix::fs::Stat| u64::try_from(stat.st_size).unwrap_or(0);
        if let Ok(named) = rustix::fs::lstat(path)
            && (named.st_dev, named.st_ino) == self.identity
        {
            return Ok(size_of(&named));
        }
        if self.is_file {
            // What another process wrote there last: the chain goes on from that.
            let stat = rustix::fs::fstat(&*self.file).map_err(|e| failed(path, std::io::Error::from(e).kind()))?;
            if size_of(&stat) != self.end {
                self.catch_up(size_of(&stat), path)?;
            }
        }
        *self = Self::on(open(path)?, self.lock.clone(), self.head, path)?;
        tracing::warn!(
            path = %path.display(), last = self.head.seq,
            "the audit log was moved away, or removed: it begins anew after that line"
        );
        Ok(self.end)
    }

    /// Takes in what another process wrote, or that the file was cut from outside.
    fn catch_up(&mut self, size: u64, path: &Path) -> Result<(), Problem> {
        let tail = Tail::read(&self.file, size).map_err(|found| foreign(path, &found))?;
        if size < self.end && self.end != u64::MAX {
            tracing::warn!(
                path = %path.display(), last = self.head.seq,
                "the audit log was cut from outside: what is missing is only whole where somebody copied it before"
            );
        }
        // After a cut the chain goes on from what was written, so that `audit verify` finds the gap.
        self.head = tail.head.filter(|head| head.seq >= self.head.seq).unwrap_or(self.head);
        (self.torn, self.end) = (tail.torn, size);
        Ok(())
    }

    /// Writes these lines, all of them or none as far as the caller is concerned. They are no longer than [`MAX_WRITE`] together.
    fn write(&mut self, lines: &[&[u8]], path: &Path) -> Result<(), Problem> {
        let io = |error: &std::io::Error| failed(path, error.kind());
        let lock = self.lock.clone().filter(|_| self.is_file);
        let _held = lock.as_deref().map(Held::take).transpose().map_err(|e| io(&e))?;
        if self.is_file {
            let size = self.follow(path)?;
            if self.is_file && size != self.end {
                self.catch_up(size, path)?;
            }
        }
        let length = lines.iter().map(|line| line.len().saturating_add(PLACE_LEN)).fold(1, usize::saturating_add);
        let mut bytes = Vec::with_capacity(length);
        let (mut head, mut torn) = (self.head, self.torn);
        for line in lines {
            let linked = head.link(line, torn, &mut bytes);
            (head, torn) = (linked.ok_or_else(|| failed(path, ErrorKind::InvalidData))?, 0);
        }
        let written = loop {
            match (&*self.file).write(&bytes) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                written => break written.map_err(|e| io(&e))?,
            }
        };
        self.end = self.end.saturating_add(u64::try_from(written).unwrap_or(u64::MAX));
        if written == bytes.len() {
            (self.head, self.torn) = (head, torn);
            return Ok(());
        }
        // How much is torn, and what is whole before it, is read from the file, if it is one; a device keeps nothing.
        if self.is_file {
            self.end = u64::MAX;
        }
        Err(failed(path, if written == 0 { ErrorKind::WriteZero } else { ErrorKind::StorageFull }))
    }
}

impl Log {
    /// Opens the log for appending; made with mode 0600 if missing. A link in its place is refused, and so is a file that
    /// ends before what the head in the state folder says was written.
    pub(crate) fn open(path: &Path, state: &Path) -> Result<Self, Problem> {
        let head_file = state.join(HEAD_FILE);
        let stored = stored(&head_file)?;
        let inner = Inner::on(open(path)?, Some(Arc::new(lock_of(path)?)), Head::NOTHING, path)?;
        let inner = match inner.head {
            // Cut within its first line: what was whole in it is gone.
            Head::NOTHING if inner.torn > 0 && stored.seq > 0 => return Err(foreign(path, "a part of a line alone")),
            Head::NOTHING => {
                if inner.is_file && stored.seq > 0 {
                    let (path, last) = (path.display(), stored.seq);
                    tracing::warn!(%path, last, "the audit log begins anew: what was written up to that line is in files that were moved away, or lost");
                }
                Inner { head: stored, ..inner }
            }
            found => {
                reaches(path, found, stored)?;
                inner
            }
        };
        let shown = Mutex::new(inner.head);
        Ok(Self { path: path.to_owned(), head_file, inner: Mutex::new(inner), shown, queue: Queue::default() })
    }

    /// Whether [`Log::open`] would succeed; makes nothing, so that the file does not belong to whoever only looked.
    pub(crate) fn check(path: &Path, state: &Path) -> Result<(), Problem> {
        let stored = stored(&state.join(HEAD_FILE))?;
        let Some(file) = open::look(path)? else { return Ok(()) };
        let tail = Inner::on(file, None, Head::NOTHING, path)?;
        match tail.head {
            Head::NOTHING if tail.torn > 0 && stored.seq > 0 => Err(foreign(path, "a part of a line alone")),
            Head::NOTHING => Ok(()),
            found => reaches(path, found, stored),
        }
    }

    /// Writes lines, each a JSON object, with their places in the chain. Waits for the disk.
    pub(crate) fn write(&self, lines: &[&[u8]]) -> Result<(), Problem> {
        let mut rest = lines;
        let mut inner = self.inner();
        while let Some((first, others)) = rest.split_first() {
            let mut length = first.len();
            let more = others.iter().take_while(|line| {
                length = length.saturating_add(line.len());
                length <= MAX_WRITE
            });
            let (now, later) = rest.split_at_checked(more.count().saturating_add(1)).unwrap_or((rest, &[]));
            inner.write(now, &self.path)?;
            *self.shown() = inner.head;
            rest = later;
        }
        Ok(())
    }

    /// The last line that this process knows of. Waits for no disk.
    pub(crate) fn head(&self) -> Head {
        *self.shown()
    }

    fn shown(&self) -> MutexGuard<'_, Head> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Syncs the file, keeps its head in the state folder, and opens the log anew if its file was moved away or removed. Where
    /// that fails, no line can be written either.
    pub(crate) fn follow(&self) -> Result<(), Problem> {
        let (file, head, is_file) = {
            let inner = self.inner();
            (Arc::clone(&inner.file), inner.head, inner.is_file)
        };
        if is_file {
            settle(&file, &self.path, &self.head_file, head)?;
        }
        let mut inner = self.inner();
        inner.follow(&self.path)?;
        *self.shown() = inner.head;
        Ok(())
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Syncs the file, then keeps its head: one beyond what the disk has would refuse the next start.
fn settle(file: &File, path: &Path, head_file: &Path, head: Head) -> Result<(), Problem> {
    file.sync_data().map_err(|e| failed(path, e.kind()))?;
    keep(head_file, head)
}

/// Keeps a head, unless a later one is kept already.
fn keep(head_file: &Path, head: Head) -> Result<(), Problem> {
    if head.seq <= stored(head_file).map_or(0, |known| known.seq) {
        return Ok(());
    }
    // Several may keep one at once.
    static KEPT: AtomicU64 = AtomicU64::new(0);
    let number = KEPT.fetch_add(1, Ordering::Relaxed);
    let new = head_file.with_extension(format!("new.{}.{number}", std::process::id()));
    std::fs::write(&new, format!("{head}\n"))
        .and_then(|()| File::open(&new)?.sync_all())
        .and_then(|()| std::fs::rename(&new, head_file))
        .map_err(|e| failed(head_file, e.kind()))
}

impl Drop for Log {
    /// The next process goes on exactly here, also in another file.
    fn drop(&mut self) {
        let (file, head, is_file) = {
            let inner = self.inner();
            (Arc::clone(&inner.file), inner.head, inner.is_file)
        };
        if !is_file {
            return;
        }
        let (path, head_file) = (self.path.clone(), self.head_file.clone());
        let last = move || {
            if let Err(problem) = settle(&file, &path, &head_file, head) {
                tracing::warn!("{}", crate::answer::problem_line(&problem));
            }
        };
        // The disk may hang: not on a worker of a runtime. A program that ends has settled before.
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) if runtime.runtime_flavor() == tokio::runtime::RuntimeFlavor::MultiThread => {
                drop(runtime.spawn_blocking(last));
            }
            _ => last(),
        }
    }
}

/// The lock of a log: a file of ours beside it, for nobody else to open.
fn lock_of(path: &Path) -> Result<File, Problem> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(LOCK_END);
    // There is none beside a device: it keeps no chain that others could go on with.
    if !std::fs::symlink_metadata(path).is_ok_and(|found| found.is_file()) {
        return File::open(path).map_err(|e| failed(path, e.kind()));
    }
    let lock = path.with_file_name(name);
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let made = rustix::fs::open(&lock, flags, rustix::fs::Mode::from_raw_mode(0o600));
    made.map(File::from).map_err(|errno| failed(&lock, std::io::Error::from(errno).kind()))
}

/// The head in the state folder, for `audit verify`; [`Head::NOTHING`] if none is kept.
pub(crate) fn kept(state: &Path) -> Result<Head, Problem> {
    stored(&state.join(HEAD_FILE))
}

fn stored(path: &Path) -> Result<Head, Problem> {
    let read = || -> std::io::Result<String> {
        let mut text = String::new();
        std::io::Read::read_to_string(&mut std::io::Read::take(File::open(path)?, MAX_HEAD_LEN), &mut text)?;
        Ok(text)
    };
    match read() {
        Ok(text) => Head::parse(&text).ok_or_else(|| {
            foreign(path, "no head of an audit log")
                .remedy(["if the log beside it is whole (trust-gate audit verify), remove this file"])
        }),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Head::NOTHING),
        Err(error) => Err(failed(path, error.kind())),
    }
}

/// Whether a log that ends with `found` can be the one of which `stored` was written.
fn reaches(path: &Path, found: Head, stored: Head) -> Result<(), Problem> {
    if found.seq > stored.seq || found == stored {
        return Ok(());
    }
    let told = if found.seq == stored.seq {
        format!("its line {} is another one than was written", found.seq)
    } else {
        format!("it ends with line {}, and line {} was written", found.seq, stored.seq)
    };
    Err(foreign(path, &told))
}

fn foreign(path: &Path, found: &str) -> Problem {
    Problem::new(Code::LogFailed)
        .fact("path", path.display())
        .fact("found", found)
        .remedy(["keep this file as it is, under another name: the log then begins a new one, and its chain goes on"])
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
