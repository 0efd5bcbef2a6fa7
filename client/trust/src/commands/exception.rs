//! `trust exception grant | list | revoke`: one image may run where rules deny it, for a short time.
//!
//! Invariants: an exception names its image by digest and rules that are in force; it is signed in the one role that counts,
//! by keys of this machine; what it lifts is decided where it is used, by `trust_policy::exceptions`, and not here.

use std::path::Path;

use serde_json::Value;
use trust_image::Reference;
use trust_policy::exceptions::SCHEMA;
use trust_policy::{Environment, Exception, ExceptionFile, Policy, nearest};
use trust_reader::reserved::MAX_ENTRIES;
use trust_reader::verdict::Problem;
use trust_tuf::draft::Draft;
use trust_tuf::{RoleName, TargetInfo, UtcTime, json, reserved};

use super::exception_outlook;
use crate::app::App;
use crate::cli::exceptions::{ExceptionCommand, ExceptionGrant, ExceptionList, ExceptionPrune, ExceptionRevoke};
use crate::fault;
use crate::keyring::{Keyring, Kind};
use crate::output::{ExceptionChange, ExceptionEntry, ExceptionsListed, ExceptionsPruned, Publication};
use crate::policy::exceptions::{Granted, KIND};
use crate::policy::in_force::{InForce, pin_of_policy};
use crate::policy::{images, judge, roles};
use crate::printer::{Answer, Printer};
use crate::publish::{self, Change};
use crate::session::Session;
use crate::signing;
use crate::style::{self, Style};

/// Runs the command.
pub fn run(app: &App, printer: &Printer, command: &ExceptionCommand) -> Result<Box<dyn Answer>, Problem> {
    match command {
        ExceptionCommand::Grant(args) => Ok(Box::new(grant(app, printer, args)?)),
        ExceptionCommand::List(args) => Ok(Box::new(list(app, args)?)),
        ExceptionCommand::Revoke(args) => Ok(Box::new(revoke(app, printer, args)?)),
        ExceptionCommand::Prune(args) => Ok(Box::new(prune(app, printer, args)?)),
    }
}

/// The image as an exception names it: by its digest alone.
fn by_digest(image: &Reference) -> Result<String, Problem> {
    match image.digest() {
        Some(digest) if digest.sha256().is_some() => Ok(image.pinned(*digest).to_string()),
        Some(_) => Err(fault::usage("only sha256 digests are signed")),
        None => Err(fault::usage("an exception is for one image, and a tag can be moved to another one")
            .fact("image", image)
            .remedy([
                format!("find the signed digest: trust resolve {image}"),
                "then grant it for that: --image NAME@sha256:…".to_owned(),
            ])),
    }
}

/// The environment in the file of this name; `None` if it is no file but the name of an environment.
fn environment(text: &str) -> Result<Option<Environment>, Problem> {
    let path = Path::new(text);
    let is_file = text.contains(['/', '.']) || path.is_file();
    is_file.then(|| judge::read_environment(path)).transpose()
}

/// Rules that nobody signed cannot be lifted: a misspelt id would lift nothing when it is needed.
fn check_rules(policy: &Policy, rules: &[String]) -> Result<(), Problem> {
    let known: Vec<&str> = policy.deciding_rules().map(|rule| rule.id.as_str()).collect();
    let Some(unknown) = rules.iter().find(|id| !known.contains(&id.as_str())) else { return Ok(()) };
    let identity = policy.identity();
    let mut problem = fault::usage(&format!("no rule `{}` is in force", style::plain(unknown)))
        .fact("policy", format!("{} v{}", identity.collection, identity.version));
    if let Some(near) = nearest(unknown, known.iter().copied()) {
        problem = problem.fact("did you mean", near);
    }
    Err(problem.remedy([
        format!("see the rules: trust policy show {}", identity.collection),
        "see which rules deny it: trust policy explain --image REF --env FILE".to_owned(),
    ]))
}

