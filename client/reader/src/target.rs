//! Targets as files (5.7): streamed beside their place, checked while they stream, and renamed once all of it is right.
//!
//! - Nothing unverified ever stands under a target's name or stays behind: until it is verified a file has no name, or on
//!   disks without such files one that no target has.
//! - A target's path is its path below the folder. On the way down nothing follows a link, and every component was judged
//!   by [`is_target_path`]: nothing is written outside. What stands under the name itself is replaced, never written
//!   through.
//! - A file with the right length and hashes is used without a request; memory does not grow with any length.
//!
//! Deliberately absent: ownership of the folder (it is the caller's), and removal of targets that are listed no more.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use trust_tuf::lookup::LookupError;
use trust_tuf::names::is_target_path;
use trust_tuf::{Reason, TargetInfo, UpdateError};

use crate::problems::Failure;
use crate::reader::Reader;
use crate::transport::{Body, FetchError, Transport};
use crate::verdict::Problem;

const FILE_MODE: Mode = Mode::from_raw_mode(0o644);
const FOLDER_MODE: Mode = Mode::from_raw_mode(0o755);
const READ_AT_ONCE: usize = 64 * 1024;
/// What file systems take, in bytes: asked before anything is fetched.
const LONGEST_NAME: usize = 255;

/// Why a target cannot be kept as a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {why}")]
pub struct TargetError {
    /// The file or folder.
    pub path: PathBuf,
    /// What is wrong with it.
    pub why: Why,
}

/// What is wrong with a file or folder of targets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Why {
    /// A link or file where a folder has to be. It is not followed.
    #[error("it is no folder, or a link")]
    NoFolder,
    /// A folder under the name of a target.
    #[error("it is a folder")]
    Folder,
    /// No room on the disk.
    #[error("the disk is full")]
    Full,
    /// A call of the operating system failed.
    #[error("{0}")]
    Io(ErrorKind),
}

/// How a target came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Downloaded {
    /// It was there, verified; nothing was asked for.
    Kept,
    /// It was fetched and verified.
    Fetched,
}

/// A folder of verified targets.
#[derive(Debug)]
pub struct TargetFolder {
    path: PathBuf,
    fd: OwnedFd,
}

fn failed(path: &Path, errno: Errno) -> TargetError {
    let why = match errno {
        Errno::NOSPC | Errno::DQUOT => Why::Full,
        Errno::LOOP | Errno::NOTDIR => Why::NoFolder,
        Errno::ISDIR => Why::Folder,
        errno => Why::Io(std::io::Error::from(errno).kind()),
    };
    TargetError { path: path.to_owned(), why }
}

fn failed_io(path: &Path, error: &std::io::Error) -> TargetError {
    let why = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Why::Full,
        kind => Why::Io(kind),
    };
    TargetError { path: path.to_owned(), why }
}

impl TargetFolder {
    /// Opens a folder, made with all that is missing above it. Links above and in its own name are the caller's.
    pub fn open(path: &Path) -> Result<Self, TargetError> {
        std::fs::create_dir_all(path).map_err(|error| failed_io(path, &error))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(CWD, path, flags, Mode::empty()).map_err(|errno| failed(path, errno))?;
        Ok(Self { path: path.to_owned(), fd })
    }

    /// Where a target lies, with the folders on the way made; without `make`, `None` if one of them is missing.
    fn place(&self, target: &str, make: bool) -> Result<Option<Place>, TargetError> {
        let (folders, name) = target.rsplit_once('/').unwrap_or(("", target));
        let mut path = self.path.clone();
        if target.split('/').any(|part| part.len() > LONGEST_NAME) {
            return Err(failed(&path.join(target), Errno::NAMETOOLONG));
        }
        let mut folder = self.fd.try_clone().map_err(|error| failed_io(&path, &error))?;
        for part in folders.split('/').filter(|part| !part.is_empty()) {
            path.push(part);
            if make {
                match rustix::fs::mkdirat(&folder, part, FOLDER_MODE) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(errno) => return Err(failed(&path, errno)),
                }
            }
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            folder = match rustix::fs::openat(&folder, part, flags, Mode::empty()) {
                Ok(fd) => fd,
                Err(Errno::NOENT) if !make => return Ok(None),
                Err(errno) => return Err(failed(&path, errno)),
            };
        }
        path.push(name);
        Ok(Some(Place { folder, name: name.to_owned(), path }))
    }
}

