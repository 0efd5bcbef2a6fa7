//! Names a wrong clock: what the server said the time was, beside what the clock of this machine shows.
//!
//! Nobody signs what the server says, so it explains and never decides: no rule is loosened by it, and nothing is refused
//! that the clock of this machine would take. A clock that was set back is refused elsewhere, by the time of the last
//! update that this machine recorded itself.

use trust_tuf::lookup::LookupError;
use trust_tuf::{Reason, UpdateError, UtcTime};

use crate::problems::Failure;
use crate::update::CLOCK_TOLERANCE;

/// Something has expired by the clock of this machine. If it has not by the server's, one of the two clocks is wrong, and
/// the failure says so.
pub(crate) fn explain(failure: Failure, server: Option<UtcTime>) -> Failure {
    if let Failure::EverySource { main, sources } = failure {
        return Failure::EverySource { main: Box::new(explain(*main, server)), sources };
    }
    let (Failure::Update(error) | Failure::Lookup(LookupError::Role(error))) = &failure else { return failure };
    let (UpdateError { reason: Reason::Expired { expires, now }, .. }, Some(server)) = (error, server) else {
        return failure;
    };
    if server < *expires && now.secs_since(server) > CLOCK_TOLERANCE {
        return Failure::ClockAhead { now: *now, server, after: error.clone() };
    }
    failure
}

/// After an update that was taken: a clock behind the server's stands still or was set back, and with it expired files
/// look fresh.
pub(crate) fn warning(now: UtcTime, server: Option<UtcTime>) -> Option<String> {
    let server = server.filter(|server| server.secs_since(now) > CLOCK_TOLERANCE)?;
    Some(format!(
        "the clock of this machine says {now}, the server's {server}: if the first one stands still or was set back, \
         what has expired looks fresh. Compare it with another clock"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> UtcTime {
        UtcTime::parse(text).unwrap()
    }

    fn expired(expires: &str, now: &str) -> Failure {
        UpdateError { role: "timestamp".to_owned(), reason: Reason::Expired { expires: at(expires), now: at(now) } }
            .into()
    }

    #[test]
    fn a_clock_far_ahead_is_named_only_where_the_server_says_that_the_file_is_fresh() {
        let failure = || expired("2031-01-02T00:00:00Z", "2041-01-01T00:00:00Z");
        let server = at("2031-01-01T12:00:00Z");
        match explain(failure(), Some(server)) {
            Failure::ClockAhead { now, server: said, after } => {
                assert_eq!((now, said), (at("2041-01-01T00:00:00Z"), server));
                assert_eq!(Failure::from(after), failure());
            }
            other => panic!("{other:?}"),
        }
        // A server that is frozen or plays old files has a clock that goes on, or none.
        for said in [None, Some(at("2031-01-02T00:00:00Z")), Some(at("2041-01-01T00:00:00Z"))] {
            assert_eq!(explain(failure(), said), failure(), "{said:?}");
        }
    }

    #[test]
    fn a_small_difference_and_another_failure_stay_what_they_are() {
        let failure = expired("2031-01-01T00:00:00Z", "2031-01-01T00:05:00Z");
        assert_eq!(explain(failure.clone(), Some(at("2031-01-01T00:00:00Z"))), failure);
        let failure = || Failure::NothingStored;
        assert_eq!(explain(failure(), Some(at("1999-01-01T00:00:00Z"))), failure());
    }

    #[test]
    fn a_clock_that_stands_still_or_was_set_back_is_warned_of_and_one_that_is_ahead_or_close_is_not() {
        let now = at("2031-01-01T00:00:00Z");
        let text = warning(now, now.plus_secs(CLOCK_TOLERANCE + 1)).unwrap();
        assert!(text.contains("2031-01-01T00:00:00Z") && text.contains("2031-01-01T00:05:01Z"), "{text}");
        for server in [None, Some(now), now.plus_secs(CLOCK_TOLERANCE), now.plus_secs(-99_999_999)] {
            assert_eq!(warning(now, server), None);
        }
    }
}
