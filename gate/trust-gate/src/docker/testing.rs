//! An engine and calls for tests of this door.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use base64ct::{Base64, Encoding};
use http::StatusCode;
use serde_json::{Value, json};
use tower::ServiceExt;
use trust_image::Digest;

use super::door;
use super::engine::Engine;
use crate::config::DockerConfig;
use crate::local::Rules;
use crate::local::testing::Signed;

pub(super) const APP: &str = "registry.example.com/team/app";

pub(super) fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

/// An engine that holds what the test says.
#[derive(Default)]
pub(super) struct FakeEngine {
    /// Path → status and body.
    pub(super) answers: BTreeMap<String, (u16, Vec<u8>)>,
    pub(super) asked: Mutex<Vec<String>>,
}

impl FakeEngine {
    pub(super) fn get(&self, path: &str) -> (StatusCode, Vec<u8>) {
        self.asked.lock().unwrap().push(path.to_owned());
        let (status, body) =
            self.answers.get(path).cloned().unwrap_or((404, b"{\"message\":\"no such thing\"}".to_vec()));
        (StatusCode::from_u16(status).unwrap(), body)
    }

    /// Holds an image under these names, with these names by digest.
    pub(super) fn image(mut self, id: &str, names: &[&str], digests: &[String]) -> Self {
        let id = digest(id).to_string();
        let body = json!({"Id": id, "RepoTags": names, "RepoDigests": digests, "Config": {"Image": "anything"}});
        for name in names.iter().copied().chain([id.as_str()]).chain(digests.iter().map(String::as_str)) {
            self.answers.insert(format!("/images/{name}/json"), (200, body.to_string().into_bytes()));
        }
        self
    }

    /// Holds a container of an image.
    pub(super) fn container(mut self, name: &str, image: &str) -> Self {
        let body = json!({"Id": digest(name).hex(), "Image": digest(image).to_string(), "Config": {"Image": "good"}});
        self.answers.insert(format!("/containers/{name}/json"), (200, body.to_string().into_bytes()));
        self
    }
}

/// A door between a fake engine and a fake decider.
pub(super) struct Scene {
    pub(super) rules: Arc<Signed>,
    pub(super) engine: Arc<FakeEngine>,
    pub(super) config: DockerConfig,
}

/// What the door says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) allow: bool,
    pub(super) message: String,
}

impl Scene {
    /// `team/app:v1` is signed and here; `evil:v1` is here and not signed; `built:v1` came from no registry.
    pub(super) fn new() -> Self {
        let rules =
            Signed::default().with(&format!("{APP}:v1"), digest("one")).with(&format!("{APP}:v2"), digest("two"));
        let (short, good) = (digest("id-app").hex(), format!("{APP}@{}", digest("one")));
        let evil = [format!("registry.example.com/evil/app@{}", digest("evil"))];
        let twice = [evil[0].clone(), good.clone()];
        let engine = FakeEngine::default()
            .image(
                "id-app",
                &[&format!("{APP}:v1"), &short, short.get(..12).unwrap(), "renamed:latest", "renamed"],
                &[good],
            )
            .image("id-evil", &["evil:v1", &format!("{APP}:stolen")], &evil)
            .image("id-twice", &["twice:v1"], &twice)
            .image("id-built", &["built:v1"], &[])
            .container("web", "id-app")
            .container("bad", "id-evil")
            .container("orphan", "id-gone");
        Self { rules: Arc::new(rules), engine: Arc::new(engine), config: DockerConfig::default() }
    }

    /// Sends bytes to a path of the plugin's protocol.
    pub(super) async fn post(&self, path: &str, body: Vec<u8>) -> (u16, Value) {
        let rules = Arc::clone(&self.rules) as Arc<dyn Rules>;
        let router = door::router(&self.config, rules, Engine::Fake(Arc::clone(&self.engine)));
        let request = http::Request::post(path).header("content-length", body.len()).body(Body::from(body)).unwrap();
        let answer = router.oneshot(request).await.unwrap();
        let status = answer.status().as_u16();
        let body = axum::body::to_bytes(answer.into_body(), 100_000).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    /// What is said to these bytes of a call.
    pub(super) async fn say(&self, call: Vec<u8>) -> Said {
        let (status, answer) = self.post("/AuthZPlugin.AuthZReq", call).await;
        assert_eq!((status, answer["Err"].as_str()), (200, Some("")), "{answer}");
        let message = answer["Msg"].as_str().unwrap().to_owned();
        let allow = answer["Allow"].as_bool().unwrap();
        assert_eq!(allow, message.is_empty());
        Said { allow, message }
    }

    /// The same for a request without a body, as the client sends it.
    pub(super) async fn bare(&self, method: &str, uri: &str) -> Said {
        self.say(call(method, uri, None)).await
    }

    pub(super) async fn with(&self, uri: &str, body: &Value) -> Said {
        self.say(call("POST", uri, Some(body.to_string().as_bytes()))).await
    }

    pub(super) async fn create(&self, image: &str) -> Said {
        self.with("/v1.41/containers/create?name=x", &json!({"Image": image, "Cmd": ["true"], "HostConfig": {}})).await
    }
}

/// A call as engine 20.10 sends it for client 28.
pub(super) fn call(method: &str, uri: &str, body: Option<&[u8]>) -> Vec<u8> {
    let length = body.map_or(0, <[u8]>::len).to_string();
    let kind = if body.is_some() { "application/json" } else { "text/plain" };
    let mut call = json!({
        "RequestMethod": method, "RequestUri": uri,
        "RequestHeaders": {"Content-Length": length, "Content-Type": kind, "User-Agent": "Docker-Client/28.2.2 (linux)"},
    });
    if let Some(body) = body {
        call["RequestBody"] = Base64::encode_string(body).into();
    }
    call.to_string().into_bytes()
}
