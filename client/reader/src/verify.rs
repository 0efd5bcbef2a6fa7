//! From an image reference to a verified image, or the reason why not.
//!
//! The digest is what the plain TUF search finds. Signers after the hit only add to the list of who signed. Before every
//! allow the revocations are looked up: of the digest, of the tag, and of each image in an index. Which images those are
//! is known from the signed facts: where a digest is revoked in the collection, an image without facts that name its parts
//! is refused. The tags in the facts are all that the digest was signed under, by any of its signers, under the tag or by digest:
//! what was signed as something else later does not get its old meaning back when it is asked for by its old tag.
//! Deliberately absent: what a registry serves, and policy.

mod facts;
mod ground;
mod signers;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use trust_image::target::{Revoked, revoked_digest_path, revoked_of, revoked_tag_path};
use trust_image::{Digest, ImageFacts, Reference, TargetError, target};
use trust_tuf::lookup::{Outcome, Statement};
use trust_tuf::model::Role;
use trust_tuf::{TargetInfo, UtcTime};

use crate::catalogue::Code;
use crate::reader::Reader;
use crate::transport::Transport;
use crate::verdict::{Problem, printable};

pub(crate) use ground::{Examination, Ground};

/// The role of revocations, where `targets` delegates it.
const REVOKED_ROLE: &str = "_revoked";

/// Who must have signed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Require {
    /// Signers that must all have signed: `targets`, or roles that it delegates directly.
    pub signers: Vec<String>,
    /// How many distinct signers must have signed; 0 and 1 mean the same.
    pub min_signers: usize,
}

/// What a reference with tag and digest means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// On the command line: this tag must mean this digest.
    Both,
    /// At a gate: the digest decides; that the tag has moved is a fact.
    DigestDecides,
}

/// A signer of the image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SignedBy {
    /// `targets`, or the directly delegated role.
    pub name: String,
    /// The role below that signer which lists the image.
    pub role: String,
    /// Another signer of this image that shares a key with this one, directly or through a third: both count as one, and
    /// the policy sees that other one alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counts_with: Option<String>,
}

/// A signer that names another image under the same path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Conflict {
    /// The signer.
    pub name: String,
    /// The role below it.
    pub role: String,
    /// The digest that it names, or what it says instead of one.
    pub digest: String,
}

/// A signer after the hit that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnusableSigner {
    /// The signer.
    pub name: String,
    /// Why.
    pub why: String,
}

/// The versions that a verdict rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VersionsUsed {
    /// The root.
    pub root: u64,
    /// The timestamp.
    pub timestamp: u64,
    /// The snapshot.
    pub snapshot: u64,
    /// Every targets role that was looked at.
    pub roles: BTreeMap<String, u64>,
}

/// An image that was positively verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerifiedImage {
    /// The reference that was asked for.
    pub reference: String,
    /// The same image by its verified digest: what may be pulled.
    pub pinned: String,
    /// The digest of the manifest or index.
    pub digest: Digest,
    /// Its length in bytes.
    pub length: u64,
    /// Who signed it, in order of priority.
    pub signers: Vec<SignedBy>,
    /// Who signed another image under the same path.
    pub conflicts: Vec<Conflict>,
    /// Signers that could not be used.
    pub unusable: Vec<UnusableSigner>,
    /// The signed facts, if there are any that can be read; their tags are all that the digest was signed under.
    pub facts: Option<ImageFacts>,
    /// The collection.
    pub collection: String,
    /// The versions that this rests on.
    pub versions: VersionsUsed,
    /// The first moment at which one of the files that this rests on is expired (`YYYY-MM-DDTHH:MM:SSZ`).
    pub expires: String,
    /// When the timestamp expires.
    pub timestamp_expires: String,
    /// The reference time of the update.
    pub verified_at: String,
    /// The fingerprint of the pinned root.
    pub root_fingerprint: String,
    /// The version of the pinned root.
    pub root_pinned_version: u64,
    /// With a tag beside the digest at a gate: whether the tag is signed for another digest now. `None` where that was
    /// not looked at.
    pub tag_moved: Option<bool>,
    /// What should be said beside success.
    pub warnings: Vec<String>,
}

