//! `trust verify` and `trust resolve`: from references to verdicts.

use std::collections::BTreeMap;

use serde_json::Value;
use trust_image::Reference;
use trust_reader::registry::RegistryClient;
use trust_reader::verdict::{Problem, Verdict};
use trust_reader::verify::{Require, VerifiedImage};
use trust_tuf::{RoleName, UtcTime};

use crate::app::App;
use crate::cli::images::{Resolve, Verify};
use crate::output::{Resolved, VerifyReport};
use crate::printer::Answer;
use crate::server;
use crate::session::{Session, pin_for};
use crate::style::{self, Style};

/// What was required of an image.
pub fn require(signers: &[RoleName], min_signers: u32) -> Require {
    Require {
        signers: signers.iter().map(|name| name.as_str().to_owned()).collect(),
        min_signers: usize::try_from(min_signers).unwrap_or(usize::MAX),
    }
}

/// Verifies images, each collection updated once. Sessions stay open until the end: a state has one user at a time.
pub struct Verifier<'a> {
    app: &'a App,
    require: Require,
    sessions: BTreeMap<String, Result<Session, Problem>>,
}

impl<'a> Verifier<'a> {
    /// A verifier with these requirements.
    pub fn new(app: &'a App, require: Require) -> Self {
        Self { app, require, sessions: BTreeMap::new() }
    }

    /// Verifies one image against its collection.
    pub fn verify(&mut self, image: &Reference) -> Result<VerifiedImage, Problem> {
        let app = self.app;
        let pin = pin_for(app, image)?;
        let session = self.sessions.entry(pin.collection.clone()).or_insert_with(|| Session::open(app, pin));
        match session {
            Ok(session) => app.wait(session.reader.verify(image, &self.require)),
            Err(problem) => Err(problem.clone()),
        }
    }
}

/// Runs `trust verify`.
pub fn run(app: &App, args: &Verify) -> Result<Box<dyn Answer>, Problem> {
    let mut verifier = Verifier::new(app, require(&args.signer, args.min_signers));
    // Offline there is no registry to ask either.
    let registry = match args.no_registry || app.settings.offline.value {
        true => None,
        false => Some(server::registry(app)?),
    };
    let verdicts = args
        .images
        .iter()
        .map(|image| {
            let verified = verifier.verify(image);
            let compared = verified.and_then(|verified| match &registry {
                Some(registry) => compare(app, registry, image, verified, args.content),
                None => Ok(verified),
            });
            Verdict::from(compared)
        })
        .collect();
    Ok(Box::new(Verdicts { verdicts, needed: args.min_signers, now: app.now()? }))
}

/// Compares with what the registry serves for the tag now; with `content` also what it serves for the digest. An image
/// that is named by its digest alone cannot differ from its tag.
fn compare(
    app: &App,
    registry: &RegistryClient,
    image: &Reference,
    verified: VerifiedImage,
    content: bool,
) -> Result<VerifiedImage, Problem> {
    if content {
        // Hashed by the registry client: other bytes under this digest are its own refusal.
        app.wait(async { registry.manifest_by_digest(image, &verified.digest).await.map_err(|e| Problem::from(&e)) })?;
    }
    if image.tag().is_none() {
        return Ok(verified);
    }
    let served = app.wait(async { registry.head_manifest(image).await.map_err(|error| Problem::from(&error)) })?;
    // A registry that names another algorithm names no other image: the bytes would have to be hashed again.
    verified.check_served(image, &served)?;
    Ok(verified)
}

struct Verdicts {
    verdicts: Vec<Verdict>,
    needed: u32,
    now: UtcTime,
}

impl Answer for Verdicts {
    fn command(&self) -> &'static str {
        "verify"
    }

    fn json(&self) -> Value {
        let images = self.verdicts.iter().map(Verdict::json).collect();
        let mut value = crate::output::value(&VerifyReport { images });
        // With one image its id also stands where that of every other failure stands.
        if let ([Verdict::Refused(problem)], Some(members)) = (self.verdicts.as_slice(), value.as_object_mut()) {
            members.insert("code".to_owned(), problem.id().into());
        }
        value
    }

    fn text(&self, style: Style) -> String {
        let shown = self.verdicts.iter().filter_map(|verdict| match verdict {
            Verdict::Verified(image) => Some(verified_text(image, self.needed, self.now, style)),
            Verdict::Refused(_) => None,
        });
        shown.collect()
    }

    fn problems(&self) -> Vec<&Problem> {
        let mut refused: Vec<&Problem> = Vec::new();
        for verdict in &self.verdicts {
            if let Verdict::Refused(problem) = verdict {
                refused.push(problem);
            }
        }
        refused
    }
}

