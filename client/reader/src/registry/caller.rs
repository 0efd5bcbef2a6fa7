//! A client of a gate at the upstream: its own login instead of the gate's, and what the upstream said to it.
//!
//! Invariant: what a client sent as `Authorization` has no debug form and goes into requests to the upstream alone. What is kept
//! of a refusal are the challenges, so that the client can answer them itself.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Response, StatusCode};

/// Challenges of one answer that are kept.
const MAX_CHALLENGES: usize = 4;
/// The longest challenge, in bytes.
const MAX_CHALLENGE_LEN: usize = 4 * 1024;

/// How the upstream refused a caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// It wants a login (401): its challenges, as it sent them.
    Login(Vec<HeaderValue>),
    /// It knows the caller and denies (403).
    Forbidden,
}

/// One client that speaks for itself.
pub struct Caller {
    authorization: Option<HeaderValue>,
    refused: Mutex<Option<Refused>>,
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller").field("sent_a_login", &self.authorization.is_some()).finish_non_exhaustive()
    }
}

impl Caller {
    /// A client that sent this as `Authorization`, or nothing.
    pub fn new(authorization: Option<&HeaderValue>) -> Arc<Caller> {
        let authorization = authorization.cloned().map(|mut value| {
            value.set_sensitive(true);
            value
        });
        Arc::new(Caller { authorization, refused: Mutex::default() })
    }

    /// How the upstream refused this client, if it did: the last time counts.
    pub fn refused(&self) -> Option<Refused> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether a login was sent.
    pub(super) fn has_login(&self) -> bool {
        self.authorization.is_some()
    }

    /// The headers with the login.
    pub(super) fn with(&self, headers: &HeaderMap) -> HeaderMap {
        let mut headers = headers.clone();
        if let Some(value) = &self.authorization {
            headers.insert(AUTHORIZATION, value.clone());
        }
        headers
    }

    /// Notes a refusal of the upstream itself.
    pub(super) fn hear(&self, answer: &Response) {
        let refused = match answer.status() {
            StatusCode::UNAUTHORIZED => {
                let values = answer.headers().get_all(WWW_AUTHENTICATE).iter();
                let fits = |value: &&HeaderValue| value.len() <= MAX_CHALLENGE_LEN && value.to_str().is_ok();
                Refused::Login(values.filter(fits).take(MAX_CHALLENGES).cloned().collect())
            }
            StatusCode::FORBIDDEN => Refused::Forbidden,
            _ => return,
        };
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(refused);
    }
}
