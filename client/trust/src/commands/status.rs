//! `trust status`: what will expire in the pinned collections, and who renews it.
//!
//! Invariant: a collection that could not be updated, or a role that cannot be used, is a finding and never left out.

use serde_json::Value;
use trust_reader::catalogue::{Code, exit};
use trust_reader::sources::{SourceReport, SourceState};
use trust_reader::verdict::Problem;
use trust_tuf::model::Role;
use trust_tuf::{RoleKeys, RoleName, RoleType, UtcTime, Version};

use crate::anchors;
use crate::app::App;
use crate::cli::operations::Status;
use crate::fault;
use crate::output::{CollectionStatus, RoleStatus, SourceStatus, StatusReport};
use crate::printer::Answer;
use crate::session::Session;
use crate::settings::Pin;
use crate::style::{self, Style};

/// From how long before its expiry on people should renew a role, in seconds.
const DUE: i64 = 7 * 86_400;

/// Runs the command.
pub fn run(app: &App, args: &Status) -> Result<Box<dyn Answer>, Problem> {
    let mut pins: Vec<&Pin> = Vec::new();
    for collection in &args.collections {
        pins.push(anchors::pin_of(app, collection)?);
    }
    if args.collections.is_empty() {
        pins.extend(&app.settings.pins);
    }
    if pins.is_empty() {
        return Err(fault::nothing_pinned());
    }
    let now = app.now()?;
    let (mut collections, mut problems) = (Vec::new(), Vec::new());
    for pin in pins {
        let (status, problem) = match roles(app, pin, now) {
            Ok((roles, sources)) => finding(pin, roles, sources),
            Err(problem) => {
                let fault = Some(format!("{}: {}", problem.id(), problem.headline));
                let (roles, sources) = (Vec::new(), Vec::new());
                let status = CollectionStatus { collection: pin.collection.clone(), roles, sources, fault };
                (status, Some(overdue(pin, problem)))
            }
        };
        collections.push(status);
        problems.extend(problem);
    }
    Ok(Box::new(Shown { report: StatusReport { collections }, problems, now }))
}

/// Every role, the top-level ones first, and who gave them.
fn roles(app: &App, pin: &Pin, now: UtcTime) -> Result<(Vec<RoleStatus>, Vec<SourceStatus>), Problem> {
    let mut session = Session::open(app, pin)?;
    let unloaded = session.load_all(app)?;
    let set = session.reader.trusted();
    let online = "trust-signer, by itself".to_owned();
    let root = set.root();
    let holders = |role: RoleType| root.role(role);
    let mut rows = vec![
        row("root", Some((root.version(), root.expires())), holders(RoleType::Root), people("root keys", "root"), now),
        row(
            "timestamp",
            Some((set.timestamp().version(), set.timestamp().expires())),
            holders(RoleType::Timestamp),
            online.clone(),
            now,
        ),
        row(
            "snapshot",
            Some((set.snapshot().version(), set.snapshot().expires())),
            holders(RoleType::Snapshot),
            online,
            now,
        ),
    ];
    for role in session.signers() {
        let Some(keys) = session.keys_of(&role) else { continue };
        let file = session.role(app, role.as_str()).ok().map(|file| (file.version(), file.expires()));
        rows.push(row(role.as_str(), file, &keys, renewer(&role), now));
    }
    // Roles below a signer that cannot be used.
    for (role, problem) in unloaded {
        if !rows.iter().any(|row| row.role == role) {
            let renewed_by = format!("its holder ({})", problem.headline);
            rows.push(RoleStatus {
                role,
                version: None,
                expires: None,
                state: "unusable".to_owned(),
                renewed_by,
                keys: Vec::new(),
            });
        }
    }
    let newest = session.reader.trusted().timestamp().version();
    Ok((rows, session.reader.sources().iter().map(|source| source_status(source, newest)).collect()))
}

fn source_status(source: &SourceReport, newest: Version) -> SourceStatus {
    let (state, timestamp, fault) = match &source.state {
        SourceState::Timestamp(version) if *version >= newest => ("current", Some(version.get()), None),
        SourceState::Timestamp(version) => ("behind", Some(version.get()), None),
        SourceState::Failed(failure) => ("failed", None, Some(style::plain(&failure.to_string()))),
        SourceState::Unheard => ("unheard", None, None),
    };
    SourceStatus { address: style::plain(&source.address), state: state.to_owned(), timestamp, fault }
}

fn people(keys: &str, role: &str) -> String {
    format!("who holds {keys}: trust rotate {role}")
}

