//! Pushes on their way to the registry behind, where they are let through at all.
//!
//! Invariant: nothing that is pushed changes what may be pulled: no cache, no link and no decision is touched here. Bodies pass in
//! constant memory, manifests whole and bounded; of the request's headers only what is parsed travels on, and of the answer's too.
//! Addresses in answers are paths of this gate. Deliberately absent: reading what was just pushed, which is denied until it is
//! signed; whoever signs asks the registry itself.

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, LOCATION, RANGE, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use http_body_util::BodyExt;
use http_body_util::channel::{Channel, Sender};
use serde_json::Value;
use tokio::time::Instant;
use trust_image::manifest::MAX_MANIFEST_LEN;
use trust_image::reference::check_tag;
use trust_image::{Digest, json};
use trust_reader::registry::{PushBody, WriteTo, Written};

use super::client::Client;
use super::permit::of_upstream;
use super::reply::{CONTENT_DIGEST, Refusal, empty, header_of};
use super::writes::Write;

/// How long a client may take for the next [`PROGRESS`] bytes of what it pushes.
const IDLE: Duration = Duration::from_secs(30);
/// What a client sends at least in that time, in bytes, if there is so much.
const PROGRESS: usize = 64 * 1024;
/// How long a request without a large body may take.
const SHORT: Duration = Duration::from_secs(100);
/// Chunks of a body that wait for the upstream.
const AHEAD: usize = 2;
/// The longest media type, in bytes.
const MAX_KIND: usize = 255;
/// Longest wait that is passed on, in seconds.
const MAX_WAIT: u32 = 3_600;

const UPLOAD: HeaderName = HeaderName::from_static("docker-upload-uuid");
const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
const TAG: HeaderName = HeaderName::from_static("oci-tag");
const MIN_CHUNK: HeaderName = HeaderName::from_static("oci-chunk-min-length");

/// Why a body ends early.
#[derive(Debug, thiserror::Error)]
enum Cut {
    #[error("the client broke off")]
    Broken,
    #[error("too little came from the client for too long")]
    Idle,
}

/// Passes a request on and the answer back.
pub(crate) async fn answer(write: &Write, request: &Parts, body: Body, client: &Client) -> Result<Response, Refusal> {
    let mut headers = HeaderMap::new();
    let is_manifest = matches!(write.to, WriteTo::Manifest(..)) && write.method == Method::PUT;
    let streams = !is_manifest && write.has_body();
    let passed = if is_manifest {
        headers.insert(CONTENT_TYPE, kind(&request.headers)?);
        whole(manifest(body).await?)
    } else if streams {
        let length = length(&request.headers)?;
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        if let Some(range) = range(&request.headers)? {
            headers.insert(CONTENT_RANGE, range);
        }
        match length {
            Some(0) => {
                headers.insert(CONTENT_LENGTH, 0_u64.into());
                whole(Bytes::new())
            }
            length => {
                if let Some(length) = length {
                    headers.insert(CONTENT_LENGTH, length.into());
                }
                let (sender, channel) = Channel::new(AHEAD);
                tokio::spawn(pump(body, sender));
                PushBody::wrap(channel)
            }
        }
    } else {
        whole(Bytes::new())
    };
    let exchange = client.upstream.write(&write.name, write.method.clone(), &write.to, &headers, passed);
    let written = match streams {
        // As long as something comes: the body has its own limits of time.
        true => exchange.await,
        false => match tokio::time::timeout(SHORT, exchange).await {
            Ok(written) => written,
            Err(_) => return Err(too_slow()),
        },
    };
    let written = written.map_err(|error| of_upstream(&error))?;
    match written.status.is_success() {
        true => Ok(done(write, &written)),
        false => Err(refused(&written)),
    }
}

/// A body that is held.
fn whole(bytes: Bytes) -> PushBody {
    PushBody::from(bytes)
}

fn too_slow() -> Refusal {
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", "the answer takes too long").retry_after(5)
}

