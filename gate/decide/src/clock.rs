//! The time of decisions, and whether it can be believed.
//!
//! With a clock that went back, what has expired would look fresh. So the greatest time that was seen is kept and moved on
//! by a clock that cannot be set; a wall clock that is behind it by more than the reader's tolerance gives no time at all.
//! (Across restarts the stored state of each collection does the same.)

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use trust_reader::CLOCK_TOLERANCE;
use trust_reader::catalogue::Code;
use trust_reader::verdict::Problem;
use trust_tuf::UtcTime;

/// Where the time comes from.
pub trait Clock: Send + Sync {
    /// The time now.
    fn now(&self) -> UtcTime;

    /// Seconds since any fixed moment, by a clock that nobody can set. A clock without one counts the wall clock alone.
    fn monotonic(&self) -> i64 {
        0
    }
}

/// The clock of this machine.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// The clock.
    pub fn new() -> Self {
        Self { started: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> UtcTime {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        i64::try_from(seconds).ok().and_then(UtcTime::from_unix).unwrap_or(UtcTime::EPOCH)
    }

    fn monotonic(&self) -> i64 {
        i64::try_from(self.started.elapsed().as_secs()).unwrap_or(i64::MAX)
    }
}

/// A clock that is believed only while it does not go back.
pub(crate) struct Watch {
    clock: Arc<dyn Clock>,
    // The greatest difference of wall clock and monotonic clock that was seen, in seconds.
    lead: AtomicI64,
}

impl Watch {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        let watch = Self { clock, lead: AtomicI64::new(i64::MIN) };
        let _ = watch.now();
        watch
    }

    /// The time as it is, believed or not: for the log.
    pub(crate) fn wall(&self) -> UtcTime {
        self.clock.now()
    }

    /// The time, or the refusal of a clock that went back.
    pub(crate) fn now(&self) -> Result<UtcTime, Problem> {
        // Read first: between the two readings time can only pass, which never looks like going back.
        let monotonic = self.clock.monotonic();
        let now = self.clock.now();
        let lead = now.unix().saturating_sub(monotonic);
        let greatest = self.lead.fetch_max(lead, Ordering::Relaxed).max(lead);
        let seen = greatest.saturating_add(monotonic);
        if seen.saturating_sub(now.unix()) <= CLOCK_TOLERANCE {
            return Ok(now);
        }
        let seen = UtcTime::from_unix(seen).unwrap_or(now);
        Err(Problem::new(Code::ClockBack)
            .cause("it is earlier than this program has seen it, so that nothing can be said to be fresh")
            .fact("clock", now)
            .fact("expected", seen))
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    struct Set(Mutex<(i64, i64)>);

    impl Clock for Set {
        fn now(&self) -> UtcTime {
            UtcTime::from_unix(self.0.lock().unwrap().0).unwrap()
        }

        fn monotonic(&self) -> i64 {
            self.0.lock().unwrap().1
        }
    }

    fn watch(wall: i64, monotonic: i64) -> (Arc<Set>, Watch) {
        let clock = Arc::new(Set(Mutex::new((wall, monotonic))));
        (Arc::clone(&clock), Watch::new(clock))
    }

    #[test]
    fn a_clock_that_goes_back_gives_no_time_also_when_nobody_asked_in_between() {
        let (clock, watch) = watch(1_000_000, 50);
        // Two hours pass unseen, then the clock is set back to where it was.
        *clock.0.lock().unwrap() = (1_000_000, 50 + 7_200);
        assert_eq!(watch.now().unwrap_err().code, Code::ClockBack);
        *clock.0.lock().unwrap() = (1_000_000 + 7_200, 50 + 7_200);
        assert_eq!(watch.now().unwrap().unix(), 1_007_200);
    }

    #[test]
    fn many_small_steps_back_are_one_large_step() {
        let (clock, watch) = watch(1_000_000, 0);
        for step in 1..=4 {
            *clock.0.lock().unwrap() = (1_000_000 - step * 100, 0);
            assert_eq!(watch.now().is_ok(), step <= 3, "{step}");
        }
    }

    #[test]
    fn a_small_step_back_is_borne() {
        let (clock, watch) = watch(1_000_000, 0);
        *clock.0.lock().unwrap() = (1_000_000 - CLOCK_TOLERANCE, 0);
        assert!(watch.now().is_ok());
        *clock.0.lock().unwrap() = (1_000_000 - CLOCK_TOLERANCE - 1, 0);
        assert!(watch.now().is_err());
    }
}
