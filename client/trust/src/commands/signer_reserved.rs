//! What `trust signer add | remove` says about reserved roles: what is in force of their kind, and whose keys they share.
//!
//! Invariants: a role file that cannot be read is never taken for one that holds nothing; what ends with a role is what was
//! confirmed, or nothing ends.

use std::collections::BTreeMap;

use trust_reader::catalogue::{Code, exit};
use trust_reader::verdict::Problem;
use trust_tuf::{PublicKey, TargetInfo, reserved};

use crate::app::App;
use crate::policy::difference::split;
use crate::policy::{images, roles};
use crate::printer::Printer;
use crate::session::Session;
use crate::style;

/// Refuses a reserved role where its kind has no place: no policy beside images, no revocations where there are no images.
pub(super) fn refuse(app: &App, session: &mut Session, kind: &str) -> Result<(), Problem> {
    if kind != "_revoked" {
        return images::refuse(app, session);
    }
    let set = session.reader.trusted();
    let is_of_policy = |path: &str| reserved::kind(path).is_some_and(|kind| kind != "_revoked");
    let role = session.signers().into_iter().find(|role| is_of_policy(role.as_str()) || is_policy_role(role.as_str()));
    let found = match set.targets().paths().find(|path| is_of_policy(path)) {
        Some(path) => Some(path.to_owned()),
        None => role.map(|role| format!("the role {role}")),
    };
    let Some(found) = found else { return Ok(()) };
    let collection = &session.collection;
    Err(crate::fault::usage(&format!("{collection} carries a policy, and there is nothing to revoke in it"))
        .fact("collection", collection)
        .fact("found", style::plain(&found))
        .cause("`_revoked` is for revocations of images, which are signed in the collection of the images")
        .remedy([
            "name the collection of the images: trust signer add _revoked COLLECTION".to_owned(),
            format!("to end an exception: trust exception revoke ID {collection}"),
        ]))
}

fn is_policy_role(role: &str) -> bool {
    roles::kind_of(role).is_some_and(|kind| kind != "_revoked")
}

/// Says where a key of a reserved role can do something else as well: then a threshold or a role of its own is none.
pub(super) fn note_shared_keys(printer: &Printer, session: &Session, keys: &[PublicKey]) {
    for role in session.signers() {
        let Some(others) = session.keys_of(&role) else { continue };
        for key in keys.iter().filter(|key| others.holds(key)) {
            printer.note(&format!("! key {} also signs for `{role}`: whoever holds it can do both", key.id().short()));
        }
    }
}

/// What a reserved role holds.
#[derive(Debug, Clone)]
pub(super) struct Held {
    kind: &'static str,
    listed: Listed,
}

#[derive(Debug, Clone)]
enum Listed {
    /// What it says of each target of its kind.
    Known(BTreeMap<String, TargetInfo>),
    /// Its file is withheld, broken or not valid, for this reason. That is not the same as a file that holds nothing.
    Unread(String),
}

impl Held {
    /// Reads it; that there is such a role at all is found out here, before anybody is asked.
    pub(super) fn read(app: &App, session: &mut Session, kind: &'static str) -> Result<Self, Problem> {
        if !roles::is_delegated(session, kind) {
            return Err(Problem::new(Code::KeyNotAllowed)
                .headline(format!("{} has no role `{kind}`", session.collection))
                .cause(format!("{} signed with the key of `targets` there", roles::are(kind)))
                .remedy([format!("to give this a key of its own: trust signer add {kind} {}", session.collection)]));
        }
        let listed = match session.role(app, kind) {
            Ok(file) => {
                let paths = file.paths().filter(|path| reserved::kind(path) == Some(kind));
                Listed::Known(paths.filter_map(|path| Some((path.to_owned(), file.target(path)?))).collect())
            }
            Err(problem) if problem.exit() == exit::LOCAL => return Err(problem),
            Err(problem) => Listed::Unread(format!("{} {}", problem.id(), style::plain(&problem.headline))),
        };
        Ok(Self { kind, listed })
    }

    /// What ends with the role; nothing if that is not known.
    pub(super) fn files(&self) -> Vec<String> {
        self.known().keys().cloned().collect()
    }

    /// Why it is not known what ends with the role.
    pub(super) fn unread(&self) -> Option<&str> {
        match &self.listed {
            Listed::Known(_) => None,
            Listed::Unread(why) => Some(why),
        }
    }

    fn known(&self) -> BTreeMap<String, TargetInfo> {
        match &self.listed {
            Listed::Known(listed) => listed.clone(),
            Listed::Unread(_) => BTreeMap::new(),
        }
    }