/// The place of one target.
struct Place {
    folder: OwnedFd,
    name: String,
    path: PathBuf,
}

impl Place {
    /// Whether the target lies here, verified now. Anything else that lies here is not the target.
    fn holds(&self, target: &TargetInfo) -> Result<bool, TargetError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = match rustix::fs::openat(&self.folder, self.name.as_str(), flags, Mode::empty()) {
            Ok(fd) => fd,
            // A link, a socket: to be replaced.
            Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => return Ok(false),
            Err(errno) => return Err(failed(&self.path, errno)),
        };
        let stat = rustix::fs::fstat(&fd).map_err(|errno| failed(&self.path, errno))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {}
            FileType::Directory => return Err(failed(&self.path, Errno::ISDIR)),
            _ => return Ok(false),
        }
        if u64::try_from(stat.st_size).ok() != Some(target.length) {
            return Ok(false);
        }
        let mut check = Check::new(target);
        let mut file = File::from(fd);
        let mut buffer = vec![0; READ_AT_ONCE];
        loop {
            let read = file.read(&mut buffer).map_err(|error| failed_io(&self.path, &error))?;
            match buffer.get(..read) {
                None | Some([]) => return Ok(check.finish().is_ok()),
                Some(piece) if check.take(piece).is_err() => return Ok(false),
                Some(_) => {}
            }
        }
    }
}

/// Length and hashes of a target, checked as its bytes come.
struct Check<'a> {
    target: &'a TargetInfo,
    got: u64,
    sha256: Option<digest::Context>,
    sha512: Option<digest::Context>,
}

impl<'a> Check<'a> {
    fn new(target: &'a TargetInfo) -> Self {
        let hashes = &target.hashes;
        Self {
            target,
            got: 0,
            sha256: hashes.sha256.map(|_| digest::Context::new(&digest::SHA256)),
            sha512: hashes.sha512.map(|_| digest::Context::new(&digest::SHA512)),
        }
    }

    fn take(&mut self, piece: &[u8]) -> Result<(), Reason> {
        self.got = self.got.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        if self.got > self.target.length {
            return Err(Reason::Length { expected: self.target.length, got: self.got });
        }
        for context in [&mut self.sha256, &mut self.sha512].into_iter().flatten() {
            context.update(piece);
        }
        Ok(())
    }

    /// All of it came: the length is exact, at least one hash is known, and every known one fits.
    fn finish(self) -> Result<(), Reason> {
        if self.got != self.target.length {
            return Err(Reason::Length { expected: self.target.length, got: self.got });
        }
        let fits = |context: Option<digest::Context>, hash: Option<&[u8]>| match (context, hash) {
            (Some(context), Some(hash)) => context.finish().as_ref() == hash,
            _ => true,
        };
        let hashes = &self.target.hashes;
        let all = fits(self.sha256, hashes.sha256.as_ref().map(<[u8; 32]>::as_slice))
            && fits(self.sha512, hashes.sha512.as_ref().map(<[u8; 64]>::as_slice));
        if all && is_checkable(self.target) { Ok(()) } else { Err(Reason::Hash) }
    }
}

/// Whether a hash is stated that is known here.
fn is_checkable(target: &TargetInfo) -> bool {
    target.hashes.sha256.is_some() || target.hashes.sha512.is_some()
}

/// A file on its way to its place. Dropped before that, nothing of it stays.
struct Part<'a> {
    place: &'a Place,
    file: File,
    // On a disk without nameless files, and for the moment before the rename.
    name: Option<String>,
}

impl<'a> Part<'a> {
    fn begin(place: &'a Place) -> Result<Self, TargetError> {
        let nameless = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
        // Only by this path can the file be given a name later.
        if Path::new("/proc/self/fd").is_dir()
            && let Ok(fd) = rustix::fs::openat(&place.folder, ".", nameless, FILE_MODE)
        {
            return Ok(Self { place, file: File::from(fd), name: None });
        }
        Self::begin_named(place)
    }

