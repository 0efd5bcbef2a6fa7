//! `trust verify` and `trust resolve`: from references to verdicts, and with `--env` to decisions.
//!
//! Invariant: what is compared with a registry or decided by policy was verified before; a verdict is positive only if
//! each of the three that was asked for is.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use trust_image::Reference;
use trust_policy::Decision;
use trust_reader::registry::RegistryClient;
use trust_reader::verdict::{Problem, Verdict};
use trust_reader::verify::{Require, VerifiedImage};
use trust_tuf::{RoleName, UtcTime};

use crate::app::App;
use crate::cli::images::{Resolve, Verify};
use crate::cli::policy::Deciding;
use crate::output::{Resolved, VerifyReport};
use crate::policy::exceptions::Granted;
use crate::policy::in_force::{InForce, pin_of_policy};
use crate::policy::judge::{self, Judge};
use crate::policy::{fault, folder::Folder};
use crate::printer::Answer;
use crate::server;
use crate::session::{Session, pin_for, with_collection_hint};
use crate::settings::Pin;
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

    /// Opens the collections of these images in the order of their names, the same in every process: each holds a lock
    /// until the end, and two that took them in different orders would wait for each other.
    pub fn open_all<'i>(&mut self, images: impl IntoIterator<Item = &'i Reference>, also: Option<&Pin>) {
        let app = self.app;
        let pins = images.into_iter().filter_map(|image| pin_for(app, image).ok()).chain(also);
        let pins: BTreeMap<&str, &Pin> = pins.map(|pin| (pin.collection.as_str(), pin)).collect();
        for (collection, pin) in pins {
            self.sessions.entry(collection.to_owned()).or_insert_with(|| Session::open(app, pin));
        }
    }

    /// The updated collection of a pin.
    fn session(&mut self, pin: &Pin) -> Result<&mut Session, Problem> {
        let app = self.app;
        let session = self.sessions.entry(pin.collection.clone()).or_insert_with(|| Session::open(app, pin));
        session.as_mut().map_err(|problem| problem.clone())
    }

    /// Verifies one image against its collection.
    pub fn verify(&mut self, image: &Reference) -> Result<VerifiedImage, Problem> {
        let app = self.app;
        let require = self.require.clone();
        match self.session(pin_for(app, image)?) {
            Ok(session) => app
                .wait(session.reader.verify(image, &require))
                .map_err(|problem| with_collection_hint(app, image, problem)),
            Err(problem) => Err(problem.about(image)),
        }
    }

    /// When the state that decided about a collection was last refreshed from a server.
    fn refreshed(&self, collection: &str) -> Option<UtcTime> {
        self.sessions.get(collection)?.as_ref().ok()?.reader.store().refreshed()
    }
}

/// Which rules decide.
enum Rules<'a> {
    /// Those of a folder that nobody signed.
    Folder(Box<trust_policy::Policy>),
    /// Those that a pinned collection has in force.
    Collection(&'a Pin),
}

/// What is decided by, as far as it is known without a network.
pub struct Place<'a> {
    rules: Rules<'a>,
    environment: trust_policy::Environment,
    action: trust_policy::Action,
}

impl<'a> Place<'a> {
    /// Reads the environment, and the folder if one is named: what is wrong there is said before anything is fetched.
    pub fn read(app: &'a App, env: &Path, deciding: &Deciding) -> Result<Self, Problem> {
        let environment = judge::read_environment(env)?;
        let rules =
            match &deciding.policy {
                Some(folder) => Rules::Folder(Box::new(Folder::read(folder)?.load()?)),
                None => Rules::Collection(pin_of_policy(app, None).map_err(|e| {
                    fault::or_else(e, "or try the rules of a folder that nobody signed yet: --policy DIR")
                })?),
            };
        Ok(Self { rules, environment, action: deciding.action })
    }

