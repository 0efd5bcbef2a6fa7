//! From a request's method and raw URI to one of the routes, or to the reason why not.
//!
//! Invariant: the path is decoded once and must then fit the grammar of the registry protocol; what a route holds are parsed
//! parts (name, tag, digest, numbers), and nothing else of the request travels on. A name may hold the words `manifests`,
//! `blobs` and `tags`, so the route is read from the right. Host, `X-Forwarded-*`, method overrides and unknown query
//! parameters are never looked at: the logical host is the configuration's. Deliberately absent: what may be pulled, and the
//! routes that write ([`super::writes`]).

use http::{Method, Uri};
use trust_image::reference::{check_path, check_tag};
use trust_image::{Digest, DigestError};

/// The longest path and the longest query that are read, in bytes as sent.
const MAX_PATH: usize = 2_048;
/// Entries of one page of a list, at most.
pub(crate) const MAX_PAGE: usize = 10_000;
/// The longest media type in a query, in bytes.
const MAX_KIND: usize = 255;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    /// `/v2/`: does this speak the protocol?
    Ping,
    /// A manifest of the name.
    Manifest(String, Wanted),
    /// A blob of the name.
    Blob(String, Digest),
    /// The signed tags of the name.
    Tags(String, Page),
    /// What refers to a digest of the name, of all kinds or of one.
    Referrers(String, Digest, Option<String>),
    /// The names with signed tags.
    Catalog(Page),
}

/// What a manifest is asked by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    Tag(String),
    Digest(Digest),
}

/// A page of a list: at most `count` after `last`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) count: Option<usize>,
    pub(crate) last: Option<String>,
}

/// Why a request is none of the routes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PathError {
    /// A method that writes, or that nobody knows.
    #[error("this registry is a gate and can only be pulled from")]
    Writes,
    /// No route of the protocol, or one that is not served.
    #[error("there is nothing here: a gate serves manifests, blobs, tags and referrers")]
    Nothing,
    /// `_catalog`.
    #[error("the list of all repositories is not served")]
    Catalog,
    /// A body whose end another reader could see elsewhere.
    #[error("a body of unstated length (\"Transfer-Encoding\") belongs to no request here")]
    Framing,
    /// The path is too long, or its percent signs cannot be decoded.
    #[error("the path cannot be read")]
    Encoding,
    /// The name is not one.
    #[error("the repository's name is not valid")]
    Name,
    /// The tag is not one.
    #[error("the tag is not valid")]
    Tag,
    /// The digest is not one.
    #[error("{0}")]
    Digest(DigestError),
    /// `n`, `last` or another parameter.
    #[error("\"{0}\" is not valid or given twice")]
    Page(&'static str),
}

/// Reads a request.
pub(crate) fn read(method: &Method, uri: &Uri) -> Result<Route, PathError> {
    if method != Method::GET && method != Method::HEAD {
        return Err(PathError::Writes);
    }
    let path = decode(uri.path())?;
    let rest = match path.as_str() {
        "/v2" | "/v2/" => return Ok(Route::Ping),
        path => path.strip_prefix("/v2/").ok_or(PathError::Nothing)?,
    };
    if rest == "_catalog" {
        return Ok(Route::Catalog(page(uri.query().unwrap_or_default(), |last| check_path(last).is_ok())?));
    }
    let (rest, last) = rest.rsplit_once('/').ok_or(PathError::Nothing)?;
    let (name, kind) = rest.rsplit_once('/').ok_or(PathError::Nothing)?;
    let named = || match check_path(name) {
        Ok(()) => Ok(name.to_owned()),
        Err(_) => Err(PathError::Name),
    };
    match (kind, last) {
        // A digest holds a colon, a tag never does.
        ("manifests", text) if text.contains(':') => Ok(Route::Manifest(named()?, Wanted::Digest(digest(text)?))),
        ("manifests", text) => {
            let name = named()?;
            let tag = check_tag(text).map_err(|_| PathError::Tag)?;
            Ok(Route::Manifest(name, Wanted::Tag(tag.to_owned())))
        }
        ("blobs", text) => Ok(Route::Blob(named()?, digest(text)?)),
        ("tags", "list") => {
            Ok(Route::Tags(named()?, page(uri.query().unwrap_or_default(), |last| check_tag(last).is_ok())?))
        }
        ("referrers", text) => {
            let name = named()?;
            Ok(Route::Referrers(name, digest(text)?, artifact_type(uri.query().unwrap_or_default())?))
        }
        _ => Err(PathError::Nothing),
    }
}

