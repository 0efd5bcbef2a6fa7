//! The routes that write, read from a request as strictly as the others.
//!
//! Invariant: as in [`super::path`]. `mount` and `from` are left out: a registry that is not asked to mount answers with an upload,
//! which is always right, and no layer of another repository comes into this one because a client said so. Deliberately absent:
//! whether anything may be written, which is the upstream's to say.

use http::{Method, Uri};
use trust_image::Digest;
use trust_image::reference::{check_path, check_tag};
use trust_reader::registry::{Place, WriteTo};

use super::path::{PathError, decode, digest, pairs};

/// Tags that one manifest is pushed under, beside its reference.
const MAX_TAGS: usize = 64;

/// A request that writes, or asks how far an upload is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Write {
    pub(crate) name: String,
    pub(crate) method: Method,
    pub(crate) to: WriteTo,
}

impl Write {
    /// Whether a body belongs to it.
    pub(crate) fn has_body(&self) -> bool {
        match self.to {
            WriteTo::Uploads(_) => true,
            WriteTo::Upload(..) => self.method == Method::PATCH || self.method == Method::PUT,
            WriteTo::Manifest(..) => self.method == Method::PUT,
            WriteTo::Blob(_) => false,
        }
    }
}

/// Reads a request. `None`: it is none that writes.
pub(crate) fn read(method: &Method, uri: &Uri) -> Result<Option<Write>, PathError> {
    let path = decode(uri.path())?;
    let Some((rest, last)) = path.strip_prefix("/v2/").and_then(|rest| rest.rsplit_once('/')) else { return Ok(None) };
    let Some((name, kind)) = rest.rsplit_once('/') else { return Ok(None) };
    let query = uri.query().unwrap_or_default();
    let write = |name: &str, to: WriteTo| match check_path(name) {
        Ok(()) => Ok(Some(Write { name: name.to_owned(), method: method.clone(), to })),
        Err(_) => Err(PathError::Name),
    };
    let is = |methods: &[Method]| methods.contains(method);
    match (kind, last) {
        ("uploads", id) => {
            let Some(name) = name.strip_suffix("/blobs") else { return Ok(None) };
            match id {
                "" if is(&[Method::POST]) => write(name, WriteTo::Uploads(ending(query)?)),
                "" => Ok(None),
                _ if is(&[Method::PATCH, Method::PUT, Method::GET, Method::DELETE]) => {
                    // The state goes back as the upstream wrote it.
                    let place = Place::new(id, query).ok_or(PathError::Encoding)?;
                    let digest = ending(query)?.filter(|_| is(&[Method::PUT]));
                    if is(&[Method::PUT]) && digest.is_none() {
                        return Err(PathError::Page("digest"));
                    }
                    write(name, WriteTo::Upload(place, digest))
                }
                _ => Ok(None),
            }
        }
        ("blobs", "uploads") if is(&[Method::POST]) => write(name, WriteTo::Uploads(ending(query)?)),
        ("manifests", reference) if is(&[Method::PUT, Method::DELETE]) => {
            let reference = match reference.contains(':') {
                true => digest(reference)?.to_string(),
                false => check_tag(reference).map_err(|_| PathError::Tag)?.to_owned(),
            };
            write(name, WriteTo::Manifest(reference, tags(query)?))
        }
        ("blobs", text) if is(&[Method::DELETE]) => write(name, WriteTo::Blob(digest(text)?)),
        _ => Ok(None),
    }
}

/// `digest`, once.
fn ending(query: &str) -> Result<Option<Digest>, PathError> {
    let mut found = None;
    for (_, value) in pairs(query)?.filter(|(name, _)| *name == "digest") {
        let value = digest(&decode(value)?)?;
        if found.replace(value).is_some() {
            return Err(PathError::Page("digest"));
        }
    }
    Ok(found)
}

/// `tag`, any number of times.
fn tags(query: &str) -> Result<Vec<String>, PathError> {
    let mut tags = Vec::new();
    for (_, value) in pairs(query)?.filter(|(name, _)| *name == "tag") {
        let tag = decode(value)?;
        check_tag(&tag).map_err(|_| PathError::Tag)?;
        if tags.len() >= MAX_TAGS {
            return Err(PathError::Page("tag"));
        }
        tags.push(tag);
    }
    Ok(tags)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn ask(method: &str, path: &str) -> Result<Option<WriteTo>, PathError> {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let read = read(&method, &path.replace("HEX", HEX).parse().unwrap())?;
        Ok(read.map(|write| {
            assert!(write.method == method && write.name == "team/app");
            write.to
        }))
    }

    #[test]
    fn g20_a_mount_is_an_upload_like_any_other() {
        let digest = Digest::of(b"");
        assert_eq!(ask("POST", "/v2/team/app/blobs/uploads/"), Ok(Some(WriteTo::Uploads(None))));
        assert_eq!(ask("POST", "/v2/team/app/blobs/uploads"), Ok(Some(WriteTo::Uploads(None))));
        let mount = "/v2/team/app/blobs/uploads/?mount=sha256:HEX&from=other/app";
        assert_eq!(ask("POST", mount), Ok(Some(WriteTo::Uploads(None))));
        let whole = "/v2/team/app/blobs/uploads/?digest=sha256%3AHEX&mount=x";
        assert_eq!(ask("POST", whole), Ok(Some(WriteTo::Uploads(Some(digest)))));
        let end = "/v2/team/app/blobs/uploads/1?_state=abc&digest=sha256:HEX&mount=sha256:HEX&from=other/app";
        let place = Place::new("1", "_state=abc").unwrap();
        assert_eq!(ask("PUT", end), Ok(Some(WriteTo::Upload(place, Some(digest)))));
    }

    #[test]
    fn what_fits_no_route_or_has_two_meanings_is_not_passed_on() {
        for (method, path) in [
            ("PUT", "/v2/team/app/tags/list"),
            ("POST", "/v2/team/app/manifests/v1"),
            ("PUT", "/v2/team/app/blobs/sha256:HEX"),
            ("DELETE", "/v2/_catalog"),
            ("POST", "/v2/"),
            ("GET", "/v2/team/app/manifests/v1"),
            ("GET", "/v2/team/app/blobs/uploads/"),
            ("PUT", "/v2/team/app/uploads/1"),
            ("BREW", "/v2/team/app/manifests/v1"),
            ("PATCH", "/v2/team/app/blobs/uploads/a%2Fb"),
            ("POST", "/"),
        ] {
            assert_eq!(ask(method, path), Ok(None), "{method} {path}");
        }
        for (method, path) in [
            ("PUT", "/v2/team/app/blobs/uploads/1?_state=x"),
            ("PUT", "/v2/team/app/blobs/uploads/1?digest=sha256:00"),
            ("PUT", "/v2/team/app/blobs/uploads/1?digest=sha256:HEX&digest=sha256:HEX"),
            ("PATCH", "/v2/team/app/blobs/uploads/..?x"),
            ("PATCH", "/v2/team/../app/blobs/uploads/1"),
            ("PATCH", "/v2/Team/blobs/uploads/1"),
            ("PUT", "/v2/team/app/manifests/.v1"),
            ("PUT", "/v2/team/app/manifests/sha256:00"),
            ("PUT", "/v2/team/app/manifests/v1?tag=a/b"),
            ("DELETE", "/v2/team/app/blobs/v1"),
            ("DELETE", "/v2/team/app%00/manifests/v1"),
        ] {
            assert!(ask(method, path).is_err(), "{method} {path}");
        }
    }
}
