//! How a set of rules and labels differs from the one in force: rules by id, files by their lines, and what of it is to be confirmed.
//!
//! Invariant: what is shown before something is published and what `policy diff` shows are the same. Deliberately absent:
//! whether the change is wanted.

use std::collections::BTreeMap;

use trust_policy::{Dictionary, Policy, RuleInfo, Source};

use super::consequences;
use super::in_force::InForce;
use crate::output::PolicyChanges;
use crate::style;

/// Lines of a file that are compared; beyond, the file is shown as changed without its lines.
const MAX_LINES: usize = 1_000;
/// Lines of a difference that are shown for one file.
const MAX_SHOWN: usize = 60;

/// What would be in force instead.
pub struct New<'a> {
    /// The files.
    pub sources: &'a [Source],
    /// What they load to; nothing if there are no rules among them, or if they do not load.
    pub policy: Option<&'a Policy>,
    /// Their dictionary.
    pub dictionary: Option<&'a Dictionary>,
}

/// How it differs from what is in force.
pub fn compare(before: &InForce, new: &New<'_>) -> PolicyChanges {
    let (files_added, files_removed, files_changed, _) = split(&by_path(&before.sources), &by_path(new.sources));
    let mut changes = PolicyChanges { files_added, files_removed, files_changed, ..PolicyChanges::default() };
    // By content, wherever it stands: a rule that moves to another file is no other rule.
    let rules = |policy: &Policy| -> BTreeMap<String, String> {
        let text = |rule: &RuleInfo| (rule.id.clone(), rule.source.clone());
        policy.rules().map(text).collect()
    };
    let mut old_rules = BTreeMap::new();
    if before.has_rules() {
        match (before.load(), new.policy) {
            (Ok(old), policy) => {
                old_rules = rules(&old);
                changes.to_confirm = policy.map(|new| consequences::between(&old, new)).unwrap_or_default();
            }
            (Err(problem), _) => {
                changes.to_confirm =
                    vec!["what is in force does not load here, so that nobody sees what changes".to_owned()];
                changes.not_compared = Some(problem.headline);
            }
        }
    } else if let (Ok((old, _)), Some(new)) = (Dictionary::load(&before.sources), new.dictionary) {
        changes.to_confirm = consequences::dictionaries(&old, new);
    }
    let new_rules = new.policy.map(rules).unwrap_or_default();
    (changes.rules_added, changes.rules_removed, changes.rules_changed, changes.rules_unchanged) =
        split(&old_rules, &new_rules);
    changes
}

/// Files by path.
pub fn by_path(sources: &[Source]) -> BTreeMap<String, Vec<u8>> {
    sources.iter().map(|source| (source.path.clone(), source.bytes.clone())).collect()
}

type Names = Vec<String>;

/// Added, removed, changed, unchanged.
pub fn split<V: PartialEq>(old: &BTreeMap<String, V>, new: &BTreeMap<String, V>) -> (Names, Names, Names, Names) {
    let names = |of: &BTreeMap<String, V>, keep: &dyn Fn(&str, &V) -> bool| -> Names {
        of.iter().filter(|(name, value)| keep(name, value)).map(|(name, _)| name.clone()).collect()
    };
    (
        names(new, &|name, _| !old.contains_key(name)),
        names(old, &|name, _| !new.contains_key(name)),
        names(new, &|name, value| old.get(name).is_some_and(|before| before != value)),
        names(new, &|name, value| old.get(name) == Some(value)),
    )
}

/// What changes, for people: rules by id, then the lines of the files. Empty if nothing does.
pub fn text(old: &[Source], new: &[Source], changes: &PolicyChanges) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(why) = &changes.not_compared {
        lines.push(format!("! what is in force does not load, and is replaced: {}", style::plain(why)));
    }
    let told = [("+", &changes.rules_added), ("-", &changes.rules_removed), ("~", &changes.rules_changed)];
    for (mark, ids) in told {
        lines.extend(ids.iter().map(|id| format!("{mark} rule {}", style::plain(id))));
    }
    let text = |sources: &[Source], path: &str| {
        let found = sources.iter().find(|source| source.path == path);
        found.map(|source| String::from_utf8_lossy(&source.bytes).into_owned()).unwrap_or_default()
    };
    let touched = [("+", &changes.files_added), ("-", &changes.files_removed), ("~", &changes.files_changed)];
    for (mark, paths) in touched {
        for path in paths {
            lines.push(format!("{mark} file {}", style::plain(path)));
            if mark == "~" {
                lines.extend(changed_lines(&text(old, path), &text(new, path)));
            }
        }
    }
    if !changes.to_confirm.is_empty() {
        lines.extend(changes.to_confirm.iter().map(|what| format!("! {}", style::plain(what))));
        lines.push("! this changes what is allowed or denied; publishing it wants --confirm COLLECTION".to_owned());
    }
    lines
}

