//! `trust policy diff | log`: a folder against what is in force, and how that came to be.
//!
//! Invariant: what a version says is shown only if the keys that its role has today signed it; times and tokens are the
//! server's word, and called so.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use trust_policy::{Dictionary, Policy, PolicyIdentity};
use trust_reader::api::LOG_PAGE;
use trust_reader::verdict::Problem;
use trust_tuf::model::Role;
use trust_tuf::{RoleName, Targets, UtcTime, Verified, reserved};
use trust_wire::api::LogEntry;

use super::diff::digests;
use crate::app::App;
use crate::cli::policy::{PolicyDiff, PolicyLogArgs};
use crate::cli::values;
use crate::fault as usage;
use crate::history;
use crate::output::{PolicyChanges, PolicyDifference, PolicyLog, PolicyLogEntry};
use crate::policy::difference::{self, New};
use crate::policy::folder::Folder;
use crate::policy::in_force::{InForce, pin_of_policy};
use crate::policy::{fault, roles};
use crate::printer::Answer;
use crate::server;
use crate::session::Session;
use crate::style::{self, Style};

/// The kinds that the history of a policy is made of.
const KINDS: [&str; 3] = ["_policy", "_labels", "_exceptions"];
/// Pages of the server's log that are read.
const MAX_PAGES: usize = 50;

/// Runs `trust policy diff`.
pub fn diff(app: &App, args: &PolicyDiff) -> Result<Box<dyn Answer>, Problem> {
    let collection = |text: &String| values::collection(text).map_err(|why| usage::usage(&format!("`{text}`: {why}")));
    match (args.from, args.names.as_slice()) {
        (Some(from), []) => Ok(Box::new(versions(app, args, from, None)?)),
        (Some(from), [name]) => Ok(Box::new(versions(app, args, from, Some(collection(name)?))?)),
        (Some(_), _) => Err(usage::usage("--from compares published versions: name the collection alone")),
        (None, [folder]) => Ok(Box::new(with_folder(app, Path::new(folder), None)?)),
        (None, [folder, name]) => Ok(Box::new(with_folder(app, Path::new(folder), Some(collection(name)?))?)),
        (None, _) => Err(usage::usage("name the folder to compare: trust policy diff DIR [COLLECTION]")),
    }
}

fn with_folder(app: &App, path: &Path, named: Option<trust_tuf::CollectionName>) -> Result<Compared, Problem> {
    let folder = Folder::read(path)?;
    let mut session = Session::open(app, pin_of_policy(app, named.as_ref())?)?;
    let before = InForce::read(app, &mut session)?;
    let loaded = Policy::load(&folder.sources, PolicyIdentity::folder());
    let dictionary = Dictionary::load(&folder.sources).ok().map(|(dictionary, _)| dictionary);
    let new = New { sources: &folder.sources, policy: loaded.as_ref().ok(), dictionary: dictionary.as_ref() };
    let mut changes = difference::compare(&before, &new);
    let lines = match &loaded {
        Ok(_) => difference::text(&before.sources, &folder.sources, &changes),
        Err(error) => {
            // Without rules on one side every rule would seem to come or to leave.
            changes = PolicyChanges {
                files_added: changes.files_added,
                files_removed: changes.files_removed,
                files_changed: changes.files_changed,
                not_compared: Some(format!("the folder does not load: {error}")),
                ..PolicyChanges::default()
            };
            let quiet = PolicyChanges { not_compared: None, ..changes.clone() };
            let why =
                format!("! the folder does not load, and could not be published: {}", style::plain(&error.to_string()));
            [vec![why], difference::text(&before.sources, &folder.sources, &quiet)].concat()
        }
    };
    let same = is_same(&changes);
    let (collection, to) = (before.identity.collection.clone(), before.identity.version);
    let shown = path.display().to_string();
    let problem = (!same).then(|| fault::differs(&shown, &collection, to));
    let report = PolicyDifference { collection, folder: Some(shown), role: None, from: None, to, same, changes };
    Ok(Compared { report, lines, problem })
}

fn is_same(changes: &PolicyChanges) -> bool {
    changes.files_added.is_empty() && changes.files_removed.is_empty() && changes.files_changed.is_empty()
}