fn grant(app: &App, printer: &Printer, args: &ExceptionGrant) -> Result<ExceptionChange, Problem> {
    app.need_network("granting an exception")?;
    let (now, life) = (app.now()?, i64::try_from(args.life.as_secs()).map_err(|_| fault::clock())?);
    let expires = now.plus_secs(life).ok_or_else(fault::clock)?;
    let mut rules = args.rule.clone();
    rules.sort();
    rules.dedup();
    let env = environment(&args.env)?;
    let file = ExceptionFile {
        schema: SCHEMA.to_owned(),
        image: by_digest(&args.image)?,
        environment: env.as_ref().map_or_else(|| args.env.clone(), |env| env.name.clone()),
        rules,
        // Signed text is composed: some clients compose it before they check the signature.
        reason: trust_image::facts::composed(&args.reason),
        granted: now.to_string(),
        expires: expires.to_string(),
    };
    let day: String = file.granted.chars().take(10).filter(char::is_ascii_digit).collect();
    let id = format!("{day}-{}", publish::random_hex()?.chars().take(8).collect::<String>());
    let exception = Exception::new(&id, file, &[]).map_err(|error| fault::usage(&error.to_string()))?;
    let pin = pin_of_policy(app, args.collection.as_ref())?;
    let mut keyring = Keyring::new(app, &args.keys)?;
    if !args.change.dry_run {
        keyring.expect_answer(Kind::Other)?;
    }
    // Before the policy collection is opened, and closed again: two at a time are opened in the order of their names only.
    let image = args.image.digest().map_or_else(|| args.image.clone(), |digest| args.image.pinned(*digest));
    let verified = exception_outlook::verified(app, &image);
    let mut told: Vec<String> = Vec::new();
    publish::with_retries(
        |text| printer.note(text),
        || {
            let mut session = Session::for_change(app, pin)?;
            images::refuse(app, &mut session)?;
            let policy = InForce::read(app, &mut session)?.load()?;
            check_rules(&policy, &exception.file().rules)?;
            let mut warnings = exception_outlook::of_rules(&policy, &exception.file().rules);
            match (&verified, &env) {
                (Err(why), _) => warnings.push(why.clone()),
                (Ok(verified), Some(env)) => {
                    warnings.extend(exception_outlook::of_decision(&policy, env, &exception, (&image, verified), now));
                }
                (Ok(_), None) => {}
            }
            // Before anything is signed, and once, however often this is tried.
            for line in warnings.iter().filter(|line| !told.contains(line)) {
                printer.note(&format!("! {line}"));
            }
            told.clone_from(&warnings);
            let granted = Granted::read(app, &mut session);
            for line in &granted.unread {
                printer.note(&format!("! {line}"));
            }
            let (role, mut draft) = next(app, &mut session)?;
            let removed = remove_expired(&mut draft, &granted, now);
            room(&draft, &session)?;
            let content = serde_json::to_vec_pretty(exception.file()).map_err(|e| fault::internal(&e.to_string()))?;
            let mut info = TargetInfo::of(&content);
            // In the signed facts too, so that the history of the role tells what was granted.
            let statement = json::parse(&content).map_err(|e| fault::draft(&e))?;
            info.custom = Some(json::Value::object([("exception", statement)]));
            let path = Exception::path_of(&id);
            draft.set_target(&path, &info);
            // It lifts rules that are in force now; whoever changes them meanwhile comes first.
            let rests_on = roles::of_policy(&session);
            let change = Change { blobs: vec![(path, content)], rests_on, ..Change::default() };
            let (publication, signed_by) =
                send(app, &mut keyring, session, &role, &draft, change, args.change.dry_run)?;
            Ok(ExceptionChange {
                change: "granted".to_owned(),
                collection: pin.collection.clone(),
                role: role.to_string(),
                exception: ExceptionEntry { signed_by, ..entry(&exception, now) },
                removed,
                warnings,
                beside: Vec::new(),
                publication,
            })
        },
    )
}