/// What a client pushes, piece by piece. Only the time that the client lets pass counts, not that of the upstream.
async fn pump(mut body: Body, mut sender: Sender<Bytes, std::io::Error>) {
    let (mut waited, mut came) = (Duration::ZERO, 0_usize);
    let cut = loop {
        let asked = Instant::now();
        let next = tokio::time::timeout(IDLE.saturating_sub(waited), body.frame()).await;
        waited = waited.saturating_add(asked.elapsed());
        match next {
            Ok(None) => return,
            Ok(Some(Ok(frame))) => {
                let Ok(data) = frame.into_data() else { continue };
                came = came.saturating_add(data.len());
                // The upstream has answered already, or is gone.
                if sender.send_data(data).await.is_err() {
                    return;
                }
            }
            Ok(Some(Err(_))) => break Cut::Broken,
            Err(_) if came < PROGRESS => break Cut::Idle,
            Err(_) => (waited, came) = (Duration::ZERO, 0),
        }
    };
    tracing::info!(%cut, "a push");
    sender.abort(std::io::Error::other(cut));
}

/// A manifest, whole.
async fn manifest(mut body: Body) -> Result<Bytes, Refusal> {
    let wrong = |status, message: &str| Refusal::new(status, "MANIFEST_INVALID", message);
    let mut bytes = Vec::new();
    let read = async {
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| wrong(StatusCode::BAD_REQUEST, "the manifest was cut off"))?;
            let Ok(data) = frame.into_data() else { continue };
            if bytes.len().saturating_add(data.len()) > MAX_MANIFEST_LEN {
                return Err(wrong(StatusCode::PAYLOAD_TOO_LARGE, "the manifest is larger than 4 MiB"));
            }
            bytes.extend_from_slice(&data);
        }
        Ok(())
    };
    match tokio::time::timeout(IDLE, read).await {
        Ok(result) => result.map(|()| bytes.into()),
        Err(_) => Err(wrong(StatusCode::REQUEST_TIMEOUT, "the manifest did not come in time")),
    }
}

/// The one value of a header as text.
fn only(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())?.to_str().ok().map(str::trim)
}

fn number(text: &str) -> Option<u64> {
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

fn length(headers: &HeaderMap) -> Result<Option<u64>, Refusal> {
    match headers.contains_key(CONTENT_LENGTH) {
        false => Ok(None),
        true => match only(headers, CONTENT_LENGTH).and_then(number) {
            Some(length) => Ok(Some(length)),
            None => Err(Refusal::new(StatusCode::BAD_REQUEST, "SIZE_INVALID", "\"Content-Length\" is not valid")),
        },
    }
}

/// `a-b`, as the protocol of uploads writes it.
fn span(text: &str) -> Option<HeaderValue> {
    let (first, last) = text.split_once('-')?;
    let (first, last) = (number(first)?, number(last)?);
    HeaderValue::try_from(format!("{first}-{last}")).ok()
}

fn range(headers: &HeaderMap) -> Result<Option<HeaderValue>, Refusal> {
    if !headers.contains_key(CONTENT_RANGE) {
        return Ok(None);
    }
    let wrong = || Refusal::new(StatusCode::BAD_REQUEST, "BLOB_UPLOAD_INVALID", "\"Content-Range\" is not valid");
    only(headers, CONTENT_RANGE).and_then(span).map(Some).ok_or_else(wrong)
}

/// The media type under which a manifest is pushed.
fn kind(headers: &HeaderMap) -> Result<HeaderValue, Refusal> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"!#$&^_.+-/;= ".contains(&b);
    let kind = only(headers, CONTENT_TYPE).filter(|kind| kind.len() <= MAX_KIND && kind.bytes().all(plain));
    let wrong =
        || Refusal::new(StatusCode::BAD_REQUEST, "MANIFEST_INVALID", "\"Content-Type\" is missing or not valid");
    kind.and_then(|kind| HeaderValue::try_from(kind).ok()).ok_or_else(wrong)
}

