//! Blobs on their way through: hashed while they pass, and cut before their end if they are not what was asked for.
//!
//! Invariant: an answer with the whole blob is complete only if its length and hash are right: the last bytes are held back until
//! they are known to be. A part cannot be hashed and is passed on only for blobs that may pass; every client checks the whole by
//! the digest. Ranges are parsed and made anew. Deliberately absent: keeping blobs, several ranges in one answer.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_NONE_MATCH, IF_RANGE, RANGE,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use hyper::body::Frame;
use serde_json::json;
use trust_image::Digest;
use trust_image::digest::Hasher;
use trust_reader::registry::{Blob, Reason, RegistryError, Span};

use super::artifact;
use super::client::Client;
use super::permit::{Holders, Permits, of_upstream};
use super::reply::{CONTENT_DIGEST, Refusal, empty, header_of};

/// What is longer than this is worth a connection of its own, in bytes.
const LARGE: u64 = 1024 * 1024;
/// The longest `Range` that is read, in bytes.
const MAX_RANGE: usize = 64;

/// Why a blob was cut.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Cut {
    /// The upstream broke off, or another trouble with it.
    #[error(transparent)]
    Upstream(#[from] RegistryError),
    /// Fewer or more bytes than the signed manifest says.
    #[error("the blob has another length than the manifest says")]
    Length,
    /// The bytes have another hash.
    #[error("the blob's bytes have another digest")]
    Digest,
}

/// What a request asks of a blob of a known length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Whole,
    Part(Span),
    /// Nothing that the blob has.
    Nowhere,
}

/// Answers a request for a blob.
pub(crate) async fn answer(
    permits: &Permits,
    name: &str,
    digest: &Digest,
    headers: &HeaderMap,
    is_head: bool,
    client: &Client,
) -> Result<Response, Refusal> {
    let (size, holders) = permits.blob(name, digest, client).await?;
    let upstream = &client.upstream;
    let missing = |error: RegistryError| match error.reason {
        Reason::NotFound => {
            Refusal::blob_unknown(name, digest, "a signed image holds it, and the registry behind this gate does not")
        }
        _ => of_upstream(&error),
    };
    if super::is_known(headers, IF_NONE_MATCH, digest) {
        if client.is_own() {
            upstream.head_blob(name, digest).await.map_err(missing)?;
        }
        return Ok(head(StatusCode::NOT_MODIFIED, digest, None));
    }
    if holders == Holders::Artifacts {
        let bytes = of_artifact(permits, name, digest, size, client).await?;
        let mut response = sized(None, size, digest);
        if !is_head {
            *response.body_mut() = Body::from(bytes);
        }
        return Ok(response);
    }
    let asked = asked(headers, size, digest);
    let span = match asked {
        Asked::Whole => None,
        Asked::Part(span) => Some(span),
        Asked::Nowhere => {
            let refusal = Refusal::new(StatusCode::RANGE_NOT_SATISFIABLE, "RANGE_INVALID", "the blob has no such part");
            let mut response = refusal.detail(json!({ "size": size })).response(is_head);
            response.headers_mut().insert(CONTENT_RANGE, value(format!("bytes */{size}")));
            return Ok(response);
        }
    };
    if is_head {
        let stated = upstream.head_blob(name, digest).await.map_err(missing)?;
        if stated.is_some_and(|stated| stated != size) {
            return Err(other_length(digest));
        }
        return Ok(sized(span, size, digest));
    }
    let expected = span.map_or(size, |span| span.last - span.first + 1);
    let blob = match expected > LARGE {
        true => upstream.large_blob(name, digest, span).await,
        false => upstream.blob(name, digest, span).await,
    };
    let blob = blob.map_err(missing)?;
    // A registry may answer with the whole where a part was asked for.
    let span = blob.span();
    let length = span.map_or(size, |span| span.last - span.first + 1);
    if blob.length().is_some_and(|stated| stated != length) {
        return Err(other_length(digest));
    }
    let whole = span.is_none_or(|span| span.first == 0 && span.last + 1 == size);
    let body =
        Passing { blob, check: Check::new(length, whole.then_some(*digest)), held: None, cut: None, is_over: false };
    let mut response = sized(span, size, digest);
    *response.body_mut() = Body::new(body);
    Ok(response)
}