fn renewer(role: &RoleName) -> String {
    match role.as_str() {
        "targets" => "who holds the targets key: the next sign, or trust rotate targets".to_owned(),
        "_policy" => "who holds its key: trust policy publish".to_owned(),
        "_labels" => "who holds its key: trust labels publish".to_owned(),
        "_exceptions" => "who holds its key: trust exception prune".to_owned(),
        "_revoked" => "who holds its key: trust revoke (the same again), or trust rotate signer:_revoked".to_owned(),
        name => format!("{name}: the next sign --as {name}"),
    }
}

fn row(role: &str, file: Option<(Version, UtcTime)>, keys: &RoleKeys, renewed_by: String, now: UtcTime) -> RoleStatus {
    let by_people = !matches!(role, "timestamp" | "snapshot");
    let state = match file {
        None => "unusable",
        Some((_, expires)) if by_people && expires.secs_since(now) < DUE => "due",
        Some(_) => "ok",
    };
    RoleStatus {
        role: role.to_owned(),
        version: file.map(|(version, _)| version.get()),
        expires: file.map(|(_, expires)| expires.to_string()),
        state: state.to_owned(),
        renewed_by,
        keys: keys.keyids().iter().map(|id| id.as_str().to_owned()).collect(),
    }
}

/// What of it needs somebody.
fn finding(pin: &Pin, roles: Vec<RoleStatus>, sources: Vec<SourceStatus>) -> (CollectionStatus, Option<Problem>) {
    let mut problem = Problem::new(Code::Findings)
        .headline(format!("roles of {} need to be renewed", pin.collection))
        .fact("collection", &pin.collection)
        .cause("");
    let mut found = false;
    for role in roles.iter().filter(|role| role.state != "ok") {
        let when = role.expires.as_deref().map_or("cannot be used".to_owned(), |at| format!("expires {at}"));
        problem = problem.fact(&role.role, format!("{when}   {}", role.renewed_by));
        found = true;
    }
    let problem = problem.remedy(["let the people who are named beside each role renew it"]);
    (CollectionStatus { collection: pin.collection.clone(), roles, sources, fault: None }, found.then_some(problem))
}

/// An expiry that stands in the way of the update is a finding; everything else is what it is.
fn overdue(pin: &Pin, problem: Problem) -> Problem {
    if problem.exit() != exit::EXPIRED {
        return problem.within(&pin.collection);
    }
    let mut finding = Problem::new(Code::Findings).headline(format!("{}: {}", pin.collection, problem.headline));
    for (label, value) in &problem.facts {
        finding = finding.fact(label, value);
    }
    finding.fact("error", problem.id()).cause(&problem.cause).remedy(problem.remedy)
}

struct Shown {
    report: StatusReport,
    problems: Vec<Problem>,
    now: UtcTime,
}

impl Answer for Shown {
    fn command(&self) -> &'static str {
        "status"
    }

    fn json(&self) -> Value {
        crate::output::value(&self.report)
    }

    fn text(&self, style: Style) -> String {
        let mut text = String::new();
        for collection in self.report.collections.iter().filter(|collection| !collection.roles.is_empty()) {
            text.push_str(&format!("{}\n", style::plain(&collection.collection)));
            let mut rows = vec![["ROLE", "VERSION", "EXPIRES", "", "RENEWED BY"].map(str::to_owned).to_vec()];
            for role in &collection.roles {
                let when = role.expires.as_deref().and_then(UtcTime::parse);
                let when = when.map_or("-".to_owned(), |at| format!("{at}   {}", style::relative(at, self.now)));
                let mark = match role.state.as_str() {
                    "ok" => String::new(),
                    "due" => style.warn("due"),
                    state => style.bad(state),
                };
                let version = role.version.map_or("-".to_owned(), |version| format!("v{version}"));
                rows.push(vec![style::plain(&role.role), version, when, mark, style::plain(&role.renewed_by)]);
            }
            text.push_str(&style::table(&rows));
            // Without mirrors there is nothing to tell: the table came from the server.
            for (at, source) in collection.sources.iter().enumerate().filter(|_| collection.sources.len() > 1) {
                let what = if at == 0 { "server" } else { "mirror" };
                let version = source.timestamp.map_or(String::new(), |version| format!(", timestamp v{version}"));
                let fault = source.fault.as_deref().map_or(String::new(), |fault| format!(": {fault}"));
                let state = if source.state == "current" { source.state.clone() } else { style.warn(&source.state) };
                text.push_str(&format!("{what} {}: {state}{version}{fault}\n", source.address));
            }
            text.push('\n');
        }
        text
    }

    fn problems(&self) -> Vec<&Problem> {
        self.problems.iter().collect()
    }
}
