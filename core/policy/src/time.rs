//! Times as texts: `YYYY-MM-DDTHH:MM:SSZ` of the years 1 to 9999, and nothing else. Deliberately absent: a clock.

use chrono::{DateTime, Datelike, NaiveDateTime, SecondsFormat};

const FORM: &str = "%Y-%m-%dT%H:%M:%SZ";

/// The text of a moment; `unix` is in seconds since 1970.
pub(crate) fn text(unix: i64) -> Option<String> {
    let time = DateTime::from_timestamp(unix, 0).filter(|time| (1..=9_999).contains(&time.year()))?;
    Some(time.to_rfc3339_opts(SecondsFormat::Secs, true))
}

/// The moment of a text, in seconds since 1970.
pub(crate) fn unix(given: &str) -> Option<i64> {
    // What chrono reads more widely (a sign, a missing zero, the second 60) does not print again as it was given.
    let unix = NaiveDateTime::parse_from_str(given, FORM).ok()?.and_utc().timestamp();
    (text(unix).as_deref() == Some(given)).then_some(unix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_outside_of_four_digit_years_are_refused() {
        for (moment, said) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
            (-62_135_596_800, "0001-01-01T00:00:00Z"),
        ] {
            assert_eq!(text(moment).as_deref(), Some(said));
            assert_eq!(unix(said), Some(moment));
        }
        for moment in [253_402_300_800, -62_135_596_801, i64::MAX, i64::MIN] {
            assert_eq!(text(moment), None);
        }
    }

    #[test]
    fn a_time_in_another_form_is_none() {
        for given in [
            "",
            "2030-01-01",
            "2030-01-01T00:00:00",
            "2030-01-01t00:00:00z",
            "2030-01-01 00:00:00Z",
            "2030-01-01T00:00:00.0Z",
            "2030-01-01T00:00:00+00:00",
            "2030-01-01T00:00:60Z",
            "2030-02-30T00:00:00Z",
            "2030-1-1T0:0:0Z",
            "+2030-01-01T00:00:00Z",
            "12030-01-01T00:00:00Z",
            "0000-01-01T00:00:00Z",
            " 2030-01-01T00:00:00Z",
        ] {
            assert_eq!(unix(given), None, "{given}");
        }
    }
}
