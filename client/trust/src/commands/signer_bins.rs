//! `trust signer bins | last`: how a signer's entries are spread over files, and where the signer stands.
//!
//! Bins are made by whoever holds the signer's key, in one publication with the signer's own file. Where the signer
//! stands is decided by whoever holds the key of `targets`: bins come behind everybody who may list the same paths,
//! because some readers look no further.

use serde_json::Value;
use trust_reader::verdict::Problem;
use trust_tuf::draft::NewDelegation;
use trust_tuf::model::Paths;
use trust_tuf::{Delegation, PublicKey, RoleName, limits};

use crate::anchors;
use crate::app::App;
use crate::cli::people::{SignerBins, SignerLast};
use crate::entries::{Entries, Layout};
use crate::fault;
use crate::keyring::{Keyring, Kind};
use crate::output::{SignerChange, SignerLaidOut};
use crate::policy::roles;
use crate::printer::{Answer, Printer};
use crate::publish::{self, Change};
use crate::session::Session;
use crate::signing;
use crate::style::{self, Style};

/// Says who reads bins, before there are some.
pub fn note_readers(printer: &Printer) {
    printer
        .note("! bins are read by trust, python-tuf and go-tuf; sigstore-tuf finds nothing in them, and tough cannot");
    printer.note("  load a collection that has some at all");
}

/// In front of which signer a new one has to stand; `None`: behind all.
pub fn place(session: &Session, new: &NewDelegation, with_bins: bool) -> Result<Option<String>, Problem> {
    let paths = Paths::Patterns(new.patterns.clone());
    let with = |d: &&Delegation| !d.terminating() && has_bins(session, d.name()) && meets(d.paths(), &paths);
    match delegations(session).iter().find(with).map(Delegation::name) {
        Some(other) if with_bins => Err(fault::usage(&format!("`{other}` has bins for some of the same paths"))
            .cause("some readers look no further than into the bins of the first of them")
            .remedy(["give the two signers different paths: --paths", "or leave out --bins"])),
        other => Ok(other.map(str::to_owned)),
    }
}

fn delegations(session: &Session) -> &[Delegation] {
    session.reader.trusted().targets().delegations().map(|d| d.roles()).unwrap_or_default()
}

fn has_bins(session: &Session, name: &str) -> bool {
    RoleName::parse(name).is_ok_and(|name| session.bins_of(&name).is_some())
}

/// Whether a path may be for both. What would take too long to find out counts as a yes.
fn meets(a: &Paths, b: &Paths) -> bool {
    let mut work = limits::PATH_WORK;
    a.may_meet(b, &mut work).unwrap_or(true)
}

/// The first signer behind this one who may list the same paths.
fn behind(session: &Session, name: &RoleName) -> Option<String> {
    let mut rest = delegations(session).iter().skip_while(|d| d.name() != name.as_str());
    let own = rest.next().filter(|d| !d.terminating())?;
    rest.find(|d| meets(own.paths(), d.paths())).map(|d| d.name().to_owned())
}

/// `trust signer bins`
pub fn lay_out(app: &App, printer: &Printer, args: &SignerBins) -> Result<SignerLaidOut, Problem> {
    app.need_network("laying out a signer's files")?;
    let pin = anchors::pin_of(app, &args.collection)?;
    let mut keyring = Keyring::new(app, &args.keys)?;
    keyring.expect_answer(Kind::Other)?;
    if args.layout != Layout::OneFile {
        note_readers(printer);
    }
    publish::with_retries(
        |text| printer.note(text),
        || {
            let session = Session::for_change(app, pin)?;
            attempt(app, &mut keyring, session, args)
        },
    )
}

