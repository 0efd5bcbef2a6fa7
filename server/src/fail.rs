//! Places where a test lets the process die: `server.P0` to `server.P15`, the steps of a publication. Compiled in only
//! with the feature `fail-points`; without it a call is nothing.

/// The process ends here at once if the environment variable `TRUST_FAIL_POINT` names this point.
#[cfg(feature = "fail-points")]
pub fn point(name: &str) {
    if std::env::var_os("TRUST_FAIL_POINT").is_some_and(|wanted| wanted == name) {
        std::process::abort();
    }
}

/// Nothing: fail points are not compiled in.
#[cfg(not(feature = "fail-points"))]
pub const fn point(_: &str) {}