impl VerifiedImage {
    /// Who signed, those that share a key as one: what a policy may see, so that one key is never two people.
    pub fn counted_signers(&self) -> Vec<String> {
        self.signers.iter().filter(|s| s.counts_with.is_none()).map(|s| s.name.clone()).collect()
    }

    /// The text for people, with a newline at its end.
    pub fn text(&self) -> String {
        let names: Vec<&str> = self.signers.iter().map(|s| s.name.as_str()).collect();
        let mut lines = vec![
            format!("✓ verified {}", printable(&self.reference)),
            format!("  digest   {}", self.digest),
            format!("  signers  {}", printable(&names.join(", "))),
            format!("  fresh    timestamp v{}, expires {}", self.versions.timestamp, self.timestamp_expires),
            format!(
                "  root     v{}, pinned v{} {}",
                self.versions.root,
                self.root_pinned_version,
                self.root_fingerprint.get(..12).unwrap_or(&self.root_fingerprint)
            ),
        ];
        lines.extend(self.warnings.iter().map(|w| format!("  ! {}", printable(w))));
        lines.push(String::new());
        lines.join("\n")
    }

    /// The refusal if a registry serves another digest under the tag.
    pub fn check_served(&self, reference: &Reference, served: &Digest) -> Result<(), Problem> {
        if *served == self.digest {
            return Ok(());
        }
        let names: Vec<&str> = self.signers.iter().map(|s| s.name.as_str()).collect();
        let tag = reference.tag().unwrap_or_default();
        let name = format!("{}/{}", reference.domain(), reference.path());
        Err(Problem::new(Code::DigestDiffers)
            .headline(format!("tag {tag} is signed for a different image than the registry serves"))
            .fact("image", &self.reference)
            .fact("signed", format!("{}  by {}", self.digest, names.join(", ")))
            .fact("served", served)
            .within(&self.collection)
            .digests(self.digest, served)
            .remedy([
                format!("docker pull {name}@{}      (the signed one)", self.digest),
                format!("trust sign {name}:{tag}@{served}    (if you made the new one)"),
            ]))
    }
}

/// What a revocation is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RevokedScope {
    /// The digest of the image itself, under every name.
    Digest,
    /// The tag.
    Tag,
    /// The digest of one of the images in the index.
    Platform,
}

/// A revocation in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Revocation {
    /// The role that says so.
    pub by: String,
    /// The reason that it gives.
    pub reason: Option<String>,
    /// What it is about.
    pub scope: RevokedScope,
    /// The digest or tag that it names.
    pub revoked: String,
}

impl Revocation {
    /// The refusal of an image that this concerns.
    pub fn problem(&self, image: &Reference) -> Problem {
        let code = match self.scope {
            RevokedScope::Digest => Code::DigestRevoked,
            RevokedScope::Tag => Code::TagRevoked,
            RevokedScope::Platform => Code::PlatformRevoked,
        };
        let problem = Problem::new(code)
            .fact("image", image)
            .fact("revoked", &self.revoked)
            .fact("by", format!("role {}", self.by));
        match &self.reason {
            Some(reason) => problem.fact("reason", reason),
            None => problem,
        }
    }
}

/// What the verdict rests on, collected over all look-ups.
#[derive(Default)]
struct Basis {
    roles: BTreeMap<String, u64>,
    expires: Option<UtcTime>,
}

impl Basis {
    fn add(&mut self, outcome: &Outcome) {
        for visited in outcome.visited.iter().chain(&outcome.later) {
            self.roles.insert(visited.role.clone(), visited.version.get());
            self.expires = Some(self.expires.map_or(visited.expires, |e| e.min(visited.expires)));
        }
    }
}

impl<T: Transport> Reader<T> {
    /// Verifies an image as `trust verify` means it.
    pub async fn verify(&mut self, image: &Reference, require: &Require) -> Result<VerifiedImage, Problem> {
        self.verify_as(image, require, Meaning::Both).await
    }

    /// Verifies an image.
    pub async fn verify_as(
        &mut self,
        image: &Reference,
        require: &Require,
        meaning: Meaning,
    ) -> Result<VerifiedImage, Problem> {
        Examination(self).verify_as(image, require, meaning).await
    }