fn versions(
    app: &App,
    args: &PolicyDiff,
    from: u64,
    named: Option<trust_tuf::CollectionName>,
) -> Result<Compared, Problem> {
    app.need_network("comparing with an older version")?;
    let mut session = Session::open(app, pin_of_policy(app, named.as_ref())?)?;
    let role = roles::role_of(&session, if args.labels { "_labels" } else { "_policy" });
    let current = session.role(app, role.as_str())?;
    let newest = current.version().get();
    let to = args.to.unwrap_or(newest);
    if from == 0 || from >= to || to > newest {
        return Err(usage::usage(&format!("`{role}` has versions 1 to {newest}; give --from below --to")));
    }
    let newer = if to == newest { current } else { history::version(app, &session, &role, to)? };
    let older = history::version(app, &session, &role, from)?;
    let changes = changed_files(&older, &newer, &KINDS);
    let lines = difference::text(&[], &[], &changes);
    let (collection, same) = (session.collection.to_string(), is_same(&changes));
    let problem = (!same).then(|| fault::versions_differ(role.as_str(), &collection, from, to));
    let (role, from) = (Some(role.to_string()), Some(from));
    let report = PolicyDifference { collection, folder: None, role, from, to, same, changes };
    Ok(Compared { report, lines, problem })
}

/// The reserved files of these kinds that came, left and changed.
fn changed_files(older: &Targets, newer: &Targets, kinds: &[&str]) -> PolicyChanges {
    let files = |file: &Targets| -> BTreeMap<String, String> {
        let is_ours = |path: &str| reserved::kind(path).is_some_and(|kind| kinds.contains(&kind));
        digests(file).into_iter().filter(|(path, _)| is_ours(path)).collect()
    };
    let (files_added, files_removed, files_changed, _) = difference::split(&files(older), &files(newer));
    PolicyChanges { files_added, files_removed, files_changed, ..PolicyChanges::default() }
}

/// What was compared. That it differs is a finding, of a folder and of two versions.
struct Compared {
    report: PolicyDifference,
    lines: Vec<String>,
    problem: Option<Problem>,
}

impl Answer for Compared {
    fn command(&self) -> &'static str {
        "policy diff"
    }

    fn json(&self) -> Value {
        let mut value = crate::output::value(&self.report);
        if let (Some(problem), Some(members)) = (&self.problem, value.as_object_mut()) {
            members.insert("code".to_owned(), problem.id().into());
        }
        value
    }

    fn text(&self, _: Style) -> String {
        let report = &self.report;
        let head = match (&report.folder, &report.role, report.from) {
            (Some(folder), ..) => format!("{} v{} to {}", report.collection, report.to, style::plain(folder)),
            (_, Some(role), Some(from)) => format!("{role} of {}   v{from} to v{}", report.collection, report.to),
            _ => report.collection.clone(),
        };
        let lines: String = self.lines.iter().map(|line| format!("{line}\n")).collect();
        format!("{head}\n{}", if lines.is_empty() { "  nothing differs\n".to_owned() } else { lines })
    }

    fn problems(&self) -> Vec<&Problem> {
        self.problem.iter().collect()
    }
}

/// Runs `trust policy log`.
pub fn log(app: &App, args: &PolicyLogArgs) -> Result<PolicyLog, Problem> {
    app.need_network("the history of a policy")?;
    let pin = pin_of_policy(app, args.collection.as_ref())?;
    let mut session = Session::open(app, pin)?;
    let address = server::address(app, Some(pin))?;
    let said = server_log(app, &address, &session)?;
    let mut names: Vec<RoleName> = KINDS.iter().map(|kind| roles::role_of(&session, kind)).collect();
    // Where a kind has its own role now, `targets` may have held it before.
    names.push(RoleName::targets());
    names.sort();
    names.dedup();
    let mut entries = Vec::new();
    for role in &names {
        entries.extend(of_role(app, &mut session, role, args.limit, &said)?);
    }
    // Newest first; what the server does not tell about stands last.
    entries.sort_by(|(a, x), (b, y)| (b, y.version).cmp(&(a, x.version)).then_with(|| x.role.cmp(&y.role)));
    let entries = entries.into_iter().map(|(_, entry)| entry).collect();
    Ok(PolicyLog { collection: session.collection.to_string(), server: address, entries })
}