/// The blob of an artifact, whole: nobody signed that it is what its manifest says, so that it passes only if it is small and text.
async fn of_artifact(
    permits: &Permits,
    name: &str,
    digest: &Digest,
    size: u64,
    client: &Client,
) -> Result<Bytes, Refusal> {
    let denied = |message: &str| Refusal::new(StatusCode::FORBIDDEN, "DENIED", message);
    if size > artifact::MAX_BLOB {
        return Err(denied("what is put beside an image passes up to 4 MiB: it is not signed"));
    }
    let _place = permits.looks.0.acquire().await.ok();
    let mut blob = client.upstream.blob(name, digest, None).await.map_err(|error| of_upstream(&error))?;
    let mut bytes = Vec::new();
    while let Some(chunk) = blob.chunk().await.map_err(|error| of_upstream(&error))? {
        if u64::try_from(bytes.len().saturating_add(chunk.len())).map_or(true, |length| length > size) {
            return Err(other_length(digest));
        }
        bytes.extend_from_slice(&chunk);
    }
    let mut hasher = digest.hasher();
    hasher.update(&bytes);
    if u64::try_from(bytes.len()) != Ok(size) || hasher.finish() != *digest {
        return Err(other_length(digest));
    }
    match artifact::is_text(&bytes) {
        true => Ok(bytes.into()),
        false => Err(denied("what is put beside an image passes as text alone: it is not signed, and could be run")),
    }
}

/// The bytes as they pass. Whatever is wrong ends the connection before the answer is complete. They are read as the client takes
/// them, and not ahead.
struct Passing {
    blob: Blob,
    check: Check,
    /// The last bytes, until nothing comes behind them.
    held: Option<Bytes>,
    /// Why it ends with the next poll.
    cut: Option<Cut>,
    is_over: bool,
}

impl Passing {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Cut>> {
        loop {
            match ready!(self.blob.poll_chunk(cx))? {
                Some(chunk) if chunk.is_empty() => {}
                Some(chunk) => match self.check.take(&chunk)? {
                    true => self.held = Some(chunk),
                    false => return Poll::Ready(Ok(Some(chunk))),
                },
                None => {
                    self.check.end()?;
                    return Poll::Ready(Ok(self.held.take()));
                }
            }
        }
    }
}

impl hyper::body::Body for Passing {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        if let Some(cut) = self.cut.take() {
            self.is_over = true;
            return Poll::Ready(Some(Err(cut)));
        }
        if self.is_over {
            return Poll::Ready(None);
        }
        match ready!(self.poll_next(cx)) {
            Ok(bytes) => {
                self.is_over = bytes.is_none() || self.check.left == 0;
                Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
            }
            Err(cut) => {
                match cut {
                    Cut::Digest | Cut::Length => tracing::error!(%cut, "an answer with a blob was cut"),
                    Cut::Upstream(_) => tracing::warn!(%cut, "an answer with a blob was cut"),
                }
                // The head of the answer and what has passed go out first: a client that hears nothing at all may ask again.
                self.cut = Some(cut);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.is_over
    }
}

/// Counts and hashes.
struct Check {
    left: u64,
    hasher: Option<(Hasher, Digest)>,
}

impl Check {
    fn new(length: u64, expected: Option<Digest>) -> Check {
        Check { left: length, hasher: expected.map(|digest| (digest.hasher(), digest)) }
    }

    /// Takes a chunk. Whether it is the last one: nobody may have that before [`Check::end`].
    fn take(&mut self, chunk: &[u8]) -> Result<bool, Cut> {
        let count = u64::try_from(chunk.len()).map_err(|_| Cut::Length)?;
        self.left = self.left.checked_sub(count).ok_or(Cut::Length)?;
        if let Some((hasher, _)) = &mut self.hasher {
            hasher.update(chunk);
        }
        Ok(self.left == 0)
    }