/// A success, made of parsed parts.
fn done(write: &Write, written: &Written) -> Response {
    let mut response = empty(written.status);
    let headers = response.headers_mut();
    let mut put = |name: HeaderName, value: Option<HeaderValue>| {
        if let Some(value) = value {
            headers.insert(name, value);
        }
    };
    let text = |name: HeaderName| only(&written.headers, name);
    let digest = |name: HeaderName| text(name).and_then(|text| Digest::parse(text).ok());
    let path = |rest: String| HeaderValue::try_from(format!("/v2/{}/{rest}", write.name)).ok();
    match (&write.to, &written.upload) {
        (_, Some(place)) => {
            put(LOCATION, path(format!("blobs/uploads/{}", place.text())));
            put(UPLOAD, HeaderValue::try_from(place.id()).ok());
        }
        (WriteTo::Uploads(Some(digest)) | WriteTo::Upload(_, Some(digest)), None)
            if written.status == StatusCode::CREATED =>
        {
            put(LOCATION, path(format!("blobs/{digest}")));
        }
        (WriteTo::Manifest(reference, _), None) if written.status == StatusCode::CREATED => {
            put(LOCATION, path(format!("manifests/{reference}")));
        }
        _ => {}
    }
    put(RANGE, text(RANGE).and_then(span));
    put(CONTENT_DIGEST, digest(CONTENT_DIGEST).map(|digest| header_of(&digest, false)));
    put(SUBJECT, digest(SUBJECT).map(|digest| header_of(&digest, false)));
    put(MIN_CHUNK, text(MIN_CHUNK).and_then(number).map(HeaderValue::from));
    let tags: Vec<&str> = written.headers.get_all(TAG).iter().filter_map(|value| value.to_str().ok()).collect();
    let tags = tags.iter().flat_map(|value| value.split(',')).map(str::trim).filter(|tag| check_tag(tag).is_ok());
    for tag in tags.filter_map(|tag| HeaderValue::try_from(tag).ok()) {
        headers.append(TAG, tag);
    }
    // An answer without body says so, for clients that keep the connection.
    if written.status != StatusCode::NO_CONTENT {
        headers.insert(CONTENT_LENGTH, 0_u64.into());
    }
    response
}

/// An error of the upstream in the words of the protocol.
fn refused(written: &Written) -> Refusal {
    let body = json::parse(&written.body).unwrap_or_default();
    let error = body.get("errors").and_then(|errors| errors.get(0)).unwrap_or(&Value::Null);
    let text = |name: &str| error.get(name).and_then(Value::as_str).unwrap_or_default();
    let code = CODES.iter().find(|code| **code == text("code")).copied().unwrap_or("UNKNOWN");
    let message = match text("message") {
        "" => format!("the registry behind this gate answered with status {}", written.status.as_u16()),
        message => message.to_owned(),
    };
    let status = match written.status.as_u16() {
        400..=499 => written.status,
        _ => StatusCode::BAD_GATEWAY,
    };
    let refusal = Refusal::new(status, code, &message);
    match only(&written.headers, RETRY_AFTER).and_then(|text| text.parse::<u32>().ok()) {
        Some(seconds) => refusal.retry_after(seconds.min(MAX_WAIT)),
        None => refusal,
    }
}

/// The codes of the protocol.
const CODES: &[&str] = &[
    "BLOB_UNKNOWN",
    "BLOB_UPLOAD_INVALID",
    "BLOB_UPLOAD_UNKNOWN",
    "DENIED",
    "DIGEST_INVALID",
    "MANIFEST_BLOB_UNKNOWN",
    "MANIFEST_INVALID",
    "MANIFEST_UNKNOWN",
    "MANIFEST_UNVERIFIED",
    "NAME_INVALID",
    "NAME_UNKNOWN",
    "RANGE_INVALID",
    "SIZE_INVALID",
    "TAG_INVALID",
    "TOOMANYREQUESTS",
    "UNAUTHORIZED",
    "UNSUPPORTED",
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Pieces of this length, one in so many seconds, for ever: how many came through before it was cut.
    async fn drip(length: usize, every: u64, at_most: usize) -> (usize, bool) {
        let (mut feed, fed) = Channel::<Bytes, std::io::Error>::new(1);
        let (sender, mut passed) = Channel::<Bytes, std::io::Error>::new(1);
        let feeding = tokio::spawn(async move {
            while feed.send_data(vec![0; length].into()).await.is_ok() {
                tokio::time::sleep(Duration::from_secs(every)).await;
            }
        });
        let pumping = tokio::spawn(pump(Body::new(fed), sender));
        let mut count = 0;
        let cut = loop {
            match passed.frame().await {
                Some(Ok(_)) if count < at_most => count += 1,
                Some(Ok(_)) | None => break false,
                Some(Err(_)) => break true,
            }
        };
        feeding.abort();
        pumping.abort();
        (count, cut)
    }

    #[tokio::test(start_paused = true)]
    async fn f12_a_push_of_a_byte_a_second_is_cut_and_a_slow_one_that_gets_on_is_not() {
        let (count, cut) = drip(1, 1, 1_000).await;
        assert!(cut && count <= 40, "{count}");
        let (count, cut) = drip(1, 60, 1_000).await;
        assert!(cut && count <= 1, "{count}");
        assert_eq!(drip(PROGRESS, 20, 200).await, (200, false));
    }
}
