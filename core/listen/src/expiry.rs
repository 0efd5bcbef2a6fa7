//! When a certificate ends, and what is said of it before: 21, 7 and 1 days, and when it is over.
//!
//! Of X.509 just the one field is read. Invariants: what cannot be read has no end that anybody relies on, and is told as
//! such; each warning is given once for each certificate. Deliberately absent: everything else that a certificate says; who
//! connects judges that.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const DAY: u64 = 86_400;

/// The end of one certificate (DER); `None` if it is not where X.509 has it.
pub(crate) fn not_after(der: &[u8]) -> Option<SystemTime> {
    const SEQUENCE: u8 = 0x30;
    const VERSION: u8 = 0xa0;
    let of = |tag: u8, bytes| field(bytes).filter(|(found, _, _)| *found == tag).map(|(_, content, _)| content);
    let mut rest = of(SEQUENCE, of(SEQUENCE, der)?)?;
    if let Some((VERSION, _, behind)) = field(rest) {
        rest = behind;
    }
    // Serial number, algorithm, issuer.
    for _ in 0..3 {
        rest = field(rest)?.2;
    }
    let validity = of(SEQUENCE, rest)?;
    let (tag, end, _) = field(field(validity)?.2)?;
    let text = std::str::from_utf8(end).ok()?.strip_suffix('Z')?;
    // RFC 5280: two digits are 1950 to 2049.
    let (year, rest) = match (tag, text.len()) {
        (0x17, 12) => {
            let (year, rest) = text.split_at_checked(2)?;
            let year: u64 = year.parse().ok()?;
            (if year < 50 { 2_000 + year } else { 1_900 + year }, rest)
        }
        (0x18, 14) => {
            let (year, rest) = text.split_at_checked(4)?;
            (year.parse().ok()?, rest)
        }
        _ => return None,
    };
    let numbers: Option<Vec<u64>> = (0..5).map(|i| rest.get(i * 2..i * 2 + 2)?.parse().ok()).collect();
    let [month, day, hour, minute, second] = numbers?.try_into().ok()?;
    let in_range = (1_970..=9_999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !in_range || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    Some(UNIX_EPOCH + Duration::from_secs(days(year, month, day) * DAY + hour * 3_600 + minute * 60 + second))
}

/// Tag, content, and what follows.
fn field(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match *first {
        short @ 0..=0x7f => (usize::from(short), rest),
        long @ 0x81..=0x84 => {
            let (octets, rest) = rest.split_at_checked(usize::from(long & 0x0f))?;
            (octets.iter().fold(0_usize, |length, octet| length << 8 | usize::from(*octet)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

/// Days since 1970 of a date from then on.
fn days(year: u64, month: u64, day: u64) -> u64 {
    // Years that begin in March end with the leap day.
    let year = if month > 2 { year } else { year - 1 };
    let month = (month + 9) % 12;
    let before = |year: u64| year * 365 + year / 4 - year / 100 + year / 400;
    // 719,468 days from 0000-03-01 to 1970-01-01.
    before(year) + (month * 153 + 2) / 5 + day - 1 - 719_468
}

/// How near the end is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ending {
    Days21,
    Days7,
    Day1,
    Over,
}

impl Ending {
    pub(crate) fn of(end: SystemTime, now: SystemTime) -> Option<Self> {
        let Ok(left) = end.duration_since(now) else { return Some(Self::Over) };
        match left.as_secs() {
            0 => Some(Self::Over),
            left if left <= DAY => Some(Self::Day1),
            left if left <= 7 * DAY => Some(Self::Days7),
            left if left <= 21 * DAY => Some(Self::Days21),
            _ => None,
        }
    }
}

/// What was said already.
#[derive(Debug, Default)]
pub(crate) struct Told(Option<(SystemTime, Ending)>);

impl Told {
    /// What is to be said now, if it was not.
    pub(crate) fn next(&mut self, end: SystemTime, now: SystemTime) -> Option<Ending> {
        let ending = Ending::of(end, now)?;
        match self.0 {
            Some((told_end, told)) if told_end == end && told >= ending => None,
            _ => {
                self.0 = Some((end, ending));
                Some(ending)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn the_end_is_read_as_it_was_written_before_and_after_2050() {
        for (year, month, day, seconds) in [
            (2026, 11, 21, 1_795_219_200),
            (2028, 2, 29, 1_835_395_200),
            (2049, 12, 31, 2_524_521_600),
            (2050, 1, 1, 2_524_608_000),
            (2101, 3, 1, 4_139_078_400_u64),
        ] {
            let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
            params.not_after = rcgen::date_time_ymd(year, month, day);
            let key = rcgen::KeyPair::generate().unwrap();
            let made = params.self_signed(&key).unwrap();
            assert_eq!(not_after(made.der()), Some(at(seconds)), "{year}-{month}-{day}");
        }
    }

    #[test]
    fn what_is_cut_or_changed_gives_nothing_or_another_time_and_never_a_panic() {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let der = made.cert.der().to_vec();
        assert!(not_after(&der).is_some());
        for length in 0..200 {
            assert_eq!(not_after(&der[..length]), None, "{length}");
        }
        for i in 0..200 {
            for bit in 0..8 {
                let mut changed = der.clone();
                changed[i] ^= 1 << bit;
                let _ = not_after(&changed);
            }
        }
    }

    #[test]
    fn each_warning_is_given_once_for_each_certificate() {
        let mut told = Told::default();
        let end = at(100 * DAY);
        let mut said = Vec::new();
        for hour in 0..(101 * 24) {
            said.extend(told.next(end, at(hour * 3_600)).map(|ending| (hour, ending)));
        }
        assert_eq!(
            said,
            [(79 * 24, Ending::Days21), (93 * 24, Ending::Days7), (99 * 24, Ending::Day1), (100 * 24, Ending::Over)]
        );
        // A new one that is near its end too is a new warning; one that is far from it is none.
        assert_eq!(told.next(at(102 * DAY), at(100 * DAY)), Some(Ending::Days7));
        assert_eq!(told.next(at(400 * DAY), at(100 * DAY)), None);
        // The clock went back: nothing is said anew of the same one.
        assert_eq!(told.next(at(102 * DAY), at(90 * DAY)), None);
    }
}