    fn begin_named(place: &'a Place) -> Result<Self, TargetError> {
        let name = part_name(place)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&place.folder, name.as_str(), flags, FILE_MODE)
            .map_err(|errno| failed(&place.path, errno))?;
        Ok(Self { place, file: File::from(fd), name: Some(name) })
    }

    fn write(&mut self, piece: &[u8]) -> Result<(), TargetError> {
        self.file.write_all(piece).map_err(|error| failed_io(&self.place.path, &error))
    }

    /// Puts the file in its place, on disk before it is seen there.
    fn finish(mut self) -> Result<(), TargetError> {
        let failed = |errno| failed(&self.place.path, errno);
        self.file.sync_all().map_err(|error| failed_io(&self.place.path, &error))?;
        let folder = self.place.folder.as_fd();
        let name = match &self.name {
            Some(name) => name.clone(),
            None => {
                let name = part_name(self.place)?;
                let open = format!("/proc/self/fd/{}", self.file.as_raw_fd());
                rustix::fs::linkat(CWD, open, folder, name.as_str(), AtFlags::SYMLINK_FOLLOW).map_err(failed)?;
                self.name = Some(name.clone());
                name
            }
        };
        rustix::fs::renameat(folder, name.as_str(), folder, self.place.name.as_str()).map_err(failed)?;
        self.name = None;
        rustix::fs::fsync(folder).map_err(failed)
    }
}

impl Drop for Part<'_> {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            let _ = rustix::fs::unlinkat(&self.place.folder, name.as_str(), AtFlags::empty());
        }
    }
}

/// A name that nothing has, and nobody can guess: two programs that share a folder never write one file.
fn part_name(place: &Place) -> Result<String, TargetError> {
    let mut random = [0; 16];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())
        .map_err(|errno| failed(&place.path, errno))?;
    Ok(format!(".{}.part", hex::encode(random)))
}

impl<T: Transport> Reader<T> {
    /// Brings a target that a look-up found into the folder, under its own path. What lies there already is used if it is
    /// the target. However long it takes is for the transport to bound, by a least rate.
    pub async fn download(
        &self,
        path: &str,
        target: &TargetInfo,
        folder: &TargetFolder,
    ) -> Result<Downloaded, Problem> {
        self.bring(path, target, folder).await.map_err(|failure| self.scene().problem(failure))
    }

    async fn bring(&self, path: &str, target: &TargetInfo, folder: &TargetFolder) -> Result<Downloaded, Failure> {
        if !is_target_path(path) {
            let path = path.chars().take(200).flat_map(char::escape_debug).collect();
            return Err(LookupError::Path { path }.into());
        }
        let refused = |reason| Failure::Update(UpdateError { role: path.to_owned(), reason });
        // Nothing is asked for that could not be checked.
        if !is_checkable(target) {
            return Err(refused(Reason::Hash));
        }
        if folder.place(path, false)?.map_or(Ok(false), |place| place.holds(target))? {
            return Ok(Downloaded::Kept);
        }
        let mut last = Failure::NothingStored;
        for file in self.target_files(path, target) {
            let received = match self.open_target(&file, target.length).await {
                Ok(body) => receive(body, path, target, folder).await?,
                Err(error) => Err(Refused::Fetch(error)),
            };
            last = match received {
                Ok(()) => return Ok(Downloaded::Fetched),
                Err(Refused::Fetch(error)) => Failure::Fetch { file: path.to_owned(), error },
                Err(Refused::Content(reason)) => refused(reason),
            };
        }
        Err(last)
    }
}

/// Why what a server sent is not the target. Another place may have it.
enum Refused {
    Fetch(FetchError),
    Content(Reason),
}

/// Streams a body into the folder. Faults of the disk end everything.
async fn receive(
    mut body: Body,
    path: &str,
    target: &TargetInfo,
    folder: &TargetFolder,
) -> Result<Result<(), Refused>, TargetError> {
    let Some(place) = folder.place(path, true)? else {
        return Err(failed(&folder.path, Errno::NOENT));
    };
    let mut part = Part::begin(&place)?;
    let mut check = Check::new(target);
    loop {
        match body.next().await {
            Ok(Some(piece)) => {
                if let Err(reason) = check.take(&piece) {
                    return Ok(Err(Refused::Content(reason)));
                }
                part.write(&piece)?;
            }
            Ok(None) => break,
            Err(error) => return Ok(Err(Refused::Fetch(error))),
        }
    }
    match check.finish() {
        Ok(()) => part.finish().map(Ok),
        Err(reason) => Ok(Err(Refused::Content(reason))),
    }
}

#[cfg(test)]
mod tests;
