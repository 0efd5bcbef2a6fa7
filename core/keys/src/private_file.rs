//! Files that only their owner may touch: opening them without being tricked, writing them without ever losing one.
//!
//! Invariants: what is checked is the opened file itself (`fstat`), never a path that could change meanwhile; symbolic links,
//! FIFOs and devices are refused without blocking; a private file has no bit for group or others and belongs to the user of
//! the process; a new file appears under its name whole and durable (temporary file, fsync, rename, fsync of the folder), with
//! mode 0600 under any umask, and never replaces another. Each refusal says what to run. Deliberately absent: repairing
//! permissions by ourselves, since a key that others could read may be stolen already and its owner has to know.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RenameFlags, Stat};
use rustix::io::Errno;
use zeroize::Zeroizing;

use crate::key_file::MAX_KEY_FILE_BYTES;

/// Most entries of a folder that are looked at.
pub const MAX_DIRECTORY_ENTRIES: usize = 10_000;

const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;

/// Who may have touched a file that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Secrecy {
    /// A private file: owner only.
    Private,
    /// A public file: any owner and mode.
    Public,
}

/// Reads a private file of 1 to [`MAX_KEY_FILE_BYTES`] bytes.
///
/// Refused, each with a reason of its own: a symbolic link, anything but a regular file, another owner, any permission bit
/// for group or others, an empty or too large file.
pub fn read_private_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, FileError> {
    read(CWD, path, path, Secrecy::Private)
}

/// Reads a public key file of 1 to [`MAX_KEY_FILE_BYTES`] bytes; owner and mode are not looked at.
pub fn read_public_file(path: &Path) -> Result<Vec<u8>, FileError> {
    read(CWD, path, path, Secrecy::Public).map(|mut bytes| std::mem::take(&mut *bytes))
}

/// Writes a new file of mode 0600; an existing one, of whatever kind, is never replaced.
pub fn write_private_file(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let name = path.file_name().ok_or_else(|| FileError::NoName { path: path.to_owned() })?;
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let folder = open_directory(parent)?;
    write_new(&folder, Path::new(name), path, bytes)
}

/// A folder of private files, opened once: everything below goes through the open folder, not through its path.
pub(crate) struct PrivateDirectory {
    folder: OwnedFd,
    path: PathBuf,
}

impl PrivateDirectory {
    /// Opens an existing folder: it must belong to the user and have no bit for group or others.
    ///
    /// The path may lead through symbolic links; what counts is the folder that it leads to.
    pub(crate) fn open(path: &Path) -> Result<PrivateDirectory, FileError> {
        let folder = open_directory(path)?;
        let stat = fstat(&folder, path)?;
        check_owner(&stat, path)?;
        let mode = permission_bits(&stat);
        if mode & 0o077 != 0 {
            return Err(FileError::DirectoryTooOpen { path: path.to_owned(), mode });
        }
        Ok(PrivateDirectory { folder, path: path.to_owned() })
    }

