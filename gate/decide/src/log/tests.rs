//! The log on disks and devices, cut, moved, shared and full.

use rustix::fs::OFlags;

use super::verify::{Whole, verify};
use super::*;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn open(&self) -> Result<Log, Problem> {
        Log::open(&self.path("log"), self.0.path())
    }

    fn lines(&self, name: &str) -> Vec<String> {
        std::fs::read_to_string(self.path(name)).unwrap().lines().map(str::to_owned).collect()
    }

    fn verified(&self, names: &[&str]) -> Result<Whole, String> {
        let read = |name: &&str| ((*name).to_owned(), std::io::Cursor::new(std::fs::read(self.path(name)).unwrap()));
        verify(names.iter().map(read), &[kept(self.0.path()).unwrap()]).map_err(|e| e.to_string())
    }
}

fn object(n: u32) -> Vec<u8> {
    format!("{{\"time\":\"2030-01-01T00:00:00Z\",\"answer\":\"allow\",\"n\":{n}}}").into_bytes()
}

#[test]
fn a_full_disk_is_a_failure() {
    let folder = Folder::new();
    let log = Log::open(Path::new("/dev/full"), folder.0.path()).unwrap();
    let problem = log.write(&[&object(1)]).unwrap_err();
    assert_eq!((problem.id(), problem.exit()), ("E3509", 35));
    assert!(problem.text().contains("/dev/full"));
    assert_eq!(log.head(), Head::NOTHING);
}

#[test]
fn a_log_that_cannot_be_opened_or_is_a_link_is_refused() {
    let folder = Folder::new();
    assert!(Log::open(&folder.path("missing/log"), folder.0.path()).is_err());
    std::os::unix::fs::symlink(folder.path("elsewhere"), folder.path("log")).unwrap();
    assert!(folder.open().is_err());
    assert!(!folder.path("elsewhere").exists());
}

#[test]
fn a_fifo_or_a_folder_is_refused_at_once_and_does_not_replace_the_log() {
    let folder = Folder::new();
    let (path, fifo) = (folder.path("log"), folder.path("fifo"));
    let made = std::process::Command::new("mkfifo").arg(&fifo).status().unwrap();
    assert!(made.success());
    for with_reader in [false, true] {
        let reader = with_reader.then(|| {
            let flags = OFlags::RDONLY | OFlags::NONBLOCK;
            rustix::fs::open(&fifo, flags, rustix::fs::Mode::empty()).unwrap()
        });
        let state = folder.0.path();
        for problem in [Log::open(&fifo, state).unwrap_err(), Log::check(&fifo, state).unwrap_err()] {
            assert!(problem.text().contains("a FIFO"), "{}", problem.text());
        }
        drop(reader);
    }
    assert!(Log::open(folder.0.path(), folder.0.path()).unwrap_err().text().contains("a folder"));
    let log = folder.open().unwrap();
    std::fs::rename(&path, folder.path("log.1")).unwrap();
    std::fs::rename(&fifo, &path).unwrap();
    assert!(log.follow().is_err());
    assert!(log.write(&[&object(1)]).is_err(), "a name that is no log any more: nothing is allowed");
    assert_eq!(folder.lines("log.1").len(), 0);
}

#[test]
fn nobody_else_reads_it_and_the_chain_goes_on_after_a_restart() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    folder.open().unwrap().write(&[&object(1)]).unwrap();
    let log = folder.open().unwrap();
    log.write(&[&object(2)]).unwrap();
    log.follow().unwrap();
    assert_eq!(std::fs::metadata(folder.path("log")).unwrap().permissions().mode() & 0o777, 0o600);
    let whole = folder.verified(&["log"]).unwrap();
    assert_eq!((whole.lines, whole.first, whole.head, whole.answers), (2, 1, log.head(), [2, 0, 0, 0]));
}

