//! From typed text to values: errors here are usage errors (exit 2).

use std::time::Duration;

use trust_image::{Digest, Reference, target};
use trust_tuf::{CollectionName, RoleName, UtcTime, limits, reserved};

use crate::entries::Layout;

/// Longest duration that is read, in seconds (a year).
const MOST_SECONDS: u64 = 366 * 86_400;

/// `90s`, `2m`, `1h`, `7d`; a number alone is seconds.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "a duration is a number with s, m, h or d, for example 60s".to_owned();
    let (number, factor) = match text.char_indices().last() {
        Some((at, 's')) => (text.get(..at), 1),
        Some((at, 'm')) => (text.get(..at), 60),
        Some((at, 'h')) => (text.get(..at), 3_600),
        Some((at, 'd')) => (text.get(..at), 86_400),
        _ => (Some(text), 1),
    };
    let seconds = number
        .filter(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|n| n.parse::<u64>().ok())
        .and_then(|n| n.checked_mul(factor))
        .ok_or_else(wrong)?;
    if (1..=MOST_SECONDS).contains(&seconds) {
        Ok(Duration::from_secs(seconds))
    } else {
        Err("a duration is between 1s and 366d".to_owned())
    }
}

/// How long an exception holds: `30m`, `4h`, `2d`, at most 7 days.
pub fn exception_life(text: &str) -> Result<Duration, String> {
    let wrong = || "an exception holds for some minutes, hours or days, at most 7d: for example 4h".to_owned();
    if !text.ends_with(['m', 'h', 'd']) {
        return Err(wrong());
    }
    let life = duration(text).map_err(|_| wrong())?;
    let most = u64::try_from(trust_policy::exceptions::MAX_LIFE).unwrap_or(0);
    if life.as_secs() <= most { Ok(life) } else { Err(wrong()) }
}

/// A duration as [`duration`] reads it, or none at all: `0s`.
pub fn overlap(text: &str) -> Result<Duration, String> {
    if matches!(text, "0" | "0s") { Ok(Duration::ZERO) } else { duration(text) }
}

/// `deploy`, `pull` or `promote`.
pub fn action(text: &str) -> Result<trust_policy::Action, String> {
    text.parse().map_err(|e: trust_policy::subject::UnknownAction| e.to_string())
}

/// An image reference.
pub fn image(text: &str) -> Result<Reference, String> {
    Reference::parse(text).map_err(|e| e.to_string())
}

/// A digest, SHA-256 only: what a target can name.
pub fn digest(text: &str) -> Result<Digest, String> {
    let digest = Digest::parse(text).map_err(|e| e.to_string())?;
    match digest.sha256() {
        Some(_) => Ok(digest),
        None => Err("only sha256 digests are signed".to_owned()),
    }
}

/// A collection's name in its one canonical form.
pub fn collection(text: &str) -> Result<CollectionName, String> {
    let name = CollectionName::parse(text).map_err(|e| e.to_string())?;
    target::check_collection(name.as_str()).map_err(|e| e.to_string())?;
    Ok(name)
}

/// The name of a signer: a role name that is neither top-level nor reserved.
pub fn signer(text: &str) -> Result<RoleName, String> {
    let name = RoleName::parse(text).map_err(|e| e.to_string())?;
    if name.is_targets() || name.as_str().starts_with('_') {
        return Err("a signer's name is not `targets` and does not begin with `_`".to_owned());
    }
    Ok(name)
}

/// The name of a signer, or of a reserved role.
pub fn signer_or_reserved(text: &str) -> Result<RoleName, String> {
    if reserved::KINDS.contains(&text) {
        return RoleName::parse(text).map_err(|e| e.to_string());
    }
    signer(text).map_err(|why| match text.starts_with('_') {
        true => format!("a reserved role is one of {}", reserved::KINDS.join(", ")),
        false => why,
    })
}

/// A number of hash bins: 2 to 1024 and a power of two, also as `2^8`.
pub fn bins(text: &str) -> Result<Layout, String> {
    let number = |text: &str| -> Option<u64> {
        let plain = !text.is_empty() && text.len() <= 4 && text.bytes().all(|b| b.is_ascii_digit());
        if plain { text.parse().ok() } else { None }
    };
    let bits = match text.strip_prefix("2^") {
        Some(exponent) => number(exponent).and_then(|bits| u32::try_from(bits).ok()),
        None => number(text).filter(|count| count.is_power_of_two()).map(u64::trailing_zeros),
    };
    match bits.filter(|bits| (1..=limits::PUBLISH_BIN_BITS).contains(bits)) {
        Some(bits) => Ok(Layout::Bins(bits)),
        None => Err("the number of bins is a power of two from 2 to 1024, for example 256 or 2^8".to_owned()),
    }
}

/// A number of hash bins, or `none`: everything in one file.
pub fn bins_or_none(text: &str) -> Result<Layout, String> {
    if text == "none" { Ok(Layout::OneFile) } else { bins(text).map_err(|why| format!("{why}; or `none`")) }
}

/// A role that a person signs for: `targets`, a signer, or a reserved role.
pub fn role(text: &str) -> Result<RoleName, String> {
    RoleName::parse(text).map_err(|e| e.to_string())
}

/// A fingerprint: 64 hex digits in lower case.
pub fn fingerprint(text: &str) -> Result<String, String> {
    let fits = text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if fits { Ok(text.to_owned()) } else { Err("a fingerprint is 64 hex digits in lower case".to_owned()) }
}

/// `KEY=VALUE`.
pub fn annotation(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("a statement is KEY=VALUE".to_owned()),
    }
}

