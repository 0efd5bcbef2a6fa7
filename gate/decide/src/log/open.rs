//! Opening the file of the log: what a line can be written to without waiting for a reader.

use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;

use rustix::fs::{Access, FileType, OFlags};
use trust_reader::catalogue::Code;
use trust_reader::verdict::Problem;

/// Opens the log for reading and appending; made with mode 0600 if missing. A link in its place is refused.
pub(super) fn open(path: &Path) -> Result<File, Problem> {
    opened(path, OFlags::CREATE, rustix::fs::Mode::from_raw_mode(0o600))
}

/// The same of a file that is there; `None` if it is not, and could be made. Makes nothing.
pub(super) fn look(path: &Path) -> Result<Option<File>, Problem> {
    match opened(path, OFlags::empty(), rustix::fs::Mode::empty()) {
        Ok(file) => return Ok(Some(file)),
        Err(_) if matches!(rustix::fs::lstat(path), Err(rustix::io::Errno::NOENT)) => {}
        Err(problem) => return Err(problem),
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let writable = rustix::fs::access(folder, Access::WRITE_OK | Access::EXEC_OK);
    writable.map_err(|errno| closed(path, std::io::Error::from(errno).kind()))?;
    Ok(None)
}

/// Why there is no log to write to.
fn closed(path: &Path, kind: ErrorKind) -> Problem {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")).display();
    let problem = failed(path, kind).cause("a gate writes each decision there, and nothing passes that is not in it");
    match kind {
        ErrorKind::NotFound => problem
            .headline(format!("the folder {folder} of the audit log is not there"))
            .remedy([format!("make it, for the user that the gate runs as: install -d -m 0700 -o USER {folder}")]),
        kind => problem
            .headline(format!("the audit log {} cannot be opened: {kind}", path.display()))
            .remedy([format!("let the user that the gate runs as write in {folder}")]),
    }
}

/// Opens a regular file or a character device.
fn opened(path: &Path, more: OFlags, mode: rustix::fs::Mode) -> Result<File, Problem> {
    // A FIFO would wait for its reader.
    let flags = OFlags::RDWR | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | more;
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
    let io = |errno: rustix::io::Errno| closed(path, std::io::Error::from(errno).kind());
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

pub(super) fn failed(path: &Path, kind: ErrorKind) -> Problem {
    Problem::new(Code::LogFailed).fact("path", path.display()).fact("found", kind)
}
