//! The door as the API server sees it: HTTP in, HTTP out, with a decider that is not real.

use axum::body::to_bytes;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::config::Mode;
use crate::testing::{Fake, digest, object, review};

const SIGNED: &str = "signed.example.com/a:1";
const BAD: &str = "unsigned.example.com/a:1";

async fn call(fake: Fake, rules: Rules, path: &str, body: impl Into<Body>) -> (StatusCode, Vec<u8>) {
    let request = Request::post(path).header(CONTENT_TYPE, "application/json").body(body.into()).unwrap();
    let response = Admission::new(Arc::new(fake), rules).router().oneshot(request).await.unwrap();
    let status = response.status();
    if status == StatusCode::OK {
        assert_eq!(response.headers().get(CONTENT_TYPE), Some(&JSON));
    }
    (status, to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec())
}

async fn answered(fake: Fake, rules: Rules, path: &str, review: &Value) -> Value {
    let (status, body) = call(fake, rules, path, serde_json::to_vec(review).unwrap()).await;
    assert_eq!(status, StatusCode::OK, "{}", String::from_utf8_lossy(&body));
    serde_json::from_slice(&body).unwrap()
}

fn created(image: &str) -> Value {
    review("CREATE", object("apps", "Deployment", &json!({"containers": [{"image": image}]})), Value::Null)
}