#[test]
fn a_log_that_was_moved_away_goes_on_under_its_name_also_after_a_restart() {
    let folder = Folder::new();
    let log = folder.open().unwrap();
    log.write(&[&object(1)]).unwrap();
    log.follow().unwrap();
    std::fs::rename(folder.path("log"), folder.path("log.2")).unwrap();
    log.write(&[&object(2)]).unwrap();
    log.follow().unwrap();
    log.write(&[&object(3)]).unwrap();
    log.follow().unwrap();
    assert_eq!((folder.lines("log.2").len(), folder.lines("log").len()), (1, 2));
    drop(log);
    std::fs::rename(folder.path("log"), folder.path("log.1")).unwrap();
    folder.open().unwrap().write(&[&object(4)]).unwrap();
    let whole = folder.verified(&["log.2", "log.1", "log"]).unwrap();
    assert_eq!((whole.lines, whole.head.seq), (4, 4));
    assert_eq!(folder.verified(&["log"]).unwrap().first, 4, "a part of it says where it begins");
    let error = folder.verified(&["log.2", "log"]).unwrap_err();
    assert!(error.contains("line 4 after line 1: lines are missing"), "{error}");
    let error = folder.verified(&["log.1", "log.2"]).unwrap_err();
    assert!(error.contains("not in their order"), "{error}");
}

#[test]
fn a_log_that_was_moved_away_between_two_processes_goes_on_where_the_first_one_ended() {
    let folder = Folder::new();
    let log = folder.open().unwrap();
    log.write(&[&object(1)]).unwrap();
    log.write(&[&object(2)]).unwrap();
    drop(log);
    std::fs::rename(folder.path("log"), folder.path("log.1")).unwrap();
    folder.open().unwrap().write(&[&object(3)]).unwrap();
    let whole = folder.verified(&["log.1", "log"]).unwrap();
    assert_eq!(whole.lines, 3);
}

#[test]
fn a_log_that_was_copied_and_cut_goes_on_with_its_chain() {
    let folder = Folder::new();
    let log = folder.open().unwrap();
    log.write(&[&object(1)]).unwrap();
    std::fs::copy(folder.path("log"), folder.path("log.1")).unwrap();
    File::options().write(true).truncate(true).open(folder.path("log")).unwrap();
    log.write(&[&object(2)]).unwrap();
    assert_eq!(folder.verified(&["log.1", "log"]).unwrap().lines, 2);
}

#[test]
fn after_a_torn_line_the_next_one_stands_alone_and_says_so() {
    let folder = Folder::new();
    let log = folder.open().unwrap();
    log.write(&[&object(1)]).unwrap();
    // What a full disk or a power cut leaves.
    File::options().append(true).open(folder.path("log")).unwrap().write_all(b"{\"to").unwrap();
    log.write(&[&object(2)]).unwrap();
    File::options().append(true).open(folder.path("log")).unwrap().write_all(b"rn").unwrap();
    let log = folder.open().unwrap();
    log.write(&[&object(3)]).unwrap();
    let whole = folder.verified(&["log"]).unwrap();
    assert_eq!((whole.lines, whole.torn, whole.head), (3, 2, log.head()));
}

#[test]
fn a_log_that_lost_its_end_is_refused_at_the_start_until_it_is_put_aside() {
    let folder = Folder::new();
    let log = folder.open().unwrap();
    for n in 1..=3 {
        log.write(&[&object(n)]).unwrap();
    }
    log.follow().unwrap();
    drop(log);
    let kept_lines = folder.lines("log");
    std::fs::write(folder.path("log"), format!("{}\n{}\n", kept_lines[0], kept_lines[1])).unwrap();
    for problem in [folder.open().unwrap_err(), Log::check(&folder.path("log"), folder.0.path()).unwrap_err()] {
        assert!(problem.text().contains("it ends with line 2, and line 3 was written"), "{}", problem.text());
    }
    let error = folder.verified(&["log"]).unwrap_err();
    assert!(error.contains("the log ends with line 2:"), "{error}");
    let other = kept_lines[2].replace("\"n\":3", "\"n\":4");
    std::fs::write(folder.path("log"), format!("{}\n{}\n{other}\n", kept_lines[0], kept_lines[1])).unwrap();
    assert!(folder.open().unwrap_err().text().contains("its line 3 is another one"));
    std::fs::rename(folder.path("log"), folder.path("log.bad")).unwrap();
    let log = folder.open().unwrap();
    log.write(&[&object(4)]).unwrap();
    assert_eq!(log.head().seq, 4);
}

#[test]
fn what_is_no_log_is_not_written_to() {
    let folder = Folder::new();
    std::fs::write(folder.path("log"), "root:x:0:0:root\n").unwrap();
    assert!(folder.open().unwrap_err().text().contains("no line of a chained log"));
    assert_eq!(folder.lines("log"), ["root:x:0:0:root"]);
    std::fs::remove_file(folder.path("log")).unwrap();
    let log = folder.open().unwrap();
    log.write(&[&object(1)]).unwrap();
    File::options().append(true).open(folder.path("log")).unwrap().write_all(b"mine\n").unwrap();
    assert!(log.write(&[&object(2)]).is_err(), "nothing is allowed on a log that somebody else writes to");
}

