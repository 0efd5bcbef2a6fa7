//! A folder over HTTP on loopback, for the readers that are measured with their own HTTP client: one answer a
//! connection. It runs in the benchmark's process, so that its CPU time is nobody's.

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
                // A client that goes away is its own affair.
                let _ = stream.and_then(|stream| answer(&folder, stream));
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

fn answer(folder: &Path, stream: TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(std::time::Duration::from_secs(5)))?;
    let mut stream = BufReader::new(stream);
    let mut first = String::new();
    stream.read_line(&mut first)?;
    let mut line = String::new();
    while stream.read_line(&mut line)? > 2 {
        line.clear();
    }
    let name = first.split(' ').nth(1).unwrap_or_default().trim_start_matches('/');
    let is_inside = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    let found = if is_inside { std::fs::read(folder.join(name)).ok() } else { None };
    let (status, body) = found.map_or(("404 Not Found", Vec::new()), |bytes| ("200 OK", bytes));
    let stream = stream.get_mut();
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len())?;
    stream.write_all(&body)
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
}
