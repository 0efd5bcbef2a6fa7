//! How text looks: marks, columns, times, digests. Colour never carries meaning alone; names from elsewhere are made
//! harmless before they reach a terminal.

use std::collections::BTreeMap;
use std::io::IsTerminal;

use trust_tuf::UtcTime;

use crate::cli::globals::ColorWhen;

/// Whether text is coloured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Style {
    /// Whether escapes may be written.
    pub color: bool,
}

impl Style {
    /// For the error stream.
    pub fn of_stderr(when: ColorWhen) -> Self {
        Self { color: decide(when, std::io::stderr().is_terminal()) }
    }

    /// For the answer.
    pub fn of_stdout(when: ColorWhen) -> Self {
        Self { color: decide(when, std::io::stdout().is_terminal()) }
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.color { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// `✓ WORD`
    pub fn good(self, word: &str) -> String {
        self.paint("32", &format!("✓ {word}"))
    }

    /// `! WORD`
    pub fn warn(self, word: &str) -> String {
        self.paint("33", &format!("! {word}"))
    }

    /// `✗ WORD`
    pub fn bad(self, word: &str) -> String {
        self.paint("31", &format!("✗ {word}"))
    }

    /// The beginning of an error.
    pub fn error(self, text: &str) -> String {
        self.paint("31", text)
    }
}

fn decide(when: ColorWhen, terminal: bool) -> bool {
    match when {
        ColorWhen::Always => true,
        ColorWhen::Never => false,
        ColorWhen::Auto => terminal,
    }
}

/// Text from elsewhere without anything that steers a terminal or turns the direction of writing.
pub fn plain(text: &str) -> String {
    trust_reader::verdict::printable(text)
}

/// The first 12 hex digits of a digest or key id, for tables.
pub fn short(hex: &str) -> String {
    let digits = hex.split_once(':').map_or(hex, |(_, digits)| digits);
    digits.chars().take(12).collect()
}

/// How long from now: `in 6 d 4 h`, `2 h ago`.
pub fn relative(time: UtcTime, now: UtcTime) -> String {
    let seconds = time.secs_since(now);
    let span = span(seconds.unsigned_abs());
    if seconds >= 0 { format!("in {span}") } else { format!("{span} ago") }
}

fn span(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, 0) => format!("{hours} h"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, 0, _) => format!("{days} d"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

/// `2026-11-20 14:02 UTC`
pub fn minute(time: UtcTime) -> String {
    let text = time.to_string();
    let day = text.get(..10).unwrap_or_default();
    let clock = text.get(11..16).unwrap_or_default();
    format!("{day} {clock} UTC")
}

/// Lines of `label  value`, the labels in one column, indented by two.
pub fn facts<L: AsRef<str>, V: AsRef<str>>(pairs: impl IntoIterator<Item = (L, V)>) -> String {
    let pairs: Vec<(L, V)> = pairs.into_iter().collect();
    let width = pairs.iter().map(|(label, _)| label.as_ref().chars().count()).max().unwrap_or(0).max(8);
    let mut out = String::new();
    for (label, value) in &pairs {
        let mut lines = value.as_ref().lines();
        out.push_str(&format!("  {:<width$} {}\n", label.as_ref(), lines.next().unwrap_or_default()));
        for line in lines {
            out.push_str(&format!("  {:<width$} {line}\n", ""));
        }
    }
    out
}

/// A table: the first row is the heading. Columns are as wide as their widest cell; the last is not padded.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let padding = width.saturating_sub(cell.chars().count());
            line.push_str(cell);
            line.push_str(&" ".repeat(padding.saturating_add(2)));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// Roles with their versions. Of hash bins, which can be a thousand, from the fourth on only how many.
pub fn role_versions(roles: &BTreeMap<String, u64>) -> Vec<String> {
    const SHOWN: usize = 3;
    let family = |role: &str| -> Option<String> {
        let (prefix, digits) = role.rsplit_once('-')?;
        let is_number = !digits.is_empty() && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        is_number.then(|| prefix.to_owned())
    };
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for prefix in roles.keys().filter_map(|role| family(role)) {
        *counts.entry(prefix).or_default() += 1;
    }
    let mut told = Vec::new();
    for (role, version) in roles {
        match family(role).and_then(|prefix| counts.get_mut(&prefix).map(|count| (prefix, count))) {
            Some((_, 0)) => {}
            Some((prefix, count)) if *count > SHOWN => {
                told.push(format!("{count} roles {}-*", plain(&prefix)));
                *count = 0;
            }
            _ => told.push(format!("{} v{version}", plain(role))),
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_bins_are_told_in_a_word() {
        let of = |names: &[String]| role_versions(&names.iter().map(|name| (name.clone(), 1)).collect());
        let bins: Vec<String> = (0..16).map(|n| format!("ci.b1-{n:x}")).collect();
        let few: Vec<String> = ["alice-x", "ci.b1-3", "ci.b1-a", "targets"].map(str::to_owned).to_vec();
        assert_eq!(of(&few), ["alice-x v1", "ci.b1-3 v1", "ci.b1-a v1", "targets v1"]);
        assert_eq!(of(&[few, bins].concat()), ["alice-x v1", "16 roles ci.b1-*", "targets v1"]);
    }

    #[test]
    fn names_from_elsewhere_cannot_steer_a_terminal() {
        for hostile in
            ["\u{1b}[2J", "a\rb", "a\nb", "\u{202e}evil", "\u{2066}x", "\u{200b}", "\u{7}", "\u{9b}31m", "\u{feff}"]
        {
            let shown = plain(hostile);
            assert!(
                !shown.chars().any(|c| c.is_control() || "\u{202e}\u{2066}\u{200b}\u{feff}".contains(c)),
                "{shown:?}"
            );
        }
        assert_eq!(plain("pay/api é 界"), "pay/api é 界");
    }

    #[test]
    fn times_are_told_in_words() {
        let now = UtcTime::from_unix(1_000_000).unwrap();
        for (seconds, words) in [
            (0, "in 0 s"),
            (59, "in 59 s"),
            (60, "in 1 min"),
            (3_600, "in 1 h"),
            (86_400 * 6 + 3_600 * 4, "in 6 d 4 h"),
            (-7_260, "2 h 1 min ago"),
        ] {
            assert_eq!(relative(now.plus_secs(seconds).unwrap(), now), words);
        }
    }

    #[test]
    fn tables_have_columns_and_no_blanks_at_the_end() {
        let rows = vec![vec!["TAG".to_owned(), "BY".to_owned()], vec!["v1.0".to_owned(), "alice".to_owned()]];
        assert_eq!(table(&rows), "TAG   BY\nv1.0  alice\n");
    }
}