/// The lines that leave and come, in order (a longest common subsequence keeps the others).
fn changed_lines(old: &str, new: &str) -> Vec<String> {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    if old.len() > MAX_LINES || new.len() > MAX_LINES {
        return vec![format!("    {} lines before, {} now", old.len(), new.len())];
    }
    let mut out: Vec<String> = Vec::new();
    for (mark, line) in walk(&old, &new) {
        out.push(format!("    {mark} {}", style::plain(line)));
    }
    if out.len() > MAX_SHOWN {
        let more = out.len().saturating_sub(MAX_SHOWN);
        out.truncate(MAX_SHOWN);
        out.push(format!("    … and {more} more"));
    }
    out
}

fn walk<'t>(old: &[&'t str], new: &[&'t str]) -> Vec<(char, &'t str)> {
    // common[i][j]: length of the longest common subsequence of old[i..] and new[j..].
    let width = new.len().saturating_add(1);
    let mut common = vec![0_u32; width.saturating_mul(old.len().saturating_add(1))];
    let at = |i: usize, j: usize| i.saturating_mul(width).saturating_add(j);
    let read = |common: &[u32], i: usize, j: usize| common.get(at(i, j)).copied().unwrap_or(0);
    for (i, a) in old.iter().enumerate().rev() {
        for (j, b) in new.iter().enumerate().rev() {
            let length = match a == b {
                true => read(&common, i + 1, j + 1).saturating_add(1),
                false => read(&common, i + 1, j).max(read(&common, i, j + 1)),
            };
            if let Some(cell) = common.get_mut(at(i, j)) {
                *cell = length;
            }
        }
    }
    let (mut i, mut j, mut out) = (0, 0, Vec::new());
    loop {
        match (old.get(i), new.get(j)) {
            (Some(a), Some(b)) if a == b => (i, j) = (i + 1, j + 1),
            (Some(a), Some(_)) if read(&common, i + 1, j) >= read(&common, i, j + 1) => {
                out.push(('-', *a));
                i += 1;
            }
            (_, Some(b)) => {
                out.push(('+', *b));
                j += 1;
            }
            (Some(a), None) => {
                out.push(('-', *a));
                i += 1;
            }
            (None, None) => return out,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_shows_the_lines_that_leave_and_come_and_no_others() {
        let lines = changed_lines("a\nb\nc\n", "a\nx\nc\nd\n");
        assert_eq!(lines, ["    - b", "    + x", "    + d"]);
        assert!(changed_lines("a\n", "a\n").is_empty());
        assert_eq!(changed_lines("", "a\u{1b}[2J\n"), ["    + a\\u{1b}[2J"]);
        let long = "x\n".repeat(MAX_LINES + 1);
        assert_eq!(changed_lines(&long, "").len(), 1);
        let (many, none) = ("x\n".repeat(MAX_LINES), String::new());
        assert_eq!(changed_lines(&many, &none).len(), MAX_SHOWN + 1);
    }

    #[test]
    fn a_rule_that_leaves_is_told() {
        let of = |rules: &[(&str, &str)]| -> BTreeMap<String, String> {
            rules.iter().map(|(id, text)| ((*id).to_owned(), (*text).to_owned())).collect()
        };
        let (added, removed, changed, unchanged) =
            split(&of(&[("a", "1"), ("b", "1"), ("c", "1")]), &of(&[("b", "1"), ("c", "2"), ("d", "1")]));
        assert_eq!((added, removed), (vec!["d".to_owned()], vec!["a".to_owned()]));
        assert_eq!((changed, unchanged), (vec!["c".to_owned()], vec!["b".to_owned()]));
    }
}
