//! Lengths of time, as people write them: `60s`, `5m`, `1h`, `7d`.

use std::time::Duration;

use serde::Deserialize;

/// A number with `s`, `m`, `h` or `d`.
fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let factor = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let seconds = u64::from(number.parse::<u32>().ok()?) * factor;
    Some(Duration::from_secs(seconds))
}

pub(super) fn duration_or_zero<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    duration(&text).ok_or_else(|| {
        serde::de::Error::custom(format!("{text:?} is no duration: a number with s, m, h or d, for example 60s"))
    })
}

pub(super) fn optional_duration<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    duration_or_zero(deserializer).map(Some)
}
