//! `trust sign`: this tag means this digest.
//!
//! The digest is given, or a person at a terminal has seen it. Facts come from content that the digest covers. All images
//! of one collection become current in one publication.

use std::collections::BTreeMap;

use serde_json::Value;
use trust_image::{Digest, ImageFacts, Reference, target};
use trust_reader::catalogue::Code;
use trust_reader::registry::{ImageContent, RegistryClient};
use trust_reader::verdict::Problem;
use trust_tuf::{Hashes, RoleName, TargetInfo, json};

use crate::app::App;
use crate::cli::images::Sign;
use crate::entries::Entries;
use crate::fault;
use crate::keyring::{Keyring, Kind};
use crate::output::{Publication, Signed, SignedImage};
use crate::policy::labels;
use crate::printer::{Answer, Printer};
use crate::publish::{self, Change};
use crate::server;
use crate::session::{Session, pin_for, with_collection_hint};
use crate::signing;
use crate::style::{self, Style};

/// An image with the digest to sign and what the digest covers.
struct Subject {
    image: Reference,
    digest: Digest,
    content: ImageContent,
    collection: String,
}

/// Runs the command.
pub fn run(app: &App, printer: &Printer, args: &Sign) -> Result<Box<dyn Answer>, Problem> {
    app.need_network("signing")?;
    if args.expect.is_some() && args.images.len() > 1 {
        return Err(fault::usage("--expect goes with one image; write NAME:TAG@DIGEST for several"));
    }
    let stated = stated(&args.annotation)?;
    // Pins before anything else: an image of no collection is refused before a registry is asked.
    let collections = args
        .images
        .iter()
        .map(|image| pin_for(app, image).map(|pin| pin.collection.clone()))
        .collect::<Result<Vec<_>, _>>()?;
    // What will certainly be asked, and that nobody can answer, is said before anything is contacted.
    for image in &args.images {
        if image.digest().is_none() && args.expect.is_none() {
            may_ask_for_digest(app, image).map_err(|problem| with_collection_hint(app, image, problem))?;
        }
    }
    let mut keyring = Keyring::new(app, &args.keys)?;
    keyring.expect_answer(Kind::Other)?;
    let registry = server::registry(app)?;
    let mut subjects: BTreeMap<String, Vec<(usize, Subject)>> = BTreeMap::new();
    for (at, (image, collection)) in args.images.iter().zip(collections).enumerate() {
        let subject = subject(app, printer, &registry, image, args.expect.as_ref(), collection.clone())
            .map_err(|problem| with_collection_hint(app, image, problem))?;
        subjects.entry(collection).or_default().push((at, subject));
    }
    let all = subjects.values().flatten().map(|(_, subject)| subject);
    let labelled: Vec<_> = all.map(|subject| subject.looked_up(&stated)).collect();
    let warnings = labels::check(app, printer, &labelled)?;
    let mut signed: BTreeMap<usize, SignedImage> = BTreeMap::new();
    for (collection, subjects) in &subjects {
        let (role, publication) = publish::with_retries(
            |text| printer.note(text),
            || sign_collection(app, &mut keyring, collection, subjects, (args, &stated)),
        )?;
        for (at, subject) in subjects {
            signed.insert(*at, subject.report(&role, publication.clone()));
        }
    }
    Ok(Box::new(Signed { images: signed.into_values().collect(), warnings, dry_run: args.change.dry_run }))
}

/// What is stated, each key with one value.
fn stated(given: &[(String, String)]) -> Result<BTreeMap<String, String>, Problem> {
    let mut stated = BTreeMap::new();
    for (key, value) in given {
        if stated.insert(key.clone(), value.clone()).is_some_and(|before| before != *value) {
            return Err(fault::usage("-a states one key with two values").fact("key", key));
        }
    }
    Ok(stated)
}

