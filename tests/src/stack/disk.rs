//! Small disks that can be filled: a tmpfs in a mount namespace of the calling thread.
//!
//! INVARIANT: nothing outside the thread that called [`in_namespace`], and of the programs that it starts, sees the mounts; they
//! end with it. Needs root.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

/// Runs a test on a thread with mounts of its own. Gives `None`, and says so, where that is not allowed.
pub fn in_namespace<T: Send>(name: &str, test: impl FnOnce() -> T + Send) -> Option<T> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let private = unshare(CloneFlags::CLONE_NEWNS).and_then(|()| {
                mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
            });
            match private {
                Ok(()) => Some(test()),
                Err(error) => {
                    println!("SKIPPED: {name}: no mount namespace without root ({error})");
                    None
                }
            }
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// A disk of a few kilobytes, mounted on a folder.
pub struct Disk {
    folder: PathBuf,
}

impl Disk {
    /// Mounts an empty disk on this folder, which is made with all above it.
    pub fn mount(folder: &Path, kilobytes: usize) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let options = format!("size={kilobytes}k,mode=0700");
        mount(Some("tmpfs"), folder, Some("tmpfs"), MsFlags::empty(), Some(options.as_str()))?;
        Ok(Self { folder: folder.to_owned() })
    }

    fn ballast(&self) -> PathBuf {
        self.folder.join("ballast")
    }

    /// Fills it up, but for so many kilobytes.
    pub fn fill_but(&self, kilobytes: u64) -> io::Result<()> {
        let mut file = fs::OpenOptions::new().append(true).create(true).open(self.ballast())?;
        let page = [0_u8; 4096];
        loop {
            match file.write(&page) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::StorageFull => break,
                Err(error) => return Err(error),
            }
        }
        let length = file.metadata()?.len();
        file.set_len(length.saturating_sub(kilobytes * 1024))
    }

    /// Fills it up to the last byte.
    pub fn fill(&self) -> io::Result<()> {
        self.fill_but(0)
    }

    /// Gives the space back.
    pub fn empty(&self) -> io::Result<()> {
        fs::remove_file(self.ballast())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = umount2(&self.folder, MntFlags::MNT_DETACH);
    }
}
