//! The door of Kubernetes: validating and mutating admission webhook over TLS.
//!
//! `POST /mutate` and `POST /validate` take an `AdmissionReview`; `GET /livez`, `GET /readyz`. Where the configuration says
//! so, `POST /imagereview` takes an `ImageReview`, and `POST /gatekeeper/…` what Gatekeeper asks. Allow and deny are both 200;
//! any other status is a failed call, which `failurePolicy` of the cluster decides, so that it is given only to what no
//! API server sends: whoever makes an object that is over a limit gets a denial. Each answer comes before the API server
//! stops waiting. Memory is bounded: a body, all bodies together, and the reviews that are judged at once. Deliberately absent: certificates of clients (whoever asks learns only whether an image may run), and calls to
//! the API server.

mod body;
pub mod image_review;
pub mod judge;
pub mod patch;
pub mod review;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use trust_decide::{Entry, Unentered};
use trust_image::workload::custom::CustomKinds;

use self::body::Room;
use self::judge::{Door, Rules};
use self::review::{Answer, MAX_REVIEW_LEN, Review, ReviewError};
use crate::config::{AdmissionConfig, GatekeeperConfig};
use crate::decides::{Decides, Drafting};
use crate::{gatekeeper, health};

/// How long a decision may take if the caller does not say how long it waits, and the longest that it may say.
const WAIT: Duration = Duration::from_secs(10);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// The same for Gatekeeper, which does not say it: its mutating webhook gives all providers together one second.
const GATEKEEPER_WAIT: Duration = Duration::from_millis(800);
/// Reviews that are read and decided at the same time: each takes as much memory as the limits of reading allow.
const JUDGED_AT_ONCE: usize = 4;

/// Largest review that is judged where it arrives, if all of it was decided before, and most bytes of its entries: what waits
/// for the log of so many callers is small.
const AT_ONCE: usize = 32 * 1024;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// What the door needs while it serves.
pub struct Admission {
    decider: Arc<dyn Decides>,
    rules: Rules,
    kinds: Arc<CustomKinds>,
    gatekeeper: Option<GatekeeperConfig>,
    image_review: bool,
    room: Room,
    judging: Arc<Semaphore>,
    leaving: AtomicBool,
}

impl Admission {
    /// A door with these rules, for the kinds of Kubernetes and the API server alone.
    pub fn new(decider: Arc<dyn Decides>, rules: Rules) -> Arc<Self> {
        Arc::new(Self::with(decider, rules, Arc::default(), None, false))
    }

    /// A door as it is configured.
    pub fn configured(decider: Arc<dyn Decides>, config: &AdmissionConfig) -> Arc<Self> {
        let (kinds, gatekeeper) = (Arc::clone(&config.kinds), config.gatekeeper.clone());
        Arc::new(Self::with(decider, Rules::from(config), kinds, gatekeeper, config.image_review))
    }

    fn with(
        decider: Arc<dyn Decides>,
        rules: Rules,
        kinds: Arc<CustomKinds>,
        gatekeeper: Option<GatekeeperConfig>,
        image_review: bool,
    ) -> Self {
        Self {
            decider,
            rules,
            kinds,
            gatekeeper,
            image_review,
            room: Room::new(),
            judging: Arc::new(Semaphore::new(JUDGED_AT_ONCE)),
            leaving: AtomicBool::new(false),
        }
    }

