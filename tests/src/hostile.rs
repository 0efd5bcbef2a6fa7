//! A server on loopback that does with each request what a test says: lies about lengths, drips, never ends, never answers.
//!
//! Nothing here is polite: connections end after one answer, and what a test lets it send is sent as it is. It ends when it is
//! dropped; threads that still talk to a client end with the client.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::simulator::{Fault, Wire};

/// One thing that is done on a connection.
#[derive(Debug, Clone)]
pub enum Step {
    /// These bytes are sent.
    Say(Vec<u8>),
    /// These bytes are sent so many times, with a pause after each.
    Repeat(Vec<u8>, u64, Duration),
    /// Nothing happens until the client goes away, or for two minutes.
    Hold,
    /// The connection is cut at once.
    Reset,
}

/// What is done with a request: its path, and its head as it came.
pub type Act = Arc<dyn Fn(&str, &str) -> Vec<Step> + Send + Sync>;

/// The server.
pub struct Hostile {
    address: String,
    heads: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
}

impl Hostile {
    /// Starts it.
    pub fn serve(act: impl Fn(&str, &str) -> Vec<Step> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let (heads, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (log, ended, act): (_, _, Act) = (Arc::clone(&heads), Arc::clone(&stop), Arc::new(act));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                let (log, act) = (Arc::clone(&log), Arc::clone(&act));
                std::thread::spawn(move || answer(stream, &log, &act));
            }
        });
        Self { address, heads, stop }
    }

    /// Serves what lies on a wire, faults and all, below `/tuf/COLLECTION/`; `instead` is asked first, by the file's name.
    pub fn wire(wire: Arc<Wire>, instead: impl Fn(&str) -> Option<Vec<Step>> + Send + Sync + 'static) -> Self {
        Self::serve(move |path, _| {
            let name = match path.split_once("/_metadata/") {
                Some((_, file)) => file.to_owned(),
                None => path.split_once("/_targets/").map_or(path.to_owned(), |(_, file)| format!("targets/{file}")),
            };
            if let Some(steps) = instead(&name) {
                return steps;
            }
            match wire.fault_of(&name) {
                Some(Fault::Bytes(bytes)) => ok(&bytes),
                Some(Fault::Status(code)) => status(code),
                Some(Fault::Reset) => vec![Step::Reset],
                None => wire.file(&name).map_or_else(|| status(404), |bytes| ok(&bytes)),
            }
        })
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The heads of all requests so far.
    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().expect("no test panics inside").clone()
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(&self.address);
    }
}

fn answer(stream: TcpStream, log: &Mutex<Vec<String>>, act: &Act) {
    let Ok(reading) = stream.try_clone() else { return };
    let mut reader = BufReader::new(reading);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).unwrap_or(0) == 0 {
            return;
        }
    }
    log.lock().expect("no test panics inside").push(head.clone());
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let _ = act(&path, &head).into_iter().try_for_each(|step| perform(&stream, step));
    let _ = stream.shutdown(Shutdown::Both);
}

fn perform(mut stream: &TcpStream, step: Step) -> io::Result<()> {
    match step {
        Step::Say(bytes) => stream.write_all(&bytes),
        Step::Repeat(bytes, times, pause) => {
            for _ in 0..times {
                stream.write_all(&bytes)?;
                if !pause.is_zero() {
                    stream.flush()?;
                    std::thread::sleep(pause);
                }
            }
            Ok(())
        }
        Step::Hold => {
            stream.set_read_timeout(Some(Duration::from_secs(120)))?;
            // The client says nothing more: this ends when it goes away.
            let _ = io::copy(&mut io::Read::take(stream, 1 << 20), &mut io::sink());
            Ok(())
        }
        Step::Reset => {
            // Unread bytes in the socket make the end a reset.
            stream.shutdown(Shutdown::Both)?;
            Err(io::ErrorKind::ConnectionReset.into())
        }
    }
}

/// 200 with these bytes and their length.
pub fn ok(bytes: &[u8]) -> Vec<Step> {
    stated(bytes.len() as u64, bytes)
}

/// 200 with these bytes, and this length said of them.
pub fn stated(length: u64, bytes: &[u8]) -> Vec<Step> {
    vec![
        say(&format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n")),
        Step::Say(bytes.to_vec()),
    ]
}

/// An empty answer with this status.
pub fn status(code: u16) -> Vec<Step> {
    vec![say(&format!("HTTP/1.1 {code} X\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"))]
}

/// 200 with these bytes, whose end is the end of the connection.
pub fn without_length(bytes: &[u8]) -> Vec<Step> {
    vec![say("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"), Step::Say(bytes.to_vec())]
}

/// 200, then so many MiB of zeros; with their length said or not.
pub fn mebibytes(count: u64, with_length: bool) -> Vec<Step> {
    let length = if with_length { format!("Content-Length: {}\r\n", count << 20) } else { String::new() };
    vec![
        say(&format!("HTTP/1.1 200 OK\r\nConnection: close\r\n{length}\r\n")),
        Step::Repeat(vec![0; 1 << 20], count, Duration::ZERO),
    ]
}

/// 200, then one byte after the other.
pub fn drip(pause: Duration) -> Vec<Step> {
    vec![say("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"), Step::Repeat(b"{".to_vec(), 1_000_000, pause)]
}

/// A redirect.
pub fn redirect(to: &str) -> Vec<Step> {
    vec![say(&format!("HTTP/1.1 302 X\r\nConnection: close\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n"))]
}

/// This text.
pub fn say(text: &str) -> Step {
    Step::Say(text.as_bytes().to_vec())
}

/// Somebody with the shipped `trust`, the collection `registry.example.com/pay` pinned, and a context for a server.
pub struct Home {
    folder: tempfile::TempDir,
}

impl Home {
    /// With this root pinned. `context` is what stands in the context: `server = "…"` and more, one a line.
    pub fn new(root: &[u8], context: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let config = folder.path().join("config/trust");
        std::fs::create_dir_all(config.join("roots")).expect("a folder");
        let fingerprint = trust_reader::anchor::fingerprint(root);
        let text = format!(
            "context = \"default\"\n[contexts.default]\n{context}\n\
             [[pins]]\ncollection = \"registry.example.com/pay\"\nfingerprint = \"{fingerprint}\"\n"
        );
        std::fs::write(config.join("config.toml"), text).expect("the file is written");
        std::fs::write(config.join(format!("roots/{fingerprint}.root.json")), root).expect("the file is written");
        Self { folder }
    }

    /// `trust` with these arguments and no other environment.
    pub fn trust(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(crate::stack::built("trust"));
        command.args(arguments).env_clear().env("HOME", self.folder.path()).env("TRUST_NON_INTERACTIVE", "1");
        for (variable, name) in [("CONFIG", "config"), ("DATA", "data"), ("STATE", "state"), ("CACHE", "cache")] {
            command.env(format!("XDG_{variable}_HOME"), self.folder.path().join(name));
        }
        command
    }
}