    /// Opens the folder, or makes it (and the folders above it) with mode 0700.
    pub(crate) fn open_or_create(path: &Path) -> Result<PrivateDirectory, FileError> {
        let io = |source| FileError::Io { path: path.to_owned(), action: "create", source };
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            use std::os::unix::fs::DirBuilderExt;
            std::fs::DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(parent).map_err(io)?;
        }
        match rustix::fs::mkdir(path, Mode::from_raw_mode(DIRECTORY_MODE)) {
            Ok(()) => {
                // The umask may have taken bits from the owner as well.
                rustix::fs::chmodat(CWD, path, Mode::from_raw_mode(DIRECTORY_MODE), AtFlags::empty())
                    .map_err(|errno| io(errno.into()))?;
                let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
                rustix::fs::fsync(open_directory(parent)?).map_err(|errno| io(errno.into()))?;
            }
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(io(errno.into())),
        }
        PrivateDirectory::open(path)
    }

    pub(crate) fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn read_private(&self, name: &str) -> Result<Zeroizing<Vec<u8>>, FileError> {
        read(&self.folder, Path::new(name), &self.path_of(name), Secrecy::Private)
    }

    pub(crate) fn read_public(&self, name: &str) -> Result<Zeroizing<Vec<u8>>, FileError> {
        read(&self.folder, Path::new(name), &self.path_of(name), Secrecy::Public)
    }

    pub(crate) fn write_new(&self, name: &str, bytes: &[u8]) -> Result<(), FileError> {
        write_new(&self.folder, Path::new(name), &self.path_of(name), bytes)
    }

    /// Whether anything at all has this name, also a dangling link.
    pub(crate) fn exists(&self, name: &str) -> Result<bool, FileError> {
        match rustix::fs::statat(&self.folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(FileError::Io { path: self.path_of(name), action: "look at", source: errno.into() }),
        }
    }

    /// Takes back a file that this process has just written.
    pub(crate) fn withdraw(&self, name: &str) {
        // Best effort: what is left is a public key without its private one, and the next attempt names it.
        let _ = rustix::fs::unlinkat(&self.folder, name, AtFlags::empty());
        let _ = rustix::fs::fsync(&self.folder);
    }

    /// The names in the folder, sorted; at most [`MAX_DIRECTORY_ENTRIES`].
    pub(crate) fn names(&self) -> Result<Vec<String>, FileError> {
        let io = |errno: Errno| FileError::Io { path: self.path.clone(), action: "list", source: errno.into() };
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.folder).map_err(io)? {
            let entry = entry.map_err(io)?;
            if names.len() == MAX_DIRECTORY_ENTRIES {
                return Err(FileError::TooManyEntries { path: self.path.clone() });
            }
            // A name that is not UTF-8 is no name of ours.
            if let Ok(name) = entry.file_name().to_str() {
                names.push(name.to_owned());
            }
        }
        names.sort();
        Ok(names)
    }
}

fn open_directory(path: &Path) -> Result<OwnedFd, FileError> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).map_err(|errno| {
        match errno {
            Errno::NOENT => FileError::NotFound { path: path.to_owned() },
            Errno::NOTDIR => FileError::NotADirectory { path: path.to_owned() },
            errno => FileError::Io { path: path.to_owned(), action: "open", source: errno.into() },
        }
    })
}

fn fstat(file: impl AsFd, path: &Path) -> Result<Stat, FileError> {
    rustix::fs::fstat(file).map_err(|errno| FileError::Io {
        path: path.to_owned(),
        action: "look at",
        source: errno.into(),
    })
}

fn permission_bits(stat: &Stat) -> u32 {
    stat.st_mode & 0o7777
}

fn check_owner(stat: &Stat, path: &Path) -> Result<(), FileError> {
    let me = rustix::process::geteuid().as_raw();
    if stat.st_uid == me {
        Ok(())
    } else {
        Err(FileError::OtherOwner { path: path.to_owned(), owner: stat.st_uid, me })
    }
}

fn read(folder: impl AsFd, name: &Path, path: &Path, secrecy: Secrecy) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let io = |source: io::Error| FileError::Io { path: path.to_owned(), action: "read", source };
    // NONBLOCK: opening a FIFO must not wait for a writer. It means nothing for regular files.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let opened = rustix::fs::openat(folder, name, flags, Mode::empty()).map_err(|errno| match errno {
        Errno::NOENT => FileError::NotFound { path: path.to_owned() },
        Errno::LOOP => FileError::SymbolicLink { path: path.to_owned() },
        // A socket.
        Errno::NXIO => FileError::NotRegular { path: path.to_owned() },
        errno => io(errno.into()),
    })?;
    let stat = fstat(&opened, path)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(FileError::NotRegular { path: path.to_owned() });
    }
    if secrecy == Secrecy::Private {
        check_owner(&stat, path)?;
        let mode = permission_bits(&stat);
        if mode & 0o077 != 0 {
            return Err(FileError::TooOpen { path: path.to_owned(), mode });
        }
    }
    // One buffer of fixed size, one byte over the limit: nothing is copied, and a file that grows meanwhile is seen.
    let mut buffer = Zeroizing::new(vec![0u8; MAX_KEY_FILE_BYTES + 1]);
    let mut file = File::from(opened);
    let mut filled = 0usize;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(io(error)),
        }
    }
    if filled > MAX_KEY_FILE_BYTES {
        return Err(FileError::TooLarge { path: path.to_owned() });
    }
    if filled == 0 {
        return Err(FileError::Empty { path: path.to_owned() });
    }
    buffer.truncate(filled);
    Ok(buffer)
}