    /// The revocation in force for an image, if there is one: of its digest, of its tag, or of one of the `parts` (images
    /// of an index, other forms of the digest). A revocation role that cannot be read is an error.
    pub async fn revocation(
        &mut self,
        image: &Reference,
        digest: Option<&Digest>,
        parts: &BTreeSet<Digest>,
    ) -> Result<Option<Revocation>, Problem> {
        Examination(self).find_revocation(image, digest, parts, &mut Basis::default()).await
    }

    /// Refuses an image whose parts nobody names, where a digest is revoked in the collection: the revoked one could be
    /// among them. `facts`: those that a signer of this digest states, if they can be read.
    pub async fn check_parts(
        &mut self,
        image: &Reference,
        digest: &Digest,
        facts: Option<&ImageFacts>,
    ) -> Result<(), Problem> {
        Examination(self).check_parts(image, digest, facts).await
    }
}

impl<G: Ground> Examination<'_, G> {
    pub(crate) async fn verify_as(
        &mut self,
        image: &Reference,
        require: &Require,
        meaning: Meaning,
    ) -> Result<VerifiedImage, Problem> {
        let result = self.decide(image, require, meaning).await;
        result.map_err(|problem| problem.about(image).within(&self.anchor().collection))
    }

    async fn decide(
        &mut self,
        image: &Reference,
        require: &Require,
        meaning: Meaning,
    ) -> Result<VerifiedImage, Problem> {
        let mut basis = Basis::default();
        let collection = self.anchor().collection.to_string();
        let mapped = |error: TargetError| {
            let code = if error == TargetError::NotCovered { Code::NoPin } else { Code::BadReference };
            Problem::new(code).fact("image", image).fact("collection", &collection).fact("found", error)
        };
        let by_tag = image.tag().is_some() && (image.digest().is_none() || meaning == Meaning::Both);
        let path = match image.digest() {
            Some(digest) if !by_tag => target::digest_path(&collection, image, digest),
            _ => target::tag_path(&collection, image),
        }
        .map_err(mapped)?;

        let outcome = self.lookup(&path).await?;
        basis.add(&outcome);
        let Some(hit) = outcome.hit() else {
            return Err(self.not_signed(image, &outcome).await);
        };
        let Some(digest) = digest_of(&hit.target) else {
            let problem = Problem::new(Code::EntryIsOther).fact("image", image).fact("signer", &hit.signer);
            return Err(problem.cause("the signed entry has no hash that is known here"));
        };
        if let Some(asked) = image.digest()
            && !names(&hit.target, asked)
        {
            let code = if by_tag { Code::TagIsOther } else { Code::EntryIsOther };
            return Err(Problem::new(code)
                .fact("image", image)
                .fact("given", asked)
                .fact("signed", format!("{digest}  by {}", hit.signer))
                .digests(digest, asked));
        }
        let digest = image.digest().copied().unwrap_or(digest);

        let agree = |s: &&Statement| names(&s.target, &digest) && s.target.length == hit.target.length;
        let (same, other): (Vec<&Statement>, Vec<&Statement>) = outcome.statements.iter().partition(agree);
        let mut warnings = self.warnings().to_vec();
        let (mut facts, mut children) = facts::facts_of(image, &digest, &same, &mut warnings)?;

        // Every form under which the content may have been revoked.
        children.extend(forms_of(&hit.target));
        self.check_revoked(image, &digest, &children, &mut basis).await?;
        self.check_parts(image, &digest, facts.as_ref()).await?;
        if let Some(facts) = &mut facts {
            facts.tags = self.all_tags(image, &path, &outcome, (&digest, facts), &mut basis, &mut warnings).await?;
        }
        let tag_moved = match image.tag() {
            Some(_) if !by_tag => self.tag_moved(image, &digest, &mut basis, &mut warnings).await?,
            _ => None,
        };

        let signers = signers::counted(
            self.trusted(),
            same.iter().map(|s| SignedBy { name: s.signer.clone(), role: s.role.clone(), counts_with: None }).collect(),
        );
        let conflicts: Vec<Conflict> = other
            .iter()
            .map(|s| Conflict {
                name: s.signer.clone(),
                role: s.role.clone(),
                digest: match digest_of(&s.target) {
                    Some(d) if d == digest => format!("{d} with {} bytes", s.target.length),
                    Some(d) => d.to_string(),
                    None => "no known hash".to_owned(),
                },
            })
            .collect();
        let unusable: Vec<UnusableSigner> = outcome
            .unusable
            .iter()
            .map(|u| UnusableSigner { name: u.signer.clone(), why: u.error.to_string() })
            .collect();
        signers::check(self.trusted(), image, &digest, require, &signers, &conflicts, &unusable)?;

        warnings.extend(signers.iter().filter_map(|s| {
            let other = s.counts_with.as_ref()?;
            Some(format!("{} and {other} share a key: they count as one signer", s.name))
        }));
        warnings.extend(conflicts.iter().map(|c| format!("{} signed another image: {}", c.name, c.digest)));
        warnings.extend(unusable.iter().map(|u| format!("signer {} cannot be used: {}", u.name, u.why)));
        let set = self.trusted();
        let expires = basis.expires.map_or(set.expires(), |e| e.min(set.expires()));
        basis.roles.insert("targets".to_owned(), set.targets().version().get());
        Ok(VerifiedImage {
            reference: image.to_string(),
            pinned: image.pinned(digest).to_string(),
            digest,
            length: hit.target.length,
            signers,
            conflicts,
            unusable,
            facts,
            collection,
            versions: VersionsUsed {
                root: set.root().version().get(),
                timestamp: set.timestamp().version().get(),
                snapshot: set.snapshot().version().get(),
                roles: basis.roles,
            },
            expires: expires.to_string(),
            timestamp_expires: set.timestamp().expires().to_string(),
            verified_at: set.now().to_string(),
            root_fingerprint: self.anchor().fingerprint(),
            root_pinned_version: self.pinned_version().get(),
            tag_moved,
            warnings,
        })
    }

    /// All tags that a digest was signed under: those in the facts of what was found under `path`, of the entries of the digest
    /// itself and of the tag asked for, by every role that signed it there. That such an entry is absent says nothing; one
    /// that cannot be read refuses. So does a signer who says something else of the digest there than the facts that count:
    /// else a tag of one's own would be a way past what others said of the same image.
    async fn all_tags(
        &mut self,
        image: &Reference,
        path: &str,
        found: &Outcome,
        (digest, facts): (&Digest, &ImageFacts),
        basis: &mut Basis,
        warnings: &mut Vec<String>,
    ) -> Result<Vec<String>, Problem> {
        let same = |outcome: &Outcome| {
            let same = outcome.statements.iter().filter(|s| names(&s.target, digest)).map(|s| s.target.clone());
            same.collect::<Vec<TargetInfo>>()
        };
        let mut tags = BTreeSet::new();
        let mut entries = BTreeSet::new();
        for target in same(found) {
            tags.extend(facts_in(&target).into_iter().flat_map(|facts| facts.tags));
            let collection = self.anchor().collection.as_str();
            entries.extend(forms_of(&target).filter_map(|form| target::digest_path(collection, image, &form).ok()));
        }
        if image.tag().is_some() {
            entries.extend(target::tag_path(self.anchor().collection.as_str(), image).ok());
        }
        entries.remove(path);
        for entry in entries {
            let outcome = self.lookup(&entry).await?;
            basis.add(&outcome);
            facts::check_elsewhere(image, digest, facts, found, &outcome)?;
            for target in same(&outcome) {
                let Some(custom) = &target.custom else { continue };
                match ImageFacts::from_custom(&custom.to_json()) {
                    Ok(facts) => tags.extend(facts.into_iter().flat_map(|facts| facts.tags)),
                    Err(error) => warnings.push(format!("the facts under {entry} cannot be read: {error}")),
                }
            }
            let known = |signer: &str| found.unusable.iter().any(|u| u.signer == signer);
            let unusable = outcome.unusable.iter().filter(|u| !known(&u.signer));
            warnings.extend(unusable.map(|u| format!("signer {} cannot be used: {}", u.signer, u.error)));
        }
        Ok(tags.into_iter().collect())
    }

    /// Whether the tag is signed for another digest now: at a gate a fact, not a refusal.
    async fn tag_moved(
        &mut self,
        image: &Reference,
        digest: &Digest,
        basis: &mut Basis,
        warnings: &mut Vec<String>,
    ) -> Result<Option<bool>, Problem> {
        let Ok(path) = target::tag_path(self.anchor().collection.as_str(), image) else { return Ok(None) };
        let outcome = self.lookup(&path).await?;
        basis.add(&outcome);
        let moved = !outcome.hit().is_some_and(|hit| names(&hit.target, digest));
        if moved {
            warnings.push("the tag is not signed for this digest any more".to_owned());
        }
        Ok(Some(moved))
    }

    /// Refuses what is revoked. A revocation role that cannot be read refuses too.
    async fn check_revoked(
        &mut self,
        image: &Reference,
        digest: &Digest,
        children: &BTreeSet<Digest>,
        basis: &mut Basis,
    ) -> Result<(), Problem> {
        match self.find_revocation(image, Some(digest), children, basis).await? {
            Some(revocation) => Err(revocation.problem(image)),
            None => Ok(()),
        }
    }

    async fn check_parts(
        &mut self,
        image: &Reference,
        digest: &Digest,
        facts: Option<&ImageFacts>,
    ) -> Result<(), Problem> {
        let found = match facts {
            // A single image is named as its own and only part.
            Some(facts) if !facts.platforms.is_empty() => return Ok(()),
            Some(_) => "the signed facts name no part of it",
            None => "no signer states facts of it that can be read",
        };
        if !self.revokes_digests().await? {
            return Ok(());
        }
        let tag = image.tag().map(|tag| format!(":{tag}")).unwrap_or_default();
        Err(Problem::new(Code::PartsUnknown)
            .fact("image", image)
            .fact("digest", digest)
            .fact("found", found)
            .fact("collection", &self.anchor().collection)
            .remedy([format!("sign it again with a current program: trust sign {}{tag}@{digest}", image.name())]))
    }

    /// Whether a digest is revoked in the collection: in the one role whose revocations count.
    async fn revokes_digests(&mut self) -> Result<bool, Problem> {
        let collection = self.anchor().collection.to_string();
        let is_delegated = self.trusted().targets().delegations().is_some_and(|d| d.role(REVOKED_ROLE).is_some());
        let file = self.role(if is_delegated { REVOKED_ROLE } else { "targets" }).await?;
        let delegation = self.trusted().targets().delegations().and_then(|d| d.role(REVOKED_ROLE));
        // What is outside the patterns of the role does not count, as everywhere.
        let counts = |path: &str| delegation.is_none_or(|d| d.matches(path).unwrap_or(true));
        let of_digest = |path: &str| matches!(revoked_of(&collection, path), Ok(Revoked::Digest(_)));
        Ok(file.paths_below(REVOKED_ROLE).any(|path| of_digest(path) && counts(path)))
    }

    async fn find_revocation(
        &mut self,
        image: &Reference,
        digest: Option<&Digest>,
        parts: &BTreeSet<Digest>,
        basis: &mut Basis,
    ) -> Result<Option<Revocation>, Problem> {
        let mut wanted = Vec::new();
        if let Some(digest) = digest {
            wanted.push((RevokedScope::Digest, revoked_digest_path(digest), digest.to_string()));
        }
        if let Some(tag) = image.tag()
            && let Ok(path) = revoked_tag_path(self.anchor().collection.as_str(), image)
        {
            wanted.push((RevokedScope::Tag, path, tag.to_owned()));
        }
        let parts = parts.iter().filter(|part| Some(*part) != digest);
        wanted.extend(parts.map(|part| (RevokedScope::Platform, revoked_digest_path(part), part.to_string())));
        for (scope, path, what) in wanted {
            let outcome = self.lookup(&path).await?;
            basis.add(&outcome);
            if let Some(hit) = outcome.hit() {
                return Ok(Some(Revocation {
                    by: hit.role.clone(),
                    reason: reason_in(&hit.target),
                    scope,
                    revoked: what,
                }));
            }
        }
        Ok(None)
    }

    async fn not_signed(&mut self, image: &Reference, outcome: &Outcome) -> Problem {
        // A revoked image whose signature is gone as well: that it was revoked is the better answer.
        let mut basis = Basis::default();
        let digest = image.digest().copied();
        if let Some(digest) = digest {
            if let Err(problem) = self.check_revoked(image, &digest, &BTreeSet::new(), &mut basis).await
                && problem.exit() == crate::catalogue::exit::REVOKED
            {
                return problem;
            }
        } else if let Ok(Some(revocation)) = self.find_revocation(image, None, &BTreeSet::new(), &mut basis).await {
            return revocation.problem(image);
        }
        // People, and not the files below them.
        let direct = self.trusted().targets().delegations();
        let is_signer = |role: &&str| direct.is_some_and(|d| d.role(role).is_some());
        let roles: Vec<&str> = outcome.visited.iter().map(|v| v.role.as_str()).filter(is_signer).collect();
        let signers = if roles.is_empty() { "targets".to_owned() } else { roles.join(", ") };
        let tags = self.signed_tags(image);
        let tags = if tags.is_empty() { "none".to_owned() } else { tags.join(", ") };
        let problem = Problem::new(Code::NotSigned).headline(format!("{image} is not signed"));
        let problem = match &self.scene().server {
            Some(server) => problem.fact("server", server),
            None => problem,
        };
        problem
            .fact("collection", &self.anchor().collection)
            .fact("signed tags", tags)
            .remedy([format!("ask one of its signers: {signers}")])
    }

    /// Up to 20 tags of the image that loaded roles list.
    fn signed_tags(&self, image: &Reference) -> Vec<String> {
        let set = self.trusted();
        let collection = self.anchor().collection.as_str();
        let direct = set.targets().delegations().into_iter().flat_map(|d| d.roles());
        let loaded = direct.filter_map(|d| set.delegated("targets", d.name()));
        let mut tags = BTreeSet::new();
        for file in std::iter::once(set.targets()).chain(loaded) {
            for path in file.paths() {
                if let Ok(entry) = target::image_of(collection, path)
                    && entry.name == image.name()
                    && let target::Entry::Tag(tag) = entry.entry
                {
                    tags.insert(tag);
                }
            }
        }
        tags.into_iter().take(20).collect()
    }
}

