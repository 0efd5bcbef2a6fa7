//! What `trust signer add | remove` says about reserved roles: what is in force of their kind, and whose keys they share.

use trust_reader::catalogue::Code;
use trust_reader::verdict::Problem;
use trust_tuf::{PublicKey, reserved};

use crate::app::App;
use crate::policy::{images, roles};
use crate::printer::Printer;
use crate::session::Session;
use crate::settings::Pin;
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

/// What a reserved role has in force; that there is such a role at all is found out here, before anybody is asked.
pub(super) fn in_force(app: &App, pin: &Pin, kind: &str) -> Result<Vec<String>, Problem> {
    let mut session = Session::for_change(app, pin)?;
    if !roles::is_delegated(&session, kind) {
        return Err(Problem::new(Code::KeyNotAllowed)
            .headline(format!("{} has no role `{kind}`", session.collection))
            .cause(format!("{} signed with the key of `targets` there", roles::are(kind)))
            .remedy([format!("to give this a key of its own: trust signer add {kind} {}", session.collection)]));
    }
    // A file that cannot be used holds nothing that is in force.
    let Ok(file) = session.role(app, kind) else { return Ok(Vec::new()) };
    let paths = file.paths().filter(|path| reserved::kind(path) == Some(kind));
    Ok(paths.map(str::to_owned).collect())
}

/// `_policy/a.cedar and 1 more`
pub(super) fn taken_text(kind: &str, files: &[String]) -> String {
    match files {
        [] => format!("no {} in force", roles::words(kind).trim_start_matches("the ")),
        [one] => style::plain(one),
        [first, rest @ ..] => format!("{} and {} more", style::plain(first), rest.len()),
    }
}
