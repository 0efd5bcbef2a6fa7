//! The decision on a request.
//!
//! Invariants: everything by which an image comes or runs passes only with an allow of the decider for the digest that comes or
//! runs; of a name on the engine the digests count that the engine knows for it, never the name. Names on an engine can be moved
//! between this answer and the engine's act; so what begins to run is looked at again, by the ID of its image. Deliberately
//! absent: HTTP.

use std::sync::Arc;

use trust_image::Reference;
use trust_policy::Action;

use crate::config::{DockerConfig, PullByTag};
use crate::local::{Asked, Rules, Ruling, sentence};

use super::body::{self, Images};
use super::call::Call;
use super::engine::{Engine, Held};
use super::route::{self, Pull, Route, Switch};

/// The door's name in the log.
const DOOR: &str = "docker";

/// Why a request is denied: one sentence for whoever sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Denied(pub(super) String);

impl<E: std::error::Error> From<E> for Denied {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

type Judged = Result<(), Denied>;

fn denied(why: impl AsRef<str>) -> Judged {
    Err(Denied(sentence(why.as_ref())))
}

/// What a decision needs.
pub(super) struct Judge {
    pub(super) config: DockerConfig,
    pub(super) rules: Arc<dyn Rules>,
    pub(super) engine: Engine,
}

impl Judge {
    /// Whether this request may go on.
    pub(super) async fn judge(&self, call: &Call) -> Judged {
        match route::read(&call.method, &call.uri)? {
            Route::Harmless => Ok(()),
            Route::Pull(_) if call.may_hold_a_form() => denied(
                "a pull has no body: the engine would read it as a form that it does not show; send none, and no Content-Type",
            ),
            Route::Pull(Pull::All(name)) => denied(format!(
                "all tags of {name} at once are not pulled here: pull {name}@DIGEST, one image at a time"
            )),
            Route::Pull(Pull::One(image)) => self.pull(image, call.whom()).await,
            Route::Create => self.create(&body::of_container(&call.body)?, &call.whom()).await,
            Route::Start(container) => self.start(&container, call.whom()).await,
            Route::Service => self.service(body::of_service(&call.body)?, &call.whom()).await,
            Route::Rollback => denied(
                "the image of a service's earlier state is not shown: update the service to that image by NAME@DIGEST instead",
            ),
            Route::Unseen => denied(
                "images from archives have no digest that somebody signed: push the image to a registry, have it signed, and pull it by NAME@DIGEST",
            ),
            Route::Switched(switch) => self.switched(switch),
        }
    }

    fn switched(&self, switch: Switch) -> Judged {
        let (is_on, why) = match switch {
            Switch::Builds => (
                self.config.builds,
                "builds are off on this engine: what they run is not shown to the gate (`builds` in its [docker])",
            ),
            Switch::Plugins => (
                self.config.plugins,
                "plugins are not installed on this engine: they are not signed images (`plugins` in the gate's [docker])",
            ),
            Switch::Swarm => (
                self.config.swarm,
                "this engine joins and founds no swarm: its other managers could start images here without this gate (`swarm` in its [docker])",
            ),
        };
        if is_on { Ok(()) } else { denied(why) }
    }

    async fn pull(&self, image: String, whom: String) -> Judged {
        let by_digest = Reference::parse(&image).is_ok_and(|image| image.digest().is_some());
        let asked = self.asked(image, Action::Pull, whom);
        if by_digest || self.config.pull_by_tag == PullByTag::Verified {
            return self.loudly(asked).await;
        }
        self.only_by_digest(asked, "pull").await
    }

    async fn create(&self, images: &Images, whom: &str) -> Judged {
        for mounted in &images.mounted {
            if !is_immutable(mounted) {
                return denied(format!(
                    "a mounted image is named by NAME@DIGEST or by its whole ID here, and not as {mounted}"
                ));
            }
            match self.engine.image(mounted).await? {
                Some(held) => self.held(mounted, held, whom).await?,
                None => return denied(format!("{mounted} is not on this engine: pull it first")),
            }
        }
        let image = &images.image;
        if self.config.digest_only && !is_immutable(image) {
            return denied(format!(
                "containers are made from NAME@DIGEST or from a whole image ID here, and not from {image}"
            ));
        }
        match self.engine.image(image).await? {
            Some(held) => self.held(image, held, whom).await,
            // The engine says so itself, and clients pull then. Should the image come in between, the start finds it.
            None if self.config.recheck_start => Ok(()),
            None => denied(format!("{image} is not on this engine: pull it first, by NAME@DIGEST")),
        }
    }