/// Takes out what does not hold any more.
fn remove_expired(draft: &mut Draft, granted: &Granted, now: UtcTime) -> Vec<String> {
    let expired = granted.all.iter().filter(|old| old.expires_unix() <= now.unix());
    let removed = expired.filter(|old| draft.remove_target(&Exception::path_of(old.id())));
    removed.map(|old| old.id().to_owned()).collect()
}

fn prune(app: &App, printer: &Printer, args: &ExceptionPrune) -> Result<ExceptionsPruned, Problem> {
    app.need_network("removing exceptions")?;
    let pin = pin_of_policy(app, args.collection.as_ref())?;
    let mut keyring = Keyring::new(app, &args.keys)?;
    if !args.change.dry_run {
        keyring.expect_answer(Kind::Other)?;
    }
    publish::with_retries(
        |text| printer.note(text),
        || {
            let mut session = Session::for_change(app, pin)?;
            let granted = Granted::read(app, &mut session);
            let (role, mut draft) = next(app, &mut session)?;
            let removed = remove_expired(&mut draft, &granted, app.now()?);
            let (publication, _) =
                send(app, &mut keyring, session, &role, &draft, Change::default(), args.change.dry_run)?;
            let (collection, role) = (pin.collection.clone(), role.to_string());
            Ok(ExceptionsPruned { collection, role, removed, publication })
        },
    )
}

/// The role that exceptions are signed in, and the next version of its file.
fn next(app: &App, session: &mut Session) -> Result<(RoleName, Draft), Problem> {
    let role = roles::role_of(session, KIND);
    let file = session.role(app, role.as_str())?;
    Ok((role, signing::next_version(app, &file)?))
}

/// Gates read no more than so many.
fn room(draft: &Draft, session: &Session) -> Result<(), Problem> {
    let targets = draft.signed().get("targets").and_then(json::Value::as_object);
    let of_kind = |path: &&String| reserved::kind(path) == Some(KIND);
    let count = targets.map_or(0, |targets| targets.keys().filter(of_kind).count());
    if count < MAX_ENTRIES {
        return Ok(());
    }
    Err(fault::usage(&format!("{MAX_ENTRIES} exceptions are in force in {} already", session.collection))
        .cause("gates read no more than so many")
        .remedy([
            "end those that are not needed any more: trust exception revoke ID",
            "or change the rule that denies",
        ]))
}

/// Signs and publishes; by whose keys it is signed.
fn send(
    app: &App,
    keyring: &mut Keyring<'_>,
    session: Session,
    role: &RoleName,
    draft: &Draft,
    mut change: Change,
    dry_run: bool,
) -> Result<(Option<Publication>, Vec<String>), Problem> {
    if dry_run {
        return Ok((None, Vec::new()));
    }
    let bytes = signing::sign_as(&session, keyring, role, draft, true)?;
    change.roles.insert(role.clone(), bytes);
    let (mut session, publication) = publish::publish(app, session, &change)?;
    // Read back: what everybody sees now, and by whose keys. This machine keeps it for use offline, too.
    let signed_by = Granted::read(app, &mut session).role.map(|role| role.signed_by()).unwrap_or_default();
    Ok((Some(publication), signed_by))
}

fn entry(exception: &Exception, now: UtcTime) -> ExceptionEntry {
    let file = exception.file();
    ExceptionEntry {
        id: exception.id().to_owned(),
        image: file.image.clone(),
        environment: file.environment.clone(),
        rules: file.rules.clone(),
        reason: file.reason.clone(),
        granted: file.granted.clone(),
        expires: file.expires.clone(),
        in_force: exception.holds(now.unix()),
        signed_by: exception.signed_by().to_vec(),
    }
}

