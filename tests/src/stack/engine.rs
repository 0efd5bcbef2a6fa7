//! A throw-away Docker Engine: Debian's `dockerd` in a network, mount and process namespace of its own.
//!
//! The machine's `/run`, `/etc/docker`, interfaces and firewall stay as they are, and everything ends with the value. The engine's
//! socket and those of its plugins are files outside, so that all other programs of a test stay outside too; what the engine
//! is to reach on loopback is passed in with [`Engine::expose`]. Needs root, and the programs that tests/tools/engine.sh fetches.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};

use super::scene::HttpAnswer;
use super::{Process, START, tools_dir};

/// How long an answer of the engine may take: with a dead plugin it tries again for half a minute.
const ANSWER: Duration = Duration::from_secs(100);

/// Prepares the namespaces and becomes the engine. `$1` is its folder, the rest are further options.
const SCRIPT: &str = r#"
set -eu
folder=$1
shift
mkdir -p "$folder/etc"
for file in passwd group hosts resolv.conf nsswitch.conf ssl; do
    if [ -e "/etc/$file" ]; then cp -a "/etc/$file" "$folder/etc/"; fi
done
mount -t tmpfs none /run
mount --bind "$folder/etc" /etc
mkdir -p /run/docker/plugins
for socket in "$folder"/plugins/*.sock; do
    if [ -L "$socket" ]; then cp -P "$socket" /run/docker/plugins/; fi
done
exec dockerd --config-file "$folder/daemon.json" --data-root "$folder/data" --exec-root /run/engine \
    --host "unix://$folder/engine.sock" --pidfile /run/engine.pid --group root --storage-driver vfs \
    --iptables=false --ip6tables=false --ip-forward=false --bridge=none "$@"
"#;

/// The programs of an engine are there, and may be started; else it is said why not.
pub fn is_available(test: &str) -> bool {
    let program = tools_dir().join("engine/bin/dockerd");
    if !program.is_file() {
        println!("SKIPPED: {test}: dockerd is missing: run tests/tools/engine.sh");
        return false;
    }
    if !rustix::process::geteuid().is_root() {
        println!("SKIPPED: {test}: no namespaces for an engine without root");
        return false;
    }
    let private = || unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS);
    if !matches!(std::thread::spawn(private).join(), Ok(Ok(()))) {
        println!("SKIPPED: {test}: this machine gives root no namespaces");
        return false;
    }
    true
}

/// A job for the thread that lives in the engine's network.
type Job = Box<dyn FnOnce() + Send>;

/// A running engine.
pub struct Engine {
    /// Its process: that of `unshare`, with which everything ends.
    pub process: Process,
    /// Its folder.
    pub dir: PathBuf,
    jobs: Sender<Job>,
    stop: Arc<AtomicBool>,
}

impl Engine {
    /// Starts an engine in this folder, without plugins.
    pub fn start(dir: &Path) -> io::Result<Self> {
        Self::start_with(dir, &[])
    }

    /// Starts one that asks these authorization plugins: each a name, and the socket that it serves.
    pub fn start_with(dir: &Path, plugins: &[(&str, &Path)]) -> io::Result<Self> {
        fs::create_dir_all(dir.join("plugins"))?;
        fs::create_dir_all(dir.join("home"))?;
        fs::write(dir.join("daemon.json"), "{}")?;
        let _ = fs::remove_file(dir.join("engine.sock"));
        let mut command = Command::new("unshare");
        command.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", SCRIPT, "engine"]);
        command.arg(dir);
        for (name, socket) in plugins {
            let link = dir.join("plugins").join(format!("{name}.sock"));
            let _ = fs::remove_file(&link);
            std::os::unix::fs::symlink(socket, link)?;
            command.arg(format!("--authorization-plugin={name}"));
        }
        command.env_clear().env("PATH", path()).env("HOME", dir.join("home"));
        let (jobs, received) = channel::<Job>();
        let (tell, told) = channel();
        let log = dir.join("dockerd.log");
        // Sockets belong to the network of the thread that makes them, and so do programs.
        std::thread::spawn(move || live(&received, &tell, command, &log));
        let process = told.recv().map_err(io::Error::other)??;
        let stop = Arc::new(AtomicBool::new(false));
        let mut engine = Self { process, dir: dir.to_owned(), jobs, stop };
        let until = Instant::now() + START;
        while UnixStream::connect(engine.socket()).is_err() {
            if Instant::now() > until || !engine.process.is_running() {
                let log = fs::read_to_string(dir.join("dockerd.log")).unwrap_or_default();
                let end = log.lines().rev().take(5).collect::<Vec<_>>().join("\n");
                return Err(io::Error::other(format!("dockerd did not start:\n{end}")));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(engine)
    }

    /// Where the engine's API is.
    pub fn socket(&self) -> PathBuf {
        self.dir.join("engine.sock")
    }

    /// Makes `127.0.0.1:PORT` of the machine reachable for the engine under the same address.
    pub fn expose(&self, address: &str) -> io::Result<()> {
        let (tell, told) = channel();
        let wanted = address.to_owned();
        let bind = Box::new(move || drop(tell.send(TcpListener::bind(wanted))));
        self.jobs.send(bind).map_err(|_| io::Error::other("the engine's network is gone"))?;
        let listener = told.recv().map_err(io::Error::other)??;
        listener.set_nonblocking(true)?;
        let (address, stop) = (address.to_owned(), Arc::clone(&self.stop));
        std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((inside, _)) => {
                        let address = address.clone();
                        std::thread::spawn(move || drop(join(&inside, &address)));
                    }
                    Err(_) => std::thread::sleep(Duration::from_millis(5)),
                }
            }
        });
        Ok(())
    }

    /// The docker client, with a home of its own.
    pub fn docker(&self) -> Command {
        let mut command = Command::new(tools_dir().join("engine/bin/docker"));
        command.env_clear().env("PATH", path()).env("HOME", self.dir.join("home"));
        command.env("DOCKER_HOST", format!("unix://{}", self.socket().display()));
        command
    }

    /// One request to its API, raw.
    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> io::Result<HttpAnswer> {
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: engine\r\nconnection: close\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("transfer-encoding")) {
            head.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        exchange(&self.socket(), &[head.as_bytes(), body].concat())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.process.kill();
    }
}

/// Writes these bytes to a socket, and reads an answer to its end.
pub fn exchange(socket: &Path, request: &[u8]) -> io::Result<HttpAnswer> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(ANSWER))?;
    // Who refuses early does not read to the end.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    HttpAnswer::parse(&answer, request.starts_with(b"HEAD "))
}

/// The life of the thread in the engine's network.
fn live(jobs: &Receiver<Job>, tell: &Sender<io::Result<Process>>, mut command: Command, log: &Path) {
    let mut start = || -> io::Result<Process> {
        unshare(CloneFlags::CLONE_NEWNET)?;
        let up = Command::new(tools_dir().join("engine/bin/ip")).args(["link", "set", "lo", "up"]).status()?;
        if !up.success() {
            return Err(io::Error::other("ip: the loopback of the engine's network does not come up"));
        }
        Process::start("dockerd", &mut command, log)
    };
    let _ = tell.send(start());
    while let Ok(job) = jobs.recv() {
        job();
    }
}

/// Copies both ways between a connection from inside and one to the address outside.
fn join(inside: &TcpStream, address: &str) -> io::Result<()> {
    inside.set_nonblocking(false)?;
    let outside = TcpStream::connect(address)?;
    std::thread::scope(|scope| {
        scope.spawn(|| pump(inside, &outside));
        pump(&outside, inside);
    });
    Ok(())
}

fn pump(mut from: &TcpStream, mut to: &TcpStream) {
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}

fn path() -> std::ffi::OsString {
    let machine = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = vec![tools_dir().join("engine/bin")];
    folders.extend(std::env::split_paths(&machine));
    folders.extend(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from));
    std::env::join_paths(folders).unwrap_or(machine)
}
