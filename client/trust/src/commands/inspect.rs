//! `trust inspect`: everything that is signed about a collection or an image, role by role.

use serde_json::Value;
use trust_image::{Reference, target};
use trust_reader::catalogue::Code;
use trust_reader::verdict::Problem;
use trust_reader::verify::{Revocation, RevokedScope, digest_of, facts_in, revocable};
use trust_tuf::model::Role;
use trust_tuf::{RoleType, UtcTime};

use super::pin::role_keys;
use crate::anchors;
use crate::app::App;
use crate::cli::images::Inspect;
use crate::cli::values::Subject;
use crate::fault;
use crate::output::{Inspected, InspectedRole, InspectedSubject, RevocationReport, StatementReport};
use crate::printer::Answer;
use crate::session::{Session, pin_for};
use crate::style::{self, Style};

/// Runs the command.
pub fn run(app: &App, args: &Inspect) -> Result<Box<dyn Answer>, Problem> {
    let mut subjects = Vec::new();
    for subject in &args.subjects {
        subjects.push(inspect(app, subject)?);
    }
    Ok(Box::new(Shown { inspected: Inspected { subjects }, now: app.now()? }))
}

fn inspect(app: &App, subject: &Subject) -> Result<InspectedSubject, Problem> {
    let (name, image, pin) = match subject {
        Subject::Image(image) => (image.to_string(), Some(image.clone()), pin_for(app, image)?),
        // A name that is pinned is a collection; any other can still be an image, by its default tag.
        Subject::Name(name) if app.settings.pin(name.as_str()).is_some() => {
            (name.to_string(), None, anchors::pin_of(app, name)?)
        }
        Subject::Name(name) => {
            let image = Reference::parse(name.as_str()).map_err(|e| fault::usage(&e.to_string()))?;
            let pin = pin_for(app, &image)?;
            (image.to_string(), Some(image), pin)
        }
    };
    let mut session = Session::open(app, pin)?;
    session.load_all_with_bins(app)?;
    let (statements, revoked, undecided) = match &image {
        None => (None, None, None),
        Some(image) => {
            let Said { statements, revoked, undecided } = statements(app, &mut session, image)?;
            (Some(statements), revoked.map(report_of), undecided)
        }
    };
    let roles = roles(app, &mut session);
    let tags = count_tags(&session);
    Ok(InspectedSubject {
        subject: name,
        collection: session.collection.to_string(),
        roles,
        revoked,
        undecided,
        statements,
        tags,
        pinned: pin.fingerprint.clone(),
    })
}

fn report_of(revocation: Revocation) -> RevocationReport {
    let scope = match revocation.scope {
        RevokedScope::Digest => "digest",
        RevokedScope::Tag => "tag",
        RevokedScope::Platform => "platform",
    };
    RevocationReport {
        by: revocation.by,
        reason: revocation.reason,
        scope: scope.to_owned(),
        revoked: revocation.revoked,
    }
}

/// What signers say of an image, and the revocation in force for it, or why nobody can use it all the same.
struct Said {
    statements: Vec<StatementReport>,
    revoked: Option<Revocation>,
    undecided: Option<String>,
}

