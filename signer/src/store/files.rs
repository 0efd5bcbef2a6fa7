//! The files of the store: made private, and refused if they are not.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, FlockOperation, Mode, OFlags, RenameFlags, Stat};
use rustix::io::Errno;

use super::StoreError;

/// Held by the one signer that runs on a store; released when dropped, also by a crash.
#[derive(Debug)]
pub struct Lock {
    _folder: OwnedFd,
}

fn io_error(path: &Path, errno: Errno) -> StoreError {
    StoreError::Io { path: path.to_owned(), source: io::Error::from(errno) }
}

fn stat(path: &Path) -> Result<Option<Stat>, StoreError> {
    match rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(io_error(path, errno)),
    }
}

fn check(path: &Path, stat: &Stat, kind: FileType, what: &str) -> Result<(), StoreError> {
    let unsafe_path = |why: String| StoreError::Unsafe { path: path.to_owned(), why };
    let found = FileType::from_raw_mode(stat.st_mode);
    if found == FileType::Symlink {
        return Err(unsafe_path("is a symbolic link; give the place that it leads to".to_owned()));
    }
    if found != kind {
        return Err(unsafe_path(format!("is not a {what}")));
    }
    let me = rustix::process::geteuid().as_raw();
    if stat.st_uid != me {
        return Err(unsafe_path(format!("belongs to user {}, not to this one ({me}); run as that user", stat.st_uid)));
    }
    let mode = stat.st_mode & 0o7777;
    if mode & 0o077 != 0 {
        let right = if kind == FileType::Directory { "700" } else { "600" };
        return Err(unsafe_path(format!(
            "has mode {mode:04o}: others can use it; run: chmod {right} {}",
            path.display()
        )));
    }
    Ok(())
}

pub(super) fn exists(path: &Path) -> Result<bool, StoreError> {
    stat(path).map(|found| found.is_some())
}

pub(super) fn check_folder(dir: &Path) -> Result<(), StoreError> {
    match stat(dir)? {
        Some(found) => check(dir, &found, FileType::Directory, "folder"),
        None => Err(StoreError::NotInitialised { dir: dir.to_owned() }),
    }
}

/// A file of the store, if it is there.
pub(super) fn check_private_file(path: &Path) -> Result<(), StoreError> {
    match stat(path)? {
        Some(found) => check(path, &found, FileType::RegularFile, "regular file"),
        None => Ok(()),
    }
}

/// Makes the folder if there is none, with mode 0700 under any umask. The folder above must be there.
pub(super) fn make_folder(dir: &Path) -> Result<(), StoreError> {
    match rustix::fs::mkdir(dir, Mode::RWXU) {
        Ok(()) => {
            rustix::fs::chmodat(CWD, dir, Mode::RWXU, AtFlags::empty()).map_err(|errno| io_error(dir, errno))?;
            sync_folder(&parent(dir))?;
        }
        Err(Errno::EXIST) => {}
        Err(errno) => return Err(io_error(dir, errno)),
    }
    check_folder(dir)
}

/// Makes an empty file of mode 0600; SQLite gives its mode to the files beside it.
pub(super) fn make_private_file(path: &Path) -> Result<(), StoreError> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR;
    let file = rustix::fs::open(path, flags, mode).map_err(|errno| io_error(path, errno))?;
    rustix::fs::fchmod(&file, mode).map_err(|errno| io_error(path, errno))
}

/// Removes what a crash left of a database that never got its name.
pub(super) fn remove_database(path: &Path) -> Result<(), StoreError> {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        let path = PathBuf::from(name);
        match rustix::fs::unlink(&path) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(io_error(&path, errno)),
        }
    }
    Ok(())
}

/// Gives a database its name, unless the name is taken; durable afterwards.
pub(super) fn publish(from: &Path, to: &Path, dir: &Path) -> Result<(), StoreError> {
    let io = |source| StoreError::Io { path: from.to_owned(), source };
    File::open(from).and_then(|file| file.sync_all()).map_err(io)?;
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => {}
        Err(Errno::EXIST) => return Err(StoreError::Exists { dir: dir.to_owned() }),
        Err(errno) => return Err(io_error(to, errno)),
    }
    remove_database(from)?;
    sync_folder(dir)
}

fn parent(path: &Path) -> PathBuf {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned()
}

fn open_folder(dir: &Path) -> Result<OwnedFd, StoreError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(dir, flags, Mode::empty()).map_err(|errno| io_error(dir, errno))
}

fn sync_folder(dir: &Path) -> Result<(), StoreError> {
    rustix::fs::fsync(open_folder(dir)?).map_err(|errno| io_error(dir, errno))
}

pub(super) fn lock(dir: &Path) -> Result<Lock, StoreError> {
    check_folder(dir)?;
    let folder = open_folder(dir)?;
    match rustix::fs::flock(&folder, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Lock { _folder: folder }),
        Err(Errno::WOULDBLOCK) => Err(StoreError::InUse { dir: dir.to_owned() }),
        Err(errno) => Err(io_error(dir, errno)),
    }
}