    /// The collection that is needed.
    pub fn pin(&self) -> Option<&'a Pin> {
        match &self.rules {
            Rules::Folder(_) => None,
            Rules::Collection(pin) => Some(pin),
        }
    }

    /// Fetches the rules if they are in a collection.
    pub fn judge(self, verifier: &mut Verifier<'_>) -> Result<Judge, Problem> {
        let app = verifier.app;
        let (policy, granted) = match self.rules {
            Rules::Folder(policy) => (*policy, Granted::default()),
            Rules::Collection(pin) => {
                let session = verifier.session(pin)?;
                (InForce::read(app, session)?.load()?, Granted::read(app, session))
            }
        };
        Ok(Judge { policy, environment: self.environment, action: self.action, now: app.now()?, granted })
    }
}

/// Looks at images: verifies, compares with the registry, decides, as far as each was asked for.
pub struct Examiner<'a> {
    app: &'a App,
    verifier: Verifier<'a>,
    registry: Option<RegistryClient>,
    content: bool,
    judge: Option<Judge>,
    /// The file that the environment was read from.
    env: Option<std::path::PathBuf>,
    not_compared: Option<String>,
}

impl<'a> Examiner<'a> {
    /// Updates everything that these images need.
    pub fn open<'i>(
        app: &'a App,
        args: &Verify,
        images: impl IntoIterator<Item = &'i Reference>,
    ) -> Result<Self, Problem> {
        let place = match &args.env {
            Some(env) => Some(Place::read(app, env, &args.deciding)?),
            None => None,
        };
        let mut verifier = Verifier::new(app, require(&args.signer, args.min_signers));
        verifier.open_all(images, place.as_ref().and_then(Place::pin));
        let judge = match place {
            Some(place) => Some(place.judge(&mut verifier)?),
            None => None,
        };
        // Offline there is no registry to ask either.
        let offline = &app.settings.offline;
        let registry = match args.no_registry || offline.value {
            true => None,
            false => Some(server::registry(app)?),
        };
        let not_compared = match (offline.value, args.no_registry) {
            (true, _) => Some(offline.origin.name()),
            (false, true) => Some("--no-registry".to_owned()),
            (false, false) => None,
        };
        Ok(Self { app, verifier, registry, content: args.content, judge, env: args.env.clone(), not_compared })
    }

    /// Looks at one image.
    pub fn look(&mut self, image: &Reference) -> Look {
        let app = self.app;
        let compared = self.verifier.verify(image).and_then(|verified| match &self.registry {
            Some(registry) => compare(app, registry, image, verified, self.content)
                .map_err(|problem| with_collection_hint(app, image, problem)),
            None => Ok(verified),
        });
        let as_of = match &compared {
            Ok(verified) if app.settings.offline.value => self.verifier.refreshed(&verified.collection),
            _ => None,
        };
        let decision = match (&compared, &self.judge) {
            (Ok(verified), Some(judge)) => Some(judge.decide(image, verified)),
            _ => None,
        };
        let denial =
            decision.as_ref().and_then(|decision| fault::denial(&image.to_string(), decision, self.env.as_deref()));
        let denial = match (denial, &compared, &self.judge, &decision) {
            (Some(denial), Ok(verified), Some(judge), Some(decision)) => {
                let subject = judge::subject(image, verified);
                let not_lifting = judge.not_lifting(decision, &subject).into_iter();
                Some(not_lifting.fold(denial, |denial, other| denial.fact("exception", other.words())))
            }
            (denial, ..) => denial,
        };
        let verdict = match denial {
            None => compared,
            Some(denial) => {
                let collection = compared.map(|verified| verified.collection).unwrap_or_default();
                Err(denial.within(collection))
            }
        };
        // Of an image that is named by its digest alone only the content can be compared.
        let compares = self.registry.is_some() && (image.tag().is_some() || self.content);
        Look { verdict: Verdict::from(verdict), compared: compares, as_of, decision }
    }

    /// Where the images are to run, and by whose policy that is decided.
    pub fn decided_by(&self) -> Option<String> {
        self.judge.as_ref().map(Judge::words)
    }

    /// Exceptions that cannot be read, and so lift nothing.
    pub fn unread(&self) -> Vec<String> {
        self.judge.as_ref().map(|judge| judge.granted.unread.clone()).unwrap_or_default()
    }

    /// Whether the rules come from a folder that nobody signed.
    pub fn is_unsigned(&self) -> bool {
        self.judge.as_ref().is_some_and(Judge::is_unsigned)
    }
}

