//! What is signed for the benchmarks of the gates: ten small images and what else a benchmark adds, and a policy of two rules.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use trust_decide::{AnyTransport, Clock, Decider, Environments, Pinned, PolicyFrom, Settings};
use trust_image::{Digest, ImageFacts, PlatformFacts};
use trust_policy::{Cloud, Environment};
use trust_reader::http::HttpOptions;
use trust_reader::verify::Require;
use trust_tuf::CollectionName;

use crate::simulator::{Delegate, PERMITS, Repository, Served, TestKey};

/// The collection of the images.
pub(super) const PAY: &str = "registry.example.com/pay";
/// The collection of the policy.
pub(super) const POLICY: &str = "registry.example.com/policy";
/// How many images are signed as `api:vN`.
pub(super) const TAGS: u8 = 10;
/// The media type of manifests.
pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

const RULES: &str = r#"
    @id("fit") permit (principal, action, resource) when { resource.fit.contains("com.example.data") };
    @id("private") permit (principal, action, resource) when { principal.cloud == "private" };
"#;
const LABELS: &str = r#"{"schema":"trust/labels/v1","labels":{"com.example.data":{"description":"d","owner":"o",
    "values":{"public":{"fit":["public","private"]}}}}}"#;

pub(super) fn image(n: u8) -> String {
    format!("{PAY}/api:v{n}")
}

/// What stands for the manifest of an image that nobody fetches.
pub(super) fn content(n: u8) -> [u8; 100] {
    [n; 100]
}

/// Signs a manifest as `api:TAG`, fit for the public environment.
pub(super) fn sign(pay: &mut Repository, tag: &str, manifest: &[u8]) -> io::Result<()> {
    let digest = Digest::of(manifest);
    let facts = ImageFacts {
        media_type: MANIFEST.to_owned(),
        signed: "2031-05-01T00:00:00Z".to_owned(),
        tags: vec![tag.to_owned()],
        platforms: vec![PlatformFacts {
            platform: "linux/amd64".to_owned(),
            digest,
            labels: [("com.example.data".to_owned(), "public".to_owned())].into(),
        }],
        annotations: Default::default(),
        stated: Default::default(),
    };
    let facts = trust_tuf::json::parse(&facts.to_custom().map_err(io::Error::other)?).map_err(io::Error::other)?;
    for path in [format!("api/{tag}"), format!("api/@sha256-{}", digest.hex())] {
        pay.add_target("alice", &path, manifest);
        pay.role("alice").set(&["targets", &path, "custom"], facts.clone());
    }
    Ok(())
}

/// Publishes what was signed since.
pub(super) fn publish(pay: &mut Repository) {
    pay.role("alice").bump();
    pay.publish();
}

/// Ten signed images, and the policy collection.
pub(super) fn repositories() -> io::Result<(Repository, Repository)> {
    let mut pay = Repository::new();
    let revoked = Delegate::new("_revoked", &TestKey::ed25519(101), &["_revoked/*", "_revoked/*/*"]).terminating();
    pay.delegate("targets", &revoked);
    pay.delegate("targets", &Delegate::new("alice", &TestKey::ed25519(100), &["*/*"]));
    for n in 1..=TAGS {
        sign(&mut pay, &format!("v{n}"), &content(n))?;
    }
    let mut policy = Repository::new();
    for (role, key) in [("_policy", 110), ("_labels", 111)] {
        let delegate = Delegate::new(role, &TestKey::ed25519(key), &[&format!("{role}/*")]).terminating();
        policy.delegate("targets", &delegate);
    }
    policy.add_target("_policy", "_policy/main.cedar", RULES.as_bytes());
    policy.add_target("_labels", "_labels/data.json", LABELS.as_bytes());
    for repository in [&mut pay, &mut policy] {
        repository.role("targets").bump();
        repository.publish();
    }
    Ok((pay, policy))
}

/// The decider over both collections in this process, by this clock and perhaps with a log.
pub(super) async fn decider(
    dir: &Path,
    pay: &Repository,
    policy: &Repository,
    clock: Arc<dyn Clock>,
    log: Option<PathBuf>,
) -> io::Result<Arc<Decider>> {
    let pinned = |name: &str, repository: &Repository| -> io::Result<Pinned> {
        Ok(Pinned {
            mirrors: Vec::new(),
            collection: CollectionName::parse(name).map_err(io::Error::other)?,
            root: repository.pinned.clone(),
            server: "https://trust.example.com".to_owned(),
            http: HttpOptions::default(),
        })
    };
    let settings = Settings {
        collections: vec![pinned(PAY, pay)?, pinned(POLICY, policy)?],
        policy: PolicyFrom::Collection(CollectionName::parse(POLICY).map_err(io::Error::other)?),
        environments: Environments::Fixed(Environment::new("public-eu", Cloud::Public).map_err(io::Error::other)?),
        state: dir.join("state"),
        refresh: Duration::from_secs(60),
        max_staleness: Duration::from_secs(3_600),
        log,
        require: Require::default(),
    };
    let (pay, policy) = (Arc::clone(&pay.wire), Arc::clone(&policy.wire));
    let connect = move |pinned: &Pinned| {
        let wire = if pinned.collection.as_str() == PAY { &pay } else { &policy };
        let permits = Arc::new(tokio::sync::Semaphore::new(PERMITS as usize));
        Ok(AnyTransport::new(Served { wire: Arc::clone(wire), folder: format!("tuf/{}/", pinned.collection), permits }))
    };
    Decider::start_on(settings, clock, connect).await.map_err(io::Error::other)
}