fn write_new(folder: &OwnedFd, name: &Path, path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let io = |source: io::Error| FileError::Io { path: path.to_owned(), action: "write", source };
    let mut random = [0u8; 8];
    getrandom::fill(&mut random).map_err(|_| io(io::Error::other("the system gives no random bytes")))?;
    // Begins with a dot: no key has such a name, so one left by a crash is never taken for a key.
    let temporary = PathBuf::from(format!(".new-{}", hex::encode(random)));
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = rustix::fs::openat(folder, &temporary, flags, Mode::from_raw_mode(FILE_MODE))
        .map_err(|errno| io(errno.into()))?;
    let written = fill(File::from(opened), bytes).and_then(|()| publish(folder, &temporary, name));
    if let Err(source) = written {
        let _ = rustix::fs::unlinkat(folder, &temporary, AtFlags::empty());
        return Err(match source.kind() {
            io::ErrorKind::AlreadyExists => FileError::Exists { path: path.to_owned() },
            _ => io(source),
        });
    }
    rustix::fs::fsync(folder).map_err(|errno| io(errno.into()))
}

fn fill(mut file: File, bytes: &[u8]) -> io::Result<()> {
    // The umask took bits away at creation, at most; this sets them exactly.
    rustix::fs::fchmod(&file, Mode::from_raw_mode(FILE_MODE))?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Gives the temporary file its name, unless the name is taken.
fn publish(folder: &OwnedFd, temporary: &Path, name: &Path) -> io::Result<()> {
    match rustix::fs::renameat_with(folder, temporary, folder, name, RenameFlags::NOREPLACE) {
        // A file system without this flag: a hard link does not replace either.
        Err(Errno::INVAL | Errno::NOSYS) => {
            rustix::fs::linkat(folder, temporary, folder, name, AtFlags::empty())?;
            rustix::fs::unlinkat(folder, temporary, AtFlags::empty())?;
            Ok(())
        }
        other => Ok(other?),
    }
}

/// Why a file was not read or written, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// Nothing there.
    #[error("{} does not exist", path.display())]
    NotFound {
        /// The path.
        path: PathBuf,
    },
    /// A symbolic link.
    #[error("{} is a symbolic link; give the file that it leads to", path.display())]
    SymbolicLink {
        /// The path.
        path: PathBuf,
    },
    /// A FIFO, socket, device or folder.
    #[error("{} is not a regular file", path.display())]
    NotRegular {
        /// The path.
        path: PathBuf,
    },
    /// Not a folder.
    #[error("{} is not a folder", path.display())]
    NotADirectory {
        /// The path.
        path: PathBuf,
    },
    /// A path without a file name.
    #[error("{} names no file", path.display())]
    NoName {
        /// The path.
        path: PathBuf,
    },
    /// Group or others may use the file.
    #[error("{} has mode {mode:04o}: others can use it; run: chmod 600 {}", path.display(), path.display())]
    TooOpen {
        /// The path.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Group or others may use the folder.
    #[error("folder {} has mode {mode:04o}: others can use it; run: chmod 700 {}", path.display(), path.display())]
    DirectoryTooOpen {
        /// The path.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Somebody else's.
    #[error("{} belongs to user {owner}, not to you ({me}); make a copy of your own or run as that user", path.display())]
    OtherOwner {
        /// The path.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// The user of this process.
        me: u32,
    },
    /// Over [`MAX_KEY_FILE_BYTES`].
    #[error("{} is larger than {MAX_KEY_FILE_BYTES} bytes: not a key file", path.display())]
    TooLarge {
        /// The path.
        path: PathBuf,
    },
    /// No bytes.
    #[error("{} is empty; restore it from a backup", path.display())]
    Empty {
        /// The path.
        path: PathBuf,
    },
    /// The name is taken.
    #[error("{} exists already and is never overwritten; choose another name or move it away", path.display())]
    Exists {
        /// The path.
        path: PathBuf,
    },
    /// Over [`MAX_DIRECTORY_ENTRIES`].
    #[error("{} has more than {MAX_DIRECTORY_ENTRIES} entries", path.display())]
    TooManyEntries {
        /// The path.
        path: PathBuf,
    },
    /// The system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// Why.
        source: io::Error,
    },
}
