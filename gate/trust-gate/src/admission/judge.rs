//! From a review to an answer: every place of an image, each image once, all of them before anything is said.
//!
//! Invariants: an object is allowed only if every place in it was decided and allowed with a digest, or if nothing in it
//! can start anything new (deletion, update without another image). Nothing in the object says whether it is looked
//! at: no annotation, label or owner. In mode `warn` the same is decided, said as warnings, and nothing changed.
//! Deliberately absent: the network, and parents that vouch for their Pods.

use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

use trust_image::workload::{Path, Place, WorkloadError};
use trust_image::{Digest, Reference};
use trust_reader::verdict::is_unprintable;

use super::patch::{self, Operation as Change};
use super::review::{Answer, Operation, Review};
use crate::config::{AdmissionConfig, Mode, Pin, Recheck, Tags};
use crate::decides::{Asked, Judges, Verdict};

/// Longest warning, in characters: kubectl and the API server cut longer ones.
pub const MAX_WARNING_CHARS: usize = 120;
/// At the end of a warning that goes on, and at the beginning of the next.
const GOES_ON: &str = " …";
const GOES_ON_FROM: &str = "… ";
/// Warnings in one answer: the API server drops what is over 4,096 characters in all.
pub const MAX_WARNINGS: usize = 30;
/// Failures that a message tells one by one.
const MAX_TOLD: usize = 20;
/// Longest text of reasons in the cluster's audit, in characters.
const MAX_AUDIT_CHARS: usize = 1_000;
/// Longest image in a message, in characters.
const MAX_IMAGE_CHARS: usize = 300;
/// The subresource by which `kubectl debug` adds containers.
const EPHEMERAL: &str = "ephemeralcontainers";

/// Which of the two webhooks is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// May change the object: tags get their digests.
    Mutate,
    /// Says yes or no to what will be stored.
    Validate,
}

/// How the operator wants it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rules {
    /// Whether denials deny.
    pub mode: Mode,
    /// Updates that change no image.
    pub recheck: Recheck,
    /// Where tags get digests.
    pub pin: Pin,
    /// A Pod with a tag alone.
    pub tags: Tags,
}

impl From<&AdmissionConfig> for Rules {
    fn from(config: &AdmissionConfig) -> Self {
        Self { mode: config.mode, recheck: config.recheck_unchanged, pin: config.pin, tags: config.tags }
    }
}

/// What was found out about an object.
#[derive(Default)]
struct Findings {
    /// Why it may not be stored; `PLACE IMAGE: reason`.
    failures: Vec<String>,
    warnings: Vec<String>,
    /// The exceptions that let something pass.
    exceptions: BTreeSet<String>,
    changes: Vec<Change>,
    digests: Vec<Digest>,
    /// Whether a Pod keeps a tag without digest.
    unpinned: bool,
    /// Whether a denial would not stop what the object shows.
    mirror: bool,
    environment: String,
    policy: Option<String>,
}

/// Decides on a review. Ends with a denial soon after `deadline`.
pub fn answer(review: &Review, door: Door, rules: Rules, decider: &dyn Judges, deadline: Instant) -> Answer {
    match review.operation {
        Operation::Create | Operation::Update => {}
        // Nothing is started by either.
        Operation::Delete | Operation::Connect => return Answer::allow(),
    }
    let mut places = match review.places() {
        Ok(places) => places,
        Err(error) => {
            let failures = vec![format!("the images of this object cannot be told: {error}{}", way_out(&error))];
            return Findings { failures, ..Findings::default() }.answer(rules.mode);
        }
    };
    let standing = if review.operation == Operation::Update { Standing::of(review) } else { Standing::default() };
    let unchanged = review.operation == Operation::Update && places.iter().all(|place| standing.has(place));
    // What is on its way out may lose its finalizers; but its containers may still be started anew.
    if unchanged && (rules.recheck == Recheck::Never || review.is_deletion()) {
        return Answer::allow();
    }
    if review.is_pod() && review.subresource == EPHEMERAL && rules.recheck == Recheck::Never {
        // Only ephemeral containers can be added here; what stands already cannot be changed, nor get a digest.
        places.retain(|place| !standing.has(place));
    }
    let mode = match unchanged && rules.recheck == Recheck::Warn && rules.mode == Mode::Enforce {
        true => Mode::Warn,
        false => rules.mode,
    };
    let nothing = places.is_empty() && review.is_described();
    // Where the door would pin if it enforced, a tag alone is no denial that anybody would meet.
    let tags = if rules.mode != Mode::Enforce && rules.pin != Pin::Off { Tags::Allow } else { rules.tags };
    let mut findings = look(review, &places, door, Rules { mode, tags, ..rules }, decider, deadline);
    if unchanged {
        // Many fields of what exists already cannot be changed; and it did not ask for it.
        findings.changes.clear();
    }
    findings.mirror = review.is_mirror();
    if nothing {
        let text =
            format!("nothing stands on the paths of {} that the gate looks at; its Pods are decided on", review.kind);
        findings.warnings.extend(warnings(&text));
    }
    findings.answer(mode)
}

