//! A kept HTTP connection that asks the same thing again and again, and rounds of several of them at once.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::time::{Duration, Instant};

/// One kept connection.
pub(super) struct Kept<S> {
    stream: BufReader<S>,
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl<S: Read + Write> Kept<S> {
    pub(super) fn new(stream: S, request: Vec<u8>) -> Self {
        Self { stream: BufReader::new(stream), request, answer: Vec::new() }
    }

    /// Asks once; the body of the answer.
    pub(super) fn ask(&mut self) -> io::Result<&[u8]> {
        self.stream.get_mut().write_all(&self.request)?;
        let mut length = 0;
        let mut line = String::new();
        loop {
            line.clear();
            if self.stream.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if line == "\r\n" {
                break;
            }
            let (name, value) = line.split_once(':').unwrap_or((&line, ""));
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().map_err(io::Error::other)?;
            }
        }
        self.answer.resize(length, 0);
        self.stream.read_exact(&mut self.answer)?;
        Ok(&self.answer)
    }
}

/// Each client asks so often; wall time of an operation.
pub(super) fn round<S: Read + Write + Send>(clients: &mut [Kept<S>], times: u32) -> io::Result<Duration> {
    let begun = Instant::now();
    let count = u32::try_from(clients.len()).unwrap_or(1);
    std::thread::scope(|scope| {
        let running: Vec<_> = clients
            .iter_mut()
            .map(|client| scope.spawn(|| (0..times).try_for_each(|_| client.ask().map(drop))))
            .collect();
        running.into_iter().try_for_each(|thread| thread.join().unwrap_or(Err(io::ErrorKind::Other.into())))
    })?;
    Ok(begun.elapsed() / (times * count))
}
