//! The decision log: one JSON line for each decision, written before the answer is given.
//!
//! Each line is one write to a file opened for appending, so that lines of several threads and processes do not mix. A line
//! that could not be written whole is a failure, and the next one begins on a line of its own. The file is not synced:
//! what was decided survives the program, not a power cut. Deliberately absent: rotation; a file that was moved away is
//! opened anew under its old name.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use rustix::fs::{Access, FileType, OFlags};
use serde::Serialize;
use trust_policy::ExceptionUsed;
use trust_reader::catalogue::Code;
use trust_reader::verdict::{Problem, printable};
use trust_tuf::UtcTime;

use crate::answer::{Answer, Mode, Outcome, Question};

/// The `schema` of each line.
const SCHEMA: &str = "trust/decision/v1";

/// An open log.
#[derive(Debug)]
pub(crate) struct Log {
    path: PathBuf,
    file: ArcSwap<File>,
    is_torn: AtomicBool,
}

#[derive(Serialize)]
struct Line<'a> {
    schema: &'static str,
    time: String,
    door: &'static str,
    action: &'static str,
    image: &'a str,
    namespace: Option<String>,
    environment: &'a str,
    whom: String,
    dry_run: bool,
    decision: &'static str,
    mode: &'static str,
    answer: &'static str,
    code: Option<&'static str>,
    exit: u8,
    reason: String,
    digest: Option<String>,
    collection: Option<&'a str>,
    signers: Vec<&'a str>,
    policy: Option<PolicyRef<'a>>,
    rules: Vec<&'a str>,
    exception: Option<ExceptionUsed>,
    until: Option<String>,
}

#[derive(Serialize)]
struct PolicyRef<'a> {
    collection: &'a str,
    version: u64,
    digest: &'a str,
}

