//! What clients of a gate push, on its way to the upstream.
//!
//! Invariant: the URL is made of parsed parts; the login is the caller's or none, never the gate's: otherwise whoever reaches the
//! gate could write with its rights. No redirect is followed. A body passes as it comes, in constant memory. An answer's place
//! (`Location`) is read only if it is an upload or content of the same repository at the upstream itself. Deliberately absent:
//! any meaning of what is pushed; nothing becomes signed by it.

use reqwest::header::{HeaderMap, LOCATION};
use reqwest::{Body, Method, StatusCode, Url};
use trust_image::Digest;

use super::client::{same_origin, url};
use super::error::{Reason, RegistryError};
use super::stream::Upstream;

/// Longest body of an answer that is kept, in bytes: an error in the protocol's form.
const MAX_ANSWER_LEN: u64 = 64 * 1024;
/// Longest name of an upload, in bytes.
const MAX_ID_LEN: usize = 512;
/// Longest state of an upload in the query, in bytes.
const MAX_STATE_LEN: usize = 8 * 1024;

/// Where something is written to in a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteTo {
    /// `blobs/uploads/`: a new upload, or a whole blob with its digest.
    Uploads(Option<Digest>),
    /// `blobs/uploads/ID?STATE`, with the digest that ends it.
    Upload(Place, Option<Digest>),
    /// `manifests/REFERENCE?tag=…`: a tag or digest that was parsed, and tags.
    Manifest(String, Vec<String>),
    /// `blobs/DIGEST`.
    Blob(Digest),
}

/// An upload that is under way: its name and the state that the upstream put into the address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    id: String,
    state: String,
}

impl Place {
    /// Parts of an address: printable and without anything that would end a path or a query. `digest`, `mount` and `from` are not
    /// states.
    pub fn new(id: &str, state: &str) -> Option<Place> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~=".contains(&byte);
        let right = !id.is_empty() && id.len() <= MAX_ID_LEN && id.bytes().all(plain) && !matches!(id, "." | "..");
        let pairs = state.split('&').filter(|pair| !pair.is_empty());
        let kept = pairs.filter(|pair| {
            let name = pair.split('=').next().unwrap_or_default();
            !matches!(name, "digest" | "mount" | "from")
        });
        let kept: Vec<&str> = kept.collect();
        let state = kept.join("&");
        let named = kept.iter().all(|pair| pair.split('=').next().unwrap_or_default().bytes().all(plain));
        let fits = named && state.len() <= MAX_STATE_LEN && state.bytes().all(|b| plain(b) || b"%+&".contains(&b));
        (right && fits).then(|| Place { id: id.to_owned(), state })
    }

    /// `ID?STATE`
    pub fn text(&self) -> String {
        match self.state.is_empty() {
            true => self.id.clone(),
            false => format!("{}?{}", self.id, self.state),
        }
    }

    /// The upload's name.
    pub fn id(&self) -> &str {
        &self.id
    }
}

/// What the upstream answered.
#[derive(Debug)]
pub struct Written {
    /// Its status.
    pub status: StatusCode,
    /// Its headers, unproven: whoever passes one on parses it.
    pub headers: HeaderMap,
    /// Where the upload goes on, if the answer says so.
    pub upload: Option<Place>,
    /// The body, if it is a short one.
    pub body: Vec<u8>,
}