/// Runs `trust verify`.
pub fn run(app: &App, args: &Verify) -> Result<Box<dyn Answer>, Problem> {
    if let Some(manifests) = &args.manifests {
        return super::verify_manifests::run(app, args, manifests);
    }
    // The parser does not ask for `--manifests` beside images, which it conflicts with.
    if args.pin || args.dry_run {
        return Err(crate::fault::usage("--pin writes into manifests, and none are named")
            .remedy(["name them: trust verify --manifests DIR --pin"]));
    }
    let mut examiner = Examiner::open(app, args, &args.images)?;
    let looks = args.images.iter().map(|image| examiner.look(image)).collect();
    let required = Required { signers: args.signer.len(), min_signers: args.min_signers };
    let (unsigned, unread) = (examiner.is_unsigned(), examiner.unread());
    let not_compared = examiner.not_compared;
    Ok(Box::new(Verdicts { looks, required, unsigned, unread, not_compared, now: app.now()? }))
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

/// One verdict and what it rests on beside the metadata.
pub struct Look {
    /// The one value of text, JSON and exit code: refused also if the policy denies.
    pub verdict: Verdict,
    /// Whether the registry was asked what it serves.
    pub compared: bool,
    /// Offline: when the stored state was last refreshed.
    pub as_of: Option<UtcTime>,
    /// What the policy decided about the verified image, if it was asked.
    pub decision: Option<Decision>,
}

/// What was asked for on the command line.
struct Required {
    signers: usize,
    min_signers: u32,
}

struct Verdicts {
    looks: Vec<Look>,
    required: Required,
    /// Whether it was decided by rules that nobody signed.
    unsigned: bool,
    /// Exceptions that cannot be read.
    unread: Vec<String>,
    /// The flag or variable because of which no registry was asked.
    not_compared: Option<String>,
    now: UtcTime,
}

impl Answer for Verdicts {
    fn command(&self) -> &'static str {
        "verify"
    }

    fn json(&self) -> Value {
        let images = self.looks.iter().map(Look::json).collect();
        let mut value = crate::output::value(&VerifyReport { images, exceptions_unread: self.unread.clone() });
        // With one image its id also stands where that of every other failure stands.
        if let ([Look { verdict: Verdict::Refused(problem), .. }], Some(members)) =
            (self.looks.as_slice(), value.as_object_mut())
        {
            members.insert("code".to_owned(), problem.id().into());
        }
        value
    }

    fn report(&self, style: Style) -> String {
        let decided = self.looks.iter().filter_map(|look| Some((look.image()?, look.decision.as_ref()?)));
        let notes = exception_notes(decided, &self.unread, style);
        if self.unsigned { unsigned_note(style) + &notes } else { notes }
    }

    fn text(&self, style: Style) -> String {
        let shown = self.looks.iter().filter_map(|look| match &look.verdict {
            Verdict::Verified(image) => Some(self.verified_text(image, look, style)),
            Verdict::Refused(_) => None,
        });
        shown.collect()
    }

    fn problems(&self) -> Vec<&Problem> {
        let mut refused: Vec<&Problem> = Vec::new();
        for look in &self.looks {
            if let Verdict::Refused(problem) = &look.verdict {
                refused.push(problem);
            }
        }
        refused
    }
}

impl Look {
    /// The verified image, as it was asked for.
    pub fn image(&self) -> Option<String> {
        match &self.verdict {
            Verdict::Verified(image) => Some(image.reference.clone()),
            Verdict::Refused(_) => None,
        }
    }

