//! Who may have what: a tag, a digest, a blob of a name.
//!
//! Invariant: whatever is permitted rests on an allow of the decider, asked for at this moment, for the thing itself or for a
//! signed image of the same name whose verified content leads to it. Where a policy decides, an image below an index passes only
//! if the policy judged it: if the signed facts of that index list it as runnable. A revocation of the digest itself is a denial
//! whatever leads to it, and nothing leads through a revoked index. Images are never asked for by tag. What is not signed and
//! refers to an image passes with it only as [`super::referrers`] says. Deliberately absent: HTTP.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use moka::sync::Cache;
use trust_image::Digest;
use trust_reader::catalogue::exit;
use trust_reader::registry::{Reason, RegistryError};
use trust_reader::view::MAX_ENTRIES;

use super::client::Client;
use super::content::{Content, ContentError};
use super::document::{Document, DocumentError};
use super::reach::{Next, Reach};
use super::referrers::{self, Looks};
use super::reply::Refusal;
use super::ruling::{Asked, Denial, Rules, Ruling};
use super::walk::{Target, Walks};

/// How long the list of what is signed of a name is used. Only candidates come from it, and the list of tags; what passes is
/// asked for each time.
const SIGNED_LIFE: Duration = Duration::from_secs(2);
/// Names whose list is kept.
const MAX_NAMES: u64 = 256;
/// Tags of one digest that are asked for.
const MAX_TAGS: usize = 8;
/// The longest wait that is passed on from the upstream, in seconds.
const MAX_WAIT: u32 = 3_600;

/// What is signed of a name.
#[derive(Debug, Default)]
pub(crate) struct Signed {
    /// Tags in ASCII order.
    pub(crate) tags: BTreeMap<String, Digest>,
    /// Digests, each once, in the order of the trust data.
    pub(crate) digests: Vec<Digest>,
    pub(crate) set: HashSet<Digest>,
    /// Digest → the tags that mean it.
    pub(crate) tags_of: HashMap<Digest, Vec<String>>,
    /// Image → signed indexes whose facts list it.
    pub(crate) indexes_of: HashMap<Digest, Vec<Digest>>,
}

/// What a manifest is permitted by.
enum Cover {
    /// This image may pass: it is the manifest, or leads to it. The signed length, if it is the manifest itself.
    By { image: String, length: Option<u64> },
    /// It is revoked itself.
    Revoked(Box<Denial>),
    /// Neither it nor those that lead to it may pass.
    Denied(Box<Denial>),
    /// Nothing known leads to it: what was said of the digest itself.
    Nothing(Box<Denial>),
}

impl Cover {
    /// Whether reading more of what is signed may change it.
    fn may_grow(&self) -> bool {
        match self {
            Cover::By { .. } | Cover::Revoked(_) => false,
            Cover::Denied(_) | Cover::Nothing(_) => true,
        }
    }
}

/// Which manifests are asked whether they hold a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holders {
    /// Images that are signed, or stand in a signed index.
    Signed,
    /// What refers to something signed.
    Artifacts,
}

/// An allowed tag of a digest.
struct Tagged {
    image: String,
    length: u64,
    judged: Option<Vec<Digest>>,
}

/// All that a decision at this door needs.
pub(crate) struct Permits {
    /// The logical host: what images are called by.
    pub(crate) host: String,
    pub(crate) rules: Box<dyn Rules>,
    pub(crate) content: Arc<Content>,
    pub(crate) reach: Reach,
    pub(crate) looks: Looks,
    signed: Cache<String, Arc<Signed>>,
    names: Cache<(), Arc<Vec<(String, String)>>>,
    walks: Walks,
}

impl Permits {
    pub(crate) fn new(host: String, rules: Box<dyn Rules>) -> Permits {
        Permits {
            host,
            rules,
            content: Arc::new(Content::default()),
            reach: Reach::default(),
            looks: Looks::default(),
            signed: Cache::builder().max_capacity(MAX_NAMES).time_to_live(SIGNED_LIFE).build(),
            names: Cache::builder().max_capacity(1).time_to_live(SIGNED_LIFE).build(),
            walks: Walks::default(),
        }
    }

