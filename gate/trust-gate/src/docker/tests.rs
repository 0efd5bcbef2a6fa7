//! The door's answers to the requests of clients, with an engine and a decider of the test's own.

use std::sync::Arc;

use serde_json::{Value, json};
use trust_policy::Action;

use super::testing::{APP, FakeEngine, Said, Scene, call, digest};
use crate::config::{Mode, PullByTag};

#[track_caller]
fn assert_denied(said: &Said, words: &str) {
    assert!(!said.allow && said.message.contains(words), "{said:?}");
    assert!(!said.message.contains('\n'), "{said:?}");
}

/// The begin of an ID, as engines show it.
fn short() -> String {
    digest("id-app").hex().chars().take(12).collect()
}

fn pinned() -> String {
    format!("{APP}@{}", digest("one"))
}

#[tokio::test]
async fn the_handshake_is_the_protocols() {
    let scene = Scene::new();
    assert_eq!(scene.post("/Plugin.Activate", Vec::new()).await, (200, json!({"Implements": ["authz"]})));
    let allowed = (200, json!({"Allow": true, "Msg": "", "Err": ""}));
    assert_eq!(scene.post("/AuthZPlugin.AuthZRes", vec![b'x'; 10_000_000]).await, allowed);
    assert_eq!(scene.post("/AuthZPlugin.Other", Vec::new()).await.0, 404);
}