impl Upstream {
    /// Passes on one request that writes, or that asks how far an upload is.
    pub async fn write(
        &self,
        path: &str,
        method: Method,
        to: &WriteTo,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Written, RegistryError> {
        let subject = || format!("{method} {path}");
        let repository = self.repository(path, subject)?;
        let exchange = async {
            let url = url(&format!("{}/{}", repository.base, address(to)))?;
            let headers = self.caller.as_ref().map_or_else(|| headers.clone(), |caller| caller.with(headers));
            let answer = self.client.http.send_body(method.clone(), &url, headers, body).await?;
            if let Some(caller) = &self.caller {
                caller.hear(&answer);
            }
            if answer.status().is_redirection() {
                return Err(Reason::RedirectRefused);
            }
            let (status, headers) = (answer.status(), answer.headers().clone());
            let upload = match status {
                StatusCode::ACCEPTED | StatusCode::NO_CONTENT
                    if !matches!(to, WriteTo::Manifest(..) | WriteTo::Blob(_)) =>
                {
                    uploads_at(&headers, &url, &format!("/v2/{path}/blobs/uploads/"))?
                }
                _ => None,
            };
            // What cannot be read of an error is left out of it.
            let body = if status.is_success() {
                Vec::new()
            } else {
                self.client.http.body(answer, MAX_ANSWER_LEN).await.unwrap_or_default()
            };
            Ok(Written { status, headers, upload, body })
        };
        exchange.await.map_err(|reason: Reason| reason.of(&self.host, subject()))
    }
}

fn address(to: &WriteTo) -> String {
    match to {
        WriteTo::Uploads(None) => "blobs/uploads/".to_owned(),
        WriteTo::Uploads(Some(digest)) => format!("blobs/uploads/?digest={digest}"),
        WriteTo::Upload(place, None) => format!("blobs/uploads/{}", place.text()),
        WriteTo::Upload(place, Some(digest)) => {
            let joint = if place.state.is_empty() { '?' } else { '&' };
            format!("blobs/uploads/{}{joint}digest={digest}", place.text())
        }
        WriteTo::Manifest(reference, tags) => {
            let tags: Vec<String> = tags.iter().map(|tag| format!("tag={tag}")).collect();
            let query = if tags.is_empty() { String::new() } else { format!("?{}", tags.join("&")) };
            format!("manifests/{reference}{query}")
        }
        WriteTo::Blob(digest) => format!("blobs/{digest}"),
    }
}

/// The upload that a `Location` names. One that lies elsewhere is an error: a client would send its layers past the gate.
fn uploads_at(headers: &HeaderMap, from: &Url, folder: &str) -> Result<Option<Place>, Reason> {
    let Some(value) = headers.get(LOCATION) else { return Ok(None) };
    let elsewhere = || Reason::Malformed("uploads that go on elsewhere than below blobs/uploads/".to_owned());
    let to = value.to_str().ok().and_then(|text| from.join(text).ok()).ok_or_else(elsewhere)?;
    let id = to.path().strip_prefix(folder).filter(|_| same_origin(from, &to)).ok_or_else(elsewhere)?;
    Place::new(id, to.query().unwrap_or_default()).map(Some).ok_or_else(elsewhere)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_holds_nothing_that_ends_a_path_or_a_query() {
        for id in ["", ".", "..", "a/b", "a?b", "a#b", "a%2Fb", "a b", "a\n", "\u{e4}", &"a".repeat(MAX_ID_LEN + 1)] {
            assert_eq!(Place::new(id, ""), None, "{id:?}");
        }
        for state in ["%64igest=x", "a+b=c", "a#b", "a b", "a=\"", "a=/", "a\n", &"a".repeat(MAX_STATE_LEN + 1)] {
            assert_eq!(Place::new("id", state), None, "{state:?}");
        }
        let place = Place::new("id-1", "_state=a-b_c%3D&digest=sha256%3A00&mount=x&from=y&n=1").unwrap();
        assert_eq!((place.id(), place.text().as_str()), ("id-1", "id-1?_state=a-b_c%3D&n=1"));
        let digest = Digest::of(b"");
        assert_eq!(
            address(&WriteTo::Upload(place, Some(digest))),
            format!("blobs/uploads/id-1?_state=a-b_c%3D&n=1&digest={digest}")
        );
    }

    #[test]
    fn an_upload_that_goes_on_elsewhere_is_refused() {
        let from = Url::parse("http://registry.example.com:5000/v2/a/b/blobs/uploads/").unwrap();
        let at = |location: &str| {
            let headers = HeaderMap::from_iter([(LOCATION, location.parse().unwrap())]);
            uploads_at(&headers, &from, "/v2/a/b/blobs/uploads/").map(|place| place.unwrap().text())
        };
        assert_eq!(at("http://registry.example.com:5000/v2/a/b/blobs/uploads/1?_state=x"), Ok("1?_state=x".to_owned()));
        assert_eq!(at("/v2/a/b/blobs/uploads/1"), Ok("1".to_owned()));
        assert_eq!(at("1"), Ok("1".to_owned()));
        for location in [
            "http://storage.example.com/v2/a/b/blobs/uploads/1",
            "https://registry.example.com:5000/v2/a/b/blobs/uploads/1",
            "/v2/a/c/blobs/uploads/1",
            "/v2/a/b/blobs/uploads/../../manifests/v1",
            "/v2/a/b/blobs/uploads/1/2",
            "file:///v2/a/b/blobs/uploads/1",
            "",
        ] {
            assert!(at(location).is_err(), "{location}: {:?}", at(location));
        }
        assert_eq!(uploads_at(&HeaderMap::new(), &from, "/").unwrap(), None);
    }
}