#[tokio::test]
async fn what_is_not_understood_is_a_failed_call_and_never_an_answer() {
    let text = created(SIGNED).to_string();
    let changed = |old: &str, new: &str| {
        let changed = text.replacen(old, new, 1);
        assert_ne!(changed, text, "{old}");
        changed
    };
    for body in [
        String::new(),
        "{".to_owned(),
        "[]".to_owned(),
        "null".to_owned(),
        format!("{text}x"),
        changed("admission.k8s.io/v1\"", "admission.k8s.io/v1beta1\""),
        changed("\"AdmissionReview\"", "\"Review\""),
        changed("\"request\"", "\"Request\""),
        changed("\"request\":{", "\"request\":null,\"x\":{"),
        changed("\"705ab4f5-6393-11e8-b7cc-42010a800002\"", "\"\""),
        changed("\"705ab4f5-6393-11e8-b7cc-42010a800002\"", "5"),
        changed("\"CREATE\"", "\"create\""),
        changed("\"CREATE\"", "\"PATCH\""),
        changed("\"CREATE\"", "null"),
        changed("\"dryRun\":false", "\"dryRun\":\"no\""),
        changed("\"namespace\":\"shop\"", "\"namespace\":[\"shop\"]"),
        changed("\"namespace\":\"shop\"", "\"Namespace\":\"shop\""),
        changed("\"userInfo\":{", "\"userInfo\":5,\"x\":{"),
        // The object is of another kind than the request says.
        changed("\"apiVersion\":\"apps/v1\"", "\"apiVersion\":\"v1\""),
        changed("\"group\":\"apps\"", "\"group\":\"\""),
        // A member twice, at any depth, also by an escape.
        changed("\"operation\":", "\"operation\":\"DELETE\",\"operation\":"),
        changed("\"operation\":", "\"operatio\\u006e\":\"DELETE\",\"operation\":"),
        changed("\"image\":", "\"image\":\"unsigned.example.com/x:1\",\"image\":"),
        changed("\"object\":{", "\"object\":{},\"object\":{"),
    ] {
        let (status, _) = call(Fake::default(), Rules::default(), "/validate", body.clone()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
    }
    let mut no_object = created(SIGNED);
    no_object["request"]["object"] = Value::Null;
    let (status, _) = call(Fake::default(), Rules::default(), "/mutate", no_object.to_string()).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn other_methods_paths_and_content_types_are_refused() {
    let router = Admission::new(Arc::new(Fake::default()), Rules::default()).router();
    let json = "application/json";
    for (method, path, content_type, wanted) in [
        ("GET", "/mutate", Some(json), StatusCode::METHOD_NOT_ALLOWED),
        ("PUT", "/validate", Some(json), StatusCode::METHOD_NOT_ALLOWED),
        ("POST", "/", Some(json), StatusCode::NOT_FOUND),
        ("POST", "/mutate/", Some(json), StatusCode::NOT_FOUND),
        ("POST", "/validate", None, StatusCode::UNSUPPORTED_MEDIA_TYPE),
        ("POST", "/validate", Some("application/yaml"), StatusCode::UNSUPPORTED_MEDIA_TYPE),
        ("POST", "/validate", Some("application/json; charset=utf-8"), StatusCode::OK),
    ] {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(content_type) = content_type {
            request = request.header(CONTENT_TYPE, content_type);
        }
        let request = request.body(Body::from(created(SIGNED).to_string())).unwrap();
        assert_eq!(router.clone().oneshot(request).await.unwrap().status(), wanted, "{method} {path} {content_type:?}");
    }
}

#[tokio::test]
async fn the_answer_has_the_uid_of_its_request_and_no_other() {
    let door = Admission::new(Arc::new(Fake { delay: Duration::from_millis(5), ..Fake::default() }), Rules::default());
    let mut calls = tokio::task::JoinSet::new();
    for i in 0..200 {
        let router = door.router();
        calls.spawn(async move {
            let uid = format!("uid \"{i}\" \u{e9}\\");
            let mut asked = created(if i % 2 == 0 { SIGNED } else { BAD });
            asked["request"]["uid"] = json!(uid);
            asked["request"]["object"]["metadata"]["uid"] = json!("another");
            let path = if i % 3 == 0 { "/mutate" } else { "/validate" };
            let request = Request::post(path).header(CONTENT_TYPE, JSON).body(Body::from(asked.to_string())).unwrap();
            let response = router.oneshot(request).await.unwrap();
            let body: Value =
                serde_json::from_slice(&to_bytes(response.into_body(), usize::MAX).await.unwrap()).unwrap();
            assert_eq!(body["response"]["uid"], json!(uid));
            assert_eq!(body["response"]["allowed"], json!(i % 2 == 0), "{body}");
            assert_eq!(
                (&body["apiVersion"], &body["kind"]),
                (&json!("admission.k8s.io/v1"), &json!("AdmissionReview"))
            );
        });
    }
    while let Some(done) = calls.join_next().await {
        done.unwrap();
    }
}

#[tokio::test]
async fn a_review_of_8_mib_is_read_and_one_byte_more_is_refused() {
    let mut asked = created(SIGNED);
    let bare = asked.to_string().len();
    let fill = |asked: &mut Value, length: usize| {
        asked["request"]["object"]["metadata"]["annotations"] = json!({"x": "y".repeat(length)});
        asked.to_string()
    };
    let overhead = fill(&mut asked, 0).len();
    assert!(overhead > bare);
    let whole = fill(&mut asked, MAX_REVIEW_LEN - overhead);
    assert_eq!(whole.len(), MAX_REVIEW_LEN);
    let (status, body) = call(Fake::default(), Rules::default(), "/validate", whole.clone()).await;
    assert_eq!(status, StatusCode::OK, "{}", String::from_utf8_lossy(&body));
    let more = fill(&mut asked, MAX_REVIEW_LEN - overhead + 1);
    assert_eq!(
        call(Fake::default(), Rules::default(), "/validate", more.clone()).await.0,
        StatusCode::PAYLOAD_TOO_LARGE
    );
    // The same without a stated length, and in pieces.
    for (text, wanted) in [(whole, StatusCode::OK), (more, StatusCode::PAYLOAD_TOO_LARGE)] {
        let pieces: Vec<Result<Bytes, std::io::Error>> =
            text.as_bytes().chunks(100_000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        let body = Body::from_stream(Pieces(pieces.into()));
        assert_eq!(call(Fake::default(), Rules::default(), "/validate", body).await.0, wanted);
    }
}

#[tokio::test]
async fn generate_name_and_an_absent_name_are_fine() {
    let mut asked = created(SIGNED);
    asked["request"]["name"] = json!("");
    asked["request"]["object"]["metadata"] = json!({"generateName": "web-"});
    assert_eq!(answered(Fake::default(), Rules::default(), "/mutate", &asked).await["response"]["allowed"], true);
    asked["request"].as_object_mut().unwrap().remove("name");
    asked["request"]["newMember"] = json!({"a": [1, 2.5]});
    asked["newMember"] = json!(null);
    assert_eq!(answered(Fake::default(), Rules::default(), "/mutate", &asked).await["response"]["allowed"], true);
}

#[tokio::test]
async fn a_denial_has_status_and_message_and_an_allow_with_a_patch_says_its_type() {
    let denied = answered(Fake::default(), Rules::default(), "/mutate", &created(BAD)).await;
    let response = denied["response"].as_object().unwrap();
    assert_eq!(response["status"]["code"], 403);
    assert_eq!(response["status"]["reason"], "Forbidden");
    assert!(response["status"]["message"].as_str().unwrap().contains(BAD));
    assert!(!response.contains_key("patch") && !response.contains_key("patchType"));
    let allowed = answered(Fake::default(), Rules::default(), "/mutate", &created(SIGNED)).await;
    assert_eq!(allowed["response"]["patchType"], "JSONPatch");
    assert_eq!(allowed["response"]["auditAnnotations"]["digests"], digest(SIGNED).to_string());
    assert!(allowed["response"].get("status").is_none());
    let validated = answered(Fake::default(), Rules::default(), "/validate", &created(SIGNED)).await;
    assert!(validated["response"].get("patch").is_none() && validated["response"].get("patchType").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_that_takes_longer_than_the_caller_waits_is_a_clear_denial_in_time() {
    let slow = || Fake { delay: Duration::from_secs(5), ..Fake::default() };
    let begun = Instant::now();
    let answer = answered(slow(), Rules::default(), "/validate?timeout=1s", &created(SIGNED)).await;
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!(answer["response"]["allowed"], false);
    assert_eq!(answer["response"]["uid"], "705ab4f5-6393-11e8-b7cc-42010a800002");
    let message = answer["response"]["status"]["message"].as_str().unwrap();
    assert!(message.starts_with("no decision within 0.8 s"), "{message}");
    let warn = Rules { mode: Mode::Warn, ..Rules::default() };
    let answer = answered(slow(), warn, "/validate?timeout=1s", &created(SIGNED)).await;
    assert_eq!(answer["response"]["allowed"], true);
    assert!(answer["response"]["warnings"][0].as_str().unwrap().contains("no decision"));
}

#[tokio::test]
async fn a_decision_that_breaks_off_is_a_denial() {
    let broken = Fake { breaks: true, ..Fake::default() };
    let answer = answered(broken, Rules::default(), "/mutate", &created(SIGNED)).await;
    assert_eq!(answer["response"]["allowed"], false);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_given_up() {
    let never = Body::from_stream(Never);
    let (status, _) = call(Fake::default(), Rules::default(), "/mutate?timeout=5s", never).await;
    assert_eq!(status, StatusCode::REQUEST_TIMEOUT);
}

#[test]
fn the_time_to_answer_ends_before_the_caller_stops_waiting() {
    let ms = |uri: &str| time_to_answer(&uri.parse().unwrap()).as_millis();
    assert_eq!(ms("/mutate?timeout=5s"), 4_000);
    assert_eq!(ms("/mutate?timeout=1s"), 800);
    assert_eq!(ms("/mutate?timeout=30s"), 29_000);
    assert_eq!(ms("/mutate?a=b&timeout=2s"), 1_600);
    for junk in
        ["/mutate", "/mutate?timeout=", "/mutate?timeout=5", "/mutate?timeout=-1s", "/mutate?timeout=99999999999s"]
    {
        assert_eq!(ms(junk), 9_000, "{junk}");
    }
    assert_eq!(ms("/mutate?timeout=0s"), 800);
    assert_eq!(ms("/mutate?timeout=4000000000s"), 29_000);
}

#[tokio::test]
async fn it_is_ready_only_while_it_can_decide_and_is_not_leaving() {
    let status = async |door: &Arc<Admission>, path: &str| {
        door.router().oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap().status()
    };
    let door = Admission::new(Arc::new(Fake::default()), Rules::default());
    assert_eq!(status(&door, "/readyz").await, StatusCode::OK);
    door.leave();
    assert_eq!(status(&door, "/readyz").await, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(status(&door, "/livez").await, StatusCode::OK);
    let fake = Fake { trouble: Some("the policy has expired".to_owned()), ..Fake::default() };
    assert_eq!(
        status(&Admission::new(Arc::new(fake), Rules::default()), "/readyz").await,
        StatusCode::SERVICE_UNAVAILABLE
    );
}

struct Pieces(std::collections::VecDeque<Result<Bytes, std::io::Error>>);

impl futures_core::Stream for Pieces {
    type Item = Result<Bytes, std::io::Error>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        std::task::Poll::Ready(self.0.pop_front())
    }
}

struct Never;

impl futures_core::Stream for Never {
    type Item = Result<Bytes, std::io::Error>;

    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        std::task::Poll::Pending
    }
}