    /// From now on it is not ready: nobody new is to be sent here.
    pub fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }

    /// Its routes.
    pub fn router(self: &Arc<Self>) -> Router {
        let mut router = Router::new()
            .route("/mutate", post(|state, request| reviewed(state, Door::Mutate, request)))
            .route("/validate", post(|state, request| reviewed(state, Door::Validate, request)))
            .route("/livez", get(|| async { "ok\n" }))
            .route("/readyz", get(ready));
        if self.image_review {
            router = router.route("/imagereview", post(image_reviewed));
        }
        if self.gatekeeper.is_some() {
            router = router.route("/gatekeeper/validate", post(provided)).route("/gatekeeper/mutate", post(provided));
        }
        router.with_state(Arc::clone(self))
    }

    /// Judges on a thread that may take its time, in its turn; the answer comes when what it rests on is in the log.
    async fn in_turn<T: Send + 'static>(
        self: &Arc<Self>,
        turn: Option<OwnedSemaphorePermit>,
        deadline: Instant,
        work: impl FnOnce(&Self, &Drafting<'_>) -> T + Send + 'static,
    ) -> Result<T, CallError> {
        let turn = match turn {
            Some(turn) => turn,
            None => {
                let turn = tokio::time::timeout_at(deadline, Arc::clone(&self.judging).acquire_owned()).await;
                turn.map_err(|_| CallError::Late)?.map_err(|_| CallError::Late)?
            }
        };
        let door = Arc::clone(self);
        let work = tokio::task::spawn_blocking(move || {
            let drafting = Drafting::all(door.decider.as_ref());
            let done = work(&door, &drafting);
            // The turn is kept until the end, also of what nobody waits for any more.
            (done, drafting.entries(), turn)
        });
        let (done, entries, _turn) = match tokio::time::timeout_at(deadline, work).await {
            Ok(worked) => worked.map_err(|_| CallError::Failed)?,
            Err(_) => return Err(CallError::Undecided),
        };
        // Without them nothing was decided.
        self.enter(entries.ok_or(CallError::Failed)?, deadline).await?;
        Ok(done)
    }

    /// Enters what an answer rests on.
    async fn enter(&self, entries: Vec<Entry>, deadline: Instant) -> Result<(), CallError> {
        if entries.is_empty() {
            return Ok(());
        }
        self.decider.enter(entries, deadline).await.map_err(|unentered| match unentered {
            Unentered::Late => CallError::Undecided,
            Unentered::Failed(problem) => CallError::Unlogged(format!("{} ({})", problem.headline, problem.id())),
        })
    }

    /// The answer to a review of which everything was decided before: nothing is computed that takes long. The review, if it is
    /// to be judged in its turn.
    fn at_once(&self, body: &[u8], way: Door, deadline: Instant) -> Result<Judged, Option<Box<Review>>> {
        if body.len() > AT_ONCE {
            return Err(None);
        }
        let review = match Review::parse_with(body, &self.kinds) {
            Ok(review) => review,
            Err(error) => {
                let error = CallError::Review(error);
                let answer = error.answer(body, self.rules).ok_or(error);
                return Ok(Judged { uid: String::new(), answer, entries: Vec::new() });
            }
        };
        let drafting = Drafting::known(self.decider.as_ref());
        let answer = judge::answer(&review, way, self.rules, &drafting, deadline.into_std());
        match drafting.entries() {
            Some(entries) if entries.iter().map(Entry::len).sum::<usize>() <= AT_ONCE => {
                tell(&review, &answer);
                Ok(Judged { answer: Ok(answer.to_json(&review.uid)), uid: review.uid, entries })
            }
            _ => Err(Some(review.into())),
        }
    }
}

/// An answer, and what is to be entered before it is given.
struct Judged {
    uid: String,
    answer: Result<Vec<u8>, CallError>,
    entries: Vec<Entry>,
}

async fn ready(State(door): State<Arc<Admission>>, uri: Uri) -> Response {
    let trouble = match door.leaving.load(Ordering::Relaxed) {
        true => Some("stopping".to_owned()),
        false if !door.room.is_left().await => Some("there is no room for reviews".to_owned()),
        false => door.decider.trouble(),
    };
    health::ready(trouble, &uri, || door.decider.report())
}