fn list(app: &App, args: &ExceptionList) -> Result<Shown, Problem> {
    let pin = pin_of_policy(app, args.collection.as_ref())?;
    let mut session = Session::open(app, pin)?;
    let granted = Granted::read(app, &mut session);
    let now = app.now()?;
    let all = granted.all.iter().map(|exception| entry(exception, now));
    let report = ExceptionsListed {
        collection: pin.collection.clone(),
        role: granted.role.as_ref().map(|role| role.name.clone()),
        version: granted.role.as_ref().map(|role| role.version),
        // One that is to hold later lifts as much as one that holds: nobody overlooks it.
        exceptions: all.filter(|entry| args.all || entry.in_force || is_to_come(entry, now)).collect(),
        unread: granted.unread,
    };
    Ok(Shown { report, now })
}

fn revoke(app: &App, printer: &Printer, args: &ExceptionRevoke) -> Result<ExceptionChange, Problem> {
    app.need_network("ending an exception")?;
    let pin = pin_of_policy(app, args.collection.as_ref())?;
    let mut keyring = Keyring::new(app, &args.keys)?;
    if !args.change.dry_run {
        keyring.expect_answer(Kind::Other)?;
    }
    publish::with_retries(
        |text| printer.note(text),
        || {
            let mut session = Session::for_change(app, pin)?;
            let granted = Granted::read(app, &mut session);
            let now = app.now()?;
            let (role, mut draft) = next(app, &mut session)?;
            let was_listed = draft.remove_target(&Exception::path_of(&args.id));
            let found = granted.all.iter().find(|exception| exception.id() == args.id);
            let others = granted.all.iter().filter(|other| other.id() != args.id && other.holds(now.unix()));
            let beside = others.filter(|other| found.is_some_and(|found| other.is_beside(found)));
            let beside = beside.map(|other| entry(other, now)).collect();
            let exception = match found {
                Some(found) => ExceptionEntry { in_force: false, ..entry(found, now) },
                // One that nobody can read lifts nothing, and is removed all the same.
                None if was_listed => unread(&args.id),
                None => return Err(unknown(&args.id, &pin.collection, &granted)),
            };
            let (publication, _) =
                send(app, &mut keyring, session, &role, &draft, Change::default(), args.change.dry_run)?;
            Ok(ExceptionChange {
                change: "revoked".to_owned(),
                collection: pin.collection.clone(),
                role: role.to_string(),
                exception,
                removed: Vec::new(),
                warnings: Vec::new(),
                beside,
                publication,
            })
        },
    )
}

/// Whether it is to hold only later: signed in advance, which `grant` never does.
fn is_to_come(entry: &ExceptionEntry, now: UtcTime) -> bool {
    !entry.in_force && UtcTime::parse(&entry.granted).is_some_and(|granted| granted > now)
}

/// An exception whose file cannot be read.
fn unread(id: &str) -> ExceptionEntry {
    let none = || "cannot be read".to_owned();
    ExceptionEntry {
        id: id.to_owned(),
        image: none(),
        environment: none(),
        rules: Vec::new(),
        reason: none(),
        granted: none(),
        expires: none(),
        in_force: false,
        signed_by: Vec::new(),
    }
}

fn unknown(id: &str, collection: &str, granted: &Granted) -> Problem {
    let known: Vec<&str> = granted.all.iter().map(Exception::id).collect();
    let mut problem = fault::usage(&format!("{collection} has no exception `{}`", style::plain(id)));
    if let Some(near) = nearest(id, known.iter().copied()) {
        problem = problem.fact("did you mean", near);
    }
    problem.remedy([format!("see all of them: trust exception list {collection} --all")])
}

