//! A folder over HTTP on loopback, for the readers that are measured with their own HTTP client. Connections are kept as
//! long as the client keeps them. It runs in the benchmark's process, so that its CPU time is nobody's.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// A served folder; ends when it is dropped.
pub struct Served {
    address: SocketAddr,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Served {
    /// Begins to serve.
    pub fn start(folder: PathBuf) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let ended = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&ended);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if end.load(Ordering::Relaxed) {
                    break;
                }
                let Ok(stream) = stream else { continue };
                let folder = folder.clone();
                // A client that goes away is its own affair.
                std::thread::spawn(move || converse(&folder, stream));
            }
        });
        Ok(Self { address, ended, thread: Some(thread) })
    }

    /// The address of a folder in the folder.
    pub fn address(&self, name: &str) -> String {
        format!("http://{}/{name}", self.address)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // One more connection lets it look.
        let _ = TcpStream::connect(self.address);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Answers on one connection until the client closes it. However long that waits for its turn, its connection stays.
fn converse(folder: &Path, stream: TcpStream) -> io::Result<()> {
    // An answer is written at once and is not to wait for more.
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    while answer(folder, &mut stream)? {}
    Ok(())
}

/// Whether there was a request, and more may come.
fn answer(folder: &Path, stream: &mut BufReader<TcpStream>) -> io::Result<bool> {
    let mut first = String::new();
    if stream.read_line(&mut first)? == 0 {
        return Ok(false);
    }
    let (mut line, mut is_last) = (String::new(), false);
    while stream.read_line(&mut line)? > 2 {
        is_last |= line.trim_end().eq_ignore_ascii_case("connection: close");
        line.clear();
    }
    let name = first.split(' ').nth(1).unwrap_or_default().trim_start_matches('/');
    let is_inside = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    let found = if is_inside { std::fs::read(folder.join(name)).ok() } else { None };
    let (status, body) = found.map_or(("404 Not Found", Vec::new()), |bytes| ("200 OK", bytes));
    let mut whole = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    whole.extend_from_slice(&body);
    stream.get_mut().write_all(&whole)?;
    Ok(!is_last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interop::get;

    #[test]
    fn files_are_served_and_nothing_outside_of_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("in")).unwrap();
        std::fs::write(folder.path().join("in/a.json"), "a").unwrap();
        std::fs::write(folder.path().join("b"), "b").unwrap();
        let served = Served::start(folder.path().join("in")).unwrap();
        let asked = |name: &str| get(&url::Url::parse(&served.address(name)).unwrap()).unwrap();
        assert_eq!(asked("a.json").as_deref(), Some(&b"a"[..]));
        assert_eq!(asked("b"), None);
        let mut stream = TcpStream::connect(served.address).unwrap();
        write!(stream, "GET /../b HTTP/1.1\r\n\r\n").unwrap();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        assert!(line.contains("404"), "{line}");
    }

    #[test]
    fn a_connection_is_kept_for_the_next_request() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a"), "first").unwrap();
        let served = Served::start(folder.path().to_owned()).unwrap();
        let mut stream = BufReader::new(TcpStream::connect(served.address).unwrap());
        for (name, status) in [("nothing", "404"), ("a", "200"), ("a", "200")] {
            write!(stream.get_mut(), "GET /{name} HTTP/1.1\r\n\r\n").unwrap();
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                assert_ne!(stream.read_line(&mut head).unwrap(), 0, "{head}");
            }
            assert!(head.contains(status), "{head}");
            let mut body = vec![0; if status == "200" { 5 } else { 0 }];
            std::io::Read::read_exact(&mut stream, &mut body).unwrap();
        }
    }
}
