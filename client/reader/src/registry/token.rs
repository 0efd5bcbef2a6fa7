//! From a challenge to an `Authorization` header: Basic, and the token exchange of registries (Bearer).
//!
//! Invariant: credentials go to the realm that the registry names only over TLS, or over plain HTTP where that is allowed and
//! the registry itself speaks it; the scope asked for is always our own (`repository:PATH:pull`), whatever a challenge
//! says. Deliberately absent: the login itself, and scopes that write.

use std::time::{Duration, Instant};

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode, Url};
use serde_json::Value;

use super::auth_file::{Credentials, Secret};
use super::challenge::Challenge;
use super::error::Reason;
use super::http::{Http, Scheme, refusal};

/// Largest answer of a token server, in bytes.
const MAX_TOKEN_ANSWER_LEN: u64 = 256 * 1024;
/// Longest token that is sent, in bytes.
const MAX_TOKEN_LEN: usize = 64 * 1024;
/// Life of a token that states none (distribution's token specification), in seconds.
const DEFAULT_TOKEN_LIFE: u64 = 60;
/// Longest life of a token in our cache, in seconds.
const MAX_TOKEN_LIFE: u64 = 3600;

/// What a challenge was answered with. No debug form: it holds a secret.
pub(crate) struct Grant {
    /// Value of the `Authorization` header, marked sensitive.
    pub(crate) header: HeaderValue,
    /// When it stops to be of use.
    pub(crate) until: Option<Instant>,
    /// Whether stored credentials are behind it.
    pub(crate) with_credentials: bool,
}

/// Answers the challenges of a registry for pulling from `path`. Bearer is preferred to Basic.
pub(crate) async fn answer(
    http: &Http,
    scheme: Scheme,
    path: &str,
    challenges: &[Challenge],
    credentials: Option<&Credentials>,
) -> Result<Grant, Reason> {
    if let Some(challenge) = challenges.iter().find(|challenge| challenge.scheme == "bearer") {
        return match credentials {
            Some(Credentials::Bearer(token)) => {
                Ok(Grant { header: bearer(token)?, until: None, with_credentials: true })
            }
            _ => exchange(http, scheme, path, challenge, credentials).await,
        };
    }
    let basic = challenges.iter().any(|challenge| challenge.scheme == "basic");
    match credentials.and_then(Credentials::basic_header) {
        Some(header) if basic => Ok(Grant { header: sensitive(&header)?, until: None, with_credentials: true }),
        _ => Err(Reason::Unauthorized { credentials_sent: false }),
    }
}

async fn exchange(
    http: &Http,
    scheme: Scheme,
    path: &str,
    challenge: &Challenge,
    credentials: Option<&Credentials>,
) -> Result<Grant, Reason> {
    let realm = challenge.param("realm").ok_or_else(|| malformed("a bearer challenge without realm"))?;
    let mut url = Url::parse(realm).map_err(|_| malformed("a bearer challenge whose realm is no URL"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(malformed("a bearer challenge whose realm names a user"));
    }
    http.check(&url)?;
    if scheme == Scheme::Https && url.scheme() != "https" {
        return Err(Reason::InsecureRefused(super::http::host_of(&url)));
    }
    let scope = format!("repository:{path}:pull");
    let mut fields = vec![("scope", scope.as_str())];
    fields.extend(challenge.param("service").map(|service| ("service", service)));

    let reply = if let Some(Credentials::IdentityToken(token)) = credentials {
        fields.extend([("grant_type", "refresh_token"), ("client_id", "trust"), ("refresh_token", token.reveal())]);
        http.post_form(&url, form(&fields)?).await?
    } else {
        let mut headers = HeaderMap::new();
        if let Some(header) = credentials.and_then(Credentials::basic_header) {
            headers.insert(AUTHORIZATION, sensitive(&header)?);
        }
        fields.extend(credentials.and_then(Credentials::user).map(|user| ("account", user)));
        url.query_pairs_mut().extend_pairs(fields);
        http.send(Method::GET, &url, headers).await?
    };
    let with_credentials = credentials.is_some();
    match reply.status() {
        StatusCode::OK => {}
        // The token server's way to say that the login is wrong.
        StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN if with_credentials => {
            return Err(Reason::Unauthorized { credentials_sent: true });
        }
        other => return Err(refusal(other, reply.headers(), with_credentials)),
    }
    let body = http.body(reply, MAX_TOKEN_ANSWER_LEN).await?;
    let body = trust_image::json::parse(&body).map_err(|_| malformed("a token answer that is not JSON"))?;
    let token = |name: &str| body.get(name).and_then(Value::as_str).filter(|token| !token.is_empty());
    let token =
        token("token").or_else(|| token("access_token")).ok_or_else(|| malformed("a token answer without token"))?;
    let life = body.get("expires_in").and_then(Value::as_u64).unwrap_or(DEFAULT_TOKEN_LIFE).min(MAX_TOKEN_LIFE);
    // A tenth is left for the way and for clocks that differ.
    let until = Instant::now().checked_add(Duration::from_secs(life).saturating_mul(9) / 10);
    Ok(Grant { header: bearer(&Secret::new(token))?, until, with_credentials })
}

/// The fields as `application/x-www-form-urlencoded`, by the URL library's own encoder.
fn form(fields: &[(&str, &str)]) -> Result<String, Reason> {
    let mut url = Url::parse("https://form.invalid/").map_err(|_| malformed("a form"))?;
    url.query_pairs_mut().extend_pairs(fields);
    Ok(url.query().unwrap_or_default().to_owned())
}

fn bearer(token: &Secret) -> Result<HeaderValue, Reason> {
    if token.reveal().len() > MAX_TOKEN_LEN {
        return Err(malformed("a token that is too long"));
    }
    sensitive(&Secret::new(&format!("Bearer {}", token.reveal())))
}

fn sensitive(value: &Secret) -> Result<HeaderValue, Reason> {
    let mut header = HeaderValue::from_str(value.reveal())
        .map_err(|_| malformed("a token or login that does not fit into a header"))?;
    header.set_sensitive(true);
    Ok(header)
}

fn malformed(what: &str) -> Reason {
    Reason::Malformed(what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_with_a_secret_is_marked_and_not_printed() {
        let header = bearer(&Secret::new("hunter2")).unwrap();
        assert_eq!(header, "Bearer hunter2");
        assert!(header.is_sensitive());
        assert!(!format!("{header:?}").contains("hunter2"));
    }

    #[test]
    fn a_token_that_breaks_out_of_its_header_or_is_huge_is_refused() {
        assert!(bearer(&Secret::new("a\r\nHost: evil")).is_err());
        assert!(bearer(&Secret::new(&"x".repeat(MAX_TOKEN_LEN))).is_ok());
        assert!(bearer(&Secret::new(&"x".repeat(MAX_TOKEN_LEN + 1))).is_err());
    }

    #[test]
    fn a_form_is_encoded() {
        assert_eq!(form(&[("a", "x y&z=1"), ("b", "é")]).unwrap(), "a=x+y%26z%3D1&b=%C3%A9");
    }
}
