//! `trust list`: collections pinned here, or what is signed in one.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use trust_image::target::{self, Entry};
use trust_image::{Digest, Reference};
use trust_reader::verdict::Problem;
use trust_reader::verify::{digest_of, facts_in, revocable};
use trust_tuf::{CollectionName, TargetInfo, UtcTime};

use super::pin;
use crate::anchors;
use crate::app::App;
use crate::cli::images::List;
use crate::fault;
use crate::output::{Collections, Listed, ListedEntry};
use crate::printer::Answer;
use crate::session::Session;
use crate::style::{self, Style};

/// Runs the command.
pub fn run(app: &App, args: &List) -> Result<Box<dyn Answer>, Problem> {
    let named = match (&args.collection, &app.settings.collection) {
        (Some(collection), _) => Some(collection.clone()),
        (None, Some(tree)) => CollectionName::parse(&tree.value).ok(),
        (None, None) => None,
    };
    match named {
        None => {
            if app.settings.pins.is_empty() {
                return Err(fault::nothing_pinned());
            }
            let pins = app.settings.pins.iter().map(|pin| pin::entry(app, pin));
            Ok(Box::new(Collections { collections: pins.collect() }))
        }
        Some(collection) => {
            let (listed, problems) = listed(app, &collection, args.digests)?;
            if listed.entries.is_empty() && problems.is_empty() {
                return Err(fault::nothing_signed(collection.as_str()));
            }
            Ok(Box::new(Table { listed, problems, now: app.now()? }))
        }
    }
}

/// One path, as the signers list it in their order.
struct Statements {
    all: Vec<(String, TargetInfo, UtcTime)>,
}

/// The entries, and what stood in the way of deciding about some of them: each cause once.
fn listed(app: &App, collection: &CollectionName, digests: bool) -> Result<(Listed, Vec<Problem>), Problem> {
    let mut session = Session::open(app, anchors::pin_of(app, collection)?)?;
    let unusable = session.load_all_with_bins(app)?;
    // Every path that some role lists; what counts for it is asked of the search itself, as verify does.
    let mut paths: BTreeSet<String> = BTreeSet::new();
    for file in session.signers().iter().flat_map(|signer| session.files_of(signer)) {
        let wanted = |path: &&str| {
            target::image_of(collection.as_str(), path).is_ok_and(|i| digests || matches!(i.entry, Entry::Tag(_)))
        };
        paths.extend(file.paths().filter(wanted).map(str::to_owned));
    }
    let mut entries = Vec::new();
    let mut undecided = BTreeMap::new();
    // A role that cannot be used may list more than can be shown here.
    let mut problems: Vec<Problem> = Vec::new();
    for (_, problem) in &unusable {
        note_once(&mut problems, problem.clone());
    }
    for path in paths {
        match decided(app, &mut session, collection, &path) {
            Ok(Some(entry)) => entries.push(entry),
            Ok(None) => {}
            Err(problem) => {
                let name = target::image_of(collection.as_str(), &path).map_or(path, |image| image.to_string());
                undecided.insert(name, format!("{}: {}", problem.id(), problem.headline));
                note_once(&mut problems, problem);
            }
        }
    }
    let unusable = unusable.into_iter().map(|(role, problem)| (role, problem.headline)).collect();
    Ok((Listed { collection: collection.to_string(), entries, undecided, unusable }, problems))
}

fn note_once(problems: &mut Vec<Problem>, problem: Problem) {
    if !problems.contains(&problem) {
        problems.push(problem);
    }
}

/// What a path means, and whether that is revoked, as verify looks it up.
fn decided(
    app: &App,
    session: &mut Session,
    collection: &CollectionName,
    path: &str,
) -> Result<Option<ListedEntry>, Problem> {
    let outcome = app.wait(session.reader.lookup(path))?;
    let until = outcome.visited.iter().map(|v| v.expires).min().unwrap_or(session.reader.trusted().expires());
    let all: Vec<_> = outcome.statements.into_iter().map(|s| (s.signer, s.target, until)).collect();
    let statements = Statements { all };
    let Some(mut entry) = entry(collection, path, &statements) else { return Ok(None) };
    let image = Reference::parse(&entry.reference).map_err(|e| fault::internal(&e.to_string()))?;
    let digest = Digest::parse(&entry.digest).ok();
    let same: Vec<&TargetInfo> =
        statements.all.iter().map(|(_, target, _)| target).filter(|target| digest_of(target) == digest).collect();
    let parts = same.iter().flat_map(|target| revocable(target)).collect();
    entry.revoked = app.wait(session.reader.revocation(&image, digest.as_ref(), &parts))?.is_some();
    if let Some(digest) = digest.filter(|_| !entry.revoked) {
        let facts = same.iter().find_map(|target| facts_in(target));
        app.wait(session.reader.check_parts(&image, &digest, facts.as_ref()))?;
    }
    Ok(Some(entry))
}

fn entry(collection: &CollectionName, path: &str, statements: &Statements) -> Option<ListedEntry> {
    let (_, info, expires) = statements.all.first()?;
    let image = target::image_of(collection.as_str(), path).ok()?;
    let digest = digest_of(info)?;
    let (same, other): (Vec<_>, Vec<_>) =
        statements.all.iter().partition(|(_, target, _)| digest_of(target) == Some(digest));
    let facts = facts_in(info);
    Some(ListedEntry {
        reference: image.to_string(),
        digest: digest.to_string(),
        signers: same.into_iter().map(|(name, ..)| name.clone()).collect(),
        conflicts: other.into_iter().map(|(name, ..)| name.clone()).collect(),
        signed: facts.map(|facts| facts.signed),
        expires: expires.to_string(),
        revoked: false,
    })
}

