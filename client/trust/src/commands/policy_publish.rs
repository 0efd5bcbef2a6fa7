//! `trust policy publish`: the files of a folder become the policy of a collection, all at once.
//!
//! Invariants: what does not load strictly is not signed; rules and dictionary change in one publication; what is no longer
//! in the folder is removed, so that the folder is what is in force afterwards. Each kind is signed in its one role: the
//! role of its name where `targets` delegates it, else `targets`. What held so far (a rule that forbids, a governed label, what
//! a value is fit for) changes or leaves only where somebody says so with the collection's name; and a collection that
//! carries images gets no policy at all.

use std::collections::BTreeMap;

use serde_json::Value;
use trust_policy::{Policy, RuleInfo, Source};
use trust_reader::verdict::Problem;
use trust_tuf::{RoleName, TargetInfo, reserved};

use crate::app::App;
use crate::cli::policy::PolicyPublish;
use crate::keyring::{Keyring, Kind};
use crate::output::{PolicyChanges, PolicyPublished};
use crate::policy::folder::{Folder, KINDS};
use crate::policy::in_force::{InForce, pin_of_policy};
use crate::policy::{images, weakening};
use crate::printer::{Answer, Printer};
use crate::publish::{self, Change};
use crate::session::Session;
use crate::signing;
use crate::style::{self, Style};

/// Lines of a file that are compared; beyond, the file is shown as changed without its lines.
const MAX_LINES: usize = 1_000;
/// Lines of a difference that are shown for one file.
const MAX_SHOWN: usize = 60;

/// Runs the command.
pub fn run(app: &App, printer: &Printer, args: &PolicyPublish) -> Result<PolicyPublished, Problem> {
    app.need_network("publishing a policy")?;
    let folder = Folder::read(&args.folder)?;
    let policy = folder.load()?;
    let pin = pin_of_policy(app, args.collection.as_ref())?;
    let mut keyring = Keyring::new(app, &args.keys)?;
    if !args.change.dry_run {
        keyring.expect_answer(Kind::Other)?;
    }
    publish::with_retries(
        |text| printer.note(text),
        || {
            let session = Session::for_change(app, pin)?;
            attempt(app, printer, &mut keyring, session, args, &folder, &policy)
        },
    )
}

fn attempt(
    app: &App,
    printer: &Printer,
    keyring: &mut Keyring<'_>,
    mut session: Session,
    args: &PolicyPublish,
    folder: &Folder,
    policy: &Policy,
) -> Result<PolicyPublished, Problem> {
    images::refuse(app, &mut session)?;
    let before = InForce::read(app, &mut session)?;
    let changes = compare(&before, folder, policy);
    // Before it is signed, so that whoever is asked for a passphrase has seen what for.
    for line in difference_text(&before.sources, &folder.sources, &changes) {
        printer.note(&line);
    }
    let publication = match args.change.dry_run {
        true => None,
        false => {
            confirm(app, &before.identity.collection, &changes)?;
            let change = signed(app, keyring, &mut session, folder, &changes)?;
            let (mut session, publication) = publish::publish(app, session, &change)?;
            // Keeps the contents that are in force now, so that this machine decides by them offline too.
            InForce::read(app, &mut session)?;
            Some(publication)
        }
    };
    Ok(PolicyPublished {
        collection: before.identity.collection,
        folder: args.folder.display().to_string(),
        changes,
        warnings: policy.warnings().to_vec(),
        publication,
    })
}

/// Whoever takes away what holds names the collection.
fn confirm(app: &App, collection: &str, changes: &PolicyChanges) -> Result<(), Problem> {
    if changes.weakened.is_empty() {
        return Ok(());
    }
    let what = format!("What held in {collection} so far changes: {}.", changes.weakened.join("; "));
    app.terminal.confirm_name(&what, collection, app.globals.confirm.as_deref())
}

/// The role in which a kind counts.
fn role_of(session: &Session, kind: &str) -> RoleName {
    let delegated = session.reader.trusted().targets().delegations().is_some_and(|d| d.role(kind).is_some());
    let own = if delegated { RoleName::parse(kind).ok() } else { None };
    own.unwrap_or_else(RoleName::targets)
}