    /// What is signed of a name.
    pub(crate) fn signed(&self, name: &str) -> Arc<Signed> {
        self.signed.get_with_by_ref(name, || {
            let mut signed = Signed::default();
            for image in self.rules.signed(&format!("{}/{name}", self.host)) {
                if let Some(tag) = image.tag {
                    signed.tags_of.entry(image.digest).or_default().push(tag.clone());
                    signed.tags.insert(tag, image.digest);
                }
                if signed.set.insert(image.digest) {
                    signed.digests.push(image.digest);
                    for part in image.parts.into_iter().filter(|part| *part != image.digest) {
                        signed.indexes_of.entry(part).or_default().push(image.digest);
                    }
                }
            }
            Arc::new(signed)
        })
    }

    /// The names with signed tags, each with one of them.
    pub(crate) fn names(&self) -> Arc<Vec<(String, String)>> {
        self.names.get_with((), || Arc::new(self.rules.names(&self.host)))
    }

    /// The manifest under a tag.
    pub(crate) async fn by_tag(&self, name: &str, tag: &str, client: &Client) -> Result<Arc<Document>, Refusal> {
        let (image, whom) = (format!("{}/{name}:{tag}", self.host), &*client.whom);
        if let Some(special) = referrers::special(tag)
            && let Ruling::Denied(denial) = self.rules.rule(&Asked { image: &image, whom })
            && denial.exit == exit::NOT_SIGNED
            && let Some(document) = referrers::by_tag(self, name, tag, special, client).await?
        {
            return Ok(document);
        }
        match self.rules.answer(Asked { image: &image, whom }).await {
            Ruling::Allowed { digest, length, .. } => {
                let signed = self.signed(name);
                if !signed.set.contains(&digest) && signed.set.len() < MAX_ENTRIES / 2 {
                    // Signed since the list was read (or the list is full). What the client asks for next may rest on it.
                    self.signed.invalidate(name);
                }
                self.document(name, &digest, Some(length), client).await
            }
            Ruling::Denied(denial) => Err(self.denied(name, tag, &denial)),
        }
    }

    /// Whether a tag could be given out now, without giving it: the denial if not.
    pub(crate) fn check_tag(&self, name: &str, tag: &str, whom: &str) -> Result<(), Box<Denial>> {
        let image = format!("{}/{name}:{tag}", self.host);
        match self.rules.rule(&Asked { image: &image, whom }) {
            Ruling::Allowed { .. } => Ok(()),
            Ruling::Denied(denial) => Err(denial),
        }
    }

    /// The manifest with a digest.
    pub(crate) async fn by_digest(
        &self,
        name: &str,
        digest: &Digest,
        client: &Client,
    ) -> Result<Arc<Document>, Refusal> {
        let whom = &*client.whom;
        let mut cover = self.cover(name, digest, None, whom);
        if cover.may_grow() {
            self.walks.search(self, name, Target::Manifest(*digest), client).await?;
            cover = self.cover(name, digest, None, whom);
        }
        if matches!(cover, Cover::Nothing(_)) {
            // Where nothing is signed, nothing can be referred to.
            if !self.signed(name).digests.is_empty() {
                referrers::look(self, name, digest, client).await?;
            }
            cover = self.cover(name, digest, None, whom);
        }
        let (image, length) = match cover {
            Cover::By { image, length } => (image, length),
            Cover::Revoked(denial) | Cover::Denied(denial) | Cover::Nothing(denial) => {
                // What was asked on the way is not logged; the answer to a client is.
                let _ = self.rules.answer(Asked { image: &self.image(name, digest), whom }).await;
                return Err(self.denied(name, &digest.to_string(), &denial));
            }
        };
        self.passes(&image, client).await?;
        let document = self.document(name, digest, length, client).await?;
        match self.cover(name, digest, Some(document.kind.is_index()), whom) {
            Cover::By { .. } => Ok(document),
            _ => Err(Refusal::new(
                StatusCode::FORBIDDEN,
                "MANIFEST_INVALID",
                "the index that lists this manifest calls it something else than it is",
            )),
        }
    }

    /// What passes is logged under the image that it belongs to.
    pub(crate) async fn passes(&self, image: &str, client: &Client) -> Result<(), Refusal> {
        match self.rules.answer(Asked { image, whom: &client.whom }).await {
            Ruling::Allowed { .. } => Ok(()),
            Ruling::Denied(denial) => {
                let (name, reference) = image.split_once('@').or_else(|| image.rsplit_once(':')).unwrap_or((image, ""));
                let name = name.strip_prefix(&self.host).and_then(|name| name.strip_prefix('/')).unwrap_or(name);
                Err(self.denied(name, reference, &denial))
            }
        }
    }