/// The answer when there is no decision; the mode holds for it too.
pub fn without_decision(rules: Rules, why: &str) -> Answer {
    let failures = vec![format!("{why}: nothing is known about the images of this object, try again")];
    Findings { failures, ..Findings::default() }.answer(rules.mode)
}

/// The answer to a review that is over a limit or not understood; the mode holds for it too.
pub fn refused(rules: Rules, why: String) -> Answer {
    Findings { failures: vec![why], ..Findings::default() }.answer(rules.mode)
}

/// What whoever runs the gate does about an object that is none of its business.
fn way_out(error: &WorkloadError) -> &'static str {
    match error {
        WorkloadError::UnknownKind { api_version, .. } if api_version.contains('/') => {
            "; describe it in [[admission.kinds]] of the gate's configuration, or take it out of the rules of the webhooks"
        }
        // What has no group has no description.
        WorkloadError::UnknownKind { .. } => "; take it out of the rules of the webhooks",
        _ => "",
    }
}

/// What stood in the object before: place to image.
#[derive(Default)]
struct Standing(HashMap<Path, String>);

impl Standing {
    fn of(review: &Review) -> Self {
        Self(review.old_places().into_iter().map(|place| (place.path, place.image)).collect())
    }

    fn has(&self, place: &Place) -> bool {
        self.0.get(&place.path) == Some(&place.image)
    }
}

fn look(
    review: &Review,
    places: &[Place],
    door: Door,
    rules: Rules,
    decider: &dyn Judges,
    deadline: Instant,
) -> Findings {
    let mut findings = Findings::default();
    let mut decided: HashMap<&str, Verdict> = HashMap::new();
    for place in places {
        if place.image.is_empty() {
            findings.empty(review, place);
            continue;
        }
        if !decided.contains_key(place.image.as_str()) {
            if Instant::now() >= deadline {
                findings.failures.push("the time was over before every image was decided; try again".to_owned());
                return findings;
            }
            let asked = Asked {
                image: &place.image,
                namespace: review.namespace.as_deref(),
                door: "admission",
                whom: &review.user,
                dry_run: review.dry_run,
                mode: rules.mode,
                digest_only: door == Door::Validate && review.is_pod() && rules.tags == Tags::Deny,
            };
            decided.insert(&place.image, decider.decide(&asked));
        }
        if let Some(verdict) = decided.get(place.image.as_str()) {
            findings.take(review, place, verdict, door, rules);
        }
    }
    findings.digests = decided.values().filter_map(|verdict| verdict.digest).collect();
    findings.digests.sort_unstable();
    findings
}

impl Findings {
    fn empty(&mut self, review: &Review, place: &Place) {
        if review.is_pod() {
            self.failures.push(format!("{}: no image is named", place.path));
        } else {
            let text = format!("{}: no image is named; it is decided when Pods are made", place.path);
            self.warnings.extend(warnings(&text));
        }
    }

    fn take(&mut self, review: &Review, place: &Place, verdict: &Verdict, door: Door, rules: Rules) {
        // Said only where something is wrong.
        let image = || shown(&place.image);
        self.environment.clone_from(&verdict.environment);
        self.policy.clone_from(&verdict.policy);
        for trial in &verdict.trials {
            self.warnings.extend(warnings(&format!("{} {}: {trial}", place.path, image())));
        }
        let Some(digest) = &verdict.digest else {
            self.failures.push(format!("{} {}: {}", place.path, image(), verdict.line));
            return;
        };
        let Some(pinned) = verdict.pinned.as_deref() else {
            self.failures.push(format!("{} {}: cannot be bound to the verified {digest}", place.path, image()));
            return;
        };
        if let Some(exception) = &verdict.exception {
            self.warnings.extend(warnings(&format!("{} ({} {})", verdict.line, place.path, image())));
            self.exceptions.insert(exception.clone());
        }
        if pinned == place.image {
            return;
        }
        let is_pinned = match rules.pin {
            Pin::Workloads => true,
            Pin::Pods => review.is_pod(),
            Pin::Off => false,
        };
        match door {
            Door::Mutate if is_pinned => {
                self.changes.extend(patch::replace(&place.path, &place.image, pinned));
            }
            Door::Mutate => {}
            Door::Validate if review.is_pod() && rules.tags == Tags::Allow => self.unpinned = true,
            // A Pod is what runs: with a tag alone its node would take what the registry says, and not what was verified.
            Door::Validate if review.is_pod() => self.failures.push(format!(
                "{} {}: verified as {digest}, but the Pod names the tag alone; let the webhook /mutate run first, or name {}",
                place.path,
                image(),
                shown(pinned),
            )),
            // Said where it is written, and not only in the events of what makes the Pods.
            Door::Validate if rules.pin == Pin::Off && rules.tags == Tags::Deny => {
                let (path, image) = (&place.path, image());
                let text = format!("{path} {image} names a tag alone, and nothing pins it here: its Pods will be denied");
                self.warnings.extend(warnings(&text));
            }
            Door::Validate => {}
        }
    }

