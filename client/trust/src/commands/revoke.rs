//! `trust revoke`: a digest or tag is declared bad, whoever signed it.

use serde_json::Value;
use trust_image::facts::composed;
use trust_image::target;
use trust_reader::verdict::Problem;
use trust_tuf::{TargetInfo, json};

use crate::app::App;
use crate::cli::images::Revoke;
use crate::fault;
use crate::keyring::{Keyring, Kind};
use crate::output::Revoked;
use crate::policy::roles;
use crate::printer::{Answer, Printer};
use crate::publish::{self, Change};
use crate::session::{Session, pin_for};
use crate::signing;
use crate::style::{self, Style};

/// The reserved role of revocations, where `targets` delegates it.
const ROLE: &str = "_revoked";
/// Longest reason, in bytes.
const MAX_REASON_BYTES: usize = 1_024;

/// Runs the command.
pub fn run(app: &App, printer: &Printer, args: &Revoke) -> Result<Revoked, Problem> {
    app.need_network("revoking")?;
    // Signed text is composed: some clients compose it before they check the signature.
    let reason = composed(&args.reason);
    if reason.trim().is_empty() || reason.len() > MAX_REASON_BYTES {
        return Err(fault::usage("a reason has 1 to 1,024 bytes"));
    }
    if args.image.is_tag_defaulted() {
        return Err(fault::usage("name the tag or the digest to revoke: NAME:TAG or NAME@sha256:…"));
    }
    let pin = pin_for(app, &args.image)?;
    if !args.change.dry_run {
        let what = match args.image.digest() {
            Some(digest) => format!("Every client will refuse {digest}, under every name of {}.", pin.collection),
            None => format!("Every client will refuse {}, whoever signs it.", args.image),
        };
        app.terminal.confirm_name(&what, args.image.name(), app.globals.confirm.as_deref())?;
    }
    let mut keyring = Keyring::new(app, &args.keys)?;
    keyring.expect_answer(Kind::Other)?;
    publish::with_retries(
        |text| printer.note(text),
        || {
            let session = Session::for_change(app, pin)?;
            attempt(app, &mut keyring, session, args, &reason)
        },
    )
}

fn attempt(
    app: &App,
    keyring: &mut Keyring<'_>,
    mut session: Session,
    args: &Revoke,
    reason: &str,
) -> Result<Revoked, Problem> {
    let collection = session.collection.to_string();
    let (kind, path) = match args.image.digest() {
        Some(digest) => ("digest", target::revoked_digest_path(digest)),
        None => {
            let path = target::revoked_tag_path(&collection, &args.image).map_err(|e| fault::target(&e))?;
            ("tag", path)
        }
    };
    let role = roles::role_of(&session, ROLE);
    if !session.may_list(&role, &path) {
        return Err(fault::outside_paths(role.as_str(), &path).remedy([format!(
            "revoke the digest, which holds under every name: trust revoke {}@DIGEST",
            args.image.name()
        )]));
    }
    let file = session.role(app, role.as_str())?;
    let statement = json::Value::object([
        ("reason", json::Value::from(reason)),
        ("time", json::Value::from(app.now()?.to_string())),
    ]);
    let content = statement.to_json();
    let mut info = TargetInfo::of(&content);
    // In the signed facts too: whoever is refused reads the reason without another request.
    info.custom = Some(json::Value::object([("revocation", statement)]));
    let mut draft = signing::next_version(app, &file)?;
    draft.set_target(&path, &info);
    let bytes = signing::sign_as(&session, keyring, &role, &draft, true)?;
    let change = Change { roles: [(role, bytes)].into(), blobs: vec![(path.clone(), content)], ..Change::default() };
    let publication = match args.change.dry_run {
        true => None,
        false => Some(publish::publish(app, session, &change)?.1),
    };
    Ok(Revoked {
        reference: args.image.to_string(),
        collection,
        kind: kind.to_owned(),
        target: path,
        reason: reason.to_owned(),
        publication,
    })
}

impl Answer for Revoked {
    fn command(&self) -> &'static str {
        "revoke"
    }

    fn json(&self) -> Value {
        crate::output::value(self)
    }

    fn text(&self, _: Style) -> String {
        String::new()
    }

    fn report(&self, style: Style) -> String {
        let head = match &self.publication {
            Some(publication) => {
                format!("{} {}   {}\n", style.good("revoked"), self.reference, super::sign::published_text(publication))
            }
            None => format!("{} {}: nothing was published\n", style.warn("dry run"), self.reference),
        };
        let meaning = if self.kind == "digest" {
            format!("this digest is refused under every name of {}, with exit code 17", self.collection)
        } else {
            "this tag is refused with exit code 17; its digest is not, under other tags".to_owned()
        };
        let facts = [("reason", style::plain(&self.reason)), ("now", meaning), ("target", self.target.clone())];
        format!("{head}{}", style::facts(facts))
    }
}
