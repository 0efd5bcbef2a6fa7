//! Clients that speak for themselves at the registry behind: who is not let in there gets nothing here, and no login goes elsewhere.

use trust_image::Digest;

use super::testing::{CHALLENGE, Hostile, Switches, World, ok, with};
use crate::config::Login;

const APP: &str = "team/app";
const GOOD: &str = "Basic YWxpY2U6c2VjcmV0";
const KNOWN: &str = "Basic bWFsbG9yeTp4";

async fn world() -> World {
    let world = World::with(Switches { login: Login::Pass, catalog: true, ..Switches::default() }).await;
    world.upstream.let_in(&[GOOD], &[KNOWN]);
    world
}

async fn as_(world: &World, method: &str, path: &str, login: Option<&str>) -> super::testing::Got {
    let headers: Vec<(&str, &str)> = login.iter().map(|login| ("authorization", *login)).collect();
    world.ask(method, path, &headers).await
}

#[tokio::test]
async fn g39_what_an_allowed_user_got_into_memory_is_not_for_a_denied_one() {
    let world = world().await;
    let (signed, config, layer) = world.image(APP, "signed");
    let digest = world.fake.sign(APP, "v1", &signed);
    world.upstream.lie("/v2/team/app/tags/list?n=1", ok("{}"));
    world.upstream.lie("/v2/_catalog?n=1", ok("{}"));
    let paths = [
        "/v2/".to_owned(),
        "/v2/team/app/manifests/v1".to_owned(),
        format!("/v2/{APP}/manifests/{digest}"),
        format!("/v2/{APP}/blobs/{}", Digest::of(&config)),
        format!("/v2/{APP}/blobs/{}", Digest::of(&layer)),
        "/v2/team/app/tags/list".to_owned(),
        "/v2/_catalog".to_owned(),
        format!("/v2/{APP}/referrers/{digest}"),
    ];
    for path in &paths {
        for method in ["GET", "HEAD"] {
            assert_eq!(as_(&world, method, path, Some(GOOD)).await.status, 200, "{method} {path}");
        }
    }
    for path in &paths {
        for method in ["GET", "HEAD"] {
            let got = as_(&world, method, path, None).await;
            assert_eq!((got.status, got.header("www-authenticate")), (401, CHALLENGE), "{method} {path}");
            assert_eq!(got.header("set-cookie"), "");
            let got = as_(&world, method, path, Some("Basic d3Jvbmc6eA==")).await;
            assert_eq!(got.status, 401, "{method} {path}");
            let got = as_(&world, method, path, Some(KNOWN)).await;
            assert_eq!((got.status, got.header("www-authenticate")), (403, ""), "{method} {path}");
        }
    }
    let got = as_(&world, "GET", "/v2/team/app/manifests/v1", None).await;
    assert_eq!(got.code(), "UNAUTHORIZED");
    let known = format!("\"{}\"", Digest::of(&config));
    let blob = format!("/v2/{APP}/blobs/{}", Digest::of(&config));
    assert_eq!(
        world.ask("GET", &blob, &[("if-none-match", &known)]).await.status,
        401,
        "not even that it has not changed"
    );
    // Still no signature, no content: a login opens nothing.
    let (unsigned, ..) = world.image(APP, "unsigned");
    let got = as_(&world, "GET", &format!("/v2/{APP}/manifests/{}", Digest::of(&unsigned)), Some(GOOD)).await;
    assert_eq!((got.status, got.code().as_str()), (403, "DENIED"));
}

#[tokio::test]
async fn g39_a_denial_with_its_reason_is_for_those_alone_who_are_let_in() {
    let world = world().await;
    let (signed, ..) = world.image(APP, "signed");
    let digest = world.fake.sign(APP, "v1", &signed);
    world.fake.deny(&digest, "com.example.data is \"PII\"");
    let got = as_(&world, "GET", "/v2/team/app/manifests/v1", Some(GOOD)).await;
    assert_eq!((got.status, got.error()["message"].as_str()), (403, Some("com.example.data is \"PII\"")));
    let got = as_(&world, "GET", "/v2/team/app/manifests/v1", None).await;
    assert_eq!((got.status, got.code().as_str()), (401, "UNAUTHORIZED"));
    assert!(!String::from_utf8_lossy(&got.body).contains("PII"));
}

#[tokio::test]
async fn g39_what_one_may_not_see_does_not_hide_it_from_another() {
    let world = world().await;
    let (signed, _, layer) = world.image(APP, "signed");
    world.fake.sign(APP, "v1", &signed);
    // The first to ask for a layer is not let in; the walk that it begins says nothing to the next.
    let path = format!("/v2/{APP}/blobs/{}", Digest::of(&layer));
    assert_eq!(as_(&world, "GET", &path, None).await.status, 401);
    assert_eq!(as_(&world, "GET", &path, Some(GOOD)).await.body, layer);
}

#[tokio::test]
async fn who_is_not_let_in_makes_the_gate_ask_little() {
    let world = world().await;
    for n in 0..60 {
        let (image, ..) = world.image(APP, &format!("image {n}"));
        world.fake.sign(APP, &format!("v{n}"), &image);
    }
    for unknown in ["blobs", "manifests"] {
        let path = format!("/v2/{APP}/{unknown}/{}", Digest::of(b"unknown"));
        let before = world.upstream.asked().len();
        assert_eq!(as_(&world, "GET", &path, None).await.status, 401);
        let asked = world.upstream.asked().len() - before;
        assert!(asked <= 20, "{unknown}: {asked}");
    }
}

#[tokio::test]
async fn g26_a_login_of_a_client_goes_to_no_redirect_target() {
    let world = world().await;
    let (signed, _, layer) = world.image(APP, "signed");
    world.fake.sign(APP, "v1", &signed);
    let (elsewhere, address) = Hostile::start().await;
    elsewhere.hold("storage", "blobs", &layer);
    let digest = Digest::of(&layer);
    let path = format!("/v2/{APP}/blobs/{digest}");
    for target in [format!("http://{address}/v2/storage/blobs/{digest}"), format!("/v2/storage/blobs/{digest}")] {
        world.upstream.lie(&path, with(307, "Location", target));
        let got = as_(&world, "GET", &path, Some(GOOD)).await;
        assert_ne!(got.status, 200);
    }
    assert_eq!(elsewhere.asked(), [""; 0]);
    let storage: Vec<String> = world.upstream.asked().into_iter().filter(|line| line.contains("storage")).collect();
    assert_eq!(storage.len(), 1, "its own host is followed to, and without the login it lets nobody in");
}

#[tokio::test]
async fn two_logins_in_one_request_are_none() {
    let world = world().await;
    let got = world.ask("GET", "/v2/", &[("authorization", GOOD), ("authorization", KNOWN)]).await;
    assert_eq!(got.status, 401);
}

#[tokio::test]
async fn a_client_of_a_gate_with_its_own_login_passes_nothing_on() {
    let world = World::start().await;
    let (signed, ..) = world.image(APP, "signed");
    world.fake.sign(APP, "v1", &signed);
    let got = as_(&world, "GET", "/v2/team/app/manifests/v1", Some(GOOD)).await;
    assert_eq!(got.status, 200);
    assert_eq!(world.upstream.headers("authorization"), [""; 0]);
}