#[test]
fn several_threads_of_several_processes_write_one_chain() {
    let folder = Folder::new();
    // Two opened files are to each other as those of two processes are.
    let logs = [folder.open().unwrap(), folder.open().unwrap()];
    std::thread::scope(|scope| {
        for log in logs.iter().chain(&logs) {
            scope.spawn(|| (0..50).for_each(|n| log.write(&[&object(n)]).unwrap()));
        }
    });
    let whole = folder.verified(&["log"]).unwrap();
    assert_eq!((whole.lines, whole.head.seq), (200, 200));
}

#[test]
fn a_process_follows_a_move_before_its_next_line_so_that_no_line_stands_beside_the_chain() {
    let folder = Folder::new();
    let (one, other) = (folder.open().unwrap(), folder.open().unwrap());
    one.write(&[&object(1)]).unwrap();
    other.write(&[&object(2)]).unwrap();
    std::fs::rename(folder.path("log"), folder.path("log.1")).unwrap();
    one.write(&[&object(3)]).unwrap();
    other.write(&[&object(4)]).unwrap();
    assert_eq!((folder.lines("log.1").len(), folder.lines("log").len()), (2, 2));
    assert_eq!(folder.verified(&["log.1", "log"]).unwrap().lines, 4);
    // A line that somebody appends to a file that was moved away is bound to nothing.
    let (forged, _) = one.head().linked(&object(9), 0);
    File::options().append(true).open(folder.path("log.1")).unwrap().write_all(&forged).unwrap();
    assert!(folder.verified(&["log.1", "log"]).is_err());
}

#[test]
fn a_log_whose_name_cannot_be_opened_anew_lets_nothing_be_written() {
    let folder = Folder::new();
    let log = folder.open().unwrap();
    log.write(&[&object(1)]).unwrap();
    std::fs::rename(folder.path("log"), folder.path("log.1")).unwrap();
    std::os::unix::fs::symlink("/dev/null", folder.path("log")).unwrap();
    assert!(log.write(&[&object(2)]).is_err());
    std::fs::remove_file(folder.path("log")).unwrap();
    std::fs::create_dir(folder.path("log")).unwrap();
    assert!(log.write(&[&object(2)]).is_err());
    std::fs::remove_dir(folder.path("log")).unwrap();
    log.write(&[&object(2)]).unwrap();
    assert_eq!(folder.verified(&["log.1", "log"]).unwrap().lines, 2);
}

#[test]
fn a_log_that_was_cut_within_its_first_line_is_refused_and_an_unfinished_end_is_told() {
    let folder = Folder::new();
    let log = folder.open().unwrap();
    (1..=3).for_each(|n| log.write(&[&object(n)]).unwrap());
    drop(log);
    let text = std::fs::read(folder.path("log")).unwrap();
    std::fs::write(folder.path("log"), &text[..20]).unwrap();
    for problem in [folder.open().unwrap_err(), Log::check(&folder.path("log"), folder.0.path()).unwrap_err()] {
        assert!(problem.text().contains("a part of a line alone"), "{}", problem.text());
    }
    std::fs::write(folder.path("log"), [&text[..], b"{\"ti"].concat()).unwrap();
    assert_eq!(folder.verified(&["log"]).unwrap().unfinished, 4);
    std::fs::copy(folder.path("log"), folder.path("log.1")).unwrap();
    std::fs::write(folder.path("log"), "").unwrap();
    folder.open().unwrap().write(&[&object(4)]).unwrap();
    assert!(folder.verified(&["log.1", "log"]).unwrap_err().contains("part of a line"));
}

#[test]
fn who_may_read_the_log_cannot_hold_its_lock() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    let log = folder.open().unwrap();
    let reader = File::open(folder.path("log")).unwrap();
    rustix::fs::flock(&reader, FlockOperation::LockExclusive).unwrap();
    log.write(&[&object(1)]).unwrap();
    let lock = std::fs::metadata(folder.path("log.lock")).unwrap();
    assert_eq!(lock.permissions().mode() & 0o777, 0o600);
}