pub(super) fn digest(text: &str) -> Result<Digest, PathError> {
    Digest::parse(text).map_err(PathError::Digest)
}

/// The pairs of a query, undecoded.
pub(super) fn pairs(query: &str) -> Result<impl Iterator<Item = (&str, &str)>, PathError> {
    match query.len() <= MAX_PATH {
        true => Ok(query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")))),
        false => Err(PathError::Encoding),
    }
}

/// `artifactType`; everything else in a query is ignored.
fn artifact_type(query: &str) -> Result<Option<String>, PathError> {
    let wrong = PathError::Page("artifactType");
    let mut found = None;
    for (_, value) in pairs(query)?.filter(|(name, _)| *name == "artifactType") {
        let kind = decode(value).map_err(|_| wrong.clone())?;
        if kind.len() > MAX_KIND || found.replace(kind).is_some() {
            return Err(wrong);
        }
    }
    // Without a value it asks for all.
    Ok(found.filter(|kind| !kind.is_empty()))
}

/// `n` and `last`; everything else in a query is ignored.
fn page(query: &str, is_entry: impl Fn(&str) -> bool) -> Result<Page, PathError> {
    let mut page = Page::default();
    for (name, value) in pairs(query)? {
        match name {
            "n" => {
                let digits = !value.is_empty() && value.len() <= 9 && value.bytes().all(|b| b.is_ascii_digit());
                let count = value.parse::<usize>().ok().filter(|_| digits).ok_or(PathError::Page("n"))?;
                if page.count.replace(count.min(MAX_PAGE)).is_some() {
                    return Err(PathError::Page("n"));
                }
            }
            "last" => {
                let last = decode(value).ok().filter(|last| is_entry(last)).ok_or(PathError::Page("last"))?;
                if page.last.replace(last).is_some() {
                    return Err(PathError::Page("last"));
                }
            }
            _ => {}
        }
    }
    Ok(page)
}

/// Percent-decodes once. Only what is printable ASCII afterwards is text that any route has a use for.
pub(super) fn decode(raw: &str) -> Result<String, PathError> {
    if raw.len() > MAX_PATH {
        return Err(PathError::Encoding);
    }
    let digit = |byte: Option<u8>| byte.and_then(|b| char::from(b).to_digit(16)).ok_or(PathError::Encoding);
    let mut text = String::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'%' => {
                let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
                u8::try_from(high * 16 + low).map_err(|_| PathError::Encoding)?
            }
            other => other,
        };
        if !byte.is_ascii_graphic() {
            return Err(PathError::Encoding);
        }
        text.push(char::from(byte));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn get(path: &str) -> Result<Route, PathError> {
        read(&Method::GET, &path.parse().unwrap())
    }

    fn tag(name: &str, tag: &str) -> Result<Route, PathError> {
        Ok(Route::Manifest(name.to_owned(), Wanted::Tag(tag.to_owned())))
    }

    #[test]
    fn g21_tricks_with_the_path_are_refused_or_mean_the_plain_name() {
        for path in [
            "/v2/team//app/manifests/v1",
            "/v2//team/app/manifests/v1",
            "/v2/team/./app/manifests/v1",
            "/v2/x/../team/app/manifests/v1",
            "/v2/team%2f%2e%2e%2fapp/manifests/v1",
            "/v2/team/app/manifests/v1/",
            "/v2/team/app;x/manifests/v1",
            "/v2/team/app/manifests/v1;x",
            "/v2/Team/app/manifests/v1",
            "/v2/team%5capp/manifests/v1",
            "/v2/team%252Fapp/manifests/v1",
            "/v2/team/app%00/manifests/v1",
            "/v2/team/app/manifests/v1%0a",
            "/v2/team/app%20/manifests/v1",
            "/v2/te%C3%A4m/app/manifests/v1",
            "/v2/team/app/manifests/v1%",
            "/v2/team/app/manifests/v1%g0",
            "/v2/team/app/manifests/",
            "/v2/manifests/v1",
            "/v2/team/app/manifests/.v1",
            "/V2/team/app/manifests/v1",
            "/v1/team/app/manifests/v1",
            "/v2/team/app/manifest/v1",
            "/v2/team/app/blobs/uploads/",
            "/v2/team/app/blobs/uploads/1",
            "/v2/team/app/tags/list/",
            "/v2/team/app/tags",
            "/v2/_catalog/",
            "/v2/team/app/referrers/v1",
            "/v2/team/app/referrers/",
            "/",
            "//v2/team/app/manifests/v1",
            "/x/v2/team/app/manifests/v1",
        ] {
            assert!(get(path).is_err(), "{path} {:?}", get(path));
        }
        assert_eq!(get("/v2/team%2Fapp/manifests/v1"), tag("team/app", "v1"));
        assert_eq!(get("/v2/%74eam/app%2fmanifests/v1"), tag("team/app", "v1"));
        assert!(get(&format!("/v2/{}/manifests/v1", "a/".repeat(2_000))).is_err());
        assert!(get(&format!("/v2/{}/manifests/v1", "a".repeat(256))).is_err());
    }

    #[test]
    fn g22_a_digest_has_one_spelling() {
        let digest = Digest::parse(&format!("sha256:{HEX}")).unwrap();
        let manifest = Ok(Route::Manifest("a".to_owned(), Wanted::Digest(digest)));
        assert_eq!(get(&format!("/v2/a/manifests/sha256:{HEX}")), manifest);
        assert_eq!(get(&format!("/v2/a/manifests/sha256%3A{HEX}")), manifest);
        assert_eq!(get(&format!("/v2/a/blobs/sha256%3a{HEX}")), Ok(Route::Blob("a".to_owned(), digest)));
        let upper = HEX.to_uppercase();
        for text in [
            format!("sha256:{upper}"),
            format!("SHA256:{HEX}"),
            format!("sha512:{HEX}"),
            format!("sha256:{}", HEX.trim_start_matches('e')),
            format!("sha256:{HEX}@sha256:{HEX}"),
            format!("@sha256:{HEX}"),
            format!("sha256::{HEX}"),
            "sha256:".to_owned(),
            ":".to_owned(),
        ] {
            for kind in ["manifests", "blobs"] {
                assert!(matches!(get(&format!("/v2/a/{kind}/{text}")), Err(PathError::Digest(_))), "{kind} {text}");
            }
        }
        assert!(matches!(get(&format!("/v2/a/blobs/{HEX}")), Err(PathError::Digest(_))));
    }

    #[test]
    fn g23_g24_query_host_and_method_change_nothing() {
        assert_eq!(get("/v2/a/manifests/v1?ns=evil.example&digest=x&digest=y"), tag("a", "v1"));
        assert_eq!(get("http://evil.example/v2/a/manifests/v1"), tag("a", "v1"));
        for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "get", "BREW"] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(read(&method, &"/v2/a/manifests/v1".parse().unwrap()), Err(PathError::Writes));
        }
    }

    #[test]
    fn names_may_hold_the_words_of_the_routes() {
        assert_eq!(get("/v2/a/manifests/b/manifests/v1"), tag("a/manifests/b", "v1"));
        assert_eq!(get("/v2/blobs/tags/manifests/list"), tag("blobs/tags", "list"));
        assert_eq!(get("/v2/tags/list/tags/list"), Ok(Route::Tags("tags/list".to_owned(), Page::default())));
        assert_eq!(get("/v2"), Ok(Route::Ping));
        assert_eq!(get("/v2/?x"), Ok(Route::Ping));
    }

    #[test]
    fn pages_are_read_strictly() {
        let page = |query: &str| match get(&format!("/v2/a/tags/list?{query}")) {
            Ok(Route::Tags(_, page)) => Some((page.count, page.last)),
            _ => None,
        };
        assert_eq!(page("n=5&last=v1&x=y"), Some((Some(5), Some("v1".to_owned()))));
        assert_eq!(page("n=999999999"), Some((Some(MAX_PAGE), None)));
        let all = |query: &str| get(&format!("/v2/_catalog?{query}"));
        let last = Page { count: Some(2), last: Some("team/app".to_owned()) };
        assert_eq!(all("n=2&last=team%2Fapp"), Ok(Route::Catalog(last)));
        assert_eq!(all("last=Team"), Err(PathError::Page("last")));
        let kind = |query: &str| get(&format!("/v2/a/referrers/sha256:{HEX}?{query}"));
        let wanted =
            |kind: Option<&str>| Ok(Route::Referrers("a".to_owned(), Digest::of(b""), kind.map(str::to_owned)));
        assert_eq!(kind("artifactType=application%2Fx&n=1"), wanted(Some("application/x")));
        assert_eq!(kind("artifactType=&x"), wanted(None));
        for query in ["artifactType=a&artifactType=b", "artifactType=%0a", &format!("artifactType={}", "a".repeat(256))]
        {
            assert_eq!(kind(query), Err(PathError::Page("artifactType")), "{query}");
        }
        for query in ["n=", "n=-1", "n=+1", "n=1&n=1", "n=9999999999", "last=", "last=a/b", "last=%0a", "last=a&last=b"]
        {
            assert_eq!(page(query), None, "{query}");
        }
    }
}
