//! The state folder: that it can be used, and that one process of each door uses it.
//!
//! Two processes of one door in one folder are nearly always a mistake (a second start, two replicas on one disk). The lock
//! is the kernel's, held for the process's life, and gone with it however it ends. The states of the collections in the
//! folder have locks of their own, held while a refresh runs, so that the doors of one machine can share a folder.
//! Deliberately absent: file systems without locks, on which a start fails.

use std::fs::{DirBuilder, File};
use std::io::{Error, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use rustix::fs::{Access, FlockOperation, Mode, OFlags, access, flock, open};
use trust_reader::catalogue::Code;
use trust_reader::verdict::Problem;

use crate::settings::StartError;

/// A state folder that this process holds, until it is dropped.
#[derive(Debug)]
pub struct Hold {
    _file: File,
}

impl Hold {
    /// Makes the folder if it is missing, and takes it for this door.
    pub fn take(folder: &Path, door: &str) -> Result<Self, StartError> {
        make(folder).map_err(StartError::State)?;
        let path = folder.join(format!("{door}.lock"));
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = open(&path, flags, Mode::from_raw_mode(0o600)).map_err(|errno| failed(&path, &errno.into()))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { _file: file.into() }),
            Err(errno) if Error::from(errno).kind() == ErrorKind::WouldBlock => {
                let problem = Problem::new(Code::StateLocked)
                    .headline(format!("another trust-gate {door} uses the state folder"))
                    .fact("path", folder.display())
                    .cause("one process of each door uses a state folder, for as long as it runs")
                    .remedy(["end the other one, or give this one a state folder of its own"]);
                Err(StartError::State(problem))
            }
            Err(errno) => Err(failed(&path, &errno.into())),
        }
    }
}

fn failed(path: &Path, error: &Error) -> StartError {
    StartError::State(problem(path, error))
}

fn problem(path: &Path, error: &Error) -> Problem {
    let headline = format!("the state folder {} cannot be used", path.display());
    Problem::new(Code::StateIo).headline(headline).fact("path", path.display()).fact("found", error)
}

/// Makes the folder if it is missing; nobody else reads it.
pub(crate) fn make(folder: &Path) -> Result<(), Problem> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|error| problem(folder, &error))?;
    writable(folder, folder)
}

/// Whether it is there, or could be made.
pub(crate) fn check(folder: &Path) -> Result<(), Problem> {
    for above in folder.ancestors() {
        let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
        match std::fs::metadata(above) {
            Ok(found) if found.is_dir() => return writable(folder, above),
            Ok(_) => return Err(problem(folder, &ErrorKind::NotADirectory.into()).fact("at", above.display())),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(problem(folder, &error).fact("at", above.display())),
        }
    }
    Ok(())
}

fn writable(folder: &Path, above: &Path) -> Result<(), Problem> {
    let allowed = access(above, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK);
    allowed.map_err(|errno| problem(folder, &errno.into()).fact("at", above.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_process_of_one_door_is_refused_until_the_first_has_ended() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("a/b");
        let held = Hold::take(&state, "registry").unwrap();
        let problem = Hold::take(&state, "registry").unwrap_err().problem().clone();
        assert_eq!((problem.id(), problem.exit()), ("E3504", 35));
        assert!(problem.text().contains("another trust-gate registry"), "{}", problem.text());
        let other = Hold::take(&state, "admission").unwrap();
        drop((held, other));
        Hold::take(&state, "registry").unwrap();
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        let state = dir.path().join("file/state");
        for problem in [check(&state).unwrap_err(), make(&state).unwrap_err()] {
            assert_eq!(problem.exit(), 35);
            assert!(problem.headline.contains("file/state cannot be used"), "{}", problem.headline);
        }
        check(&dir.path().join("not/yet/there")).unwrap();
        assert!(!dir.path().join("not").exists());
    }
}
