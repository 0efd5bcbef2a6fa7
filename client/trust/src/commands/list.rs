//! `trust list`: collections pinned here, or what is signed in one.

use std::collections::BTreeSet;

use serde_json::Value;
use trust_image::target::{self, Entry};
use trust_image::{Digest, ImageFacts};
use trust_reader::verdict::Problem;
use trust_reader::verify::digest_of;
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
            let pins = app.settings.pins.iter().map(|pin| pin::entry(app, pin));
            Ok(Box::new(Collections { collections: pins.collect() }))
        }
        Some(collection) => {
            let listed = listed(app, &collection, args.digests)?;
            if listed.entries.is_empty() && listed.unusable.is_empty() {
                return Err(fault::nothing_signed(collection.as_str()));
            }
            Ok(Box::new(Table { listed, now: app.now()? }))
        }
    }
}

/// One path, as the signers list it in their order.
struct Statements {
    all: Vec<(String, TargetInfo, UtcTime)>,
}

fn listed(app: &App, collection: &CollectionName, digests: bool) -> Result<Listed, Problem> {
    let mut session = Session::open(app, anchors::pin_of(app, collection)?)?;
    let unusable = session.load_all(app)?;
    // Every path that some role lists; what counts for it is asked of the search itself, as verify does.
    let mut paths: BTreeSet<String> = BTreeSet::new();
    let mut revoked: BTreeSet<String> = BTreeSet::new();
    for role in session.signers() {
        let Ok(file) = session.role(app, role.as_str()) else { continue };
        for path in file.paths() {
            match target::image_of(collection.as_str(), path) {
                Ok(image) if digests || matches!(image.entry, Entry::Tag(_)) => {
                    paths.insert(path.to_owned());
                }
                _ => {}
            }
        }
    }
    let nested: Vec<String> = nested_paths(&session, collection, digests);
    paths.extend(nested);
    let mut entries = Vec::new();
    for path in paths {
        let Ok(outcome) = app.wait(session.reader.lookup(&path)) else { continue };
        let until = outcome.visited.iter().map(|v| v.expires).min().unwrap_or(session.reader.trusted().expires());
        let all = outcome.statements.into_iter().map(|s| (s.signer, s.target, until)).collect();
        let Some(mut entry) = entry(collection, &path, &Statements { all }) else { continue };
        entry.revoked = is_revoked(app, &mut session, &path, &entry, &mut revoked)?;
        entries.push(entry);
    }
    let unusable = unusable.into_iter().map(|(role, problem)| (role, problem.headline)).collect();
    Ok(Listed { collection: collection.to_string(), entries, unusable })
}

/// Paths in roles below the direct delegations.
fn nested_paths(session: &Session, collection: &CollectionName, digests: bool) -> Vec<String> {
    let set = session.reader.trusted();
    let mut found = Vec::new();
    let mut waiting: Vec<String> = session.signers().iter().skip(1).map(|role| role.as_str().to_owned()).collect();
    let mut seen: BTreeSet<String> = BTreeSet::new();
    while let Some(name) = waiting.pop() {
        if !seen.insert(name.clone()) {
            continue;
        }
        let Some(file) = set.delegated("targets", &name).or_else(|| delegated_anywhere(session, &name)) else {
            continue;
        };
        for child in file.delegations().into_iter().flat_map(|d| d.roles()) {
            if let Some(file) = set.delegated(&name, child.name()) {
                let wanted = |path: &&str| {
                    target::image_of(collection.as_str(), path)
                        .is_ok_and(|image| digests || matches!(image.entry, Entry::Tag(_)))
                };
                found.extend(file.paths().filter(wanted).map(str::to_owned));
            }
            waiting.push(child.name().to_owned());
        }
    }
    found
}

fn delegated_anywhere<'a>(session: &'a Session, name: &str) -> Option<&'a trust_tuf::Verified<trust_tuf::Targets>> {
    let set = session.reader.trusted();
    session.signers().iter().find_map(|signer| set.delegated(signer.as_str(), name))
}

fn entry(collection: &CollectionName, path: &str, statements: &Statements) -> Option<ListedEntry> {
    let (_, info, expires) = statements.all.first()?;
    let image = target::image_of(collection.as_str(), path).ok()?;
    let digest = digest_of(info)?;
    let (same, other): (Vec<_>, Vec<_>) =
        statements.all.iter().partition(|(_, target, _)| digest_of(target) == Some(digest));
    let facts = info.custom.as_ref().and_then(|c| ImageFacts::from_custom(&c.to_json()).ok().flatten());
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

/// Whether the digest or the tag is revoked. What was found once for a digest is not asked again.
fn is_revoked(
    app: &App,
    session: &mut Session,
    path: &str,
    entry: &ListedEntry,
    known: &mut BTreeSet<String>,
) -> Result<bool, Problem> {
    if known.contains(&entry.digest) {
        return Ok(true);
    }
    if let Ok(digest) = Digest::parse(&entry.digest)
        && !app.wait(session.reader.lookup(&target::revoked_digest_path(&digest)))?.statements.is_empty()
    {
        known.insert(entry.digest.clone());
        return Ok(true);
    }
    if path.contains('@') {
        return Ok(false);
    }
    let by_tag = format!("_revoked/{path}.json");
    Ok(!app.wait(session.reader.lookup(&by_tag))?.statements.is_empty())
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

    fn report(&self, _: Style) -> String {
        if self.collections.is_empty() {
            "nothing is pinned; see: trust pin add --help\n".to_owned()
        } else {
            String::new()
        }
    }

    fn lines(&self) -> Option<Vec<Value>> {
        Some(self.collections.iter().map(crate::output::value).collect())
    }
}

struct Table {
    listed: Listed,
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
        if self.listed.entries.is_empty() {
            return String::new();
        }
        let mut rows = vec![["IMAGE", "DIGEST", "SIGNERS", "SIGNED", "EXPIRES"].map(str::to_owned).to_vec()];
        for entry in &self.listed.entries {
            let signed = entry.signed.as_deref().and_then(UtcTime::parse).map_or("-".to_owned(), style::minute);
            let expires = UtcTime::parse(&entry.expires).map_or("-".to_owned(), |t| style::relative(t, self.now));
            let mut signers = style::plain(&entry.signers.join(", "));
            if !entry.conflicts.is_empty() {
                signers.push_str(&format!(" (not: {})", style::plain(&entry.conflicts.join(", "))));
            }
            if entry.revoked {
                signers.push_str(" REVOKED");
            }
            let name = short_name(&self.listed.collection, &entry.reference);
            rows.push(vec![style::plain(&name), style::short(&entry.digest), signers, signed, expires]);
        }
        style::table(&rows)
    }

    fn report(&self, style: Style) -> String {
        let mut text = String::new();
        if self.listed.entries.is_empty() {
            text.push_str(&format!("nothing is signed in {}\n", self.listed.collection));
        }
        for (role, why) in &self.listed.unusable {
            text.push_str(&format!("{} role {} cannot be used: {why}\n", style.warn("note"), style::plain(role)));
        }
        text
    }

    fn lines(&self) -> Option<Vec<Value>> {
        Some(self.listed.entries.iter().map(crate::output::value).collect())
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