    /// The members of the verdict, with what it does not rest on said as well.
    pub fn json(&self) -> Value {
        let mut value = self.verdict.json();
        if let (Some(decision), Some(members)) = (&self.decision, value.as_object_mut()) {
            members.insert("decision".to_owned(), crate::output::value(decision));
        }
        if let (Verdict::Verified(_), Some(members)) = (&self.verdict, value.as_object_mut()) {
            members.insert("registry_compared".to_owned(), self.compared.into());
            if let Some(as_of) = self.as_of {
                members.insert("as_of".to_owned(), as_of.to_string().into());
            }
        }
        value
    }
}

impl Verdicts {
    /// The text about a verified image.
    fn verified_text(&self, image: &VerifiedImage, look: &Look, style: Style) -> String {
        let names: Vec<&str> = image.signers.iter().map(|signer| signer.name.as_str()).collect();
        let when = UtcTime::parse(&image.timestamp_expires).map(|t| style::relative(t, self.now)).unwrap_or_default();
        let fresh = match look.as_of {
            Some(as_of) => {
                format!("as of {as_of}, not asked now   (timestamp v{}, expires {when})", image.versions.timestamp)
            }
            None => format!("timestamp v{}, expires {when}", image.versions.timestamp),
        };
        let mut facts = vec![
            ("digest", format!("{}{}", image.digest, style::plain(&kind_text(image)))),
            ("signers", format!("{}{}", style::plain(&names.join(", ")), self.required.text(names.len()))),
            ("fresh", fresh),
            ("root", root_text(image)),
        ];
        if let Some(why) = &self.not_compared {
            facts.push(("registry", format!("not compared ({why})")));
        }
        if let Some(decision) = &look.decision {
            facts.extend(allowed_facts(decision));
        }
        let mut text =
            format!("{} {}\n{}", style.good("verified"), style::plain(&image.reference), style::facts(facts));
        for warning in &image.warnings {
            text.push_str(&format!("  {} {}\n", style.warn("note"), style::plain(warning)));
        }
        text
    }
}

/// Why the policy allows it.
fn allowed_facts(decision: &Decision) -> Vec<(&'static str, String)> {
    let environment = &decision.environment;
    let rules: Vec<&str> = decision.rules.iter().map(|rule| rule.id.as_str()).collect();
    let allowed = format!("{} in {} (cloud {})", decision.action, environment.name, environment.cloud);
    let by = format!("{}   {}", style::plain(&rules.join(", ")), style::plain(&fault::source_text(decision)));
    let Some(exception) = &decision.exception else {
        let trials = decision.trials.iter().map(|trial| ("trial", style::plain(&trial.line())));
        return [("allowed", allowed), ("rules", by)].into_iter().chain(trials).collect();
    };
    let signed_by = style::plain(&exception.signed_by.join(", "));
    vec![
        ("EXCEPTION", format!("{}, until {}, signed by {signed_by}", exception.id, exception.expires)),
        ("reason", style::plain(&exception.reason)),
        ("allowed", format!("{allowed}, by this exception alone")),
        ("lifted", by),
    ]
}

/// Said about every image that only an exception lets pass, and about exceptions that cannot be read.
pub fn exception_notes<'d>(
    decisions: impl IntoIterator<Item = (String, &'d Decision)>,
    unread: &[String],
    style: Style,
) -> String {
    let mut notes = String::new();
    for (image, decision) in decisions {
        if let Some(exception) = &decision.exception {
            let image = style::plain(&image);
            let what = format!("{image}: the rules deny this; exception {} lifts that for now", exception.id);
            notes.push_str(&format!("{} {what}\n", style.warn("exception")));
        }
    }
    for text in unread {
        notes.push_str(&format!("{} {}\n", style.warn("warning"), style::plain(text)));
    }
    notes
}

/// Said wherever rules of a folder decided.
pub fn unsigned_note(style: Style) -> String {
    let why = "decided by the rules of a local folder: NOT SIGNED, no gate decides by them";
    format!("{} {why}\n", style.warn("note"))
}

