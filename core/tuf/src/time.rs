//! Times of metadata: whole seconds, UTC, years 0000 to 9999, in exactly one textual form.

use std::fmt;

use chrono::{DateTime, NaiveDateTime, SecondsFormat, Utc};

/// A point in time, in Unix seconds. The textual form is `YYYY-MM-DDTHH:MM:SSZ` and no other (4.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UtcTime(i64);

// 0000-01-01T00:00:00Z and 9999-12-31T23:59:59Z: years beyond print with a sign.
const FIRST: i64 = -62_167_219_200;
const LAST: i64 = 253_402_300_799;

impl UtcTime {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0);

    /// From Unix seconds; `None` outside the years 0000 to 9999.
    pub const fn from_unix(seconds: i64) -> Option<Self> {
        if seconds < FIRST || seconds > LAST { None } else { Some(Self(seconds)) }
    }

    /// Unix seconds.
    pub const fn unix(self) -> i64 {
        self.0
    }

    /// This time plus `seconds` (negative: minus); `None` outside the years 0000 to 9999.
    pub fn plus_secs(self, seconds: i64) -> Option<Self> {
        self.0.checked_add(seconds).and_then(Self::from_unix)
    }

    /// Seconds from `earlier` to this time; negative if this is the earlier one.
    pub fn secs_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Reads `YYYY-MM-DDTHH:MM:SSZ`. Anything wider (fractions, offsets, lower case, second 60) is refused, although
    /// RFC 3339 allows it: the text is signed, and two spellings of one time would be two documents.
    pub fn parse(text: &str) -> Option<Self> {
        let shape_fits = text.len() == 20
            && text.bytes().enumerate().all(|(i, b)| match i {
                4 | 7 => b == b'-',
                10 => b == b'T',
                13 | 16 => b == b':',
                19 => b == b'Z',
                17 => matches!(b, b'0'..=b'5'),
                _ => b.is_ascii_digit(),
            });
        if !shape_fits {
            return None;
        }
        let naive = NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%SZ").ok()?;
        Self::from_unix(naive.and_utc().timestamp())
    }
}

impl fmt::Display for UtcTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match DateTime::<Utc>::from_timestamp(self.0, 0) {
            Some(t) => f.write_str(&t.to_rfc3339_opts(SecondsFormat::Secs, true)),
            None => write!(f, "{}s", self.0),
        }
    }
}

impl fmt::Debug for UtcTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_form_is_read_and_printed() {
        for text in ["2030-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2028-02-29T12:34:56Z"] {
            assert_eq!(UtcTime::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn every_other_form_is_refused() {
        for text in [
            "",
            "2030-01-01t00:00:00Z",
            "2030-01-01T00:00:00z",
            "2030-01-01 00:00:00Z",
            "2030-01-01T00:00:00+00:00",
            "2030-01-01T00:00:00.0Z",
            "2030-01-01T00:00:60Z",
            "2030-02-30T00:00:00Z",
            "2030-13-01T00:00:00Z",
            "2030-01-01T24:00:00Z",
            "+030-01-01T00:00:00Z",
            "2030-01-01T00:00:00Z ",
            "２030-01-01T00:00:0Z",
        ] {
            assert_eq!(UtcTime::parse(text), None, "{text}");
        }
    }

    #[test]
    fn arithmetic_never_wraps() {
        let last = UtcTime::parse("9999-12-31T23:59:59Z").unwrap();
        assert_eq!(last.plus_secs(1), None);
        assert_eq!(last.plus_secs(i64::MAX), None);
        assert_eq!(UtcTime::from_unix(i64::MIN), None);
    }
}