/// The server's log: which publication brought which version of a role.
fn server_log(app: &App, address: &str, session: &Session) -> Result<Vec<LogEntry>, Problem> {
    let api = server::api(app, address)?;
    let (mut entries, mut before) = (Vec::new(), None);
    for _ in 0..MAX_PAGES {
        let page = app.wait(api.log(&session.collection, before, LOG_PAGE))?.entries;
        let Some(last) = page.last().map(|entry| entry.sequence) else { break };
        entries.extend(page);
        if last <= 1 || Some(last) == before {
            break;
        }
        before = Some(last);
    }
    Ok(entries)
}

/// The newest versions of one role with what each changed, and their place in the server's log.
fn of_role(
    app: &App,
    session: &mut Session,
    role: &RoleName,
    limit: u64,
    said: &[LogEntry],
) -> Result<Vec<(u64, PolicyLogEntry)>, Problem> {
    // A role that cannot be used has no history that is verified.
    let Ok(current) = session.role(app, role.as_str()) else { return Ok(Vec::new()) };
    let newest = current.version().get();
    let oldest = newest.saturating_sub(limit.saturating_sub(1)).max(1);
    let mut newer = Some(current);
    let mut entries = Vec::new();
    for number in (oldest..=newest).rev() {
        let older = match number {
            1 => Ok(None),
            n => history::version(app, session, role, n.saturating_sub(1)).map(Some),
        };
        let told = said.iter().find(|entry| entry.roles.get(role.as_str()) == Some(&number));
        let mut entry = PolicyLogEntry {
            role: role.to_string(),
            version: number,
            time: told.map(|entry| entry.time.clone()),
            token: told.map(|entry| entry.token.clone()),
            signed_by: Vec::new(),
            added: Vec::new(),
            changed: Vec::new(),
            removed: Vec::new(),
            granted: Vec::new(),
            ended: Vec::new(),
            own_role: if number == 1 { own_role(session, role) } else { None },
            fault: None,
        };
        let Some(file) = newer.take() else { break };
        entry.signed_by = file.signers().iter().map(|id| id.as_str().to_owned()).collect();
        let cut = match older {
            Ok(older) => {
                let empty = BTreeMap::new();
                let before = older.as_ref().map(|file| ours(file)).unwrap_or(empty);
                let after = ours(&file);
                let (added, removed, changed, _) = difference::split(&before, &after);
                entry.granted = added.iter().filter_map(|path| granted_text(&file, path)).collect();
                let left = |file: &Verified<Targets>| -> Vec<String> {
                    removed.iter().filter_map(|path| ended_text(file, path, entry.time.as_deref())).collect()
                };
                entry.ended = older.as_ref().map(left).unwrap_or_default();
                (entry.added, entry.removed, entry.changed) = (added, removed, changed);
                newer = older;
                false
            }
            Err(problem) if problem.exit() == trust_reader::catalogue::exit::THRESHOLD => {
                entry.fault =
                    Some(format!("v{} is not signed by the keys of today: what changed is not shown", number - 1));
                true
            }
            Err(problem) => return Err(problem),
        };
        let is_empty = entry.added.is_empty() && entry.removed.is_empty() && entry.changed.is_empty();
        // `targets` changes for other reasons too.
        if !(role.is_targets() && is_empty && entry.fault.is_none()) {
            entries.push((told.map_or(0, |entry| entry.sequence), entry));
        }
        if cut || number == 1 {
            break;
        }
    }
    Ok(entries)
}

fn ours(file: &Targets) -> BTreeMap<String, String> {
    let is_ours = |path: &str| reserved::kind(path).is_some_and(|kind| KINDS.contains(&kind));
    digests(file).into_iter().filter(|(path, _)| is_ours(path)).collect()
}

/// What the first file of a reserved role begins: `keys 5f70bf18a086, 1 of 1`.
fn own_role(session: &Session, role: &RoleName) -> Option<String> {
    roles::kind_of(role.as_str())?;
    let keys = session.keys_of(role)?;
    let ids: Vec<&str> = keys.keyids().iter().map(|id| id.short()).collect();
    Some(format!("keys {}, {} of {}", ids.join(", "), keys.threshold(), ids.len()))
}