    /// The image that lets pass what refers to this digest, if it may pass itself. Trust data that cannot be used is a denial.
    pub(crate) async fn subject(
        &self,
        name: &str,
        subject: &Digest,
        client: &Client,
    ) -> Result<Option<String>, Refusal> {
        let mut cover = self.cover(name, subject, None, &client.whom);
        if cover.may_grow() {
            self.walks.search(self, name, Target::Manifest(*subject), client).await?;
            cover = self.cover(name, subject, None, &client.whom);
        }
        match cover {
            // What refers to an artifact does not pass: an artifact is covered by another image.
            Cover::By { .. } if !self.reach.subjects(name, subject).is_empty() => Ok(None),
            Cover::By { image, .. } => Ok(Some(image)),
            Cover::Revoked(denial) | Cover::Denied(denial) | Cover::Nothing(denial) => {
                match denial.is_about_the_image() {
                    true => Ok(None),
                    false => Err(self.denied(name, &subject.to_string(), &denial)),
                }
            }
        }
    }

    /// The length of a blob that may be passed on, and by what.
    pub(crate) async fn blob(&self, name: &str, blob: &Digest, client: &Client) -> Result<(u64, Holders), Refusal> {
        let whom = &*client.whom;
        if let Ok(size) = self.blob_cover(name, blob, Holders::Signed, whom) {
            return Ok((size, Holders::Signed));
        }
        self.walks.search(self, name, Target::Blob(*blob), client).await?;
        // What artifacts say of a blob counts only where no signed image holds it: they are not signed, and its length is in them.
        // Nor where one holds it that may not pass: whoever can push would open its layers by naming them in an artifact.
        let by = |holders: Holders| self.blob_cover(name, blob, holders, whom).map(|size| (size, holders));
        let cover = match by(Holders::Signed) {
            Err(None) => match by(Holders::Artifacts) {
                Ok(covered) => {
                    self.walks.search(self, name, Target::Held(*blob), client).await?;
                    // A denied image may hold it, that no walk had a reason to read.
                    by(Holders::Signed).or_else(|denied| denied.map_or(Ok(covered), |denial| Err(Some(denial))))
                }
                denied => denied,
            },
            signed => signed,
        };
        match cover {
            Ok(covered) => Ok(covered),
            Err(Some(denial)) => Err(self.denied(name, &blob.to_string(), &denial)),
            Err(None) => match self.rule(name, blob, whom) {
                // Trust data that has expired is no reason to say that there is no such blob.
                Ruling::Denied(denial) if !denial.is_about_the_image() => {
                    Err(self.denied(name, &blob.to_string(), &denial))
                }
                _ => Err(Refusal::blob_unknown(name, blob, "no signed image of this name holds this blob")),
            },
        }
    }

    /// Whether what was searched for is found and may pass.
    pub(crate) fn is_covered(&self, name: &str, target: &Target, whom: &str) -> bool {
        match target {
            Target::Manifest(digest) => matches!(self.cover(name, digest, None, whom), Cover::By { .. }),
            Target::Blob(digest) => self.blob_cover(name, digest, Holders::Signed, whom).is_ok(),
            // To the end: one that may pass does not speak for another one that may not.
            Target::Held(_) => false,
        }
    }

    fn blob_cover(&self, name: &str, blob: &Digest, holders: Holders, whom: &str) -> Result<u64, Option<Box<Denial>>> {
        let mut first = None;
        for (image, size) in self.reach.holders(name, blob) {
            if self.reach.subjects(name, &image).is_empty() == (holders == Holders::Artifacts) {
                continue;
            }
            match self.cover(name, &image, Some(false), whom) {
                Cover::By { .. } => return Ok(size),
                Cover::Revoked(denial) | Cover::Denied(denial) => first = first.or(Some(denial)),
                Cover::Nothing(_) => {}
            }
        }
        Err(first)
    }

