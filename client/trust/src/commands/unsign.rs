//! `trust unsign`: my entry goes; what others say stays.

use serde_json::Value;
use trust_image::{Reference, target};
use trust_reader::verdict::Problem;
use trust_reader::verify::digest_of;

use crate::app::App;
use crate::cli::images::Unsign;
use crate::entries::Entries;
use crate::fault;
use crate::keyring::{Keyring, Kind};
use crate::output::Unsigned;
use crate::printer::{Answer, Printer};
use crate::publish::{self, Change};
use crate::session::{Session, pin_for};
use crate::signing;
use crate::style::{self, Style};

/// Runs the command.
pub fn run(app: &App, printer: &Printer, args: &Unsign) -> Result<Unsigned, Problem> {
    app.need_network("removing a signature")?;
    let pin = pin_for(app, &args.image)?;
    let question = format!("Remove your signature of {}?", args.image);
    if !args.change.dry_run {
        app.terminal.confirm(&question, app.globals.yes)?;
    }
    let mut keyring = Keyring::new(app, &args.keys)?;
    keyring.expect_answer(Kind::Other)?;
    publish::with_retries(
        |text| printer.note(text),
        || {
            let session = Session::for_change(app, pin)?;
            attempt(app, &mut keyring, session, args)
        },
    )
}

fn attempt(app: &App, keyring: &mut Keyring<'_>, mut session: Session, args: &Unsign) -> Result<Unsigned, Problem> {
    let collection = session.collection.to_string();
    let image = &args.image;
    let main = main_path(&collection, image)?;
    let role = signing::choose_role(&session, keyring, args.signer.as_ref(), std::slice::from_ref(&main))?;
    let mut entries = Entries::of(app, &mut session, &role)?;
    let Some(entry) = entries.published(&main)? else {
        return Err(fault::not_signed_by_me(image, role.as_str()));
    };
    if let (Some(given), Some(signed)) = (image.digest(), digest_of(&entry))
        && *given != signed
    {
        return Err(fault::signed_another(image, &signed, role.as_str()));
    }
    let mut removed = vec![main.clone()];
    if args.digest
        && let Some(digest) = digest_of(&entry)
    {
        let path = target::digest_path(&collection, image, &digest).map_err(|e| fault::target(&e))?;
        if path != main && entries.published(&path)?.is_some() {
            removed.push(path);
        }
    }
    for path in &removed {
        entries.remove(path)?;
    }
    let drafts = entries.drafts()?;
    let roles = signing::sign_files(&session, keyring, &role, &drafts, true)?;
    let change = Change { roles, ..Change::default() };
    let publication = if args.change.dry_run {
        None
    } else {
        let (renewed, publication) = publish::publish(app, session, &change)?;
        session = renewed;
        Some(publication)
    };
    let outcome = app.wait(session.reader.lookup(&main))?;
    let others: Vec<_> =
        outcome.statements.iter().filter(|s| publication.is_some() || s.signer != role.as_str()).collect();
    Ok(Unsigned {
        reference: image.to_string(),
        collection,
        signer: role.to_string(),
        removed,
        remains: others.first().and_then(|s| digest_of(&s.target)).map(|digest| digest.to_string()),
        remaining_signers: others.iter().map(|s| s.signer.clone()).collect(),
        publication,
    })
}

/// The entry that the reference names: the tag's, or the digest's if there is no tag.
fn main_path(collection: &str, image: &Reference) -> Result<String, Problem> {
    let path = match (image.tag(), image.digest()) {
        (None, Some(digest)) => target::digest_path(collection, image, digest),
        _ => target::tag_path(collection, image),
    };
    path.map_err(|e| fault::target(&e))
}

impl Answer for Unsigned {
    fn command(&self) -> &'static str {
        "unsign"
    }

    fn json(&self) -> Value {
        crate::output::value(self)
    }

    fn text(&self, _: Style) -> String {
        String::new()
    }

    fn report(&self, style: Style) -> String {
        let head = match &self.publication {
            Some(publication) => format!(
                "{} {}  as {}   {}\n",
                style.good("unsigned"),
                self.reference,
                self.signer,
                super::sign::published_text(publication)
            ),
            None => {
                format!("{} {}  as {}: nothing was published\n", style.warn("dry run"), self.reference, self.signer)
            }
        };
        let meaning = match &self.remains {
            Some(digest) => format!(
                "{} is still signed: {digest}  by {}",
                self.reference,
                style::plain(&self.remaining_signers.join(", "))
            ),
            None => format!("{} is not signed any more: verify ends with exit code 10", self.reference),
        };
        let removed = self.removed.iter().map(|path| style::plain(path)).collect::<Vec<_>>().join("\n");
        let mut facts = vec![("removed", removed), ("now", meaning)];
        if self.removed.iter().all(|path| !path.contains('@')) {
            facts.push(("digest", "the entry of the digest stays; --digest removes it too".to_owned()));
        }
        format!("{head}{}", style::facts(facts))
    }
}