    /// Has it confirmed that this ends. What nobody can see is not asked for at a terminal: it must be said beforehand.
    pub(super) fn confirm_end(&self, app: &App, collection: &str) -> Result<(), Problem> {
        let (given, kind) = (app.globals.confirm.as_deref(), self.kind);
        let Some(why) = self.unread() else {
            let what = roles::end_of(kind, Some(self.known().len()), collection);
            return app.terminal.confirm_name(&what, collection, given);
        };
        let what = roles::end_of(kind, None, collection);
        if given.is_some() {
            return app.terminal.confirm_name(&what, collection, given);
        }
        Err(Problem::new(Code::NeedConfirmation)
            .headline(format!("it is not known what ends with the role `{kind}` of {collection}"))
            .fact("to confirm", what)
            .fact("found", why)
            .cause("a file that is withheld can hold anything; whoever withholds it may want it to end")
            .remedy([
                "try again later, or from elsewhere".to_owned(),
                format!("if the file is lost for good, answer with --confirm {collection}"),
            ]))
    }

    /// The refusal, if it holds something else now than was confirmed.
    pub(super) fn refuse_other(&self, now: &Held, collection: &str) -> Option<Problem> {
        let (came, left, changed, _) = split(&self.known(), &now.known());
        let is_same = came.is_empty() && left.is_empty() && changed.is_empty();
        if is_same && self.unread().is_some() == now.unread().is_some() {
            return None;
        }
        let kind = self.kind;
        let mut problem = Problem::new(Code::Conflict)
            .headline(format!("somebody else changed what `{kind}` holds in {collection}; nothing was published"))
            .fact("collection", collection);
        if let (None, Some(why)) = (self.unread(), now.unread()) {
            problem = problem.headline(format!("`{kind}` of {collection} cannot be read now; nothing was published"));
            problem = problem.fact("found", why);
        } else {
            for (what, files) in [("came", came), ("left", left), ("changed", changed)] {
                if !files.is_empty() {
                    problem = problem.fact(what, style::plain(&files.join(", ")));
                }
            }
        }
        Some(problem.cause("something else was confirmed than what would end now").remedy([
            "look at what is named above",
            "if that may end too, run the command again: it asks for all of it",
        ]))
    }
}

/// What ended with a role whose file could not be read.
pub(super) fn unread_text(kind: &str, why: &str) -> String {
    let what = if kind == "_revoked" { "an unknown number of revocations" } else { "what stood there is not known" };
    format!("{what}; the file cannot be read: {why}")
}

/// `_policy/a.cedar and 1 more`
pub(super) fn taken_text(kind: &str, files: &[String]) -> String {
    match files {
        [] => format!("no {} in force", roles::words(kind).trim_start_matches("the ")),
        [one] => style::plain(one),
        [first, rest @ ..] => format!("{} and {} more", style::plain(first), rest.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(targets: &[(&str, &str)]) -> Held {
        let targets = targets.iter().map(|(path, bytes)| ((*path).to_owned(), TargetInfo::of(bytes.as_bytes())));
        Held { kind: "_revoked", listed: Listed::Known(targets.collect()) }
    }

    #[test]
    fn what_was_confirmed_stands_only_for_what_was_seen_then() {
        let unread = |why: &str| Held { kind: "_revoked", listed: Listed::Unread(why.to_owned()) };
        let (none, one, other) = (held(&[]), held(&[("_revoked/a", "1")]), held(&[("_revoked/a", "2")]));
        let two = held(&[("_revoked/a", "1"), ("_revoked/b", "1")]);
        let differs = |confirmed: &Held, now: &Held| confirmed.refuse_other(now, "r.example/pay").map(|p| p.text());
        for (confirmed, now, says) in [
            (&none, &one, "came"),
            (&one, &two, "_revoked/b"),
            (&two, &one, "left"),
            (&one, &other, "changed"),
            (&one, &unread("E3101"), "cannot be read now"),
            (&none, &unread("E3101"), "E3101"),
            (&unread("E3101"), &one, "came"),
            (&unread("E3101"), &none, "somebody else changed"),
        ] {
            let told = differs(confirmed, now).unwrap_or_default();
            assert!(told.contains(says), "{confirmed:?} {now:?}: {told}");
        }
        assert_eq!(differs(&one, &one), None);
        // A role that is signed again, or that is still withheld in another way, is what was confirmed.
        assert_eq!(differs(&unread("E3101"), &unread("E1403")), None);
        assert_eq!((unread("E3101").files(), one.files()), (Vec::new(), vec!["_revoked/a".to_owned()]));
    }
}