/// Finds out which digest is to be signed, and reads what it covers.
fn subject(
    app: &App,
    printer: &Printer,
    registry: &RegistryClient,
    image: &Reference,
    expect: Option<&Digest>,
    collection: String,
) -> Result<Subject, Problem> {
    let given = match (image.digest(), expect) {
        (Some(digest), Some(expected)) if digest != expected => {
            return Err(fault::usage("--expect names another digest than the reference").fact("image", image));
        }
        (Some(digest), _) => Some(*digest),
        (None, expected) => expected.copied(),
    };
    if given.is_some_and(|digest| digest.sha256().is_none()) {
        return Err(fault::usage("only sha256 digests are signed"));
    }
    let digest = match given {
        Some(digest) => digest,
        None => seen_by_a_person(app, registry, image)?,
    };
    if image.is_tag_defaulted() {
        printer.note(&format!("! no tag was given: {image} is signed"));
    }
    if let Some(tagged) = image.tag().filter(|_| given.is_some()).and_then(|tag| image.tagged(tag).ok()) {
        let served = app.wait(async { registry.head_manifest(&tagged).await.map_err(|e| Problem::from(&e)) });
        match (served, expect) {
            (Ok(served), _) if served == digest => {}
            (Ok(served), Some(_)) => return Err(fault::serves_another(image, &digest, &served)),
            (Err(problem), Some(_)) => return Err(problem),
            // NAME:TAG@DIGEST may be signed before the tag is pushed or moved.
            (served, None) => printer.note(&differs(&tagged, &digest, &served)),
        }
    }
    let pinned = image.pinned(digest);
    let content = app.wait(async { registry.inspect(&pinned).await.map_err(|error| Problem::from(&error)) })?;
    let platforms: Vec<&str> = content.platforms.iter().map(|p| p.platform.as_str()).collect();
    let kind = if content.media_type.is_index() { "index: " } else { "" };
    let tag = image.tag().map(|tag| format!("{tag} → ")).unwrap_or_default();
    let kind = format!("({kind}{})", style::plain(&platforms.join(", ")));
    printer.note(&match given {
        Some(_) => format!("  digest    {tag}{digest} (given)   {kind}"),
        None => format!("  resolved  {tag}{digest}   {kind}"),
    });
    Ok(Subject { image: image.clone(), digest, content, collection })
}

/// What is said when the registry does not serve the given digest under the tag.
fn differs(tagged: &Reference, digest: &Digest, served: &Result<Digest, Problem>) -> String {
    let tag = tagged.tag().unwrap_or_default();
    let goes_on = format!("  going on with the given {digest}; --expect refuses in this case");
    match served {
        Ok(served) => format!("! the registry serves another image for {tagged} now: {served}\n{goes_on}"),
        Err(problem) if problem.code == Code::NoSuchTag => {
            format!("! the registry has no tag {tag} of {} now\n{goes_on}", tagged.name())
        }
        Err(problem) => {
            format!("! whether the registry serves {digest} for {tagged} is not known: {}", problem.headline)
        }
    }
}

/// Fails if the digest would have to be confirmed and must not or cannot be.
fn may_ask_for_digest(app: &App, image: &Reference) -> Result<(), Problem> {
    if app.settings.require_digest {
        return Err(fault::usage("this context signs a tag only with its digest given")
            .fact("image", image)
            .remedy([format!("trust sign {image} --expect DIGEST, with the digest that you built")]));
    }
    match app.terminal.is_interactive() {
        true => Ok(()),
        false => Err(fault::digest_needed(image, "there is no terminal, or nobody may be asked")),
    }
}

/// The digest that the registry names, if a person confirms it.
fn seen_by_a_person(app: &App, registry: &RegistryClient, image: &Reference) -> Result<Digest, Problem> {
    may_ask_for_digest(app, image)?;
    let served = app.wait(async { registry.head_manifest(image).await.map_err(|error| Problem::from(&error)) })?;
    let question = format!("The registry serves {served} for {image}. Is this the image that you want to sign?");
    app.terminal.confirm_seen(&question, "--expect DIGEST")?;
    Ok(served)
}

