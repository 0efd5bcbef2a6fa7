//! One client of this door: what it calls itself in the log, and as whom the upstream is asked for it.
//!
//! Invariant: where clients speak for themselves, all that the upstream is asked on behalf of a request goes with that client's
//! login alone; elsewhere with the gate's, and a client's `Authorization` goes nowhere. Nothing of a login is kept or logged.

use std::sync::Arc;

use http::header::{AUTHORIZATION, USER_AGENT, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};
use trust_reader::registry::{Caller, Refused, Upstream};
use trust_reader::verdict::printable;

use super::reply::Refusal;
use crate::config::Login;

/// The longest name of a client in the log, in bytes.
const MAX_WHOM: usize = 120;

/// Who asks.
#[derive(Clone)]
pub(crate) struct Client {
    /// What the client calls itself, for the log alone.
    pub(crate) whom: Arc<str>,
    /// The registry behind, asked as this client may.
    pub(crate) upstream: Upstream,
    /// The client's own login; `None` where the gate's is used.
    caller: Option<Arc<Caller>>,
}

impl Client {
    pub(crate) fn new(headers: &HeaderMap, upstream: &Upstream, login: Login) -> Client {
        let text = headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or("unknown client");
        let whom = printable(text.get(..text.len().min(MAX_WHOM)).unwrap_or_default()).into();
        match login {
            Login::Gate => Client { whom, upstream: upstream.clone(), caller: None },
            Login::Pass => {
                // Two of them have no single meaning: as if there were none.
                let mut values = headers.get_all(AUTHORIZATION).iter();
                let only = values.next().filter(|_| values.next().is_none());
                let caller = Caller::new(only);
                Client { whom, upstream: upstream.asked_by(Arc::clone(&caller)), caller: Some(caller) }
            }
        }
    }

    /// Whether the client speaks for itself at the upstream.
    pub(crate) fn is_own(&self) -> bool {
        self.caller.is_some()
    }

    /// What the client hears instead, if the upstream refused *it*: the challenge is its own to answer.
    pub(crate) fn refused(&self) -> Option<Refusal> {
        match self.caller.as_ref()?.refused()? {
            Refused::Login(challenges) => {
                let mut refusal = Refusal::new(
                    StatusCode::UNAUTHORIZED,
                    "UNAUTHORIZED",
                    "the registry behind this gate wants a login",
                );
                refusal.challenges = challenges;
                Some(refusal)
            }
            Refused::Forbidden => {
                let message = "the registry behind this gate does not let this login have it";
                Some(Refusal::new(StatusCode::FORBIDDEN, "DENIED", message))
            }
        }
    }

    /// A denial of the gate's own is for those whom the upstream lets in: others hear the challenge.
    pub(crate) async fn may_hear(&self, refusal: Refusal) -> Refusal {
        let tells = matches!(refusal.status, StatusCode::FORBIDDEN | StatusCode::NOT_FOUND);
        if tells && self.is_own() && self.refused().is_none() {
            // An upstream that cannot be asked changes no denial.
            let _ = self.upstream.ping().await;
        }
        self.refused().unwrap_or(refusal)
    }
}

/// Adds the challenges to an answer.
pub(crate) fn challenge(headers: &mut HeaderMap, challenges: &[HeaderValue]) {
    for value in challenges {
        headers.append(WWW_AUTHENTICATE, value.clone());
    }
}
