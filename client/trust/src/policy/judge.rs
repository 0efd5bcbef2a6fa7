//! From a verified image to a decision: the policy, the environment and the action of one run.
//!
//! Invariant: nothing is decided about an image that was not verified, but what `policy explain --facts` says it is: a
//! try-out.

use std::io::Read;
use std::path::Path;

use trust_image::Reference;
use trust_policy::environment::MAX_FILE_LEN;
use trust_policy::{Action, Decision, Environment, Policy, Subject};
use trust_reader::verdict::Problem;
use trust_reader::verify::VerifiedImage;
use trust_tuf::UtcTime;

use super::exceptions::Granted;
use super::fault;
use crate::output::NotLifting;
use crate::settings::paths;

/// What decides in this run.
#[derive(Debug)]
pub struct Judge {
    /// The rules.
    pub policy: Policy,
    /// Where the images are to run.
    pub environment: Environment,
    /// What is to be done with them.
    pub action: Action,
    /// The time that rules see.
    pub now: UtcTime,
    /// What lifts denials. Of a folder that nobody signed: nothing.
    pub granted: Granted,
}

impl Judge {
    /// Decides about a verified image.
    pub fn decide(&self, image: &Reference, verified: &VerifiedImage) -> Decision {
        self.decide_on(&subject(image, verified))
    }

    /// Decides about these facts.
    pub fn decide_on(&self, subject: &Subject) -> Decision {
        self.granted.all.lift(self.decide_without_exceptions(subject), subject, self.now.unix())
    }

    /// The exceptions for this image that do not lift what was decided.
    pub fn not_lifting(&self, decision: &Decision, subject: &Subject) -> Vec<NotLifting> {
        let found = self.granted.all.not_lifting(decision, subject, self.now.unix());
        found.map(|(exception, why)| NotLifting { id: exception.id().to_owned(), why: why.to_string() }).collect()
    }

    /// What the rules alone decide.
    pub fn decide_without_exceptions(&self, subject: &Subject) -> Decision {
        self.policy.decide(&self.environment, self.action, subject, self.now.unix())
    }

    /// Environment and policy: `public-eu, policy registry.example.com/policy v12`.
    pub fn words(&self) -> String {
        let identity = self.policy.identity();
        let version = if self.is_unsigned() { ", NOT SIGNED".to_owned() } else { format!(" v{}", identity.version) };
        format!("{}, policy {}{version}", self.environment.name, identity.collection)
    }

    /// Whether the rules come from a folder that nobody signed.
    pub fn is_unsigned(&self) -> bool {
        self.policy.identity().version == 0
    }
}

/// The image as the policy sees it.
pub fn subject(image: &Reference, verified: &VerifiedImage) -> Subject {
    Subject {
        reference: image.clone(),
        digest: verified.digest,
        collection: verified.collection.clone(),
        signers: verified.counted_signers(),
        conflicts: verified.conflicts.iter().map(|conflict| conflict.name.clone()).collect(),
        // With a tag and a digest on the command line both were verified to be the same image.
        tag_moved: match (image.tag(), image.digest()) {
            (Some(_), Some(_)) => verified.tag_moved.or(Some(false)),
            _ => verified.tag_moved,
        },
        root_version: verified.versions.root,
        facts: verified.facts.clone(),
    }
}

/// Reads an environment file.
pub fn read_environment(path: &Path) -> Result<Environment, Problem> {
    let mut text = String::new();
    let file = paths::open_now(path).map_err(|e| crate::fault::file(path, &e))?;
    let limit = u64::try_from(MAX_FILE_LEN).unwrap_or(u64::MAX).saturating_add(1);
    match file.take(limit).read_to_string(&mut text) {
        Ok(_) => {}
        Err(e) if e.kind() == std::io::ErrorKind::InvalidData => {
            return Err(fault::environment(path, &"it is not text"));
        }
        Err(e) => return Err(crate::fault::file(path, &e)),
    }
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    Environment::from_toml(&text, &name).map_err(|error| fault::environment(path, &error))
}
