//! Logins: what is stored where, who gets to see it, and who never does.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64ct::{Base64, Encoding};
use serde_json::{Value, json};
use trust_image::Digest;

use super::auth_file::{AuthSources, Credentials, Secret};
use super::fake_registry::{Answer, FakeRegistry, Request, STARTING, ok, status, with};
use super::{Reason, RegistryClient, RegistryError, RegistryOptions};

const PASSWORD: &str = "hunter2";

fn login(user: &str) -> Value {
    json!({"auth": Base64::encode_string(format!("{user}:{PASSWORD}").as_bytes())})
}

fn basic(user: &str) -> String {
    format!("Basic {}", Base64::encode_string(format!("{user}:{PASSWORD}").as_bytes()))
}

struct Files(tempfile::TempDir);

impl Files {
    fn of(contents: &[&[u8]]) -> (Files, AuthSources) {
        let dir = tempfile::tempdir().unwrap();
        let path = |n: usize| dir.path().join(format!("{n}.json"));
        for (n, content) in contents.iter().enumerate() {
            std::fs::write(path(n), content).unwrap();
        }
        let sources = AuthSources::named((0..contents.len()).map(path).collect());
        (Files(dir), sources)
    }

    fn json(contents: &[Value]) -> (Files, AuthSources) {
        let texts: Vec<_> = contents.iter().map(|content| serde_json::to_vec(content).unwrap()).collect();
        Files::of(&texts.iter().map(Vec::as_slice).collect::<Vec<_>>())
    }

    fn helper(&self, script: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = self.0.path().join("docker-credential-test");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        self.0.path().to_owned()
    }
}

fn client(auth: AuthSources) -> RegistryClient {
    RegistryClient::new(RegistryOptions { auth, ..RegistryOptions::default() }).unwrap()
}

fn says_nothing_secret(error: &RegistryError) {
    for text in [error.to_string(), format!("{error:?}")] {
        assert!(
            !text.contains(PASSWORD) && !text.contains(&Base64::encode_string(format!("u:{PASSWORD}").as_bytes())),
            "{text}"
        );
    }
}

fn named() -> Answer {
    with(200, "Docker-Content-Digest", Digest::of(b"x").to_string())
}