impl Answer for ExceptionsPruned {
    fn command(&self) -> &'static str {
        "exception prune"
    }

    fn json(&self) -> Value {
        crate::output::value(self)
    }

    fn text(&self, _: Style) -> String {
        self.removed.iter().map(|id| format!("{id}\n")).collect()
    }

    fn report(&self, style: Style) -> String {
        let counts = match self.removed.len() {
            0 => "none had expired".to_owned(),
            n => format!("expired exceptions removed: {n}"),
        };
        match &self.publication {
            Some(publication) => {
                let (collection, versions) = (&self.collection, super::sign::published_text(publication));
                format!("{} {collection}   {counts}; {versions}\n", style.good("signed again"))
            }
            None => format!("{} {}: nothing was published; {counts}\n", style.warn("dry run"), self.collection),
        }
    }
}

struct Shown {
    report: ExceptionsListed,
    now: UtcTime,
}

impl Answer for Shown {
    fn command(&self) -> &'static str {
        "exception list"
    }

    fn json(&self) -> Value {
        crate::output::value(&self.report)
    }

    fn text(&self, style: Style) -> String {
        let mut text = String::new();
        for entry in &self.report.exceptions {
            let until = UtcTime::parse(&entry.expires).map(|at| style::relative(at, self.now)).unwrap_or_default();
            let state = match entry.in_force {
                true => format!("until {}   {until}", entry.expires),
                false if is_to_come(entry, self.now) => {
                    style.warn(&format!("to come: signed in advance, from {} to {}", entry.granted, entry.expires))
                }
                false => style.warn(&format!("does not hold: {} to {}", entry.granted, entry.expires)),
            };
            text.push_str(&format!("{}   {state}\n", entry.id));
            text.push_str(&style::facts(entry_facts(entry)));
        }
        text
    }

    fn report(&self, style: Style) -> String {
        let report = &self.report;
        let count = report.exceptions.iter().filter(|entry| entry.in_force).count();
        let unread = report.unread.iter().map(|text| format!("{} {}\n", style.warn("warning"), style::plain(text)));
        let role = match (&report.role, report.version) {
            (Some(role), Some(version)) => format!("   ({} v{version})", style::plain(role)),
            _ => String::new(),
        };
        let in_force = if count == 0 { "no exception is".to_owned() } else { format!("exceptions: {count}") };
        format!("{}{in_force} in force in {}{role}\n", unread.collect::<String>(), report.collection)
    }
}

fn entry_facts(entry: &ExceptionEntry) -> Vec<(&'static str, String)> {
    let mut facts = vec![
        ("image", style::plain(&entry.image)),
        ("in", style::plain(&entry.environment)),
        ("lifts", style::plain(&entry.rules.join(", "))),
        ("reason", style::plain(&entry.reason)),
        ("granted", entry.granted.clone()),
    ];
    if !entry.signed_by.is_empty() {
        facts.push(("signed by", style::plain(&entry.signed_by.join(", "))));
    }
    facts
}

impl ExceptionChange {
    /// What a revocation leaves: another exception may lift all of the same rules, or some.
    fn left(&self) -> Vec<(&'static str, String)> {
        let lifts_all = |other: &&ExceptionEntry| self.exception.rules.iter().all(|rule| other.rules.contains(rule));
        let same = self.beside.iter().filter(lifts_all).max_by(|a, b| a.expires.cmp(&b.expires));
        if let Some(other) = same {
            return vec![("now", format!("still lifted by {} until {}", other.id, other.expires))];
        }
        let again = ("now", "the rules deny it again, at each gate from its next refresh".to_owned());
        let but = |other: &ExceptionEntry| {
            ("but", format!("{} lifts {} until {}", other.id, style::plain(&other.rules.join(", ")), other.expires))
        };
        std::iter::once(again).chain(self.beside.iter().map(but)).collect()
    }
}

