//! What an upstream gets from a caller of a gate, and the caller from it: its own login, to the upstream alone.

use std::time::Duration;

use reqwest::header::{CONTENT_LENGTH, HeaderMap, HeaderValue};
use reqwest::{Body, Method};
use trust_image::Digest;

use super::fake_registry::{Answer, FakeRegistry, ok, status, with};
use super::{AuthSources, Caller, Place, Reason, Refused, Upstream, UpstreamOptions, WriteTo};

const LOGIN: &str = "Basic YWxpY2U6c2VjcmV0";
const CHALLENGE: &str =
    "Bearer realm=\"https://auth.example.com/token\",service=\"s\",scope=\"repository:team/app:pull\"";

fn upstream(registry: &FakeRegistry, auth: AuthSources) -> Upstream {
    let times = UpstreamOptions::at(&format!("http://{}", registry.host()));
    let (answer, idle) = (Duration::from_secs(5), Duration::from_secs(5));
    Upstream::new(UpstreamOptions { answer, idle, auth, ..times }).unwrap()
}

/// A file with a login of the gate's own for this registry.
fn own_login(registry: &FakeRegistry, folder: &tempfile::TempDir) -> AuthSources {
    let file = folder.path().join("auth.json");
    let text = format!("{{\"auths\":{{\"{}\":{{\"auth\":\"Z2F0ZTpnYXRl\"}}}}}}", registry.host());
    std::fs::write(&file, text).unwrap();
    AuthSources::named(vec![file])
}

fn caller(login: &'static str) -> std::sync::Arc<Caller> {
    Caller::new(Some(&HeaderValue::from_static(login)))
}

fn closed() -> Answer {
    Answer::Full(
        401,
        vec![("WWW-Authenticate", CHALLENGE.to_owned()), ("WWW-Authenticate", "Basic realm=\"r\"".to_owned())],
        Vec::new(),
    )
}

#[tokio::test]
async fn a_caller_is_refused_with_the_challenges_and_the_gates_login_is_not_used_for_it() {
    let registry = FakeRegistry::start(|_| closed()).await;
    let folder = tempfile::tempdir().unwrap();
    let upstream = upstream(&registry, own_login(&registry, &folder));
    for known in [None, Some(caller(LOGIN))] {
        let sent = known.is_some();
        let caller = known.unwrap_or_else(|| Caller::new(None));
        let asked = upstream.asked_by(caller.clone());
        let digest = Digest::of(b"x");
        assert_eq!(
            asked.manifest("team/app", &digest).await.unwrap_err().reason,
            Reason::Unauthorized { credentials_sent: sent }
        );
        let challenges = vec![HeaderValue::from_static(CHALLENGE), HeaderValue::from_static("Basic realm=\"r\"")];
        assert_eq!(caller.refused(), Some(Refused::Login(challenges)));
        assert!(asked.ping().await.is_err() && asked.blob("team/app", &digest, None).await.is_err());
        let nothing = HeaderMap::new();
        let written = asked.write("team/app", Method::POST, &WriteTo::Uploads(None), &nothing, Body::from("")).await;
        assert_eq!(written.unwrap().status, 401);
        assert!(
            format!("{caller:?}").contains(&format!("sent_a_login: {sent}")) && !format!("{caller:?}").contains("YWx")
        );
    }
    let logins: Vec<_> =
        registry.seen().iter().map(|request| request.header("authorization").map(str::to_owned)).collect();
    assert!(logins.iter().all(|login| login.is_none() || login.as_deref() == Some(LOGIN)), "{logins:?}");
}

#[tokio::test]
async fn who_is_known_and_denied_is_told_apart() {
    let registry = FakeRegistry::start(|_| status(403)).await;
    let caller = caller(LOGIN);
    let asked = upstream(&registry, AuthSources::none()).asked_by(caller.clone());
    assert_eq!(asked.head_manifest("team/app", &Digest::of(b"x")).await.unwrap_err().reason, Reason::Forbidden);
    assert_eq!(caller.refused(), Some(Refused::Forbidden));
    assert_eq!(asked.may_list("team/app").await.unwrap_err().reason, Reason::Forbidden);
    assert_eq!(asked.may_list_all().await.unwrap_err().reason, Reason::Forbidden);
    let paths: Vec<String> = registry.asked();
    assert_eq!(paths[1..], ["GET /v2/team/app/tags/list?n=1", "GET /v2/_catalog?n=1"]);
}

#[tokio::test]
async fn lists_and_tags_are_bounded_and_follow_nothing() {
    let registry = FakeRegistry::start(|request| match request.path.as_str() {
        "/v2/team/app/manifests/huge" => ok(vec![b' '; 5 * 1024 * 1024]),
        "/v2/team/app/manifests/endless" => Answer::Endless,
        "/v2/team/app/manifests/away" => with(307, "Location", "/v2/team/app/manifests/v1"),
        "/v2/team/app/manifests/packed" => {
            Answer::Full(200, vec![("Content-Encoding", "gzip".to_owned())], b"x".to_vec())
        }
        "/v2/team/app/manifests/v1" => ok("under the tag"),
        path if path.contains("/referrers/") => ok("a list"),
        _ => status(404),
    })
    .await;
    let upstream = upstream(&registry, AuthSources::none());
    assert_eq!(upstream.tagged("team/app", "v1").await.unwrap(), "under the tag");
    assert_eq!(upstream.referrers("team/app", &Digest::of(b"x")).await.unwrap(), "a list");
    for tag in ["huge", "endless", "away", "packed", "none", "../v1", "a b", ""] {
        assert!(upstream.tagged("team/app", tag).await.is_err(), "{tag}");
    }
    assert!(upstream.tagged("Team/app", "v1").await.is_err());
    assert!(registry.asked().iter().all(|line| line.starts_with("GET /v2/team/app/")));
}