/// How an exception that left ended: by its time, or before.
fn ended_text(file: &Targets, path: &str, published: Option<&str>) -> Option<String> {
    let custom = file.target(path)?.custom?;
    let exception = custom.get("exception")?;
    let expires = exception.get("expires").and_then(trust_tuf::json::Value::as_str)?;
    Some(ended_words(path, expires, published))
}

fn ended_words(path: &str, expires: &str, published: Option<&str>) -> String {
    let name = path.rsplit('/').next().unwrap_or(path).trim_end_matches(".json");
    match (UtcTime::parse(expires), published.and_then(UtcTime::parse)) {
        (Some(end), Some(at)) if at < end => format!("{name}: revoked, it would have held until {expires}"),
        (Some(_), Some(_)) => format!("{name}: had expired at {expires}"),
        // When this was nobody says.
        _ => format!("{name}: it held until {expires} at most"),
    }
}

/// An exception that was granted, as its signer described it beside its hash.
fn granted_text(file: &Targets, path: &str) -> Option<String> {
    reserved::kind(path).filter(|kind| *kind == "_exceptions")?;
    let custom = file.target(path)?.custom?;
    let exception = custom.get("exception")?;
    let text = |member: &str| exception.get(member).and_then(trust_tuf::json::Value::as_str).unwrap_or_default();
    let rules = exception.get("rules").and_then(trust_tuf::json::Value::as_array).unwrap_or_default();
    let rules: Vec<&str> = rules.iter().filter_map(trust_tuf::json::Value::as_str).collect();
    Some(format!(
        "{} in {}: {} until {}, for: {}",
        text("image"),
        text("environment"),
        rules.join(", "),
        text("expires"),
        text("reason")
    ))
}

impl Answer for PolicyLog {
    fn command(&self) -> &'static str {
        "policy log"
    }

    fn json(&self) -> Value {
        crate::output::value(self)
    }

    fn text(&self, _: Style) -> String {
        let mut text = String::new();
        for entry in &self.entries {
            let when =
                entry.time.as_deref().and_then(UtcTime::parse).map_or("time not known".to_owned(), style::minute);
            let keys: Vec<String> = entry.signed_by.iter().map(|id| style::plain(&style::short(id))).collect();
            let token =
                entry.token.as_ref().map(|token| format!("   token {}", style::plain(token))).unwrap_or_default();
            text.push_str(&format!(
                "{} v{}   {when}   signed by {}{token}\n",
                style::plain(&entry.role),
                entry.version,
                keys.join(", ")
            ));
            if let Some(keys) = &entry.own_role {
                text.push_str(&format!("  moved into a role of its own: {}\n", style::plain(keys)));
            }
            for (mark, files) in [("+", &entry.added), ("-", &entry.removed), ("~", &entry.changed)] {
                text.extend(files.iter().map(|file| format!("  {mark} {}\n", style::plain(file))));
            }
            text.extend(entry.granted.iter().map(|what| format!("    granted {}\n", style::plain(what))));
            text.extend(entry.ended.iter().map(|what| format!("    ended   {}\n", style::plain(what))));
            match &entry.fault {
                Some(fault) => text.push_str(&format!("  ! {fault}\n")),
                None if entry.added.is_empty() && entry.removed.is_empty() && entry.changed.is_empty() => {
                    text.push_str("  signed again, nothing else\n");
                }
                None => {}
            }
        }
        text
    }

    fn report(&self, _: Style) -> String {
        format!("times and tokens are the word of {}; everything else is signed\n", style::plain(&self.server))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exception_that_was_revoked_and_one_that_had_expired_are_told_apart() {
        let (path, end) = ("_exceptions/20261121-1c8f0e5d.json", "2026-11-21T12:00:00Z");
        let words = |published| ended_words(path, end, published);
        assert!(words(Some("2026-11-21T11:59:59Z")).starts_with("20261121-1c8f0e5d: revoked"));
        assert!(words(Some("2026-11-21T12:00:00Z")).contains("had expired"));
        assert!(words(None).contains("at most"), "nobody guesses");
    }
}