/// Why a call fails.
#[derive(Debug, thiserror::Error)]
enum CallError {
    #[error("the content type is not application/json")]
    ContentType,
    #[error("the review is larger than {MAX_REVIEW_LEN} bytes")]
    TooLarge,
    #[error("the review did not arrive whole")]
    Cut,
    #[error("the review did not arrive in time")]
    Late,
    #[error("there was no room for the review in time")]
    NoRoom,
    #[error("{0}")]
    Review(#[from] ReviewError),
    #[error("{0}")]
    Question(#[from] gatekeeper::NotAQuestion),
    #[error("no decision in time")]
    Undecided,
    #[error("the decision broke off")]
    Failed,
    #[error("{0}")]
    Unlogged(String),
}

impl CallError {
    /// The answer instead of the failed call, if a request is known that it can be given to.
    fn answer(&self, begin: &[u8], rules: Rules) -> Option<Vec<u8>> {
        if matches!(self, Self::Review(error) if error.is_foreign()) {
            return None;
        }
        let uid = review::uid_of(begin)?;
        tracing::warn!(uid, "not judged: {self}");
        Some(judge::refused(rules, format!("this object cannot be judged: {self}")).to_json(&uid))
    }
}

impl IntoResponse for CallError {
    fn into_response(self) -> Response {
        let status = match self {
            Self::ContentType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Cut | Self::Review(_) | Self::Question(_) => StatusCode::BAD_REQUEST,
            Self::Late | Self::NoRoom | Self::Undecided => StatusCode::REQUEST_TIMEOUT,
            Self::Failed | Self::Unlogged(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        tracing::warn!("a call failed: {self}");
        (status, format!("{self}\n")).into_response()
    }
}

async fn reviewed(
    State(door): State<Arc<Admission>>,
    way: Door,
    request: Request<Body>,
) -> Result<Response, CallError> {
    let begun = Instant::now();
    let (head, body) = request.into_parts();
    let time = time_to_answer(&head.uri);
    let deadline = begun + time;
    if !is_json(&head.headers) {
        return Err(CallError::ContentType);
    }
    let (body, room) = match door.room.read(&head.headers, body, deadline).await {
        Ok(whole) => whole,
        Err((error, begin)) => return error.answer(&begin, door.rules).map(reply).ok_or(error),
    };
    // Kept of the review for an answer without a decision.
    let uid = Arc::new(OnceLock::new());
    // One that breaks off is judged again, where that is noticed.
    let at_once = catch_unwind(AssertUnwindSafe(|| door.at_once(&body, way, deadline))).unwrap_or(Err(None));
    let decided = match at_once {
        Ok(judged) => {
            let _ = uid.set(judged.uid);
            door.enter(judged.entries, deadline).await.map(|()| judged.answer)
        }
        Err(review) => {
            let found = review.as_ref().map(|review| review.uid.clone());
            let found = found.or_else(|| review::uid_of(&body));
            found.into_iter().for_each(|found| drop(uid.set(found)));
            let known = Arc::clone(&uid);
            // What was read of it takes room: it is kept by those whose turn it is, and read again by others.
            let turn = Arc::clone(&door.judging).try_acquire_owned().ok();
            let review = review.filter(|_| turn.is_some());
            door.in_turn(turn, deadline, move |door, drafting| {
                let review = match review.map_or_else(|| Review::parse_with(&body, &door.kinds), |review| Ok(*review)) {
                    Ok(review) => review,
                    Err(error) => {
                        let error = CallError::Review(error);
                        return error.answer(&body, door.rules).ok_or(error);
                    }
                };
                drop((body, room));
                let _ = known.set(review.uid.clone());
                let answer = judge::answer(&review, way, door.rules, drafting, deadline.into_std());
                tell(&review, &answer);
                Ok(answer.to_json(&review.uid))
            })
            .await
        }
    };
    match decided {
        Ok(answered) => answered.map(reply),
        // None of this may depend on `failurePolicy`.
        Err(error) => {
            let uid = uid.get().ok_or(CallError::Late)?;
            tracing::warn!(uid, "{error}");
            let answer = match error {
                CallError::Unlogged(why) => judge::refused(door.rules, why),
                CallError::Failed => judge::without_decision(door.rules, "the decision broke off"),
                _ => judge::without_decision(door.rules, &format!("no decision within {:.1} s", time.as_secs_f64())),
            };
            Ok(reply(answer.to_json(uid)))
        }
    }
}

/// A denial in the gate's own log, also one that the mode withheld: in `audit` nobody else says it.
fn tell(review: &Review, answer: &Answer) {
    let (what, why) = match (answer.allowed, answer.withheld.as_str()) {
        (false, _) => ("denied", answer.message.as_str()),
        (true, "") => return,
        (true, why) => ("would be denied", why),
    };
    tracing::info!(
        mode = mode(&answer.audit), operation = ?review.operation, kind = review.kind, sent_as = review.sent_as, name = review.name,
        namespace = review.namespace.as_deref().unwrap_or_default(), user = review.user, dry_run = review.dry_run,
        "{what}: {why}"
    );
}

/// The mode that made a denial what it became.
fn mode<'a>(audit: &'a BTreeMap<&'static str, String>) -> &'a str {
    match audit.get("decision").map(String::as_str) {
        None | Some("deny") => "enforce",
        Some(other) => other,
    }
}

async fn image_reviewed(State(door): State<Arc<Admission>>, request: Request<Body>) -> Result<Response, CallError> {
    let (head, body) = request.into_parts();
    // This plugin says nothing of how long it waits.
    let deadline = Instant::now() + time_to_answer(&head.uri);
    if !is_json(&head.headers) {
        return Err(CallError::ContentType);
    }
    let (body, room) = door.room.read(&head.headers, body, deadline).await.map_err(|(error, _)| error)?;
    let done = door.in_turn(None, deadline, move |door, drafting| {
        let review = image_review::ImageReview::parse(&body)?;
        drop((body, room));
        let answer = image_review::answer(&review, door.rules, drafting, deadline.into_std());
        if !answer.message.is_empty() {
            let namespace = review.namespace.as_deref().unwrap_or_default();
            let what = if answer.allowed { "would be denied" } else { "denied" };
            tracing::info!(mode = mode(&answer.audit), namespace, "{what}: {}", answer.message);
        }
        Ok::<_, ReviewError>(image_review::to_json(&answer))
    });
    Ok(reply(done.await??))
}

/// Both ways of Gatekeeper have one answer: the image with its verified digest.
async fn provided(State(door): State<Arc<Admission>>, request: Request<Body>) -> Result<Response, CallError> {
    let deadline = Instant::now() + GATEKEEPER_WAIT;
    let (head, body) = request.into_parts();
    if !is_json(&head.headers) {
        return Err(CallError::ContentType);
    }
    let (body, room) = door.room.read(&head.headers, body, deadline).await.map_err(|(error, _)| error)?;
    let question = Arc::new(gatekeeper::Question::parse(&body)?);
    drop((body, room));
    let asked = Arc::clone(&question);
    let done = door.in_turn(None, deadline, move |door, drafting| {
        let namespace = door.gatekeeper.as_ref().and_then(|config| config.namespace.as_deref());
        gatekeeper::answer(&asked, namespace, drafting, deadline.into_std())
    });
    Ok(reply(match done.await {
        Ok(answer) => answer.to_json(&question),
        Err(error) => gatekeeper::Answer::failed(&error).to_json(&question),
    }))
}

fn reply(review: Vec<u8>) -> Response {
    ([(CONTENT_TYPE, JSON)], review).into_response()
}

/// What the caller waits (`?timeout=5s`), less what the way back takes.
fn time_to_answer(uri: &Uri) -> Duration {
    let asked = uri.query().unwrap_or_default().split('&').find_map(|pair| pair.strip_prefix("timeout="));
    let seconds = asked.and_then(|text| text.strip_suffix('s')).and_then(|text| text.parse::<u32>().ok());
    let wait = match seconds {
        Some(seconds) => Duration::from_secs(seconds.max(1).into()).min(LONGEST_WAIT),
        None => WAIT,
    };
    wait - (wait / 5).clamp(Duration::from_millis(200), Duration::from_secs(1))
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE) else { return false };
    let media_type = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
    media_type.trim().eq_ignore_ascii_case("application/json")
}

#[cfg(test)]
mod attack_tests;
#[cfg(test)]
mod mutated_tests;
#[cfg(test)]
mod tests;
