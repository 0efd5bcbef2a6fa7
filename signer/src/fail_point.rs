//! Points at which a crash test ends the process, compiled in only with the feature `fail-points`.
//!
//! `TRUST_FAIL_POINT=NAME` ends at the first time NAME is reached, `NAME@N` at the N-th.

/// Ends the process here if the environment names this point.
#[cfg(feature = "fail-points")]
pub(crate) fn fail_point(name: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static WANTED: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static REACHED: AtomicU64 = AtomicU64::new(0);
    let wanted = WANTED.get_or_init(|| {
        let value = std::env::var("TRUST_FAIL_POINT").ok()?;
        Some(match value.split_once('@') {
            Some((name, times)) => (name.to_owned(), times.parse().unwrap_or(1)),
            None => (value, 1),
        })
    });
    if let Some((point, times)) = wanted
        && point == name
        && REACHED.fetch_add(1, Ordering::SeqCst) + 1 == *times
    {
        std::process::abort();
    }
}

/// Does nothing in this build.
#[cfg(not(feature = "fail-points"))]
pub(crate) fn fail_point(_: &str) {}
