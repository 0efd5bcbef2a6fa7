//! The program that the public conformance suite drives, as a process against a server on loopback: exit codes, the
//! command line, the clock of the machine. What its commands do is asserted in the modules beside this one.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::mpsc;
use std::time::{SystemTime, UNIX_EPOCH};

use tempfile::TempDir;
use trust_tests::simulator::{Fault, Repository, days, over_http};
use trust_tests::stack::{run, tool};
use trust_tuf::UtcTime;

const CLIENT: &str = env!("CARGO_BIN_EXE_tuf-conformance-client");

/// The clock of the machine: what the program reads.
fn today() -> UtcTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    UtcTime::from_unix(i64::try_from(since.as_secs()).unwrap()).unwrap()
}

struct Site {
    repo: Repository,
    folder: TempDir,
    base: String,
}

impl Site {
    /// A repository that is not expired by the clock of the machine, with one target.
    fn new() -> Self {
        let mut repo = Repository::unpublished();
        let month = today().plus_secs(days(30)).unwrap();
        for role in ["root", "timestamp", "snapshot", "targets"] {
            repo.role(role).set_expires(month);
        }
        repo.add_target("targets", "dir/a b.txt", b"content");
        // Over HTTP the space of the name is encoded.
        let plain = repo.wire.names().into_iter().find(|name| name.ends_with("a b.txt")).unwrap();
        repo.wire.put(&plain.replace(' ', "%20"), b"content".to_vec());
        repo.add_target("targets", "b", b"b");
        repo.publish_root();
        repo.publish_same_versions();
        let address = over_http(&repo.wire, |path| {
            let name = path.strip_prefix("/one%5Btest%5D/")?;
            Some(name.strip_prefix("metadata/").unwrap_or(name).to_owned())
        });
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("root"), &repo.pinned).unwrap();
        Self { repo, folder, base: format!("http://{address}/one%5Btest%5D") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn init(&self) -> Vec<String> {
        ["--metadata-dir", &self.text("m"), "init", &self.text("root")].map(str::to_owned).to_vec()
    }

    fn refresh(&self) -> Vec<String> {
        let url = format!("{}/metadata/", self.base);
        ["--metadata-url", &url, "--metadata-dir", &self.text("m"), "refresh"].map(str::to_owned).to_vec()
    }

    fn download(&self, names: &[&str]) -> Vec<String> {
        let mut line = self.refresh();
        line.pop();
        line.extend(names.iter().flat_map(|name| ["--target-name".to_owned(), (*name).to_owned()]));
        let url = format!("{}/targets/", self.base);
        line.extend(["--target-dir", &self.text("t"), "--target-base-url", &url, "download"].map(str::to_owned));
        line
    }

    /// How many targets were asked for since the last call.
    fn artifacts(&self) -> usize {
        self.repo.wire.take_requests().iter().filter(|name| name.starts_with("targets/")).count()
    }
}

fn client(line: &[String]) -> Output {
    run(Command::new(CLIENT).args(line)).unwrap()
}

#[track_caller]
fn exits(line: &[String], code: i32) -> String {
    let output = client(line);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{line:?}: {said}");
    assert_eq!(code == 0, said.is_empty(), "a failure says why, and only a failure: {said}");
    said
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_root_is_pinned_metadata_updated_and_a_target_downloaded_once() {
    let site = Site::new();
    exits(&site.init(), 0);
    assert_eq!(site.repo.wire.take_requests(), [""; 0], "init asks nobody");
    exits(&site.refresh(), 0);
    let first = ["2.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json"];
    assert_eq!(site.repo.wire.take_requests(), first);
    exits(&site.refresh(), 0);
    assert_eq!(site.repo.wire.take_requests(), ["2.root.json", "timestamp.json"]);
    exits(&site.download(&["dir/a b.txt"]), 0);
    assert_eq!(site.artifacts(), 1);
    assert_eq!(std::fs::read(site.path("t").join("dir/a b.txt")).unwrap(), b"content");
    exits(&site.download(&["dir/a b.txt"]), 0);
    assert_eq!(site.artifacts(), 0, "what is there is not asked for");
    let top: Vec<String> = names_in(&site.path("m")).into_iter().filter(|name| name.ends_with(".json")).collect();
    assert_eq!(top, ["root.json", "snapshot.json", "targets.json", "timestamp.json"]);
}

#[test]
fn several_targets_in_one_run_stop_at_the_first_that_fails() {
    let site = Site::new();
    exits(&site.init(), 0);
    exits(&site.download(&["b", "dir/a b.txt"]), 0);
    std::fs::remove_dir_all(site.path("t")).unwrap();
    let said = exits(&site.download(&["b", "nothing", "dir/a b.txt"]), 1);
    assert!(said.contains("nothing"), "{said}");
    assert_eq!(names_in(&site.path("t")), ["b"]);
}

#[test]
fn every_failure_is_exit_1_and_says_why() {
    let site = Site::new();
    exits(&site.refresh(), 1);
    exits(&site.download(&["b"]), 1);
    assert_eq!(site.repo.wire.take_requests(), [""; 0], "without a pinned root nobody is asked");
    std::fs::write(site.path("root"), b"{}").unwrap();
    exits(&site.init(), 1);
    std::fs::remove_file(site.path("root")).unwrap();
    exits(&site.init(), 1);
    std::fs::write(site.path("root"), &site.repo.pinned).unwrap();
    exits(&site.init(), 0);
    for path in ["../x", "/etc/passwd", "", "nothing"] {
        exits(&site.download(&[path]), 1);
    }
    assert_eq!(names_in(&site.path("t")), [""; 0]);
    for fault in [Fault::Status(404), Fault::Status(500), Fault::Reset, Fault::Bytes(b"[]".to_vec())] {
        site.repo.wire.fault("timestamp.json", fault);
        exits(&site.refresh(), 1);
    }
    site.repo.wire.heal();
    exits(&site.download(&["b"]), 0);
}

#[test]
fn every_wrong_command_line_is_exit_1_too() {
    let site = Site::new();
    for line in
        ["", "refresh", "--help", "--version", "--metadata-dir", "--metadata-dir m --nonsense 1 refresh", "init"]
    {
        let line: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let said = exits(&line, 1);
        assert!(said.contains("usage"), "{said}");
    }
    let mut line = site.refresh();
    line[1] = "ftp://example.com/".to_owned();
    exits(&site.init(), 0);
    exits(&line, 1);
    line[1] = "http://registry.example.com/metadata/".to_owned();
    let said = exits(&line, 1);
    assert!(said.contains("plain HTTP"), "plain HTTP goes to this machine only: {said}");
}

#[test]
fn the_clock_of_the_machine_decides_what_is_expired() {
    let Some(faketime) = tool("faketime") else {
        println!("SKIPPED: the_clock_of_the_machine_decides_what_is_expired: faketime is missing");
        return;
    };
    let site = Site::new();
    exits(&site.init(), 0);
    let at = |day: i64, line: &[String]| {
        let time = today().plus_secs(days(day)).unwrap().to_string();
        run(Command::new(&faketime).arg(time).arg(CLIENT).args(line)).unwrap().status.code()
    };
    assert_eq!(at(1, &site.refresh()), Some(0));
    // Two runs at one instant.
    assert_eq!(at(20, &site.refresh()), Some(0));
    assert_eq!(at(20, &site.download(&["b"])), Some(0));
    assert_eq!(at(31, &site.refresh()), Some(1));
    assert_eq!(at(31, &site.download(&["b"])), Some(1));
}

#[test]
fn two_programs_at_once_take_turns() {
    let site = Site::new();
    exits(&site.init(), 0);
    let lines = [site.refresh(), site.download(&["b"]), site.download(&["b", "dir/a b.txt"]), site.refresh()];
    let codes: Vec<_> = std::thread::scope(|scope| {
        let runs: Vec<_> = lines.iter().map(|line| scope.spawn(|| client(line).status.code())).collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    assert_eq!(codes, [Some(0); 4]);
    assert_eq!(names_in(&site.path("t")), ["b", "dir"]);
}

/// Serves one target of zeros on a server of its own. Before its last byte it says so, and waits.
fn zeros(length: usize) -> (String, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/", listener.local_addr().unwrap());
    let (almost, nearly_all_is_sent) = mpsc::channel();
    let (go_on, wait) = mpsc::channel();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = BufReader::new(stream.try_clone().unwrap()).lines();
        while request.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
        write!(stream, "HTTP/1.0 200 OK\r\nContent-Length: {length}\r\n\r\n").unwrap();
        let mut left = length - 1;
        while left > 0 {
            let now = left.min(1 << 20);
            stream.write_all(&vec![0; now]).unwrap();
            left -= now;
        }
        almost.send(()).unwrap();
        wait.recv().unwrap();
        stream.write_all(&[0]).unwrap();
    });
    (address, nearly_all_is_sent, go_on)
}

/// The most memory that a process has had, in bytes.
fn peak(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[test]
fn a_large_target_passes_through_little_memory_and_has_no_name_before_it_is_whole() {
    const LENGTH: usize = 64 << 20;
    let mut site = Site::new();
    site.repo.add_target("targets", "big", &vec![0; LENGTH]);
    site.repo.publish();
    exits(&site.init(), 0);
    let (address, nearly_all_is_sent, go_on) = zeros(LENGTH);
    let mut line = site.download(&["big"]);
    let place = line.iter().position(|argument| argument == "--target-base-url").unwrap() + 1;
    line[place] = address;
    let mut child = Command::new(CLIENT).args(&line).spawn().unwrap();
    nearly_all_is_sent.recv().unwrap();
    let (peak, seen) = (peak(child.id()), names_in(&site.path("t")));
    go_on.send(()).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    // The program alone, unoptimised, has about a third of this.
    assert!(peak < (LENGTH as u64) * 3 / 4, "{peak} bytes");
    assert!(seen.iter().all(|name| name.ends_with(".part")), "{seen:?}");
    assert_eq!(names_in(&site.path("t")), ["big"]);
    assert_eq!(std::fs::metadata(site.path("t").join("big")).unwrap().len(), LENGTH as u64);
}

#[test]
fn a_program_that_is_killed_in_a_download_leaves_nothing_under_the_name() {
    let mut site = Site::new();
    site.repo.add_target("targets", "big", &vec![0; 1 << 20]);
    site.repo.publish();
    exits(&site.init(), 0);
    let (address, nearly_all_is_sent, _go_on) = zeros(1 << 20);
    let mut line = site.download(&["big"]);
    let place = line.iter().position(|argument| argument == "--target-base-url").unwrap() + 1;
    let good = std::mem::replace(&mut line[place], address);
    let mut child = Command::new(CLIENT).args(&line).spawn().unwrap();
    nearly_all_is_sent.recv().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!site.path("t").join("big").exists());
    line[place] = good;
    exits(&line, 0);
    assert_eq!(std::fs::metadata(site.path("t").join("big")).unwrap().len(), 1 << 20);
}