#[tokio::test]
async fn what_only_reads_passes_without_asking_anybody() {
    let scene = Scene::new();
    for (method, uri) in [
        ("GET", "/_ping"),
        ("GET", "/v1.41/containers/json?all=1"),
        ("GET", "/images/evil:v1/json"),
        ("DELETE", "/v1.41/containers/bad"),
        ("POST", "/v1.41/containers/bad/stop"),
        ("POST", "/v1.41/containers/bad/exec"),
        ("POST", "/v1.41/images/evil:v1/tag?repo=good&tag=v1"),
        ("POST", "/v1.41/images/evil/push?tag=v1"),
        ("POST", "/v1.41/commit?container=bad"),
    ] {
        assert!(scene.bare(method, uri).await.allow, "{method} {uri}");
    }
    assert!(scene.rules.asked.lock().unwrap().is_empty());
    assert!(scene.engine.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_pull_by_signed_digest_passes_and_is_asked_for_as_a_pull() {
    let scene = Scene::new();
    let uri = |digest| format!("/v1.41/images/create?fromImage=registry.example.com%2Fteam%2Fapp&tag={digest}");
    assert!(scene.bare("POST", &uri(digest("one"))).await.allow);
    assert_denied(&scene.bare("POST", &uri(digest("evil"))).await, "is not signed");
    assert_eq!(scene.rules.logged(), [pinned(), format!("{APP}@{}", digest("evil"))]);
    let asked = scene.rules.asked.lock().unwrap();
    assert!(asked.iter().all(|asked| asked.action == Action::Pull && asked.door == "docker"));
}

#[tokio::test]
async fn a_pull_by_tag_is_denied_with_the_signed_digest_or_passes_where_that_is_wanted() {
    let mut scene = Scene::new();
    let uri = "/v1.41/images/create?fromImage=registry.example.com%2Fteam%2Fapp&tag=v1";
    let said = scene.bare("POST", uri).await;
    assert_denied(&said, &format!("pull {}", pinned()));
    assert_eq!(scene.rules.logged(), [format!("{APP}:v1")]);
    assert_denied(&scene.bare("POST", &uri.replace("v1&", "").replace("tag=v1", "tag=v9")).await, "is not signed");
    scene.config.pull_by_tag = PullByTag::Verified;
    assert!(scene.bare("POST", uri).await.allow);
    assert_denied(&scene.bare("POST", &uri.replace("tag=v1", "tag=v9")).await, "is not signed");
}

#[tokio::test]
async fn all_tags_imports_and_archives_are_denied() {
    let scene = Scene::new();
    for (uri, words) in [
        ("/v1.41/images/create?fromImage=registry.example.com%2Fteam%2Fapp", "all tags of"),
        ("/v1.41/images/create?fromImage=registry.example.com%2Fteam%2Fapp&tag=", "all tags of"),
        ("/v1.41/images/create?fromSrc=-&repo=x&tag=v1", "images from archives"),
        ("/v1.41/images/load?quiet=0", "images from archives"),
        ("/v1.41/images/create", "fromImage is missing"),
    ] {
        assert_denied(&scene.bare("POST", uri).await, words);
    }
}

#[tokio::test]
async fn a_pull_with_a_form_in_its_body_is_denied() {
    let scene = Scene::new();
    let uri = format!("/images/create?fromImage=registry.example.com%2Fteam%2Fapp&tag={}", digest("one"));
    for (headers, allow) in [
        (json!({"Content-Length": "0", "Content-Type": "text/plain"}), true),
        (json!({}), true),
        (json!({"Content-Length": "14", "Content-Type": "application/x-www-form-urlencoded"}), false),
        (json!({"Content-Length": "14", "Content-Type": "text/plain"}), false),
        (json!({"Content-Type": "application/x-www-form-urlencoded"}), false),
    ] {
        let call = json!({"RequestMethod": "POST", "RequestUri": uri, "RequestHeaders": headers});
        let said = scene.say(call.to_string().into_bytes()).await;
        assert_eq!(said.allow, allow, "{headers}: {said:?}");
    }
}

#[tokio::test]
async fn a_container_of_a_signed_image_passes_however_the_image_is_named() {
    let scene = Scene::new();
    let id = digest("id-app");
    for image in [format!("{APP}:v1"), pinned(), id.to_string(), id.hex(), short(), "renamed".to_owned()] {
        assert!(scene.create(&image).await.allow, "{image}");
        assert_eq!(scene.rules.logged().last(), Some(&pinned()), "{image}");
    }
    assert!(scene.rules.asked.lock().unwrap().iter().all(|asked| asked.action == Action::Deploy));
}

#[tokio::test]
async fn a_container_of_an_unsigned_image_is_denied_however_it_is_named() {
    let scene = Scene::new();
    let id = digest("id-evil");
    for image in ["evil:v1".to_owned(), format!("{APP}:stolen"), id.to_string()] {
        assert_denied(&scene.create(&image).await, "registry.example.com/evil/app@");
    }
    assert_denied(&scene.create("built:v1").await, "no digest of a registry");
    // One of several names by digest is enough, whichever is first.
    assert!(scene.create("twice:v1").await.allow);
    assert_eq!(scene.rules.logged().last(), Some(&pinned()));
}

#[tokio::test]
async fn a_create_without_an_unambiguous_body_is_denied() {
    let scene = Scene::new();
    let uri = "/v1.41/containers/create";
    let absent =
        json!({"RequestMethod": "POST", "RequestUri": uri, "RequestHeaders": {"Content-Type": "application/json"}});
    assert_denied(&scene.say(absent.to_string().into_bytes()).await, "the engine shows no body");
    for body in [
        format!(r#"{{"Image":"{APP}:v1","image":"evil:v1"}}"#),
        format!(r#"{{"Image":"{APP}:v1"}}{{"Image":"evil:v1"}}"#),
        r#"{"image":"evil:v1"}"#.to_owned(),
        format!(r#"{{"image":"{APP}:v1"}}"#),
        r#"{"Cmd":["true"]}"#.to_owned(),
    ] {
        let said = scene.say(call("POST", uri, Some(body.as_bytes()))).await;
        assert!(!said.allow, "{body}");
    }
    assert!(scene.engine.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn an_image_that_is_not_there_is_left_to_the_engine_only_if_each_start_is_looked_at() {
    let mut scene = Scene::new();
    assert!(scene.create("missing:v1").await.allow);
    scene.config.recheck_start = false;
    assert_denied(&scene.create("missing:v1").await, "pull it first");
    scene.config.digest_only = true;
    assert_denied(&scene.create(&format!("{APP}:v1")).await, "containers are made from NAME@DIGEST");
    assert_denied(&scene.create(&short()).await, "containers are made from NAME@DIGEST");
    assert!(scene.create(&pinned()).await.allow);
    assert!(scene.create(&digest("id-app").to_string()).await.allow);
}

#[tokio::test]
async fn mounted_images_are_judged_as_those_that_run() {
    let scene = Scene::new();
    let create = |source: String| {
        let mounts = json!([{"Type": "image", "Source": source, "Target": "/data"}]);
        json!({"Image": format!("{APP}:v1"), "HostConfig": {"Mounts": mounts}})
    };
    let uri = "/v1.48/containers/create";
    assert!(scene.with(uri, &create(pinned())).await.allow);
    assert_denied(&scene.with(uri, &create("evil:v1".to_owned())).await, "a mounted image is named by");
    assert_denied(&scene.with(uri, &create(digest("id-evil").to_string())).await, "is not signed");
    assert_denied(&scene.with(uri, &create(digest("missing").to_string())).await, "pull it first");
}

#[tokio::test]
async fn what_starts_is_looked_at_by_the_id_of_its_image() {
    let mut scene = Scene::new();
    for verb in ["start", "restart"] {
        assert!(scene.bare("POST", &format!("/v1.41/containers/web/{verb}")).await.allow);
        assert_denied(&scene.bare("POST", &format!("/v1.41/containers/bad/{verb}")).await, "is not signed");
        assert_denied(
            &scene.bare("POST", &format!("/v1.41/containers/orphan/{verb}")).await,
            "not on this engine any more",
        );
        assert!(
            scene.bare("POST", &format!("/v1.41/containers/nobody/{verb}")).await.allow,
            "the engine says 404 itself"
        );
    }
    scene.config.recheck_start = false;
    assert!(scene.bare("POST", "/v1.41/containers/bad/start").await.allow);
}

#[tokio::test]
async fn a_service_carries_a_signed_digest() {
    let scene = Scene::new();
    let task = |image: &str| json!({"Name": "s", "TaskTemplate": {"ContainerSpec": {"Image": image}}});
    for uri in ["/v1.41/services/create", "/v1.41/services/s/update?version=3"] {
        assert!(scene.with(uri, &task(&format!("{APP}:v1@{}", digest("one")))).await.allow);
        assert_denied(&scene.with(uri, &task(&format!("{APP}:v1"))).await, &format!("name {}", pinned()));
        assert_denied(&scene.with(uri, &task(&format!("{APP}@{}", digest("evil")))).await, "is not signed");
        assert_denied(&scene.with(uri, &json!({"TaskTemplate": {"Runtime": "plugin"}})).await, "no plugins");
        assert!(!scene.bare("POST", uri).await.allow);
    }
    let back = "/v1.41/services/s/update?version=3&rollback=previous";
    assert_denied(&scene.with(back, &task(&pinned())).await, "earlier state is not shown");
}

#[tokio::test]
async fn builds_plugins_and_swarms_pass_only_where_that_is_said() {
    let mut scene = Scene::new();
    let uris = [
        "/build?t=x",
        "/session",
        "/grpc",
        "/plugins/pull?remote=x",
        "/plugins/x/upgrade",
        "/swarm/join",
        "/swarm/init",
    ];
    for uri in uris {
        assert_denied(&scene.bare("POST", uri).await, "[docker]");
    }
    (scene.config.builds, scene.config.plugins, scene.config.swarm) = (true, true, true);
    for uri in uris {
        assert!(scene.bare("POST", uri).await.allow, "{uri}");
    }
}

#[tokio::test]
async fn an_engine_that_answers_nonsense_or_not_at_all_lets_nothing_pass() {
    let path = format!("/images/{APP}:v1/json");
    for (status, body) in [
        (500, "{}".to_owned()),
        (301, "{}".to_owned()),
        (204, String::new()),
        (200, String::new()),
        (200, "null".to_owned()),
        (200, "{}".to_owned()),
        (200, json!({"Id": 7, "RepoDigests": [pinned()]}).to_string()),
        (200, json!({"Id": "x", "RepoDigests": pinned()}).to_string()),
        (200, json!({"Id": "x", "RepoDigests": [7]}).to_string()),
        (200, json!({"Id": "x", "RepoDigests": ["<none>@<none>"]}).to_string()),
        (200, json!({"Id": "x", "RepoDigests": [format!("{APP}:v1")]}).to_string()),
        (200, json!({"Id": "x", "RepoDigests": vec![pinned(); 65]}).to_string()),
        (200, format!(r#"{{"Id":"x","RepoDigests":[],"RepoDigests":["{}"]}}"#, pinned())),
        (200, format!(r#"{{"Id":"x","RepoDigests":["{}"]"#, pinned())),
    ] {
        let mut engine = FakeEngine::default();
        engine.answers.insert(path.clone(), (status, body.clone().into_bytes()));
        let scene = Scene { engine: Arc::new(engine), ..Scene::new() };
        let said = scene.create(&format!("{APP}:v1")).await;
        assert!(!said.allow, "{status} {body}");
    }
    let mut engine = FakeEngine::default();
    engine.answers.insert("/containers/web/json".to_owned(), (200, br#"{"Image":"app:v1"}"#.to_vec()));
    let scene = Scene { engine: Arc::new(engine), ..Scene::new() };
    assert_denied(&scene.bare("POST", "/containers/web/start").await, "is no ID");
}

#[tokio::test]
async fn a_name_that_could_leave_the_path_of_the_question_asks_nothing() {
    let scene = Scene::new();
    for image in
        ["../containers/x", "a/../../x", "x?y", "x#y", "x%2f", "a//b", "x json", "x\n", "é", &"a".repeat(2_000)]
    {
        assert!(!scene.create(image).await.allow, "{image}");
    }
    assert!(scene.engine.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_call_that_cannot_be_read_is_denied_and_not_an_error() {
    let scene = Scene::new();
    for body in [&b""[..], b"x", b"[]", b"{\"RequestMethod\":\"POST\"}"] {
        assert!(!scene.say(body.to_vec()).await.allow);
    }
    let unknown = scene.bare("POST", "/v1.99/images/bring?from=x").await;
    assert_denied(&unknown, "does not know POST /images/bring");
}

#[tokio::test]
async fn a_door_that_only_warns_denies_nothing() {
    for mode in [Mode::Warn, Mode::Audit] {
        let mut scene = Scene::new();
        scene.config.mode = mode;
        assert!(scene.create("evil:v1").await.allow);
        assert!(scene.bare("POST", "/images/load").await.allow);
        assert_eq!(scene.rules.asked.lock().unwrap().first().map(|asked| asked.mode), Some(mode));
    }
}

#[tokio::test]
async fn a_broken_decider_denies() {
    struct Broken;
    impl crate::local::Rules for Broken {
        fn rule(&self, _: &crate::local::Asked) -> crate::local::Ruling {
            panic!("broken on purpose")
        }
        fn trouble(&self) -> Option<String> {
            Some("broken".to_owned())
        }
    }
    use tower::ServiceExt;
    let scene = Scene::new();
    let engine = super::engine::Engine::Fake(Arc::clone(&scene.engine));
    let router = super::door::router(&scene.config, Arc::new(Broken), engine);
    let body = call("POST", &format!("/images/create?fromImage=app&tag={}", digest("one")), None);
    let request = http::Request::post("/AuthZPlugin.AuthZReq").body(axum::body::Body::from(body)).unwrap();
    let answer = router.clone().oneshot(request).await.unwrap();
    let body = axum::body::to_bytes(answer.into_body(), 10_000).await.unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&body).unwrap()["Allow"], false);
    let ready = http::Request::get("/readyz").body(axum::body::Body::empty()).unwrap();
    assert_eq!(router.oneshot(ready).await.unwrap().status(), 503);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_never_ends_is_denied_in_time() {
    use axum::body::Body;
    use tower::ServiceExt;
    let scene = Scene::new();
    let engine = super::engine::Engine::Fake(Arc::clone(&scene.engine));
    let rules = Arc::clone(&scene.rules) as Arc<dyn crate::local::Rules>;
    let router = super::door::router(&scene.config, rules, engine);
    let (sender, body) = http_body_util::channel::Channel::<bytes::Bytes>::new(1);
    let request = http::Request::post("/AuthZPlugin.AuthZReq").body(Body::new(body)).unwrap();
    let answer = router.oneshot(request).await.unwrap();
    let body = axum::body::to_bytes(answer.into_body(), 10_000).await.unwrap();
    let said: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(said["Allow"], false);
    assert!(said["Msg"].as_str().unwrap().contains("no decision within"), "{said}");
    drop(sender);
}

#[tokio::test]
async fn a_call_that_is_larger_than_any_is_denied() {
    let scene = Scene::new();
    let mut large = call("POST", "/containers/create", Some(b"{}"));
    large.resize(super::call::MAX_CALL + 1, b' ');
    assert_denied(&scene.say(large).await, "larger than");
}