/// Signs all images of one collection on its current state.
fn sign_collection(
    app: &App,
    keyring: &mut Keyring<'_>,
    collection: &str,
    subjects: &[(usize, Subject)],
    (args, stated): (&Sign, &BTreeMap<String, String>),
) -> Result<(RoleName, Option<Publication>), Problem> {
    let pin = app.settings.pin(collection).ok_or_else(|| fault::not_pinned(collection))?;
    let mut session = Session::for_change(app, pin)?;
    let mut paths = Vec::new();
    for (_, subject) in subjects {
        paths.extend(subject.paths()?);
    }
    // What is declared bad is not signed again: the signature would count for nobody.
    for (_, subject) in subjects {
        let parts = subject.content.platforms.iter().map(|platform| platform.digest).collect();
        let revoked = app.wait(session.reader.revocation(&subject.image, Some(&subject.digest), &parts))?;
        if let Some(revocation) = revoked {
            return Err(revocation.problem(&subject.image));
        }
    }
    let role = signing::choose_role(&session, keyring, args.signer.as_ref(), &paths)?;
    for (_, subject) in subjects {
        subject.check_others(app, &mut session, &role, stated)?;
    }
    let mut entries = Entries::of(app, &mut session, &role)?;
    let signed_at = app.now()?.to_string();
    let mut change = Change::default();
    let mut tags_of: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (_, subject) in subjects {
        let tags = tags_of.entry(format!("{}@{}", subject.image.name(), subject.digest)).or_default();
        tags.extend(subject.image.tag().map(str::to_owned));
        let info = subject.target(&mut entries, &signed_at, tags, stated)?;
        for path in subject.paths()? {
            entries.set(&path, &info)?;
            change.blobs.retain(|(known, _)| *known != path);
            change.blobs.push((path, subject.content.manifest.clone()));
        }
    }
    let drafts = entries.drafts()?;
    change.roles = signing::sign_files(&session, keyring, &role, &drafts, true)?;
    if args.change.dry_run {
        return Ok((role, None));
    }
    let (_, publication) = publish::publish(app, session, &change)?;
    Ok((role, Some(publication)))
}

impl Subject {
    /// What gates look up in the dictionary: labels of what runtimes can start, annotations and statements.
    fn looked_up<'a>(&'a self, stated: &'a BTreeMap<String, String>) -> labels::Signing<'a> {
        let platforms = self.content.platforms.iter().filter(|platform| platform.runnable);
        let platforms = platforms.map(|platform| (platform.platform.as_str(), &platform.labels)).collect();
        labels::Signing { image: &self.image, platforms, annotations: &self.content.annotations, stated }
    }

    /// The facts to sign, without tags.
    fn facts(&self, signed_at: &str, stated: &BTreeMap<String, String>) -> Result<ImageFacts, Problem> {
        let facts = self.content.facts(signed_at, std::iter::empty());
        Ok(ImageFacts { stated: stated.clone(), ..facts.map_err(|error| fault::facts(&self.image, &error))? })
    }

    /// Refuses what another signer contradicts: signed, it would be refused everywhere.
    fn check_others(
        &self,
        app: &App,
        session: &mut Session,
        role: &RoleName,
        stated: &BTreeMap<String, String>,
    ) -> Result<(), Problem> {
        let facts = self.facts(&app.now()?.to_string(), stated)?;
        let content = (&self.digest, self.content.size());
        for path in self.paths()? {
            app.wait(session.reader.check_facts(&self.image, &path, content, &facts, role.as_str()))?;
        }
        Ok(())
    }

