//! Load at a fixed rate, whether answers come or not: what callers wait who do not wait for each other.
//!
//! Invariant: a time counts from when its request was meant to be sent, so that whatever stands in a queue, here or there, is
//! counted. Deliberately absent: more connections than there are clients.

use std::fs;
use std::io;
use std::time::{Duration, Instant};

use super::kept::Kept;

/// Times of one run, in order.
pub(super) struct Waits(Vec<Duration>);

impl Waits {
    /// The time that this part of the requests did not exceed: 0.99 for 99 of 100.
    pub(super) fn at(&self, part: f64) -> Duration {
        let count = self.0.len();
        // Of few, the last.
        let place = (count as f64 * part).ceil() as usize;
        self.0.get(place.clamp(1, count.max(1)) - 1).copied().unwrap_or_default()
    }
}

/// Asks so many times a second for so long, the clients in turn.
pub(super) fn steady(clients: &mut [Kept], rate: f64, time: Duration) -> io::Result<Waits> {
    let count = clients.len();
    let each = (rate * time.as_secs_f64() / count as f64).ceil() as u32;
    let pause = Duration::from_secs_f64(count as f64 / rate);
    let begin = Instant::now() + Duration::from_millis(5);
    let mut waits = std::thread::scope(|scope| {
        let running: Vec<_> = clients
            .iter_mut()
            .enumerate()
            .map(|(n, client)| {
                let first = begin + pause.mul_f64(n as f64 / count as f64);
                scope.spawn(move || one(client, first, pause, each))
            })
            .collect();
        let mut waits = Vec::new();
        for thread in running {
            waits.extend(thread.join().unwrap_or(Err(io::ErrorKind::Other.into()))?);
        }
        Ok::<_, io::Error>(waits)
    })?;
    waits.sort_unstable();
    Ok(Waits(waits))
}

fn one(client: &mut Kept, first: Instant, pause: Duration, times: u32) -> io::Result<Vec<Duration>> {
    wake_in_time();
    let mut waits = Vec::with_capacity(times as usize);
    for n in 0..times {
        let due = first + pause * n;
        let early = due.saturating_duration_since(Instant::now());
        if !early.is_zero() {
            std::thread::sleep(early);
        }
        client.ask()?;
        waits.push(due.elapsed());
    }
    Ok(waits)
}

/// The kernel lets a thread sleep up to 50 µs too long to save wake-ups; not this one. Where it cannot be said, both sides
/// wait longer.
fn wake_in_time() {
    if let Some(thread) = fs::read_link("/proc/thread-self").ok().as_deref().and_then(|path| path.file_name()) {
        let _ = fs::write(std::path::Path::new("/proc").join(thread).join("timerslack_ns"), "1");
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn a_part_of_the_waits_is_the_place_in_their_order() {
        let waits = Waits((1..=200).map(Duration::from_millis).collect());
        assert_eq!([0.5, 0.99, 1.0].map(|part| waits.at(part).as_millis()), [100, 198, 200]);
        assert_eq!(Waits(Vec::new()).at(0.99), Duration::ZERO);
        assert_eq!(Waits(vec![Duration::from_millis(7)]).at(0.5).as_millis(), 7);
    }

    /// Answers its first request late, and the others at once.
    struct Slow {
        is_first: bool,
        answer: &'static [u8],
    }

    impl Read for Slow {
        fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
            self.answer.read(room)
        }
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if std::mem::take(&mut self.is_first) {
                std::thread::sleep(Duration::from_millis(50));
            }
            self.answer = b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx";
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn who_waits_behind_a_slow_answer_is_counted_from_when_it_was_due() {
        let stream = Slow { is_first: true, answer: b"" };
        let mut clients = [Kept::new(Box::new(stream), b"x".to_vec())];
        let waits = steady(&mut clients, 1_000.0, Duration::from_millis(20)).unwrap();
        // Twenty were due within 20 ms, and none was sent before 50 ms were over.
        assert_eq!(waits.0.len(), 20);
        assert!(waits.at(0.0) >= Duration::from_millis(30));
    }
}