    async fn start(&self, container: &str, whom: String) -> Judged {
        if !self.config.recheck_start {
            return Ok(());
        }
        // One that is not there cannot be started; the engine says so itself.
        let Some(id) = self.engine.image_of(container).await? else { return Ok(()) };
        match self.engine.image(&id).await? {
            Some(held) => self.held(&id, held, &whom).await,
            None => denied(format!("the image {id} of this container is not on this engine any more")),
        }
    }

    async fn service(&self, images: Images, whom: &str) -> Judged {
        for image in std::iter::once(images.image).chain(images.mounted) {
            let is_pinned = Reference::parse(&image).is_ok_and(|image| image.digest().is_some());
            let asked = self.asked(image, Action::Deploy, whom.to_owned());
            match is_pinned {
                true => self.loudly(asked).await?,
                false => self.only_by_digest(asked, "name").await?,
            }
        }
        Ok(())
    }

    /// One of the names by digest that the engine knows for an image must be signed and allowed.
    async fn held(&self, image: &str, held: Held, whom: &str) -> Judged {
        let digests: Vec<String> = held.digests.into_iter().filter(|name| is_pinned(name)).collect();
        let Some(first) = digests.first() else {
            return denied(format!(
                "{image} ({}) has no digest of a registry: it was loaded, imported, built or committed here; push it, have it signed, and pull it by NAME@DIGEST",
                held.id
            ));
        };
        // What is said and logged is said of the name that was asked for, if it is one of them.
        let wanted = Reference::parse(image).ok();
        let is_wanted = |name: &&String| {
            Reference::parse(name).ok().map(|n| n.name().to_owned()) == wanted.as_ref().map(|w| w.name().to_owned())
        };
        let mut chosen = digests.iter().find(is_wanted).unwrap_or(first).clone();
        let asked = |image: String| self.asked(image, Action::Deploy, whom.to_owned());
        if digests.len() > 1 {
            let candidates = std::iter::once(chosen.clone()).chain(digests);
            for name in candidates {
                if self.rule(Asked { quiet: true, ..asked(name.clone()) }).await?.digest.is_some() {
                    chosen = name;
                    break;
                }
            }
        }
        self.loudly(asked(chosen)).await
    }

    /// A decision that is the answer.
    async fn loudly(&self, asked: Asked) -> Judged {
        let ruling = self.rule(asked).await?;
        if ruling.digest.is_some() { Ok(()) } else { denied(ruling.line) }
    }

    /// Denies a name without a digest, and says which digest is the signed one.
    async fn only_by_digest(&self, asked: Asked, verb: &str) -> Judged {
        let image = asked.image.clone();
        let ruling = self.rule(Asked { quiet: true, ..asked.clone() }).await?;
        let Some(digest) = ruling.digest else { return self.loudly(asked).await };
        // In the log it is a denial, as it is here.
        let _ = self.rule(Asked { digest_only: true, ..asked }).await?;
        let pinned = Reference::parse(&image)?.pinned(digest);
        denied(format!(
            "{image} means what its registry says at that moment: {verb} {pinned}, which is what is signed for it"
        ))
    }

    fn asked(&self, image: String, action: Action, whom: String) -> Asked {
        Asked { image, action, door: DOOR, whom, mode: self.config.mode, digest_only: false, quiet: false }
    }

    /// Asks the decider on a thread that may wait: it writes its log.
    async fn rule(&self, asked: Asked) -> Result<Ruling, Denied> {
        let rules = Arc::clone(&self.rules);
        let ruling = tokio::task::spawn_blocking(move || rules.rule(&asked)).await;
        ruling.map_err(|_| Denied("the decision broke off".to_owned()))
    }
}

fn is_pinned(name: &str) -> bool {
    Reference::parse(name).is_ok_and(|name| name.digest().is_some())
}

/// Whether a name on an engine always means the same image: by digest, or a whole ID.
fn is_immutable(name: &str) -> bool {
    let hex = name.strip_prefix("sha256:").unwrap_or(name);
    let is_id = hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    is_id || is_pinned(name)
}
