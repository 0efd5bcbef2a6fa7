//! `trust-server dev`: a server that dies takes its signer with it, however it dies.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use trust_tests::stack::built;

/// From the death of the server to the end of the signer.
const AFTER: Duration = Duration::from_secs(2);

struct Dev(Child);

impl Dev {
    fn start(data: &Path, ready: &Path) -> Self {
        let _ = std::fs::remove_file(ready);
        let mut command = Command::new(built("trust-server"));
        command.args(["dev", "--listen", "127.0.0.1:0", "--data"]).arg(data).arg("--ready-file").arg(ready);
        let mut dev = Self(command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        let until = Instant::now() + Duration::from_secs(30);
        while !ready.exists() {
            assert!(Instant::now() < until && dev.0.try_wait().unwrap().is_none(), "dev did not start");
            std::thread::sleep(Duration::from_millis(5));
        }
        dev
    }

    fn signer(&self) -> u32 {
        let pid = self.0.id();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        let [signer] = children.split_whitespace().collect::<Vec<_>>()[..] else { panic!("one child: {children}") };
        signer.parse().unwrap()
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn kill_9_of_the_dev_server_ends_its_signer_and_the_next_one_starts() {
    let dir = tempfile::tempdir().unwrap();
    let (data, ready) = (dir.path().join("data"), dir.path().join("ready"));
    for _ in 0..2 {
        let mut dev = Dev::start(&data, &ready);
        let signer = dev.signer();
        assert!(alive(signer) && UnixStream::connect(data.join("signer.sock")).is_ok());
        // SIGKILL: nothing of the server's own runs any more.
        dev.0.kill().unwrap();
        dev.0.wait().unwrap();
        let until = Instant::now() + AFTER;
        while alive(signer) {
            assert!(Instant::now() < until, "the signer lives on");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn an_idle_dev_server_keeps_its_signer() {
    let dir = tempfile::tempdir().unwrap();
    let dev = Dev::start(&dir.path().join("data"), &dir.path().join("ready"));
    // Threads that the runtime does not need come and go; only the end of the process may be the signer's end.
    std::thread::sleep(Duration::from_secs(12));
    assert!(alive(dev.signer()));
}