    /// What permits a manifest: that it is signed itself, or a signed index above it, as far as the links are known.
    fn cover(&self, name: &str, digest: &Digest, is_index: Option<bool>, whom: &str) -> Cover {
        let own = match self.rule(name, digest, whom) {
            Ruling::Allowed { length, .. } => {
                return Cover::By { image: self.image(name, digest), length: Some(length) };
            }
            Ruling::Denied(denial) if denial.exit == exit::REVOKED => return Cover::Revoked(denial),
            Ruling::Denied(denial) => denial,
        };
        let signed = self.signed(name);
        let mut first = None;
        match self.meant_by_a_tag(name, digest, &signed, whom) {
            Some(Ok(tagged)) => return Cover::By { image: tagged.image, length: Some(tagged.length) },
            Some(Err(denial)) => first = Some(denial),
            None => {}
        }
        for as_index in [false, true].into_iter().filter(|kind| is_index.is_none_or(|known| known == *kind)) {
            let mut found = None;
            self.reach.climb(name, digest, as_index, |way| {
                let (next, way_or_denial) = self.way(name, way, digest, as_index, &signed, whom);
                match way_or_denial {
                    Some(Ok(image)) => found = Some(image),
                    Some(Err(denial)) => first = first.take().or(Some(denial)),
                    None => {}
                }
                next
            });
            if let Some(image) = found {
                return Cover::By { image, length: None };
            }
        }
        // What is no image itself and refers to one: its links are noted only after its bytes were read.
        for subject in self.reach.subjects(name, digest).iter().filter(|subject| *subject != digest) {
            if !self.reach.subjects(name, subject).is_empty() {
                continue;
            }
            match self.cover(name, subject, None, whom) {
                Cover::By { image, .. } => return Cover::By { image, length: None },
                Cover::Revoked(denial) | Cover::Denied(denial) => first = first.or(Some(denial)),
                Cover::Nothing(_) => {}
            }
        }
        match first {
            Some(denial) => Cover::Denied(denial),
            None if own.exit == exit::NOT_SIGNED => Cover::Nothing(own),
            None => Cover::Denied(own),
        }
    }

    /// Whether an index above a manifest permits it: the image that it passes with or a denial, and how the way goes on.
    fn way(
        &self,
        name: &str,
        index: &Digest,
        manifest: &Digest,
        as_index: bool,
        signed: &Signed,
        whom: &str,
    ) -> (Next, Option<Result<String, Box<Denial>>>) {
        // An index has no content that runs; of the images in it the policy must have judged this one.
        let covers = |judged: &Option<Vec<Digest>>| as_index || judged.as_ref().is_none_or(|j| j.contains(manifest));
        let mut first = match self.rule(name, index, whom) {
            Ruling::Allowed { judged, .. } if covers(&judged) => {
                return (Next::Done, Some(Ok(self.image(name, index))));
            }
            Ruling::Allowed { .. } => Some(unjudged(index, manifest)),
            Ruling::Denied(denial) if denial.exit == exit::REVOKED => return (Next::Aside, Some(Err(denial))),
            // An index between is rarely signed itself: that says nothing.
            Ruling::Denied(denial) => Some(denial).filter(|denial| denial.exit != exit::NOT_SIGNED),
        };
        match self.meant_by_a_tag(name, index, signed, whom) {
            Some(Ok(tagged)) if covers(&tagged.judged) => return (Next::Done, Some(Ok(tagged.image))),
            Some(Ok(_)) => first = first.or_else(|| Some(unjudged(index, manifest))),
            Some(Err(denial)) => first = Some(denial),
            None => {}
        }
        (Next::Above, first.map(Err))
    }

    /// Whether a signed digest may pass for itself.
    pub(crate) fn may_pass(&self, name: &str, digest: &Digest, signed: &Signed, whom: &str) -> bool {
        matches!(self.rule(name, digest, whom), Ruling::Allowed { .. })
            || matches!(self.meant_by_a_tag(name, digest, signed, whom), Some(Ok(_)))
    }

    /// An allowed tag that means this digest, or the first denial of those that do. What signs by tags alone (any TUF client)
    /// has no entries by digest, and yet a pull by tag asks for the digest and its layers next.
    fn meant_by_a_tag(
        &self,
        name: &str,
        digest: &Digest,
        signed: &Signed,
        whom: &str,
    ) -> Option<Result<Tagged, Box<Denial>>> {
        let mut first = None;
        for tag in signed.tags_of.get(digest)?.iter().take(MAX_TAGS) {
            let image = format!("{}/{name}:{tag}", self.host);
            match self.rules.rule(&Asked { image: &image, whom }) {
                Ruling::Allowed { digest: got, length, judged } if got == *digest => {
                    return Some(Ok(Tagged { image, length, judged }));
                }
                Ruling::Allowed { .. } => {}
                Ruling::Denied(denial) => first = first.or(Some(Err(denial))),
            }
        }
        first
    }