impl Answer for Collections {
    fn command(&self) -> &'static str {
        "list"
    }

    fn json(&self) -> Value {
        crate::output::value(self)
    }

    fn text(&self, _: Style) -> String {
        self.collections.iter().map(|pin| format!("{}\n", pin.collection)).collect()
    }

    fn lines(&self) -> Option<Vec<Value>> {
        Some(self.collections.iter().map(crate::output::value).collect())
    }
}

struct Table {
    listed: Listed,
    problems: Vec<Problem>,
    now: UtcTime,
}

impl Answer for Table {
    fn command(&self) -> &'static str {
        "list"
    }

    fn json(&self) -> Value {
        crate::output::value(&self.listed)
    }

    fn text(&self, _: Style) -> String {
        if self.listed.entries.is_empty() && self.listed.undecided.is_empty() {
            return String::new();
        }
        let heading = ["IMAGE", "DIGEST", "SIGNERS", "SIGNED", "EXPIRES", "STATUS"];
        let mut rows = vec![heading.map(str::to_owned).to_vec()];
        for entry in &self.listed.entries {
            let signed = entry.signed.as_deref().and_then(UtcTime::parse).map_or("-".to_owned(), style::minute);
            let expires = UtcTime::parse(&entry.expires).map_or("-".to_owned(), |t| style::relative(t, self.now));
            let mut signers = style::plain(&entry.signers.join(", "));
            if !entry.conflicts.is_empty() {
                signers.push_str(&format!(" (not: {})", style::plain(&entry.conflicts.join(", "))));
            }
            let status = if entry.revoked { "revoked" } else { "signed" }.to_owned();
            let name = short_name(&self.listed.collection, &entry.reference);
            rows.push(vec![style::plain(&name), style::short(&entry.digest), signers, signed, expires, status]);
        }
        for (reference, why) in &self.listed.undecided {
            let name = short_name(&self.listed.collection, reference);
            let [digest, signers, signed, expires] = ["-"; 4].map(str::to_owned);
            let status = format!("cannot be decided: {}", style::plain(why));
            rows.push(vec![style::plain(&name), digest, signers, signed, expires, status]);
        }
        style::table(&rows)
    }

    fn report(&self, style: Style) -> String {
        let mut text = String::new();
        for (role, why) in &self.listed.unusable {
            text.push_str(&format!("{} role {} cannot be used: {why}\n", style.warn("note"), style::plain(role)));
        }
        text
    }

    fn problems(&self) -> Vec<&Problem> {
        self.problems.iter().collect()
    }

    fn lines(&self) -> Option<Vec<Value>> {
        let undecided = self
            .listed
            .undecided
            .iter()
            .map(|(reference, why)| serde_json::json!({"reference": reference, "undecided": why}));
        Some(self.listed.entries.iter().map(crate::output::value).chain(undecided).collect())
    }
}

/// What of the reference is not the collection's name; digests of entries are cut.
fn short_name(collection: &str, reference: &str) -> String {
    let rest = reference.strip_prefix(collection).unwrap_or(reference).trim_start_matches('/');
    match rest.split_once("@sha256:") {
        Some((name, hex)) => format!("{name}@{}", style::short(hex)),
        None => rest.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use trust_reader::catalogue::Code;

    use super::*;

    fn table(revoked: bool, undecided: bool) -> Table {
        let entry = ListedEntry {
            reference: "r.example/pay/api:v1".to_owned(),
            digest: format!("sha256:{}", "a".repeat(64)),
            signers: vec!["alice".to_owned()],
            conflicts: Vec::new(),
            signed: None,
            expires: "2030-01-02T00:00:00Z".to_owned(),
            revoked,
        };
        let problems: Vec<Problem> = undecided.then(|| Problem::new(Code::RoleExpired)).into_iter().collect();
        let why = problems.iter().map(|p| ("r.example/pay/web:v1".to_owned(), format!("{}: x", p.id())));
        let listed = Listed {
            collection: "r.example/pay".to_owned(),
            entries: if undecided { Vec::new() } else { vec![entry] },
            undecided: why.collect(),
            unusable: BTreeMap::new(),
        };
        Table { listed, problems, now: UtcTime::from_unix(0).unwrap() }
    }

    #[test]
    fn what_cannot_be_decided_is_listed_and_never_ends_with_0() {
        let table = table(false, true);
        assert_eq!(crate::printer::exit_of(&table), Code::RoleExpired.exit());
        let text = table.text(Style::default());
        assert!(text.contains("web:v1") && text.contains("E1312"), "{text}");
        assert!(!table.report(Style::default()).contains("nothing is signed"));
        assert_eq!(table.lines().unwrap().len(), 1);
        let mut twice = Vec::new();
        note_once(&mut twice, Problem::new(Code::RoleExpired));
        note_once(&mut twice, Problem::new(Code::RoleExpired));
        assert_eq!(twice.len(), 1);
    }

    #[test]
    fn a_revoked_entry_has_its_own_status_and_keeps_its_signers() {
        let text = table(true, false).text(Style::default());
        let line = text.lines().nth(1).unwrap();
        assert!(line.contains("alice ") && line.ends_with("revoked"), "{text}");
        assert!(table(false, false).text(Style::default()).lines().nth(1).unwrap().ends_with("signed"));
    }
}
