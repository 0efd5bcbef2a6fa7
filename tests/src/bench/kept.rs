//! A kept HTTP connection that asks the same thing again and again, and rounds of several of them at once.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::time::{Duration, Instant};

/// What is read at a time where the answer is not kept.
const PIECE: usize = 256 * 1024;

/// A connection, with TLS or without.
pub(super) trait Stream: Read + Write + Send {}

impl<S: Read + Write + Send> Stream for S {}

/// One kept connection.
pub(super) struct Kept {
    stream: BufReader<Box<dyn Stream>>,
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl Kept {
    pub(super) fn new(stream: Box<dyn Stream>, request: Vec<u8>) -> Self {
        Self { stream: BufReader::new(stream), request, answer: Vec::new() }
    }

    /// From now on this is asked.
    pub(super) fn set_request(&mut self, request: Vec<u8>) {
        self.request = request;
    }

    /// Asks; the length of the body that follows.
    fn asked(&mut self) -> io::Result<usize> {
        self.stream.get_mut().write_all(&self.request)?;
        let (mut length, mut line) = (0, String::new());
        for number in 0.. {
            line.clear();
            if self.stream.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if line == "\r\n" {
                break;
            }
            if number == 0 && !line.starts_with("HTTP/1.1 200") {
                return Err(io::Error::other(format!("the answer is {}", line.trim())));
            }
            let (name, value) = line.split_once(':').unwrap_or((&line, ""));
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().map_err(io::Error::other)?;
            }
        }
        Ok(length)
    }

    /// Asks once; the body of the answer.
    pub(super) fn ask(&mut self) -> io::Result<&[u8]> {
        let length = self.asked()?;
        self.answer.resize(length, 0);
        self.stream.read_exact(&mut self.answer)?;
        Ok(&self.answer)
    }

    /// Asks once and keeps nothing: how long the body was, and it was whole.
    pub(super) fn pass(&mut self) -> io::Result<usize> {
        let length = self.asked()?;
        self.answer.resize(PIECE, 0);
        let mut left = length;
        while left > 0 {
            let room = left.min(PIECE);
            match self.stream.read(self.answer.get_mut(..room).unwrap_or_default())? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => left = left.saturating_sub(count),
            }
        }
        Ok(length)
    }
}

/// Each client asks so often; wall time of an operation.
pub(super) fn round(clients: &mut [Kept], times: u32) -> io::Result<Duration> {
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