    fn image(&self, name: &str, digest: &Digest) -> String {
        format!("{}/{name}@{digest}", self.host)
    }

    /// Asks for a digest of a name.
    pub(crate) fn rule(&self, name: &str, digest: &Digest, whom: &str) -> Ruling {
        match self.rules.rule(&Asked { image: &self.image(name, digest), whom }) {
            // Another digest than the one asked for permits nothing.
            Ruling::Allowed { digest: got, .. } if got != *digest => {
                let line = "the decider allowed another digest than the one that was asked for".to_owned();
                Ruling::Denied(Box::new(Denial { exit: exit::DIGEST_DIFFERS, line, ..Denial::default() }))
            }
            ruling => ruling,
        }
    }

    /// The verified bytes, with the length that was signed; what they lead to is noted.
    async fn document(
        &self,
        name: &str,
        digest: &Digest,
        length: Option<u64>,
        client: &Client,
    ) -> Result<Arc<Document>, Refusal> {
        if client.is_own() {
            // What others may have had is in memory; whether this client may, the upstream says each time.
            let head = client.upstream.head_manifest(name, digest).await;
            head.map_err(|error| of_content(&ContentError::Upstream(error)))?;
        }
        let fetched = self.content.manifest(&client.upstream, name, digest).await;
        let document = fetched.map_err(|error| of_content(&error))?;
        if length.is_some_and(|length| u64::try_from(document.bytes.len()) != Ok(length)) {
            let message = "the signed length is not that of the signed digest's content";
            return Err(Refusal::new(StatusCode::FORBIDDEN, "MANIFEST_INVALID", message));
        }
        self.reach.learn(name, &document);
        Ok(document)
    }

    pub(crate) fn denied(&self, name: &str, reference: &str, denial: &Denial) -> Refusal {
        let repository = format!("{}/{name}", self.host);
        Refusal::new(StatusCode::FORBIDDEN, "DENIED", &denial.line).detail(denial.detail(&repository, reference))
    }
}

/// An index that may pass and does not take this image with it.
fn unjudged(index: &Digest, manifest: &Digest) -> Box<Denial> {
    let line = format!("the facts that were signed with {index} do not list {manifest} as an image that runs");
    let hint = Some("sign the index again with a current program; attestations do not pass by digest".to_owned());
    Box::new(Denial { exit: exit::NOT_SIGNED, line, hint, ..Denial::default() })
}

/// What a client hears when there are no verified bytes.
pub(crate) fn of_content(error: &ContentError) -> Refusal {
    match error {
        ContentError::Upstream(error) if error.reason == Reason::NotFound => {
            Refusal::manifest_unknown("it is signed, and the registry behind this gate does not have it")
        }
        ContentError::Upstream(error) => of_upstream(error),
        ContentError::Document(DocumentError::Digest) => {
            bad_gateway("the registry behind this gate served other content")
        }
        ContentError::Document(error) => {
            Refusal::new(StatusCode::FORBIDDEN, "MANIFEST_INVALID", &format!("refused: {error}"))
        }
    }
}

/// What a client hears of an upstream that cannot be asked or lies. The upstream's name stays here.
pub(crate) fn of_upstream(error: &RegistryError) -> Refusal {
    tracing::warn!(%error, "upstream");
    match &error.reason {
        Reason::RateLimited { retry_after } => {
            let message = "the registry behind this gate limits the rate of requests";
            let seconds = retry_after.and_then(|wait| u32::try_from(wait.as_secs()).ok()).unwrap_or(5);
            let refusal = Refusal::new(StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS", message);
            refusal.retry_after(seconds.clamp(1, MAX_WAIT))
        }
        Reason::Unreachable(_)
        | Reason::Timeout
        | Reason::Certificate(_)
        | Reason::Tls(_)
        | Reason::Upstream(500..) => {
            let message = format!("the registry behind this gate cannot be asked: {}", error.reason);
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", &message).retry_after(5)
        }
        Reason::Unauthorized { .. } | Reason::Forbidden | Reason::AuthFile { .. } | Reason::CredentialHelper { .. } => {
            bad_gateway("the registry behind this gate does not let the gate in")
        }
        reason => bad_gateway(&format!("the registry behind this gate gave an answer that is refused: {reason}")),
    }
}

fn bad_gateway(message: &str) -> Refusal {
    Refusal::new(StatusCode::BAD_GATEWAY, "UNKNOWN", message)
}