    /// The target paths: of the tag, if there is one, and of the digest.
    fn paths(&self) -> Result<Vec<String>, Problem> {
        let mapped = |error: trust_image::TargetError| fault::target(&error);
        let by_digest = target::digest_path(&self.collection, &self.image, &self.digest).map_err(mapped)?;
        if self.image.tag().is_none() {
            return Ok(vec![by_digest]);
        }
        Ok(vec![target::tag_path(&self.collection, &self.image).map_err(mapped)?, by_digest])
    }

    /// What is signed: length, hash and facts. The tags of the role's old entry for this digest stay listed.
    fn target(
        &self,
        entries: &mut Entries<'_>,
        signed_at: &str,
        tags: &[String],
        stated: &BTreeMap<String, String>,
    ) -> Result<TargetInfo, Problem> {
        let facts_fault = |error: trust_image::FactsError| fault::facts(&self.image, &error);
        let path = target::digest_path(&self.collection, &self.image, &self.digest).map_err(|e| fault::target(&e))?;
        let old = entries
            .published(&path)?
            .and_then(|info| info.custom)
            .and_then(|custom| ImageFacts::from_custom(&custom.to_json()).ok().flatten());
        let mut facts = self.facts(signed_at, stated)?;
        for tag in old.iter().flat_map(|facts| &facts.tags).chain(tags) {
            facts.add_tag(tag).map_err(facts_fault)?;
        }
        let custom = facts.to_custom().map_err(facts_fault)?;
        let custom = json::parse(&custom).map_err(|e| fault::draft(&e))?;
        let hashes = Hashes { sha256: self.digest.sha256(), sha512: None };
        Ok(TargetInfo { length: self.content.size(), hashes, custom: Some(custom) })
    }

    fn report(&self, role: &RoleName, publication: Option<Publication>) -> SignedImage {
        SignedImage {
            reference: self.image.to_string(),
            resolved: self.image.pinned(self.digest).to_string(),
            digest: self.digest.to_string(),
            collection: self.collection.clone(),
            signer: role.to_string(),
            platforms: self.content.platforms.iter().map(|p| p.platform.clone()).collect(),
            index: self.content.media_type.is_index(),
            publication,
        }
    }
}

impl Answer for Signed {
    fn command(&self) -> &'static str {
        "sign"
    }

    fn json(&self) -> Value {
        crate::output::value(self)
    }

    fn text(&self, _: Style) -> String {
        self.images.iter().map(|image| format!("{}\n", image.resolved)).collect()
    }

    fn report(&self, style: Style) -> String {
        let line = |image: &SignedImage| match &image.publication {
            Some(publication) => format!(
                "{}   {}  as {}   {}\n",
                style.good("signed"),
                image.reference,
                image.signer,
                published_text(publication)
            ),
            None => {
                format!("{} {}  as {}: nothing was published\n", style.warn("dry run"), image.reference, image.signer)
            }
        };
        self.images.iter().map(line).collect()
    }
}

/// The versions of a publication, for people.
pub fn published_text(publication: &Publication) -> String {
    let mut parts = style::role_versions(&publication.roles);
    parts.push(format!("snapshot v{}", publication.snapshot));
    parts.push(format!("timestamp v{}", publication.timestamp));
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_that_the_registry_lacks_or_serves_for_another_image_is_named() {
        let tagged = Reference::parse("r.example/pay/api:v1").unwrap();
        let (digest, other) = (Digest::of(b"a"), Digest::of(b"b"));
        let text = differs(&tagged, &digest, &Ok(other));
        assert!(text.starts_with('!') && text.contains(&other.to_string()) && text.contains("v1"), "{text}");
        let text = differs(&tagged, &digest, &Err(Problem::new(Code::NoSuchTag)));
        assert!(text.starts_with("! the registry has no tag v1") && text.contains("--expect"), "{text}");
        let text = differs(&tagged, &digest, &Err(Problem::new(Code::RegistryUnreachable)));
        assert!(text.starts_with('!') && text.contains("not known"), "{text}");
    }
}