fn attempt(
    app: &App,
    keyring: &mut Keyring<'_>,
    mut session: Session,
    args: &SignerBins,
) -> Result<SignerLaidOut, Problem> {
    let name = &args.name;
    let Some(keys) = session.keys_of(name) else { return Err(unknown(&session, name)) };
    if let Some(other) = behind(&session, name).filter(|_| args.layout != Layout::OneFile) {
        let collection = &args.collection;
        let has_bins = match RoleName::parse(&other) {
            Ok(other) => Entries::of(app, &mut session, &other)?.layout() != Layout::OneFile,
            Err(_) => false,
        };
        let remedy = match has_bins {
            // Behind it, the same would be true of the other one.
            true => format!(
                "two signers with bins cannot share images: take those of one back (trust signer bins {other} {collection} none), \
                 or add it anew with other --paths"
            ),
            false => format!("whoever holds the targets key puts it behind: trust signer last {name} {collection}"),
        };
        return Err(fault::usage(&format!("`{other}` stands behind `{name}` and may sign some of the same images"))
            .cause("some readers look no further than into the bins, and would not find what that signer signed")
            .remedy([remedy]));
    }
    let publics: Vec<PublicKey> = keys.keys().map(|(_, key)| key.clone()).collect();
    let entries = Entries::of(app, &mut session, name)?;
    let before = entries.layout();
    let (moved, drafts) = match before == args.layout {
        true => (0, entries.renewed(&publics, keys.threshold())?),
        false => entries.laid_out(args.layout, &publics, keys.threshold())?,
    };
    let roles = signing::sign_files(&session, keyring, name, &drafts, true)?;
    let change = Change { roles, ..Change::default() };
    let publication = match args.change.dry_run {
        true => None,
        false => Some(publish::publish(app, session, &change)?.1),
    };
    Ok(SignerLaidOut {
        name: name.to_string(),
        collection: args.collection.to_string(),
        bins_before: count(before),
        bins: count(args.layout),
        moved: u64::try_from(moved).unwrap_or(u64::MAX),
        publication,
    })
}

fn count(layout: Layout) -> Option<u64> {
    if layout == Layout::OneFile { None } else { Some(layout.files()) }
}

fn unknown(session: &Session, name: &RoleName) -> Problem {
    let known: Vec<String> = session.signers().iter().map(RoleName::to_string).collect();
    fault::no_such_signer(name.as_str(), session.collection.as_str(), &known)
}

/// `trust signer last`
pub fn last(app: &App, printer: &Printer, args: &SignerLast) -> Result<SignerChange, Problem> {
    app.need_network("changing the order of signers")?;
    let pin = anchors::pin_of(app, &args.collection)?;
    let mut keyring = Keyring::new(app, &args.keys)?;
    keyring.expect_answer(Kind::Other)?;
    let (paths, bins, publication) = publish::with_retries(
        |text| printer.note(text),
        || {
            let session = Session::for_change(app, pin)?;
            let mut draft = signing::next_version(app, session.reader.trusted().targets())?;
            if !draft.move_delegation_last(args.name.as_str()) {
                return Err(unknown(&session, &args.name));
            }
            let paths = super::signer::paths_of(&session, &args.name);
            let bins = session.bins_of(&args.name).map(|bins| bins.count());
            let targets = signing::sign_as(&session, &mut keyring, &RoleName::targets(), &draft, true)?;
            let change = Change { roles: [(RoleName::targets(), targets)].into(), ..Change::default() };
            let publication = match args.change.dry_run {
                true => None,
                false => Some(publish::publish(app, session, &change)?.1),
            };
            Ok((paths, bins, publication))
        },
    )?;
    Ok(SignerChange {
        change: "moved".to_owned(),
        name: args.name.to_string(),
        kind: roles::kind_word(args.name.as_str()).to_owned(),
        collection: args.collection.to_string(),
        files: Vec::new(),
        files_unread: None,
        paths,
        bins,
        publication,
    })
}

impl Answer for SignerLaidOut {
    fn command(&self) -> &'static str {
        "signer bins"
    }

    fn json(&self) -> Value {
        crate::output::value(self)
    }

    fn text(&self, _: Style) -> String {
        String::new()
    }

    fn report(&self, style: Style) -> String {
        let layout = |bins: Option<u64>| bins.map_or("one file".to_owned(), |bins| format!("{bins} bins"));
        let what = match self.bins == self.bins_before {
            true => format!("{}, signed again", layout(self.bins)),
            false => format!("{} entries from {} to {}", self.moved, layout(self.bins_before), layout(self.bins)),
        };
        let (name, collection) = (&self.name, &self.collection);
        let head = match &self.publication {
            Some(publication) => format!(
                "{} signer {name} in {collection}   {}\n",
                style.good("laid out"),
                super::sign::published_text(publication)
            ),
            None => format!("{} signer {name} in {collection}: nothing was published\n", style.warn("dry run")),
        };
        format!("{head}{}", style::facts([("moved", what)]))
    }
}
