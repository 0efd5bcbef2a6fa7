//! Files of one folder, always relative to its open descriptor: nothing follows a link, and every write is atomic.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, Dir, FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::StateError;

const TEMPORARY: &str = ".new";
const FILE_MODE: Mode = Mode::from_raw_mode(0o600);
const FOLDER_MODE: Mode = Mode::from_raw_mode(0o700);
// Read, write or search by group or others is not for us to judge; writing is.
const OTHERS_WRITE: u32 = 0o022;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// An open folder.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    fd: OwnedFd,
    // Whose files are read: asked once, for all of them.
    user: u32,
    // How many steps are left until the process "dies"; the folders of one state share it.
    #[cfg(any(test, feature = "fail-points"))]
    steps_left: std::sync::Arc<std::sync::atomic::AtomicUsize>,
}

fn failed(path: &Path, errno: Errno) -> StateError {
    match errno {
        Errno::NOSPC | Errno::DQUOT => StateError::Full { path: path.to_owned() },
        // What `O_NOFOLLOW` says of a link, and of one in place of a folder.
        Errno::LOOP => StateError::Refused { path: path.to_owned(), why: "it is a symbolic link" },
        _ => StateError::Io { path: path.to_owned(), kind: std::io::Error::from(errno).kind() },
    }
}

fn failed_io(path: &Path, error: &std::io::Error) -> StateError {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => StateError::Full { path: path.to_owned() },
        kind => StateError::Io { path: path.to_owned(), kind },
    }
}

impl Folder {
    /// Opens a folder, made with all that is missing above it.
    pub(super) fn open(path: &Path) -> Result<Self, StateError> {
        let user = rustix::process::geteuid().as_raw();
        let made = |error| failed_io(path.parent().unwrap_or(path), &error);
        Self::open_in(CWD, path.to_owned(), path, user, || make_above(path).map_err(made))
    }

    /// Opens a folder in this one, made if missing.
    pub(super) fn subfolder(&self, name: &str) -> Result<Self, StateError> {
        #[cfg_attr(not(any(test, feature = "fail-points")), expect(unused_mut, reason = "changed in tests alone"))]
        let mut folder = Self::open_in(self.fd.as_fd(), self.path(name), Path::new(name), self.user, || Ok(()))?;
        #[cfg(any(test, feature = "fail-points"))]
        {
            folder.steps_left = std::sync::Arc::clone(&self.steps_left);
        }
        Ok(folder)
    }