#[tokio::test]
async fn what_is_written_goes_with_its_headers_and_no_login_of_the_gate() {
    let registry = FakeRegistry::start(|request| match request.method.as_str() {
        "POST" => with(202, "Location", "/v2/team/app/blobs/uploads/1?_state=x"),
        "PATCH" => with(202, "Location", "https://elsewhere.example.com/1"),
        "PUT" => Answer::Full(201, vec![("Location", "https://elsewhere.example.com/1".to_owned())], b"said".to_vec()),
        "DELETE" => with(307, "Location", "/v2/other/app/manifests/v1"),
        _ => Answer::Full(404, Vec::new(), b"said".to_vec()),
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let upstream = upstream(&registry, own_login(&registry, &folder));
    let write = async |method: Method, to: WriteTo, body: &'static str| {
        let headers = HeaderMap::from_iter([(CONTENT_LENGTH, body.len().into())]);
        upstream.write("team/app", method, &to, &headers, Body::from(body)).await
    };
    let begun = write(Method::POST, WriteTo::Uploads(None), "").await.unwrap();
    let place = Place::new("1", "_state=x").unwrap();
    assert_eq!((begun.status.as_u16(), begun.upload.clone()), (202, Some(place.clone())));
    let elsewhere = write(Method::PATCH, WriteTo::Upload(place.clone(), None), "layer").await;
    assert!(matches!(elsewhere.unwrap_err().reason, Reason::Malformed(_)), "an upload goes on here or not at all");
    let digest = Digest::of(b"layer");
    let ended = write(Method::PUT, WriteTo::Upload(place, Some(digest)), "").await.unwrap();
    assert_eq!((ended.status.as_u16(), ended.upload, ended.body.is_empty()), (201, None, true));
    let redirected = write(Method::DELETE, WriteTo::Manifest("v1".to_owned(), Vec::new()), "").await;
    assert_eq!(redirected.unwrap_err().reason, Reason::RedirectRefused);
    let refused = write(Method::GET, WriteTo::Blob(digest), "").await.unwrap();
    assert_eq!((refused.status.as_u16(), refused.body.as_slice()), (404, b"said".as_slice()));
    let seen = registry.seen();
    assert!(seen.iter().all(|request| request.header("authorization").is_none()));
    let patch = seen.iter().find(|request| request.method == "PATCH").unwrap();
    assert_eq!((patch.path.as_str(), patch.body.as_str()), ("/v2/team/app/blobs/uploads/1?_state=x", "layer"));
    let put = seen.iter().find(|request| request.method == "PUT").unwrap();
    assert_eq!(put.path, format!("/v2/team/app/blobs/uploads/1?_state=x&digest={digest}"));
}

#[tokio::test]
async fn a_large_blob_comes_as_any_other_by_a_connection_of_its_own() {
    let content = b"content of a layer".repeat(100_000);
    let digest = Digest::of(&content);
    let held = content.clone();
    let registry =
        FakeRegistry::start(move |request| match (request.path.rsplit('/').next(), request.header("range")) {
            (_, Some(_)) => {
                Answer::Full(206, vec![("Content-Range", format!("bytes 5-9/{}", held.len()))], held[5..10].to_vec())
            }
            (Some("away"), _) => with(307, "Location", "http://elsewhere.example.com/"),
            (Some(name), _) if name == digest.to_string() => ok(held.clone()),
            _ => Answer::Drip,
        })
        .await;
    let upstream = upstream(&registry, AuthSources::none());
    let read = async |digest: &Digest, span| {
        let mut blob = upstream.large_blob("team/app", digest, span).await?;
        let (mut bytes, mut longest) = (Vec::new(), 0);
        while let Some(chunk) = blob.chunk().await? {
            longest = longest.max(chunk.len());
            bytes.extend_from_slice(&chunk);
        }
        Ok::<_, super::RegistryError>((bytes, longest))
    };
    let (bytes, longest) = read(&digest, None).await.unwrap();
    assert!(bytes == content && longest <= 1024 * 1024, "{longest}");
    let (part, _) = read(&digest, Some(super::Span { first: 5, last: 9 })).await.unwrap();
    assert_eq!(part, content[5..10]);
    assert_eq!(registry.seen().iter().filter(|request| request.header("host") == Some(&registry.host())).count(), 2);
    let short = UpstreamOptions {
        whole: Duration::from_millis(300),
        ..UpstreamOptions::at(&format!("http://{}", registry.host()))
    };
    let short = Upstream::new(short).unwrap();
    let mut drip = short.large_blob("team/app", &Digest::of(b"x"), None).await.unwrap();
    let end = loop {
        match drip.chunk().await {
            Ok(Some(_)) => {}
            Ok(None) => break None,
            Err(error) => break Some(error.reason),
        }
    };
    assert_eq!(end, Some(Reason::Timeout), "one that drips for ever ends");
    let nobody = Upstream::new(UpstreamOptions::at("http://127.0.0.1:1")).unwrap();
    let reason = nobody.large_blob("team/app", &digest, None).await.unwrap_err().reason;
    assert_eq!(reason, Reason::Unreachable("connection refused"));
}