/// The line of an answer, with its line break.
pub(crate) fn line(question: &Question<'_>, answer: &Answer, time: UtcTime) -> Vec<u8> {
    let decision = answer.decision();
    let signers = match &answer.outcome {
        Outcome::Allowed(allowed) => allowed.verified.signers.iter().map(|signer| signer.name.as_str()).collect(),
        Outcome::Denied(denied) => denied.signers.iter().map(String::as_str).collect(),
    };
    let (code, until, digest) = match &answer.outcome {
        Outcome::Allowed(allowed) => (None, Some(allowed.until.to_string()), Some(allowed.verified.digest)),
        Outcome::Denied(denied) => (Some(denied.problem.id()), None, denied.digest),
    };
    let line = Line {
        schema: SCHEMA,
        time: time.to_string(),
        door: question.door,
        action: question.action.as_str(),
        image: &answer.image,
        namespace: question.namespace.map(printable),
        environment: &answer.environment,
        whom: printable(question.whom),
        dry_run: question.dry_run,
        decision: if answer.is_allowed() { "allow" } else { "deny" },
        mode: question.mode.as_str(),
        answer: match (answer.is_allowed(), question.mode) {
            (true, _) => "allow",
            (false, Mode::Enforce) => "deny",
            (false, Mode::Warn) => "warn",
            (false, Mode::Audit) => "audit",
        },
        code,
        exit: answer.exit(),
        reason: answer.log_line(),
        digest: digest.map(|digest| digest.to_string()),
        collection: answer.collection(),
        signers,
        policy: decision.map(|d| PolicyRef {
            collection: &d.policy.collection,
            version: d.policy.version,
            digest: &d.policy.digest,
        }),
        rules: decision.iter().flat_map(|d| d.rules.iter().map(|rule| rule.id.as_str())).collect(),
        exception: decision.and_then(|d| d.exception.as_ref()).map(shown),
        until,
    };
    // Strings, numbers and lists: nothing of which serialisation fails.
    let mut bytes = serde_json::to_vec(&line).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

/// An exception fit for printing: its reason is a text of whoever granted it.
fn shown(used: &ExceptionUsed) -> ExceptionUsed {
    ExceptionUsed { reason: printable(&used.reason), ..used.clone() }
}

impl Log {
    /// Opens the log for appending; made with mode 0600 if missing. A link in its place is refused.
    pub(crate) fn open(path: &Path) -> Result<Self, Problem> {
        let file = open(path)?;
        Ok(Self { path: path.to_owned(), file: ArcSwap::from_pointee(file), is_torn: AtomicBool::new(false) })
    }

    /// Whether [`Log::open`] would succeed; makes nothing, so that the file does not belong to whoever only looked.
    pub(crate) fn check(path: &Path) -> Result<(), Problem> {
        match opened(path, OFlags::empty(), rustix::fs::Mode::empty()) {
            Ok(_) => return Ok(()),
            Err(_) if matches!(rustix::fs::lstat(path), Err(rustix::io::Errno::NOENT)) => {}
            Err(problem) => return Err(problem),
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let writable = rustix::fs::access(folder, Access::WRITE_OK | Access::EXEC_OK);
        writable.map_err(|errno| failed(path, std::io::Error::from(errno).kind()).fact("folder", folder.display()))
    }

    /// Writes one line, whole or not at all as far as the caller is concerned.
    pub(crate) fn write(&self, line: &[u8]) -> Result<(), Problem> {
        let was_torn = self.is_torn.swap(false, Ordering::Relaxed);
        let joined;
        let bytes = if was_torn {
            joined = [b"\n", line].concat();
            &joined
        } else {
            line
        };
        let file = self.file.load();
        let written = loop {
            match (&**file).write(bytes) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                written => break written,
            }
        };
        match written {
            Ok(count) if count == bytes.len() && !line.is_empty() => Ok(()),
            Ok(0) => {
                self.is_torn.store(was_torn, Ordering::Relaxed);
                Err(failed(&self.path, ErrorKind::WriteZero))
            }
            Ok(_) => {
                self.is_torn.store(true, Ordering::Relaxed);
                Err(failed(&self.path, ErrorKind::StorageFull))
            }
            Err(error) => {
                self.is_torn.store(was_torn, Ordering::Relaxed);
                Err(failed(&self.path, error.kind()))
            }
        }
    }

    /// Opens the log anew if its file was moved away or removed. If that fails the old file goes on.
    pub(crate) fn follow(&self) -> Result<(), Problem> {
        let is_same = |a: &rustix::fs::Stat, b: &rustix::fs::Stat| (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino);
        let open_one = rustix::fs::fstat(&**self.file.load());
        let named = rustix::fs::stat(&self.path);
        if matches!((&open_one, &named), (Ok(a), Ok(b)) if is_same(a, b)) {
            return Ok(());
        }
        self.file.store(open(&self.path)?.into());
        Ok(())
    }
}

fn open(path: &Path) -> Result<File, Problem> {
    opened(path, OFlags::CREATE, rustix::fs::Mode::from_raw_mode(0o600))
}

/// Opens for appending what a line can be written to without waiting for a reader: a regular file or a character device.
fn opened(path: &Path, more: OFlags, mode: rustix::fs::Mode) -> Result<File, Problem> {
    // A FIFO would wait for its reader.
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | more;
    let refused = |kind: FileType| {
        let found = match kind {
            FileType::Fifo => "a FIFO",
            FileType::Directory => "a folder",
            FileType::Socket => "a socket",
            FileType::Symlink => "a symbolic link",
            _ => "another kind of file",
        };
        Problem::new(Code::LogFailed)
            .fact("path", path.display())
            .fact("found", format!("{found}; the log is a regular file or a character device"))
    };
    let io = |errno: rustix::io::Errno| failed(path, std::io::Error::from(errno).kind());
    let is_fit = |kind| matches!(kind, FileType::RegularFile | FileType::CharacterDevice);
    let kind_of = |stat: &rustix::fs::Stat| FileType::from_raw_mode(stat.st_mode);
    let file = match rustix::fs::open(path, flags, mode) {
        Ok(file) => File::from(file),
        // What stands there says more than why it does not open.
        Err(errno) => match rustix::fs::lstat(path).map(|stat| kind_of(&stat)) {
            Ok(kind) if !is_fit(kind) => return Err(refused(kind)),
            _ => return Err(io(errno)),
        },
    };
    let kind = kind_of(&rustix::fs::fstat(&file).map_err(io)?);
    if !is_fit(kind) {
        return Err(refused(kind));
    }
    let status = rustix::fs::fcntl_getfl(&file).map_err(io)?;
    rustix::fs::fcntl_setfl(&file, status - OFlags::NONBLOCK).map_err(io)?;
    Ok(file)
}

fn failed(path: &Path, kind: ErrorKind) -> Problem {
    Problem::new(Code::LogFailed).fact("path", path.display()).fact("found", kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_a_failure() {
        let log = Log::open(Path::new("/dev/full")).unwrap();
        let problem = log.write(b"{}\n").unwrap_err();
        assert_eq!((problem.id(), problem.exit()), ("E3509", 35));
        assert!(problem.text().contains("/dev/full"));
    }

    #[test]
    fn a_log_that_cannot_be_opened_or_is_a_link_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Log::open(&dir.path().join("missing/log")).is_err());
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(dir.path().join("elsewhere"), &link).unwrap();
        assert!(Log::open(&link).is_err());
        assert!(!dir.path().join("elsewhere").exists());
    }

    #[test]
    fn a_fifo_or_a_folder_is_refused_at_once_and_does_not_replace_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let (path, fifo) = (dir.path().join("log"), dir.path().join("fifo"));
        let made = std::process::Command::new("mkfifo").arg(&fifo).status().unwrap();
        assert!(made.success());
        for with_reader in [false, true] {
            let reader = with_reader.then(|| {
                let flags = OFlags::RDONLY | OFlags::NONBLOCK;
                rustix::fs::open(&fifo, flags, rustix::fs::Mode::empty()).unwrap()
            });
            for problem in [Log::open(&fifo).unwrap_err(), Log::check(&fifo).unwrap_err()] {
                assert!(problem.text().contains("a FIFO"), "{}", problem.text());
            }
            drop(reader);
        }
        assert!(Log::open(dir.path()).unwrap_err().text().contains("a folder"));
        let log = Log::open(&path).unwrap();
        std::fs::rename(&path, dir.path().join("log.1")).unwrap();
        std::fs::rename(&fifo, &path).unwrap();
        assert!(log.follow().is_err());
        log.write(b"1\n").unwrap();
        assert_eq!(std::fs::read(dir.path().join("log.1")).unwrap(), b"1\n");
    }

    #[test]
    fn nobody_else_reads_it_and_lines_are_appended() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        Log::open(&path).unwrap().write(b"1\n").unwrap();
        Log::open(&path).unwrap().write(b"2\n").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"1\n2\n");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_log_that_was_moved_away_is_begun_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let log = Log::open(&path).unwrap();
        log.write(b"1\n").unwrap();
        log.follow().unwrap();
        log.write(b"2\n").unwrap();
        std::fs::rename(&path, dir.path().join("log.1")).unwrap();
        log.follow().unwrap();
        log.write(b"3\n").unwrap();
        assert_eq!(std::fs::read(dir.path().join("log.1")).unwrap(), b"1\n2\n");
        assert_eq!(std::fs::read(&path).unwrap(), b"3\n");
    }

    #[test]
    fn after_a_torn_line_the_next_one_stands_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let log = Log::open(&path).unwrap();
        log.write(b"torn").unwrap();
        log.is_torn.store(true, Ordering::Relaxed);
        log.write(b"whole\n").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"torn\nwhole\n");
    }
}