/// The digest that a target names: sha256 if it has one, else sha512.
pub fn digest_of(target: &TargetInfo) -> Option<Digest> {
    target.hashes.sha256.map(Digest::Sha256).or_else(|| target.hashes.sha512.map(Digest::Sha512))
}

/// Every digest under which the content of a target may have been revoked: its own in each form, and those of its parts.
pub fn revocable(target: &TargetInfo) -> BTreeSet<Digest> {
    forms_of(target).chain(target.custom.iter().flat_map(facts::digests_in)).collect()
}

/// The digests of a target's own content, in each form.
fn forms_of(target: &TargetInfo) -> impl Iterator<Item = Digest> {
    let forms = [target.hashes.sha256.map(Digest::Sha256), target.hashes.sha512.map(Digest::Sha512)];
    forms.into_iter().flatten()
}

/// The image's facts in a target, if it states some that can be read.
pub fn facts_in(target: &TargetInfo) -> Option<ImageFacts> {
    ImageFacts::from_custom(&target.custom.as_ref()?.to_json()).ok().flatten()
}

/// Whether a target is this digest, by the hash of the digest's own algorithm.
fn names(target: &TargetInfo, digest: &Digest) -> bool {
    match digest {
        Digest::Sha256(hash) => target.hashes.sha256.as_ref() == Some(hash),
        Digest::Sha512(hash) => target.hashes.sha512.as_ref() == Some(hash),
    }
}

/// The reason that a revocation's signed facts give, if they do.
fn reason_in(target: &TargetInfo) -> Option<String> {
    let custom = target.custom.as_ref()?;
    let reason = custom.get("reason").or_else(|| custom.get("revocation")?.get("reason"))?;
    reason.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests;