fn statements(app: &App, session: &mut Session, image: &Reference) -> Result<Said, Problem> {
    let collection = session.collection.to_string();
    let path = match (image.tag(), image.digest()) {
        (None, Some(digest)) => target::digest_path(&collection, image, digest),
        _ => target::tag_path(&collection, image),
    };
    let outcome = app.wait(session.reader.lookup(&path.map_err(|e| fault::target(&e))?))?;
    if outcome.statements.is_empty() {
        // Says it as verify does, with the signed tags and whom to ask.
        app.wait(session.reader.verify(image, &trust_reader::verify::Require::default()))?;
    }
    let report = |s: &trust_tuf::lookup::Statement| StatementReport {
        signer: s.signer.clone(),
        role: s.role.clone(),
        digest: digest_of(&s.target).map(|digest| digest.to_string()),
        length: s.target.length,
        facts: s
            .target
            .custom
            .as_ref()
            .and_then(|custom| serde_json::from_slice(&custom.to_json()).ok())
            .unwrap_or(Value::Null),
    };
    // As verify looks: the digest that the first of them names, the tag, and what any of them lists below it.
    let named = outcome.statements.first().and_then(|s| digest_of(&s.target));
    let digest = image.digest().copied().or(named);
    let parts = outcome.statements.iter().flat_map(|s| revocable(&s.target)).collect();
    let revoked = app.wait(session.reader.revocation(image, digest.as_ref(), &parts))?;
    let undecided = match digest.filter(|_| revoked.is_none()) {
        None => None,
        Some(digest) => {
            let same = outcome.statements.iter().filter(|s| digest_of(&s.target) == Some(digest));
            let facts = same.map(|s| &s.target).find_map(facts_in);
            let told = |problem: &Problem| Some(format!("{}: {}", problem.id(), problem.headline));
            match app.wait(session.reader.check_parts(image, &digest, facts.as_ref())) {
                Ok(()) => match app.wait(session.reader.verify(image, &trust_reader::verify::Require::default())) {
                    Err(problem) if problem.code == Code::FactsDiffer => told(&problem),
                    _ => None,
                },
                Err(problem) if problem.code == Code::PartsUnknown => told(&problem),
                Err(problem) => return Err(problem),
            }
        }
    };
    Ok(Said { statements: outcome.statements.iter().map(report).collect(), revoked, undecided })
}

fn roles(app: &App, session: &mut Session) -> Vec<InspectedRole> {
    let set = session.reader.trusted().clone();
    let mut roles = Vec::new();
    for role in RoleType::ALL {
        let (version, expires) = match role {
            RoleType::Root => (set.root().version(), set.root().expires()),
            RoleType::Timestamp => (set.timestamp().version(), set.timestamp().expires()),
            RoleType::Snapshot => (set.snapshot().version(), set.snapshot().expires()),
            RoleType::Targets => (set.targets().version(), set.targets().expires()),
        };
        let online = matches!(role, RoleType::Timestamp | RoleType::Snapshot);
        roles.push(InspectedRole {
            keys: role_keys(role.as_str(), set.root().role(role)),
            version: Some(version.get()),
            expires: Some(expires.to_string()),
            held_by: if online { "signer" } else { "offline" }.to_owned(),
        });
    }
    for name in session.signers().iter().skip(1) {
        let Some(keys) = session.keys_of(name) else { continue };
        let file = session.role(app, name.as_str()).ok();
        roles.push(InspectedRole {
            keys: role_keys(name.as_str(), &keys),
            version: file.as_ref().map(|f| f.version().get()),
            expires: file.as_ref().map(|f| f.expires().to_string()),
            held_by: "offline".to_owned(),
        });
    }
    roles
}

fn count_tags(session: &Session) -> u64 {
    let mut paths = std::collections::BTreeSet::new();
    for file in session.signers().iter().flat_map(|signer| session.files_of(signer)) {
        paths.extend(file.paths().filter(|p| !p.contains('@') && !target::is_reserved(p)).map(str::to_owned));
    }
    u64::try_from(paths.len()).unwrap_or(u64::MAX)
}

struct Shown {
    inspected: Inspected,
    now: UtcTime,
}

impl Answer for Shown {
    fn command(&self) -> &'static str {
        "inspect"
    }

    fn json(&self) -> Value {
        crate::output::value(&self.inspected)
    }

    fn text(&self, _: Style) -> String {
        let one = |subject: &InspectedSubject| {
            let mut text = format!("{}\n", style::plain(&subject.subject));
            if let Some(revoked) = &subject.revoked {
                text.insert_str(0, &format!("{}\n", revoked_text(revoked)));
            }
            if let Some(why) = &subject.undecided {
                text.push_str(&style::facts([("refused", style::plain(why))]));
            }
            if subject.subject != subject.collection {
                text.push_str(&style::facts([("in", &subject.collection)]));
            }
            for statement in subject.statements.iter().flatten() {
                text.push_str(&statement_text(statement));
            }
            text.push_str(&style::facts([("tags", subject.tags.to_string()), ("pinned", subject.pinned.clone())]));
            text.push_str(&self.roles_text(&subject.roles));
            text
        };
        self.inspected.subjects.iter().map(one).collect::<Vec<_>>().join("\n")
    }
}