#[tokio::test]
async fn a_broken_auth_file_is_named_without_its_content() {
    let secret = format!(r#"{{"auths":{{"r.io":{{"auth":"{PASSWORD}!"}}}}}}"#);
    let typed = format!(r#"{{"auths":{{"r.io":"{PASSWORD}"}}}}"#);
    let number = r#"{"auths":{"r.io":{"auth":5}}}"#;
    let no_colon = format!(r#"{{"auths":{{"r.io":{{"auth":"{}"}}}}}}"#, Base64::encode_string(PASSWORD.as_bytes()));
    let twice = format!(r#"{{"auths":{{}},"auths":{{"r.io":{{"auth":"{PASSWORD}"}}}}}}"#);
    let cut = format!(r#"{{"auths":{{"r.io":{{"auth":"{PASSWORD}"#);
    for content in [secret.as_str(), &typed, number, &no_colon, &twice, &cut, "[]", &" ".repeat(1024 * 1024 + 1)] {
        let (_files, sources) = Files::of(&[content.as_bytes()]);
        let error = sources.find("r.io", "a").await.unwrap_err();
        assert!(matches!(error, Reason::AuthFile { .. }), "{error:?}");
        says_nothing_secret(&error.of("r.io", "a"));
    }
}

#[tokio::test]
async fn a_named_file_must_exist_and_a_usual_place_need_not() {
    let missing = PathBuf::from("/nonexistent/auth.json");
    let sources = AuthSources::named(vec![missing.clone()]);
    assert!(matches!(sources.find("r.io", "a").await, Err(Reason::AuthFile { path, .. }) if path == missing));
    let usual = AuthSources { files_must_exist: false, ..sources };
    assert_eq!(usual.find("r.io", "a").await, Ok(None));
    // a place that is there and cannot be read is never "no login"
    let folder = tempfile::tempdir().unwrap();
    let unreadable = AuthSources { files: vec![folder.path().to_owned()], ..usual };
    assert!(matches!(unreadable.find("r.io", "a").await, Err(Reason::AuthFile { .. })));
}

#[tokio::test]
async fn a_login_of_another_host_or_path_is_not_used() {
    let (_files, sources) = Files::json(&[json!({"auths": {
        "r.io.example.com": login("a"), "r.io:5000": login("b"), "r.io/team2": login("c"), "r.io/team/app/deep": login("d"),
        "io": login("e"), "evil@r.io": login("f"), "": login("g"),
    }})]);
    assert_eq!(sources.find("r.io", "team/app").await, Ok(None));
}

#[tokio::test]
async fn the_longest_entry_of_the_first_file_that_knows_the_image_counts() {
    let (_files, sources) = Files::json(&[
        json!({"auths": {"r.io": {}, "other.io": login("x")}}),
        json!({"auths": {"r.io": login("host"), "r.io/team": login("team"), "r.io/team/app": login("app")}}),
        json!({"auths": {"r.io/team/app": login("late"), "late.io": {"username": "u", "password": PASSWORD}}}),
    ]);
    let user = async |host: &str, path: &str| {
        sources.find(host, path).await.unwrap().and_then(|found| found.user().map(str::to_owned))
    };
    assert_eq!(user("r.io", "team/app").await.as_deref(), Some("app"));
    assert_eq!(user("r.io", "team/app/x").await.as_deref(), Some("app"));
    assert_eq!(user("r.io", "team/apps").await.as_deref(), Some("team"));
    assert_eq!(user("r.io", "teams").await.as_deref(), Some("host"));
    assert_eq!(user("late.io", "a").await.as_deref(), Some("u"));
}

#[tokio::test]
async fn the_spellings_that_docker_and_podman_write_are_one_host() {
    for key in ["r.io", "https://r.io", "http://r.io/", "https://r.io/v1/", "R.io:443", "r.io/v2/"] {
        let (_files, sources) = Files::json(&[json!({"auths": {key: login("u")}})]);
        assert_eq!(sources.find("r.io", "a/b").await, Ok(Some(Credentials::basic("u", PASSWORD))), "{key}");
    }
    for key in ["docker.io", "index.docker.io", "https://index.docker.io/v1/", "registry-1.docker.io"] {
        let (_files, sources) = Files::json(&[json!({"auths": {key: login("u")}})]);
        assert_eq!(
            sources.find("docker.io", "library/ubuntu").await,
            Ok(Some(Credentials::basic("u", PASSWORD))),
            "{key}"
        );
    }
}

#[tokio::test]
async fn tokens_and_helpers_are_found() {
    let _alone = STARTING.lock().await;
    let (files, mut sources) = Files::json(&[json!({
        "auths": {"r.io": {"identitytoken": PASSWORD, "auth": login("u")["auth"]}, "b.io": {"registrytoken": PASSWORD}, "s.io": {}},
        "credHelpers": {"h.io": "test"},
        "credsStore": "test",
    })]);
    sources.helper_folder =
        Some(files.helper("read host; echo \"{\\\"Username\\\":\\\"$host\\\",\\\"Secret\\\":\\\"s\\\"}\""));
    assert_eq!(sources.find("r.io", "a").await, Ok(Some(Credentials::IdentityToken(Secret::new(PASSWORD)))));
    assert_eq!(sources.find("b.io", "a").await, Ok(Some(Credentials::Bearer(Secret::new(PASSWORD)))));
    for (host, asked) in [("h.io", "h.io"), ("s.io", "s.io"), ("docker.io", "https://index.docker.io/v1/")] {
        assert_eq!(sources.find(host, "a").await, Ok(Some(Credentials::basic(asked, "s"))), "{host}");
    }
}

#[test]
fn the_usual_places_come_from_the_environment() {
    let at = |pairs: &[(&str, &str)]| {
        let pairs: Vec<_> = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        AuthSources::from_variables(move |name| pairs.iter().find(|(k, _)| k == name).map(|(_, v)| v.into())).files
    };
    assert_eq!(at(&[]), [""; 0].map(PathBuf::from));
    assert_eq!(at(&[("HOME", "/h")]), ["/h/.config/containers/auth.json", "/h/.docker/config.json"].map(PathBuf::from));
    assert_eq!(
        at(&[
            ("HOME", "/h"),
            ("REGISTRY_AUTH_FILE", "/a.json"),
            ("XDG_RUNTIME_DIR", "/run/1"),
            ("DOCKER_CONFIG", "/d"),
            ("XDG_CONFIG_HOME", "relative")
        ]),
        ["/a.json", "/run/1/containers/auth.json", "/h/.config/containers/auth.json", "/d/config.json"]
            .map(PathBuf::from)
    );
}

#[test]
fn secrets_have_no_debug_form() {
    for credentials in [
        Credentials::basic("u", PASSWORD),
        Credentials::IdentityToken(Secret::new(PASSWORD)),
        Credentials::Bearer(Secret::new(PASSWORD)),
    ] {
        assert!(!format!("{credentials:?}").contains(PASSWORD));
    }
    assert!(!format!("{:?}", Credentials::basic("u", PASSWORD).basic_header()).contains("Basic"));
}

// --- the flows ---

fn wants_basic(request: &Request) -> Answer {
    match request.header("authorization") {
        Some(value) if value == basic("u") => named(),
        _ => with(401, "WWW-Authenticate", "Basic realm=\"r\""),
    }
}

#[tokio::test]
async fn a_wrong_or_missing_login_is_unauthorized_and_tells_which() {
    let registry = FakeRegistry::start(wants_basic).await;
    let error = client(AuthSources::none()).head_manifest(&registry.image(":v1")).await.unwrap_err();
    assert_eq!(error.reason, Reason::Unauthorized { credentials_sent: false });
    let (_files, sources) = Files::json(&[json!({"auths": {registry.host(): login("wrong")}})]);
    let error = client(sources).head_manifest(&registry.image(":v1")).await.unwrap_err();
    assert_eq!(error.reason, Reason::Unauthorized { credentials_sent: true });
    says_nothing_secret(&error);
}

#[tokio::test]
async fn basic_is_sent_only_after_it_was_asked_for_and_then_at_once() {
    let registry = FakeRegistry::start(wants_basic).await;
    let (_files, sources) = Files::json(&[json!({"auths": {registry.host(): login("u")}})]);
    let client = client(sources);
    for _ in 0..2 {
        assert_eq!(client.head_manifest(&registry.image(":v1")).await, Ok(Digest::of(b"x")));
    }
    let sent: Vec<_> = registry.seen().iter().map(|request| request.header("authorization").is_some()).collect();
    assert_eq!(sent, [false, true, true]);
    assert!(!format!("{client:?}").contains(PASSWORD));
}

#[tokio::test]
async fn a_login_is_not_given_to_a_scheme_that_we_do_not_know() {
    for challenge in ["Negotiate", "Digest realm=\"x\"", "Basicx realm=\"x\"", "", "Bearer realm=\"unclosed"] {
        let registry = FakeRegistry::start(move |_| with(401, "WWW-Authenticate", challenge)).await;
        let (_files, sources) = Files::json(&[json!({"auths": {registry.host(): login("u")}})]);
        let error = client(sources).head_manifest(&registry.image(":v1")).await.unwrap_err();
        assert_eq!(error.reason, Reason::Unauthorized { credentials_sent: false });
        assert!(registry.seen().iter().all(|request| request.header("authorization").is_none()));
    }
}

/// A registry with a token server at `/token` that gives `token` for a second answer of the registry.
async fn token_registry(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> FakeRegistry {
    FakeRegistry::start(move |request| {
        if request.path.starts_with("/token") {
            return answer(request);
        }
        let challenge = format!(
            "Bearer realm=\"http://{}/token?x=1\",service=\"reg example\",scope=\"repository:other/app:pull,push\"",
            request.header("host").unwrap()
        );
        match request.header("authorization") {
            Some("Bearer good") => named(),
            _ => with(401, "WWW-Authenticate", challenge),
        }
    })
    .await
}

#[tokio::test]
async fn the_token_flow_asks_for_our_own_scope_and_keeps_the_token() {
    let registry = token_registry(|_| ok(r#"{"token":"good","expires_in":300}"#)).await;
    let (_files, sources) = Files::json(&[json!({"auths": {registry.host(): login("u")}})]);
    let client = client(sources);
    for _ in 0..2 {
        assert_eq!(client.head_manifest(&registry.image(":v1")).await, Ok(Digest::of(b"x")));
    }
    let paths: Vec<_> = registry.seen().iter().map(|request| request.path.clone()).collect();
    let manifest = "/v2/team/app/manifests/v1";
    let token = "/token?x=1&scope=repository%3Ateam%2Fapp%3Apull&service=reg+example&account=u";
    assert_eq!(paths, [manifest, token, manifest, manifest]);
    let sent: Vec<_> =
        registry.seen().iter().map(|request| request.header("authorization").map(str::to_owned)).collect();
    assert_eq!(sent, [None, Some(basic("u")), Some("Bearer good".to_owned()), Some("Bearer good".to_owned())]);
    assert!(!format!("{client:?}").contains("good"));
}

#[tokio::test]
async fn a_token_of_one_image_is_not_used_for_another() {
    let registry = token_registry(|_| ok(r#"{"access_token":"good"}"#)).await;
    let client = client(AuthSources::none());
    client.head_manifest(&registry.image(":v1")).await.unwrap();
    client.head_manifest(&registry.image("2:v1")).await.unwrap();
    let tokens = registry.asked().iter().filter(|asked| asked.contains("/token")).count();
    assert_eq!(tokens, 2);
}

#[tokio::test]
async fn a_token_that_lives_no_longer_is_asked_for_again() {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let registry = token_registry(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        ok(r#"{"token":"good","expires_in":0}"#)
    })
    .await;
    let client = client(AuthSources::none());
    for _ in 0..2 {
        client.head_manifest(&registry.image(":v1")).await.unwrap();
    }
    assert_eq!(count.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn an_identity_token_goes_in_a_body_and_never_into_a_url() {
    let registry = token_registry(|request| match (request.method.as_str(), request.body.as_str()) {
        ("POST", "scope=repository%3Ateam%2Fapp%3Apull&service=reg+example&grant_type=refresh_token&client_id=trust&refresh_token=hunter2") => ok(r#"{"access_token":"good"}"#),
        _ => status(400),
    })
    .await;
    let (_files, sources) = Files::json(&[json!({"auths": {registry.host(): {"identitytoken": PASSWORD}}})]);
    assert_eq!(client(sources).head_manifest(&registry.image(":v1")).await, Ok(Digest::of(b"x")));
    assert!(registry.seen().iter().all(|request| !request.path.contains(PASSWORD)));
}

#[tokio::test]
async fn a_bad_token_server_has_its_own_reasons_and_no_secret_in_them() {
    type Server = fn(&Request) -> Answer;
    let table: [(Server, Reason); 8] = [
        (|_| status(401), Reason::Unauthorized { credentials_sent: true }),
        (|_| status(403), Reason::Unauthorized { credentials_sent: true }),
        (|_| status(500), Reason::Upstream(500)),
        (|_| with(302, "Location", "http://127.0.0.1:1/"), Reason::RedirectRefused),
        (|_| ok("not json"), Reason::Malformed("a token answer that is not JSON".to_owned())),
        (|_| ok(r#"{"token":""}"#), Reason::Malformed("a token answer without token".to_owned())),
        (
            |_| ok(r#"{"token":"a\r\nX: y"}"#),
            Reason::Malformed("a token or login that does not fit into a header".to_owned()),
        ),
        (|_| Answer::Endless, Reason::TooLarge { limit: 256 * 1024 }),
    ];
    for (answer, expected) in table {
        let registry = token_registry(answer).await;
        let (_files, sources) = Files::json(&[json!({"auths": {registry.host(): login("u")}})]);
        let error = client(sources).head_manifest(&registry.image(":v1")).await.unwrap_err();
        assert_eq!(error.reason, expected);
        says_nothing_secret(&error);
    }
    let wrong = token_registry(|_| ok(r#"{"token":"bad"}"#)).await;
    let error = client(AuthSources::none()).head_manifest(&wrong.image(":v1")).await.unwrap_err();
    assert_eq!(error.reason, Reason::Unauthorized { credentials_sent: false });
}

#[tokio::test]
async fn a_login_never_goes_to_a_realm_over_plain_http_elsewhere() {
    for (realm, expected) in [
        ("http://tokens.example.com/token", Reason::InsecureRefused("tokens.example.com".to_owned())),
        ("http://127.0.0.1.example.com/token", Reason::InsecureRefused("127.0.0.1.example.com".to_owned())),
        ("ftp://127.0.0.1/token", Reason::Malformed("a URL that is neither http nor https".to_owned())),
        ("/token", Reason::Malformed("a bearer challenge whose realm is no URL".to_owned())),
        ("http://a:b@127.0.0.1/token", Reason::Malformed("a bearer challenge whose realm names a user".to_owned())),
    ] {
        let registry =
            FakeRegistry::start(move |_| with(401, "WWW-Authenticate", format!("Bearer realm=\"{realm}\""))).await;
        let (_files, sources) = Files::json(&[json!({"auths": {registry.host(): login("u")}})]);
        let error = client(sources).head_manifest(&registry.image(":v1")).await.unwrap_err();
        assert_eq!(error.reason, expected, "{realm}");
    }
}

#[tokio::test]
async fn a_login_never_follows_a_redirect_to_another_host() {
    let storage = FakeRegistry::start(|_| ok("blob")).await;
    let location = format!("http://{}/signed", storage.host());
    let registry = FakeRegistry::start(move |request| match (request.header("authorization"), request.path.as_str()) {
        (None, _) => with(401, "WWW-Authenticate", "Basic realm=\"r\""),
        (Some(_), "/same") => with(307, "Location", location.clone()),
        (Some(_), _) => with(307, "Location", "/same"),
    })
    .await;
    let (_files, sources) = Files::json(&[json!({"auths": {registry.host(): login("u")}})]);
    let blob = client(sources).config_blob(&registry.image(":v1"), &Digest::of(b"blob")).await.unwrap();
    assert_eq!(blob, b"blob");
    let seen = storage.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].header("authorization"), None);
    assert_eq!(registry.asked().last().unwrap(), "GET /same");
}