/// A delegation pattern: `*` and `?` within path segments.
pub fn pattern(text: &str) -> Result<String, String> {
    let undefined = text.contains(['[', ']', '{', '}', '\\']) || text.contains("**");
    let literal = text.replace(['*', '?'], "x");
    if undefined || !text.is_ascii() || !trust_tuf::names::is_target_path(&literal) {
        return Err("a pattern is a path with `*` and `?`, for example `api/*`".to_owned());
    }
    if text.starts_with('_') && text.contains('/') {
        return Err("paths that begin with `_` are reserved".to_owned());
    }
    Ok(text.to_owned())
}

/// A time: `YYYY-MM-DDTHH:MM:SSZ`, or a day.
pub fn time(text: &str) -> Result<UtcTime, String> {
    UtcTime::parse(text)
        .or_else(|| UtcTime::parse(&format!("{text}T00:00:00Z")))
        .ok_or_else(|| "a time is YYYY-MM-DD or YYYY-MM-DDTHH:MM:SSZ".to_owned())
}

/// What is rotated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RotatedRole {
    /// The root keys.
    Root,
    /// The key of `targets`.
    Targets,
    /// An online key.
    Snapshot,
    /// An online key.
    Timestamp,
    /// A signer's key.
    Signer(RoleName),
}

/// `root`, `targets`, `snapshot`, `timestamp` or `signer:NAME`.
pub fn rotated_role(text: &str) -> Result<RotatedRole, String> {
    match text {
        "root" => Ok(RotatedRole::Root),
        "targets" => Ok(RotatedRole::Targets),
        "snapshot" => Ok(RotatedRole::Snapshot),
        "timestamp" => Ok(RotatedRole::Timestamp),
        other => match other.strip_prefix("signer:") {
            Some(name) => signer_or_reserved(name).map(RotatedRole::Signer),
            None => Err("a role is root, targets, snapshot, timestamp or signer:NAME".to_owned()),
        },
    }
}

/// A collection, or an image in one.
#[derive(Debug, Clone)]
pub enum Subject {
    /// A collection's name, or an image without tag and digest.
    Name(CollectionName),
    /// An image with a tag or digest.
    Image(Reference),
}

/// `NAME` or `NAME:TAG` or `NAME@DIGEST`.
pub fn subject(text: &str) -> Result<Subject, String> {
    if let Ok(name) = collection(text) {
        return Ok(Subject::Name(name));
    }
    let image = image(text)?;
    if image.is_tag_defaulted() {
        return collection(image.name()).map(Subject::Name);
    }
    Ok(Subject::Image(image))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_junk_is_refused() {
        assert_eq!(duration("60s").unwrap().as_secs(), 60);
        assert_eq!(duration("2m").unwrap().as_secs(), 120);
        assert_eq!(duration("5").unwrap().as_secs(), 5);
        for text in ["", "s", "-1s", "0s", "1.5h", "9999d", "99999999999999999999s", "1w", "１s"] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert!(overlap("0s").unwrap().is_zero());
        assert_eq!(overlap("5m").unwrap().as_secs(), 300);
        assert!(overlap("-5m").is_err());
    }

    #[test]
    fn an_exception_for_eight_days_is_refused() {
        for (text, seconds) in [("1m", 60), ("4h", 14_400), ("7d", 604_800), ("168h", 604_800)] {
            assert_eq!(exception_life(text).unwrap().as_secs(), seconds);
        }
        for text in ["8d", "169h", "0h", "4", "30s", "1w", "-1h", ""] {
            assert!(exception_life(text).is_err(), "{text}");
        }
    }

    #[test]
    fn signers_cannot_have_reserved_names() {
        for text in ["targets", "root", "_policy", "a/b", "", "A"] {
            assert!(signer(text).is_err(), "{text}");
        }
        assert!(signer("alice").is_ok());
        assert!(signer_or_reserved("alice").is_ok() && signer_or_reserved("_revoked").is_ok());
        assert!(signer_or_reserved("_revocations").unwrap_err().contains("_revoked"));
        assert!(signer_or_reserved("targets").is_err());
        assert!(rotated_role("signer:_policy").is_ok());
        assert!(rotated_role("signer:targets").is_err());
        assert!(rotated_role("alice").is_err());
    }

    #[test]
    fn numbers_of_bins_that_are_not_published_are_refused() {
        for (text, bits) in [("2", 1), ("256", 8), ("1024", 10), ("2^1", 1), ("2^10", 10)] {
            assert_eq!(bins(text), Ok(Layout::Bins(bits)), "{text}");
        }
        for text in
            ["", "0", "1", "3", "1000", "2048", "2^0", "2^11", "2^32", "2^", "^2", "-2", "+2", "2^+1", "none", "2 "]
        {
            assert!(bins(text).is_err(), "{text}");
        }
        assert_eq!(bins_or_none("none"), Ok(Layout::OneFile));
        assert!(bins_or_none("1").is_err());
    }

    #[test]
    fn patterns_that_clients_read_differently_are_refused() {
        for text in ["a[b]", "**", "a//b", "/a", "é", "_revoked/*", "a\\b", ""] {
            assert!(pattern(text).is_err(), "{text}");
        }
        assert!(pattern("api/*").is_ok());
    }

    #[test]
    fn sha512_is_not_signed() {
        assert!(digest(&format!("sha512:{}", "0".repeat(128))).is_err());
        assert!(digest(&format!("sha256:{}", "0".repeat(64))).is_ok());
    }
}