impl Shown {
    fn roles_text(&self, roles: &[InspectedRole]) -> String {
        let mut rows = vec![["ROLE", "VERSION", "EXPIRES", "KEYS", "HELD"].map(str::to_owned).to_vec()];
        for role in roles {
            let expires = role.expires.as_deref().and_then(UtcTime::parse);
            let keys: Vec<String> = role.keys.keys.iter().map(|id| style::plain(&style::short(id))).collect();
            rows.push(vec![
                style::plain(&role.keys.role),
                role.version.map_or("-".to_owned(), |v| format!("v{v}")),
                expires.map_or("cannot be used".to_owned(), |t| style::relative(t, self.now)),
                format!("{} of {}: {}", role.keys.threshold, keys.len(), keys.join(", ")),
                role.held_by.clone(),
            ]);
        }
        style::table(&rows).lines().map(|line| format!("  {line}\n")).collect()
    }
}

/// `REVOKED by targets: "leaks a password"`
fn revoked_text(revoked: &RevocationReport) -> String {
    let by = style::plain(&revoked.by);
    let what = match revoked.scope.as_str() {
        "digest" => String::new(),
        "tag" => "   (the tag)".to_owned(),
        _ => format!("   (a part of it: {})", style::plain(&revoked.revoked)),
    };
    match &revoked.reason {
        Some(reason) => format!("REVOKED by {by}: \"{}\"{what}", style::plain(reason)),
        None => format!("REVOKED by {by}{what}"),
    }
}

fn statement_text(statement: &StatementReport) -> String {
    let digest = statement.digest.clone().unwrap_or_else(|| "no known hash".to_owned());
    let image = statement.facts.get("image");
    let text = |name: &str| image.and_then(|i| i.get(name)).and_then(Value::as_str).map(style::plain);
    let platforms: Vec<String> = image
        .and_then(|i| i.get("platforms"))
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|p| {
            let name = style::plain(p.get("platform")?.as_str()?);
            let labels: Vec<String> = p
                .get("labels")
                .and_then(Value::as_object)
                .into_iter()
                .flatten()
                .map(|(key, value)| {
                    format!("{}={}", style::plain(key), style::plain(value.as_str().unwrap_or_default()))
                })
                .collect();
            Some(if labels.is_empty() { name } else { format!("{name}  {}", labels.join(" ")) })
        })
        .collect();
    let mut facts = vec![("signer", style::plain(&statement.signer)), ("digest", digest)];
    if let Some(signed) = text("signed") {
        facts.push(("signed", signed));
    }
    if !platforms.is_empty() {
        facts.push(("platforms", platforms.join("\n")));
    }
    style::facts(facts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revocation_is_the_first_thing_that_is_said() {
        let revoked = RevocationReport {
            by: "_revoked".to_owned(),
            reason: Some("leaks\u{1b}[2J".to_owned()),
            scope: "digest".to_owned(),
            revoked: "sha256:aa".to_owned(),
        };
        let subject = InspectedSubject {
            subject: "r.example/pay/api:v1".to_owned(),
            collection: "r.example/pay".to_owned(),
            roles: Vec::new(),
            revoked: Some(revoked),
            undecided: None,
            statements: Some(Vec::new()),
            tags: 1,
            pinned: "a".repeat(64),
        };
        let shown = Shown { inspected: Inspected { subjects: vec![subject] }, now: UtcTime::from_unix(0).unwrap() };
        let text = shown.text(Style::default());
        assert!(text.starts_with("REVOKED by _revoked: \"leaks\\u{1b}[2J\"\n"), "{text}");
        assert_eq!(shown.json()["subjects"][0]["revoked"]["scope"], "digest");
    }
}