    fn answer(mut self, mode: Mode) -> Answer {
        if self.mirror
            && let Some(last) = self.failures.last_mut()
        {
            last.push_str("; this Pod shows a static one, which its node runs all the same: remove it there");
        }
        let decision = match (self.failures.is_empty(), mode) {
            (true, _) => "allow",
            (false, Mode::Enforce) => "deny",
            (false, Mode::Warn) => "warn",
            (false, Mode::Audit) => "audit",
        };
        let mut answer = Answer { warnings: self.warnings, ..Answer::default() };
        answer.audit.insert("decision", decision.to_owned());
        if !self.environment.is_empty() {
            answer.audit.insert("environment", self.environment);
        }
        if !self.exceptions.is_empty() {
            let ids: Vec<&str> = self.exceptions.iter().take(MAX_TOLD).map(String::as_str).collect();
            answer.audit.insert("exceptions", ids.join(" "));
        }
        if let Some(policy) = self.policy {
            answer.audit.insert("policy", policy);
        }
        if !self.digests.is_empty() {
            let digests: Vec<String> = self.digests.iter().take(MAX_TOLD).map(ToString::to_string).collect();
            answer.audit.insert("digests", digests.join(" "));
        }
        if self.unpinned {
            answer.audit.insert("unpinned", "true".to_owned());
        }
        if !self.failures.is_empty() && mode != Mode::Enforce {
            answer.withheld = told(&self.failures);
            answer.audit.insert("reasons", answer.withheld.chars().take(MAX_AUDIT_CHARS).collect());
        }
        match mode {
            _ if self.failures.is_empty() => {
                answer.allowed = true;
                answer.patch = if mode == Mode::Enforce { patch::encode(&self.changes) } else { None };
            }
            Mode::Enforce => answer.message = told(&self.failures),
            Mode::Audit => answer.allowed = true,
            Mode::Warn => {
                answer.allowed = true;
                answer
                    .warnings
                    .extend(self.failures.iter().flat_map(|text| warnings(&format!("would be denied: {text}"))));
            }
        }
        if mode == Mode::Audit {
            // Whoever deploys sees nothing of a gate that is only tried out.
            answer.warnings.clear();
        }
        answer.warnings.truncate(MAX_WARNINGS);
        answer
    }
}

/// All failures in one message.
pub(super) fn told(failures: &[String]) -> String {
    if let [only] = failures {
        return one_line(only);
    }
    let mut text = format!("{} reasons:", failures.len());
    for (i, failure) in failures.iter().take(MAX_TOLD).enumerate() {
        text.push_str(&format!(" ({}) {};", i + 1, one_line(failure)));
    }
    if failures.len() > MAX_TOLD {
        text.push_str(&format!(" and {} more", failures.len() - MAX_TOLD));
    }
    text.trim_end_matches(';').to_owned()
}

/// A text as warnings that nobody cuts: in pieces, at spaces where there are any. kubectl shows each as a line of its own: one
/// that goes on ends with a mark, and the next begins with it, so that `signed (E1001)` is not read without its `not`.
fn warnings(text: &str) -> Vec<String> {
    let text = one_line(text).split_whitespace().collect::<Vec<_>>().join(" ");
    if text.chars().count() <= MAX_WARNING_CHARS {
        return if text.is_empty() { Vec::new() } else { vec![text] };
    }
    let pieces = pieces(&text, MAX_WARNING_CHARS - GOES_ON.chars().count() - GOES_ON_FROM.chars().count());
    let count = pieces.len();
    let marked = pieces.into_iter().enumerate().map(|(i, piece)| {
        let before = if i == 0 { "" } else { GOES_ON_FROM };
        let after = if i + 1 == count { "" } else { GOES_ON };
        format!("{before}{piece}{after}")
    });
    marked.collect()
}

/// A text in pieces of at most so many characters.
fn pieces(text: &str, most: usize) -> Vec<String> {
    let mut pieces = Vec::new();
    let mut piece = String::new();
    let mut length = 0;
    for word in text.split(' ') {
        let chars: Vec<char> = word.chars().collect();
        for part in chars.chunks(most) {
            if length > 0 && length + 1 + part.len() > most {
                pieces.push(std::mem::take(&mut piece));
                length = 0;
            }
            if length > 0 {
                piece.push(' ');
                length += 1;
            }
            piece.extend(part);
            length += part.len();
        }
    }
    if !piece.is_empty() {
        pieces.push(piece);
    }
    pieces
}

/// No line break and nothing that steers a terminal.
pub(super) fn one_line(text: &str) -> String {
    text.chars().map(|c| if is_unprintable(c) { ' ' } else { c }).collect()
}

/// An image as a message shows it: escaped, and not the whole of a very long one.
pub(super) fn shown(image: &str) -> String {
    let mut text = String::new();
    for (i, c) in image.chars().enumerate() {
        if i >= MAX_IMAGE_CHARS {
            text.push('…');
            break;
        }
        match is_unprintable(c) {
            true => text.extend(c.escape_unicode()),
            false => text.push(c),
        }
    }
    // What is no reference may have blanks in it.
    match Reference::parse(image) {
        Ok(_) => text,
        Err(_) => format!("\"{text}\""),
    }
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
