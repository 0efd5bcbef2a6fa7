//! How much the signer does in a second (rule S10): token buckets that fill by the clock which is handed in.
//!
//! A clock that goes back fills nothing. Memory is bounded: full buckets are forgotten first.

use std::collections::BTreeMap;

use trust_tuf::UtcTime;

/// Collections whose bucket is remembered.
const REMEMBERED: usize = 4_096;

/// A bucket that holds at most `rate` tokens and gets `rate` tokens a second.
#[derive(Debug, Clone)]
struct Bucket {
    tokens: u64,
    filled: i64,
}

impl Bucket {
    fn full(rate: u64, now: i64) -> Self {
        Self { tokens: rate, filled: now }
    }

    fn fill(&mut self, rate: u64, now: i64) {
        if now > self.filled {
            let seconds = u64::try_from(now.saturating_sub(self.filled)).unwrap_or(0);
            self.tokens = self.tokens.saturating_add(rate.saturating_mul(seconds)).min(rate);
            self.filled = now;
        }
    }

    fn take(&mut self, rate: u64, now: i64, count: u64) -> bool {
        self.fill(rate, now);
        match self.tokens.checked_sub(count) {
            Some(left) => {
                self.tokens = left;
                true
            }
            None => false,
        }
    }
}

/// One bucket for each collection.
#[derive(Debug)]
pub(crate) struct PerCollection {
    rate: u64,
    buckets: BTreeMap<String, Bucket>,
}

impl PerCollection {
    pub(crate) fn new(rate: u64) -> Self {
        Self { rate, buckets: BTreeMap::new() }
    }

    /// Takes one token; false if there is none.
    pub(crate) fn take(&mut self, collection: &str, now: UtcTime) -> bool {
        let (rate, now) = (self.rate, now.unix());
        if self.buckets.len() >= REMEMBERED && !self.buckets.contains_key(collection) {
            self.buckets.retain(|_, bucket| {
                bucket.fill(rate, now);
                bucket.tokens < rate
            });
            if self.buckets.len() >= REMEMBERED {
                return false;
            }
        }
        self.buckets.entry(collection.to_owned()).or_insert_with(|| Bucket::full(rate, now)).take(rate, now, 1)
    }
}

/// One bucket for all.
#[derive(Debug)]
pub(crate) struct Overall {
    rate: u64,
    bucket: Option<Bucket>,
}

impl Overall {
    pub(crate) fn new(rate: u64) -> Self {
        Self { rate, bucket: None }
    }

    /// Takes `count` tokens; false, and none taken, if there are fewer.
    pub(crate) fn take(&mut self, now: UtcTime, count: u64) -> bool {
        let (rate, now) = (self.rate, now.unix());
        self.bucket.get_or_insert_with(|| Bucket::full(rate, now)).take(rate, now, count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> UtcTime {
        UtcTime::from_unix(1_900_000_000 + seconds).unwrap()
    }

    #[test]
    fn more_than_the_rate_is_refused_until_a_second_has_passed() {
        let mut buckets = PerCollection::new(3);
        assert_eq!((0..5).filter(|_| buckets.take("a", at(0))).count(), 3);
        assert!(buckets.take("b", at(0)), "another collection has its own bucket");
        assert_eq!((0..5).filter(|_| buckets.take("a", at(1))).count(), 3);
        assert_eq!((0..9).filter(|_| buckets.take("a", at(1_000_000))).count(), 3, "rest does not add up");
    }

    #[test]
    fn a_clock_that_goes_back_and_forth_fills_nothing_twice() {
        let mut overall = Overall::new(10);
        assert!(overall.take(at(0), 10));
        assert!(!overall.take(at(-5), 1));
        assert!(!overall.take(at(0), 1));
        assert!(!overall.take(at(1), 11));
        assert!(overall.take(at(1), 10));
    }

    #[test]
    fn memory_does_not_grow_with_names() {
        let mut buckets = PerCollection::new(2);
        for n in 0..2 * REMEMBERED {
            buckets.take(&format!("c{n}"), at(0));
        }
        assert_eq!(buckets.buckets.len(), REMEMBERED);
        assert!(!buckets.take("one more", at(0)));
        assert!(buckets.take("one more", at(1)));
    }
}