/// What the digest covers: `   (index: linux/amd64)`.
fn kind_text(image: &VerifiedImage) -> String {
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
    match (is_index, platforms.is_empty()) {
        (_, true) => String::new(),
        (true, false) => format!("   (index: {})", platforms.join(", ")),
        (false, false) => format!("   ({})", platforms.join(", ")),
    }
}

impl Required {
    /// What of the requirements is met, behind the names; nothing if nothing was required.
    fn text(&self, signed: usize) -> String {
        let named = match self.signers {
            0 => None,
            2 if signed == 2 => Some("both required".to_owned()),
            1 => Some("1 of 1 required signer".to_owned()),
            n => Some(format!("{n} of {n} required signers")),
        };
        let counted = (self.min_signers > 1).then(|| format!("{signed} signers, {} required", self.min_signers));
        let parts: Vec<String> = named.into_iter().chain(counted).collect();
        if parts.is_empty() { String::new() } else { format!("   {}", parts.join("; ")) }
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
        let looks = vec![Look { verdict: refused, compared: true, as_of: None, decision: None }];
        let required = Required { signers: 0, min_signers: 1 };
        let answer = Verdicts {
            looks,
            required,
            unsigned: false,
            unread: Vec::new(),
            not_compared: None,
            now: UtcTime::from_unix(0).unwrap(),
        };
        let document = crate::printer::Printer::document(&answer);
        assert_eq!(document["ok"], false);
        assert_eq!(document["exit"], 10);
        assert_eq!(document["code"], "E1001");
        assert_eq!(document["images"][0]["exit"], 10);
        assert!(answer.text(Style::default()).is_empty());
    }

    fn verified() -> VerifiedImage {
        VerifiedImage {
            reference: "r.example/pay/api:v1".to_owned(),
            pinned: String::new(),
            digest: trust_image::Digest::of(b"x"),
            length: 1,
            signers: ["alice", "qa"]
                .map(|name| trust_reader::verify::SignedBy {
                    name: name.to_owned(),
                    role: name.to_owned(),
                    counts_with: None,
                })
                .to_vec(),
            conflicts: Vec::new(),
            unusable: Vec::new(),
            facts: None,
            collection: "r.example/pay".to_owned(),
            versions: trust_reader::verify::VersionsUsed { root: 1, timestamp: 7, snapshot: 3, roles: BTreeMap::new() },
            expires: "2030-01-02T00:00:00Z".to_owned(),
            timestamp_expires: "2030-01-02T00:00:00Z".to_owned(),
            verified_at: "2030-01-01T00:00:00Z".to_owned(),
            root_fingerprint: "a".repeat(64),
            root_pinned_version: 1,
            tag_moved: None,
            warnings: Vec::new(),
        }
    }

    #[test]
    fn what_was_not_compared_or_asked_is_said_and_nothing_is_claimed_of_it() {
        let verdict = Verdict::from(Ok(verified()));
        let as_of = UtcTime::parse("2029-12-31T23:00:00Z");
        let mut answer = Verdicts {
            looks: vec![Look { verdict, compared: false, as_of, decision: None }],
            required: Required { signers: 2, min_signers: 1 },
            unsigned: false,
            unread: Vec::new(),
            not_compared: Some("--offline".to_owned()),
            now: UtcTime::parse("2030-01-01T00:00:00Z").unwrap(),
        };
        let text = answer.text(Style::default());
        assert!(
            text.contains("registry  not compared (--offline)") || text.contains("registry not compared (--offline)"),
            "{text}"
        );
        assert!(text.contains("as of 2029-12-31T23:00:00Z, not asked now"), "{text}");
        assert!(text.contains("alice, qa   both required"), "{text}");
        let document = answer.json();
        assert_eq!(document["images"][0]["tag_moved"], Value::Null);
        assert_eq!(document["images"][0]["registry_compared"], false);
        answer.required.signers = 0;
        assert!(!answer.text(Style::default()).contains("required"));
        answer.required.min_signers = 2;
        assert!(answer.text(Style::default()).contains("2 signers, 2 required"));
    }
}