    /// Mostly the folder is there: only where it is not, it is made, and `above` before it.
    fn open_in(
        at: impl AsFd + Copy,
        path: PathBuf,
        name: &Path,
        user: u32,
        above: impl FnOnce() -> Result<(), StateError>,
    ) -> Result<Self, StateError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = || rustix::fs::openat(at, name, flags, Mode::empty());
        let mut opened = open();
        if matches!(opened, Err(Errno::NOENT)) {
            above()?;
            match rustix::fs::mkdirat(at, name, FOLDER_MODE) {
                Ok(()) | Err(Errno::EXIST) => opened = open(),
                Err(errno) => return Err(failed(&path, errno)),
            }
        }
        let fd = opened.map_err(|errno| match errno {
            Errno::NOTDIR => StateError::Refused { path: path.clone(), why: "it is not a folder" },
            errno => failed(&path, errno),
        })?;
        check(&fd, &path, user)?;
        Ok(Self {
            path,
            fd,
            user,
            #[cfg(any(test, feature = "fail-points"))]
            steps_left: std::sync::Arc::new(usize::MAX.into()),
        })
    }

    pub(super) fn root(&self) -> &Path {
        &self.path
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Takes the lock of the folder, waiting until `deadline`.
    pub(super) fn lock(&self, name: &str, deadline: Option<Instant>) -> Result<OwnedFd, StateError> {
        let path = self.path(name);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.fd, name, flags, FILE_MODE).map_err(|errno| failed(&path, errno))?;
        check_file(&fd, &path, self.user)?;
        loop {
            match rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(fd),
                Err(Errno::INTR) => {}
                Err(Errno::WOULDBLOCK) if deadline.is_some_and(|end| Instant::now() >= end) => {
                    return Err(StateError::Locked { path });
                }
                Err(Errno::WOULDBLOCK) => std::thread::sleep(LOCK_PAUSE),
                Err(errno) => return Err(failed(&path, errno)),
            }
        }
    }

    /// The whole file, at most `limit` bytes; `None` if there is none. It lies in memory once, where it stays.
    pub(super) fn read(&self, name: &str, limit: u64) -> Result<Option<Arc<[u8]>>, StateError> {
        let path = self.path(name);
        // Without NONBLOCK the open of a FIFO would wait for ever.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = match rustix::fs::openat(&self.fd, name, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(failed(&path, errno)),
        };
        let size = check_file(&fd, &path, self.user)?;
        let too_large = || StateError::Refused { path: path.clone(), why: "it is larger than such a file may be" };
        if size > limit {
            return Err(too_large());
        }
        let size = usize::try_from(size).map_err(|_| too_large())?;
        let mut bytes: Arc<[u8]> = std::iter::repeat_n(0, size).collect();
        // Nobody else has it yet. A file is never changed where it lies: one that ends early is broken.
        let room = Arc::get_mut(&mut bytes).unwrap_or_default();
        File::from(fd).read_exact(room).map_err(|error| failed_io(&path, &error))?;
        Ok(Some(bytes))
    }

    /// Puts a file in place of the one of this name, which is there in full until then.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), StateError> {
        let path = self.path(name);
        let result = self.write_steps(name, &path, bytes);
        if matches!(result, Err(StateError::Full { .. })) {
            // What could not be written whole is not left to fill the disk.
            let _ = rustix::fs::unlinkat(&self.fd, TEMPORARY, AtFlags::empty());
        }
        result
    }

    fn write_steps(&self, name: &str, path: &Path, bytes: &[u8]) -> Result<(), StateError> {
        self.step(path)?;
        match rustix::fs::unlinkat(&self.fd, TEMPORARY, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(failed(&self.path(TEMPORARY), errno)),
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.fd, TEMPORARY, flags, FILE_MODE).map_err(|errno| failed(path, errno))?;
        // The umask may have taken more away than we can live with.
        rustix::fs::fchmod(&fd, FILE_MODE).map_err(|errno| failed(path, errno))?;
        self.step(path)?;
        let mut file = File::from(fd);
        let half = bytes.len() / 2;
        let (first, rest) = bytes.split_at_checked(half).unwrap_or((bytes, &[]));
        file.write_all(first).map_err(|error| failed_io(path, &error))?;
        self.step(path)?;
        file.write_all(rest).map_err(|error| failed_io(path, &error))?;
        file.sync_all().map_err(|error| failed_io(path, &error))?;
        self.step(path)?;
        rustix::fs::renameat(&self.fd, TEMPORARY, &self.fd, name).map_err(|errno| failed(path, errno))?;
        self.step(path)?;
        rustix::fs::fsync(&self.fd).map_err(|errno| failed(path, errno))
    }

    /// Whether any file of metadata lies here.
    pub(super) fn has_metadata(&self) -> Result<bool, StateError> {
        let entries = Dir::read_from(&self.fd).map_err(|errno| failed(&self.path, errno))?;
        for entry in entries {
            let entry = entry.map_err(|errno| failed(&self.path, errno))?;
            if entry.file_name().to_bytes().ends_with(b".json") {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The names of the files here. One that is no text is not ours, and left out.
    pub(super) fn names(&self) -> Result<Vec<String>, StateError> {
        let failed = |errno| failed(&self.path, errno);
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.fd).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if let Ok(name) = entry.file_name().to_str()
                && !matches!(name, "." | "..")
            {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    /// Removes a file, if it is there.
    pub(super) fn remove(&self, name: &str) -> Result<(), StateError> {
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(failed(&self.path(name), errno)),
        }
    }

    #[cfg(not(any(test, feature = "fail-points")))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "a place where tests end the process")]
    fn step(&self, _: &Path) -> Result<(), StateError> {
        Ok(())
    }

    #[cfg(any(test, feature = "fail-points"))]
    fn step(&self, path: &Path) -> Result<(), StateError> {
        use std::sync::atomic::Ordering::Relaxed;
        match self.steps_left.load(Relaxed) {
            usize::MAX => Ok(()),
            0 => Err(StateError::Io { path: path.to_owned(), kind: ErrorKind::Interrupted }),
            n => {
                self.steps_left.store(n - 1, Relaxed);
                Ok(())
            }
        }
    }

    #[cfg(any(test, feature = "fail-points"))]
    pub(super) fn kill_after(&self, steps: usize) {
        self.steps_left.store(steps, std::sync::atomic::Ordering::Relaxed);
    }
}

fn make_above(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let Some(above) = path.parent() else { return Ok(()) };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(above)
}

/// Owner and mode; gives the size.
fn check(fd: &OwnedFd, path: &Path, user: u32) -> Result<(FileType, u64), StateError> {
    let stat = rustix::fs::fstat(fd).map_err(|errno| failed(path, errno))?;
    let refused = |why| Err(StateError::Refused { path: path.to_owned(), why });
    if stat.st_uid != user {
        return refused("it belongs to another user");
    }
    if stat.st_mode & OTHERS_WRITE != 0 {
        return refused("other users may write it");
    }
    Ok((FileType::from_raw_mode(stat.st_mode), u64::try_from(stat.st_size).unwrap_or(u64::MAX)))
}

fn check_file(fd: &OwnedFd, path: &Path, user: u32) -> Result<u64, StateError> {
    match check(fd, path, user)? {
        (FileType::RegularFile, size) => Ok(size),
        _ => Err(StateError::Refused { path: path.to_owned(), why: "it is not a regular file" }),
    }
}
