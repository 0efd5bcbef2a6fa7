//! A policy collection carries nothing but policy.
//!
//! Invariant: where a role lists an image, or a delegated role may list one, the collection is none: whoever signs images there
//! would stand beside the rules that judge them.

use trust_reader::catalogue::Code;
use trust_reader::verdict::Problem;
use trust_tuf::model::Paths;
use trust_tuf::reserved;

use crate::app::App;
use crate::session::Session;

/// Refuses a collection that carries images, or signers of images.
pub fn refuse(app: &App, session: &mut Session) -> Result<(), Problem> {
    // A role that cannot be loaded counts by what it may list, below.
    session.load_all(app)?;
    let set = session.reader.trusted();
    let delegated = set.loaded().map(|(_, role, file)| (role, file));
    for (role, file) in std::iter::once(("targets", set.targets())).chain(delegated) {
        if let Some(path) = file.paths().find(|path| reserved::kind(path).is_none()) {
            return Err(refused(session, "image", &format!("{path}, signed by {role}")));
        }
        let Some(delegations) = file.delegations() else { continue };
        let signs_images = |paths: &Paths| match paths {
            Paths::Patterns(patterns) => patterns.iter().any(|pattern| reserved::kind(pattern).is_none()),
            Paths::HashPrefixes(_) => true,
        };
        if let Some(signer) = delegations.roles().iter().find(|d| signs_images(d.paths())) {
            return Err(refused(session, "signer", signer.name()));
        }
        if delegations.succinct().is_some() {
            return Err(refused(session, "signer", &format!("the bins of {role}")));
        }
    }
    Ok(())
}

fn refused(session: &Session, label: &str, found: &str) -> Problem {
    let collection = &session.collection;
    Problem::new(Code::CarriesImages)
        .headline(format!("{collection} carries images, and can be no policy collection"))
        .fact("collection", collection)
        .fact(label, crate::style::plain(found))
}