    /// Whether all is right, once there is nothing more.
    fn end(&mut self) -> Result<(), Cut> {
        if self.left != 0 {
            return Err(Cut::Length);
        }
        let right = self.hasher.take().is_none_or(|(hasher, expected)| hasher.finish() == expected);
        if right { Ok(()) } else { Err(Cut::Digest) }
    }
}

fn other_length(digest: &Digest) -> Refusal {
    tracing::error!(%digest, "the upstream states another length for a blob than the manifest");
    let message = "the registry behind this gate has another length for this blob than the manifest";
    Refusal::new(StatusCode::BAD_GATEWAY, "UNKNOWN", message)
}

fn sized(span: Option<Span>, size: u64, digest: &Digest) -> Response {
    let Some(Span { first, last }) = span else { return head(StatusCode::OK, digest, Some(size)) };
    let mut response = head(StatusCode::PARTIAL_CONTENT, digest, Some(last - first + 1));
    response.headers_mut().insert(CONTENT_RANGE, value(format!("bytes {first}-{last}/{size}")));
    response
}

fn head(status: StatusCode, digest: &Digest, length: Option<u64>) -> Response {
    let mut response = empty(status);
    let headers = response.headers_mut();
    headers.insert(CONTENT_DIGEST, header_of(digest, false));
    headers.insert(ETAG, header_of(digest, true));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    // Who may have it can change, so that no cache of several clients may keep it.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, max-age=31536000"));
    if let Some(length) = length {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        headers.insert(CONTENT_LENGTH, length.into());
    }
    response
}

fn value(text: String) -> HeaderValue {
    // Digits and ASCII words always fit.
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
}

/// One range of bytes, or the whole where there is none that is understood.
fn asked(headers: &HeaderMap, size: u64, digest: &Digest) -> Asked {
    let only = |name: HeaderName| {
        let mut values = headers.get_all(name).iter();
        let first = values.next().filter(|_| values.next().is_none());
        first.and_then(|value| value.to_str().ok()).map(str::trim).filter(|text| text.len() <= MAX_RANGE)
    };
    let fits = !headers.contains_key(IF_RANGE) || headers.get(IF_RANGE) == Some(&header_of(digest, true));
    let Some(text) = only(RANGE).filter(|_| fits) else { return Asked::Whole };
    let Some((first, last)) = text.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
        return Asked::Whole;
    };
    let number = |text: &str| match !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        true => Some(text.parse::<u64>().unwrap_or(u64::MAX)),
        false => None,
    };
    let end = size.saturating_sub(1);
    let span = match (number(first), number(last)) {
        (Some(first), None) if last.is_empty() => Span { first, last: end },
        (Some(first), Some(last)) if first <= last => Span { first, last: last.min(end) },
        (None, Some(count)) if first.is_empty() => {
            if count == 0 {
                return Asked::Nowhere;
            }
            Span { first: size.saturating_sub(count), last: end }
        }
        _ => return Asked::Whole,
    };
    if size == 0 || span.first > end { Asked::Nowhere } else { Asked::Part(span) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g27_only_one_plain_range_is_read() {
        let digest = Digest::of(b"");
        let of = |values: &[&str], size: u64| {
            let headers = values.iter().map(|v| (RANGE, HeaderValue::from_str(v).unwrap()));
            asked(&headers.collect(), size, &digest)
        };
        let part = |first, last| Asked::Part(Span { first, last });
        assert_eq!(of(&["bytes=0-9"], 100), part(0, 9));
        assert_eq!(of(&["bytes=90-"], 100), part(90, 99));
        assert_eq!(of(&["bytes=90-99999999999999999999999"], 100), part(90, 99));
        assert_eq!(of(&["bytes=-10"], 100), part(90, 99));
        assert_eq!(of(&["bytes=-1000"], 100), part(0, 99));
        for nowhere in ["bytes=100-", "bytes=-0", "bytes=100-200", "bytes=99999999999999999999-"] {
            assert_eq!(of(&[nowhere], 100), Asked::Nowhere, "{nowhere}");
        }
        assert_eq!(of(&["bytes=0-"], 0), Asked::Nowhere);
        let many = "bytes=".to_owned() + &"0-1,".repeat(100_000);
        for whole in ["bytes=0-1,2-3", "bytes=5-1", "bytes=", "bytes=-", "bytes=a-b", "bytes=+1-2", "items=0-1", &many]
        {
            assert_eq!(of(&[whole], 100), Asked::Whole, "{}", whole.len());
        }
        assert_eq!(of(&["bytes=0-1", "bytes=0-2"], 100), Asked::Whole);
        assert_eq!(of(&[], 100), Asked::Whole);
        let other = HeaderMap::from_iter([
            (RANGE, HeaderValue::from_static("bytes=0-1")),
            (IF_RANGE, HeaderValue::from_static("\"sha256:00\"")),
        ]);
        assert_eq!(asked(&other, 100, &digest), Asked::Whole);
    }

    #[test]
    fn the_last_bytes_are_held_until_the_whole_is_known_to_be_right() {
        let run = |chunks: &[&'static [u8]], length: u64, content: &[u8]| {
            let mut check = Check::new(length, Some(Digest::of(content)));
            let (mut out, mut held) = (Vec::new(), Vec::new());
            for chunk in chunks {
                match check.take(chunk) {
                    Ok(true) => held.extend_from_slice(chunk),
                    Ok(false) => out.extend_from_slice(chunk),
                    Err(cut) => return (out, Err(cut)),
                }
            }
            let end = check.end();
            (out.clone(), end.map(|()| [out, held].concat()))
        };
        assert_eq!(run(&[b"ab", b"", b"cd"], 4, b"abcd"), (b"ab".to_vec(), Ok(b"abcd".to_vec())));
        assert_eq!(run(&[b"ab", b"cx"], 4, b"abcd"), (b"ab".to_vec(), Err(Cut::Digest)));
        assert_eq!(run(&[b"abcx"], 4, b"abcd"), (Vec::new(), Err(Cut::Digest)));
        assert_eq!(run(&[b"ab"], 4, b"abcd"), (b"ab".to_vec(), Err(Cut::Length)));
        assert_eq!(run(&[b"abcd", b"e"], 4, b"abcd"), (Vec::new(), Err(Cut::Length)));
        assert_eq!(run(&[], 0, b""), (Vec::new(), Ok(Vec::new())));
    }
}