/// The text about a verified image.
fn verified_text(image: &VerifiedImage, needed: u32, now: UtcTime, style: Style) -> String {
    let platforms: Vec<&str> = image
        .facts
        .iter()
        .flat_map(|facts| facts.platforms.iter().filter(|p| p.is_runnable()))
        .map(|p| p.platform.as_str())
        .collect();
    let is_index = image
        .facts
        .as_ref()
        .is_some_and(|facts| facts.media_type.contains("index") || facts.media_type.contains("list"));
    let kind = match (is_index, platforms.is_empty()) {
        (_, true) => String::new(),
        (true, false) => format!("   (index: {})", platforms.join(", ")),
        (false, false) => format!("   ({})", platforms.join(", ")),
    };
    let names: Vec<&str> = image.signers.iter().map(|signer| signer.name.as_str()).collect();
    let when = UtcTime::parse(&image.timestamp_expires).map(|t| style::relative(t, now)).unwrap_or_default();
    let facts = [
        ("digest", format!("{}{}", image.digest, style::plain(&kind))),
        ("signers", format!("{}   {}", style::plain(&names.join(", ")), counted(names.len(), needed))),
        ("fresh", format!("timestamp v{}, expires {when}", image.versions.timestamp)),
        ("root", root_text(image)),
    ];
    let mut text = format!("{} {}\n{}", style.good("verified"), style::plain(&image.reference), style::facts(facts));
    for warning in &image.warnings {
        text.push_str(&format!("  {} {}\n", style.warn("note"), style::plain(warning)));
    }
    text
}

/// `1 of 1 required`, or `2, 1 required`.
fn counted(signers: usize, needed: u32) -> String {
    match usize::try_from(needed) {
        Ok(needed) if signers > needed => format!("{signers}, {needed} required"),
        _ => format!("{signers} of {needed} required"),
    }
}

fn root_text(image: &VerifiedImage) -> String {
    let (pinned, current) = (image.root_pinned_version, image.versions.root);
    let chain =
        if pinned == current { "the pinned one".to_owned() } else { format!("chain v{pinned} to v{current} checked") };
    format!("v{current}, {chain}   ({})", style::short(&image.root_fingerprint))
}

/// Runs `trust resolve`.
pub fn resolve(app: &App, args: &Resolve) -> Result<Resolved, Problem> {
    let mut verifier = Verifier::new(app, require(&args.signer, args.min_signers));
    let image = verifier.verify(&args.image)?;
    Ok(Resolved {
        reference: image.reference,
        resolved: image.pinned,
        digest: image.digest.to_string(),
        signers: image.signers.into_iter().map(|signer| signer.name).collect(),
    })
}

impl Answer for Resolved {
    fn command(&self) -> &'static str {
        "resolve"
    }

    fn json(&self) -> Value {
        crate::output::value(self)
    }

    fn text(&self, _: Style) -> String {
        format!("{}\n", self.resolved)
    }
}

#[cfg(test)]
mod tests {
    use trust_reader::catalogue::Code;

    use super::*;

    #[test]
    fn one_refused_image_makes_the_whole_answer_a_refusal() {
        let refused = Verdict::from(Err(Problem::new(Code::NotSigned)));
        let answer = Verdicts { verdicts: vec![refused], needed: 1, now: UtcTime::from_unix(0).unwrap() };
        let document = crate::printer::Printer::document(&answer);
        assert_eq!(document["ok"], false);
        assert_eq!(document["exit"], 10);
        assert_eq!(document["code"], "E1001");
        assert_eq!(document["images"][0]["exit"], 10);
        assert!(answer.text(Style::default()).is_empty());
    }
}