impl Answer for ExceptionChange {
    fn command(&self) -> &'static str {
        if self.change == "granted" { "exception grant" } else { "exception revoke" }
    }

    fn json(&self) -> Value {
        crate::output::value(self)
    }

    fn text(&self, _: Style) -> String {
        match (self.change.as_str(), &self.publication) {
            ("granted", Some(_)) => format!("{}\n", self.exception.id),
            _ => String::new(),
        }
    }

    fn report(&self, style: Style) -> String {
        let exception = &self.exception;
        let head = match &self.publication {
            Some(publication) => format!(
                "{} exception {} in {}   {}\n",
                style.good(&self.change),
                exception.id,
                self.collection,
                super::sign::published_text(publication)
            ),
            None => format!("{} {}: nothing was published\n", style.warn("dry run"), self.collection),
        };
        let mut facts = entry_facts(exception);
        match self.change.as_str() {
            "granted" => facts.push(("until", format!("{}; every gate logs each use", exception.expires))),
            _ => facts.extend(self.left()),
        }
        if !self.removed.is_empty() {
            facts.push(("removed", format!("{}, which had expired", self.removed.join(", "))));
        }
        format!("{head}{}", style::facts(facts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exception_for_a_tag_is_refused_with_the_way_to_the_digest() {
        let tag = Reference::parse("r.example/hr/payroll:7").unwrap();
        let problem = by_digest(&tag).unwrap_err();
        assert!(problem.text().contains("trust resolve r.example/hr/payroll:7"), "{}", problem.text());
        let both = Reference::parse(&format!("r.example/hr/payroll:7@sha256:{}", "a".repeat(64))).unwrap();
        assert_eq!(by_digest(&both).unwrap(), format!("r.example/hr/payroll@sha256:{}", "a".repeat(64)));
    }

    #[test]
    fn a_rule_that_is_not_in_force_is_refused_and_the_nearest_one_named() {
        let source = trust_policy::Source {
            path: "_policy/a.cedar".to_owned(),
            bytes: b"@id(\"no-pii\") forbid (principal, action, resource) when { resource.tag_moved };".to_vec(),
        };
        let policy = Policy::load(&[source], trust_policy::PolicyIdentity::folder()).unwrap();
        assert!(check_rules(&policy, &["no-pii".to_owned()]).is_ok());
        let problem = check_rules(&policy, &["no-pii".to_owned(), "no-pi".to_owned()]).unwrap_err();
        assert!(problem.text().contains("no-pii") && problem.text().contains("did you mean"), "{}", problem.text());
        assert!(check_rules(&policy, &["*".to_owned()]).is_err());
    }

    #[test]
    fn a_revocation_does_not_say_that_rules_deny_again_what_another_exception_lifts() {
        let entry = |id: &str, rules: &[&str], expires: &str| ExceptionEntry {
            rules: rules.iter().map(|&rule| rule.to_owned()).collect(),
            expires: expires.to_owned(),
            ..unread(id)
        };
        let change = |beside: Vec<ExceptionEntry>| ExceptionChange {
            change: "revoked".to_owned(),
            collection: "r.example/policy".to_owned(),
            role: "targets".to_owned(),
            exception: entry("mine", &["a", "b"], "2026-11-22T00:00:00Z"),
            removed: Vec::new(),
            warnings: Vec::new(),
            beside,
            publication: None,
        };
        let said = |beside| change(beside).left().into_iter().map(|(_, text)| text).collect::<Vec<_>>();
        assert!(matches!(said(Vec::new()).as_slice(), [one] if one.contains("deny it again")));
        let both = entry("both", &["b", "a", "c"], "2026-11-23T00:00:00Z");
        assert_eq!(said(vec![both.clone()]), ["still lifted by both until 2026-11-23T00:00:00Z"]);
        let later = ExceptionEntry { expires: "2026-11-24T00:00:00Z".to_owned(), ..entry("later", &["a", "b"], "") };
        assert_eq!(said(vec![later, both]), ["still lifted by later until 2026-11-24T00:00:00Z"]);
        let part = said(vec![entry("part", &["a"], "2026-11-23T00:00:00Z")]);
        assert_eq!(part.len(), 2);
        assert!(part[0].contains("deny it again") && part[1].contains("part lifts a until"), "{part:?}");
    }
}