/// The next versions of the roles, signed, with the contents.
fn signed(
    app: &App,
    keyring: &mut Keyring<'_>,
    session: &mut Session,
    folder: &Folder,
    changes: &PolicyChanges,
) -> Result<Change, Problem> {
    let touched: Vec<&String> =
        [&changes.files_added, &changes.files_removed, &changes.files_changed].into_iter().flatten().collect();
    let mut kinds: BTreeMap<RoleName, Vec<&str>> = BTreeMap::new();
    for (_, _, kind) in KINDS {
        kinds.entry(role_of(session, kind)).or_default().push(kind);
    }
    let mut change = Change::default();
    // A role whose files stay is not signed again, unless everything stays: then this renews the expiry.
    let stays = |kinds: &[&str]| !touched.iter().any(|path| reserved::kind(path).is_some_and(|k| kinds.contains(&k)));
    let all_stay = touched.is_empty();
    for (role, kinds) in kinds {
        if stays(&kinds) && !all_stay {
            continue;
        }
        let file = session.role(app, role.as_str())?;
        let mut draft = signing::next_version(app, &file)?;
        let is_ours = |path: &str| reserved::kind(path).is_some_and(|kind| kinds.contains(&kind));
        for path in file.paths().filter(|path| is_ours(path)) {
            draft.remove_target(path);
        }
        for source in folder.sources.iter().filter(|source| is_ours(&source.path)) {
            draft.set_target(&source.path, &TargetInfo::of(&source.bytes));
            change.blobs.push((source.path.clone(), source.bytes.clone()));
        }
        let bytes = signing::sign_as(session, keyring, &role, &draft, true)?;
        change.roles.insert(role, bytes);
    }
    Ok(change)
}

/// How the folder differs from what is in force.
fn compare(before: &InForce, folder: &Folder, policy: &Policy) -> PolicyChanges {
    let files = |sources: &[Source]| -> BTreeMap<String, Vec<u8>> {
        sources.iter().map(|source| (source.path.clone(), source.bytes.clone())).collect()
    };
    let (files_added, files_removed, files_changed, _) = split(&files(&before.sources), &files(&folder.sources));
    // By content, wherever it stands: a rule that moves to another file is no other rule.
    let rules = |policy: &Policy| -> BTreeMap<String, String> {
        let text = |rule: &RuleInfo| (rule.id.clone(), rule.source.clone());
        policy.rules().map(text).collect()
    };
    let has_policy = before.sources.iter().any(|source| source.path.starts_with("_policy/"));
    let (old, weakened, not_compared) = match before.load() {
        Ok(old) => (rules(&old), weakening::between(&old, policy), None),
        Err(_) if !has_policy => (BTreeMap::new(), Vec::new(), None),
        Err(problem) => {
            let unknown = "what is in force does not load here, so that nobody sees what leaves".to_owned();
            (BTreeMap::new(), vec![unknown], Some(problem.headline))
        }
    };
    let (rules_added, rules_removed, rules_changed, rules_unchanged) = split(&old, &rules(policy));
    PolicyChanges {
        rules_added,
        rules_removed,
        rules_changed,
        rules_unchanged,
        files_added,
        files_removed,
        files_changed,
        not_compared,
        weakened,
    }
}

type Names = Vec<String>;

/// Added, removed, changed, unchanged.
fn split<V: PartialEq>(old: &BTreeMap<String, V>, new: &BTreeMap<String, V>) -> (Names, Names, Names, Names) {
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

/// What changes, for people: rules by id, then the lines of the files.
fn difference_text(old: &[Source], new: &[Source], changes: &PolicyChanges) -> Vec<String> {
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
    if !changes.weakened.is_empty() {
        lines.extend(changes.weakened.iter().map(|what| format!("! {}", style::plain(what))));
        lines.push("! this takes away what held so far; publishing it wants --confirm COLLECTION".to_owned());
    }
    if lines.is_empty() {
        lines.push("  nothing changes but the version and the expiry".to_owned());
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

impl Answer for PolicyPublished {
    fn command(&self) -> &'static str {
        "policy publish"
    }

    fn json(&self) -> Value {
        crate::output::value(self)
    }

    fn text(&self, _: Style) -> String {
        String::new()
    }

    fn report(&self, style: Style) -> String {
        let changes = &self.changes;
        let rules = changes.rules_added.len() + changes.rules_changed.len() + changes.rules_unchanged.len();
        let warnings: String =
            self.warnings.iter().map(|text| format!("{} {}\n", style.warn("warning"), style::plain(text))).collect();
        let head = match &self.publication {
            Some(publication) => format!(
                "{} {} as the policy of {}   {}\n",
                style.good("published"),
                style::plain(&self.folder),
                self.collection,
                super::sign::published_text(publication)
            ),
            None => format!("{} {}: nothing was published\n", style.warn("dry run"), self.collection),
        };
        let counts = format!(
            "{rules}: {} new, {} changed, {} removed",
            changes.rules_added.len(),
            changes.rules_changed.len(),
            changes.rules_removed.len()
        );
        format!("{warnings}{head}{}", style::facts([("rules", counts)]))
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
