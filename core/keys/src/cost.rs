//! The cost of turning a passphrase into a key: one table for writing (a floor) and for reading (a ceiling).
//!
//! The floor keeps new files from being guessable; the ceiling keeps a crafted file from taking the machine's memory. The
//! ceiling holds before a single byte is derived. Deliberately absent: choosing the cost by measuring the machine, since a
//! key file is opened on other machines than the one that wrote it.

/// Lowest log₂ N that is written: 16 MiB. For tests, `--dev`, and files that other tools must open.
pub const MIN_LOG_N: u8 = 14;
/// Highest log₂ N that is written or read: 256 MiB at r = 8.
pub const MAX_LOG_N: u8 = 18;
/// Highest memory that opening a file may take, 128·N·r bytes.
pub const MAX_MEMORY_BYTES: u64 = 256 * 1024 * 1024;
/// Highest work that opening a file may take, N·r·p (2^20 is [`ScryptCost::OFFLINE`]).
pub const MAX_WORK: u64 = 1 << 24;
/// Most rounds of PBKDF2 in a file of another tool.
pub const MAX_PBKDF2_ROUNDS: u32 = 10_000_000;

/// Parameters of scrypt (RFC 7914) for a new key file; r is always 8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScryptCost {
    log_n: u8,
    p: u32,
}

impl ScryptCost {
    /// Keys of people: N = 2^17, r = 8, p = 1, 128 MiB.
    ///
    /// OpenSSL 3 refuses to spend more than 32 MiB on a key file, so its tools cannot open this one; a copy for them is
    /// written with [`ScryptCost::PORTABLE`].
    pub const OFFLINE: ScryptCost = ScryptCost { log_n: 17, p: 1 };
    /// For other tools: N = 2^14, r = 8, p = 5, 16 MiB. The largest memory that `openssl pkcs8` accepts, with the p that
    /// the usual tables (OWASP) give as the equal of 2^17 · 1.
    pub const PORTABLE: ScryptCost = ScryptCost { log_n: 14, p: 5 };
    /// The floor: N = 2^14, r = 8, p = 1. Tests and `--dev` only.
    pub const DEV: ScryptCost = ScryptCost { log_n: MIN_LOG_N, p: 1 };

    /// N = 2^`log_n`, p = 1, or `None` outside [`MIN_LOG_N`] to [`MAX_LOG_N`].
    pub fn new(log_n: u8) -> Option<ScryptCost> {
        (MIN_LOG_N..=MAX_LOG_N).contains(&log_n).then_some(ScryptCost { log_n, p: 1 })
    }

    /// The parameters for the library.
    pub(crate) fn parameters(self) -> Option<scrypt::Params> {
        scrypt::Params::new(self.log_n, 8, self.p).ok()
    }
}

/// Whether a file may ask for this cost: N a power of two from 2, memory and work under the ceiling.
pub(crate) fn scrypt_is_affordable(n: u64, r: u64, p: u64) -> bool {
    if n < 2 || !n.is_power_of_two() || r == 0 || p == 0 {
        return false;
    }
    let block = n.checked_mul(r);
    let memory = block.and_then(|block| block.checked_mul(128));
    let work = block.and_then(|block| block.checked_mul(p));
    memory.is_some_and(|memory| memory <= MAX_MEMORY_BYTES) && work.is_some_and(|work| work <= MAX_WORK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_cannot_ask_for_more_memory_or_work_than_the_ceiling() {
        for (n, r, p) in [
            (0, 8, 1),
            (1, 8, 1),
            (3, 8, 1),
            (1 << 14, 0, 1),
            (1 << 14, 8, 0),
            (1 << 19, 8, 1),
            (1 << 18, 9, 1),
            (1 << 17, 8, 17),
            (1 << 14, 8, 65535),
            (1 << 63, 65535, 65535),
            (u64::MAX, 8, 1),
            (2, 65535, 65535),
        ] {
            assert!(!scrypt_is_affordable(n, r, p), "{n} {r} {p}");
        }
        for cost in [ScryptCost::OFFLINE, ScryptCost::PORTABLE, ScryptCost::DEV] {
            assert!(scrypt_is_affordable(1 << cost.log_n, 8, cost.p.into()), "{cost:?}");
        }
        assert!(scrypt_is_affordable(1 << MAX_LOG_N, 8, 1));
    }

    #[test]
    fn the_floor_holds_for_what_is_written() {
        assert_eq!(ScryptCost::new(MIN_LOG_N - 1), None);
        assert_eq!(ScryptCost::new(MAX_LOG_N + 1), None);
        assert_eq!(ScryptCost::new(17), Some(ScryptCost::OFFLINE));
        assert!(ScryptCost::OFFLINE.parameters().is_some());
    }
}
