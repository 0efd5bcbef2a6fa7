//! The door as the API server sees it: HTTP in, HTTP out, with a decider that is not real.

use axum::body::to_bytes;
use bytes::Bytes;
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
async fn what_no_api_server_sends_is_a_failed_call_and_never_an_answer() {
    let text = created(SIGNED).to_string();
    for body in [
        String::new(),
        "{".to_owned(),
        "[]".to_owned(),
        "null".to_owned(),
        format!("{text}x"),
        changed(&text, "admission.k8s.io/v1\"", "admission.k8s.io/v1beta1\""),
        changed(&text, "\"AdmissionReview\"", "\"Review\""),
        changed(&text, "\"request\"", "\"Request\""),
        changed(&text, "\"request\":{", "\"request\":null,\"x\":{"),
        changed(&text, "\"705ab4f5-6393-11e8-b7cc-42010a800002\"", "\"\""),
        changed(&text, "\"705ab4f5-6393-11e8-b7cc-42010a800002\"", "5"),
    ] {
        let (status, _) = call(Fake::default(), Rules::default(), "/validate", body.clone()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
    }
}

fn changed(text: &str, old: &str, new: &str) -> String {
    let changed = text.replacen(old, new, 1);
    assert_ne!(changed, text, "{old}");
    changed
}

/// As an API server writes it: the words of the request before its objects.
fn as_sent(review: &Value) -> String {
    let request = &review["request"];
    format!(
        r#"{{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{{"uid":{},"kind":{},"name":"web","namespace":"shop","operation":{},"userInfo":{{"username":"alice"}},"object":{},"oldObject":{},"dryRun":false}}}}"#,
        request["uid"], request["kind"], request["operation"], request["object"], request["oldObject"]
    )
}

#[tokio::test]
async fn an_object_that_is_over_a_limit_or_not_understood_is_denied_whatever_the_failure_policy() {
    let text = as_sent(&created(SIGNED));
    let nest = |n: usize| format!("\"spec\":{}1{},", "[".repeat(n), "]".repeat(n));
    for body in [
        changed(&text, "\"CREATE\"", "\"create\""),
        changed(&text, "\"CREATE\"", "\"PATCH\""),
        changed(&text, "\"CREATE\"", "null"),
        changed(&text, "\"dryRun\":false", "\"dryRun\":\"no\""),
        changed(&text, "\"namespace\":\"shop\"", "\"namespace\":[\"shop\"]"),
        changed(&text, "\"namespace\":\"shop\"", "\"Namespace\":\"shop\""),
        changed(&text, "\"userInfo\":{", "\"userInfo\":5,\"x\":{"),
        changed(&text, "\"alice\"", &format!("\"{}\"", "a".repeat(600))),
        // The object is of another kind than the request says.
        changed(&text, "\"apiVersion\":\"apps/v1\"", "\"apiVersion\":\"v1\""),
        changed(&text, "\"group\":\"apps\"", "\"group\":\"\""),
        changed(&text, "\"object\":{", "\"object\":null,\"x\":{"),
        // A member twice, at any depth, also by an escape.
        changed(&text, "\"operation\":", "\"operation\":\"DELETE\",\"operation\":"),
        changed(&text, "\"operation\":", "\"operatio\\u006e\":\"DELETE\",\"operation\":"),
        changed(&text, "\"image\":", "\"image\":\"unsigned.example.com/x:1\",\"image\":"),
        changed(&text, "\"image\":", "\"Image\":\"unsigned.example.com/x:1\",\"image\":"),
        changed(&text, "\"object\":{", "\"object\":{},\"object\":{"),
        // Too many values, too deep, too large.
        changed(&text, "\"object\":{", &format!("\"object\":{{\"items\":[{}0],", "{\"spec\":0},".repeat(99_000))),
        changed(&text, "\"metadata\":{", &format!("\"metadata\":{{{}", nest(100))),
        changed(&text, "\"metadata\":{", &format!("\"metadata\":{{\"x\":\"{}\",", "y".repeat(MAX_REVIEW_LEN))),
    ] {
        for path in ["/validate", "/mutate"] {
            let (status, answer) = call(Fake::default(), Rules::default(), path, body.clone()).await;
            assert_eq!(status, StatusCode::OK, "{:.600}", body);
            let answer: Value = serde_json::from_slice(&answer).unwrap();
            assert_eq!(answer["response"]["allowed"], false, "{:.600}", body);
            assert_eq!(answer["response"]["uid"], "705ab4f5-6393-11e8-b7cc-42010a800002");
        }
    }
    let warn = Rules { mode: Mode::Warn, ..Rules::default() };
    let (_, answer) = call(Fake::default(), warn, "/mutate", changed(&text, "\"CREATE\"", "\"PATCH\"")).await;
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert!(answer["response"]["allowed"] == true && answer["response"]["warnings"][0].is_string(), "{answer}");
}

#[tokio::test]
async fn what_is_not_read_does_not_count_and_is_not_kept() {
    let text = as_sent(&created(SIGNED));
    for unread in [
        format!("\"x\":[{}0],", "{\"\":0},".repeat(400_000)),
        format!("\"x\":{}{},", "[".repeat(100_000), "]".repeat(100_000)),
        "\"annotations\":{\"a\":1,\"a\":2},".to_owned(),
    ] {
        let body = changed(&text, "\"metadata\":{", &format!("\"metadata\":{{{unread}"));
        let review = Review::parse(body.as_bytes()).unwrap();
        assert!(review.object.to_string().len() < 200, "{}", review.object);
        let (status, answer) = call(Fake::default(), Rules::default(), "/mutate", body).await;
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        assert!(status == StatusCode::OK && answer["response"]["allowed"] == true, "{answer}");
    }
}

/// The beginning of a body that says it is `length` long, and does not go on.
fn begun(length: usize, first: &str) -> Request<Body> {
    let first = Bytes::copy_from_slice(first.as_bytes());
    let body = Body::from_stream(Stalled(Some(first)));
    let request = Request::post("/validate?timeout=30s").header(CONTENT_TYPE, JSON);
    request.header(http::header::CONTENT_LENGTH, length).body(body).unwrap()
}

#[tokio::test(start_paused = true)]
async fn bodies_that_are_announced_and_do_not_come_keep_nobody_out_and_are_given_up() {
    let door = Admission::new(Arc::new(Fake::default()), Rules::default());
    let mut idle = tokio::task::JoinSet::new();
    for i in 0..400 {
        let length = if i % 2 == 0 { 8 * 1024 * 1024 } else { body::SMALL };
        idle.spawn(door.router().oneshot(begun(length, "{")));
    }
    tokio::task::yield_now().await;
    let mut large = created(SIGNED);
    large["request"]["object"]["metadata"]["annotations"] = json!({"x": "y".repeat(4 * 1024 * 1024)});
    for review in [created(SIGNED), large] {
        let begun = Instant::now();
        let body = review.to_string();
        let request = Request::post("/mutate?timeout=5s").header(CONTENT_TYPE, JSON);
        let request = request.header(http::header::CONTENT_LENGTH, body.len()).body(Body::from(body)).unwrap();
        assert_eq!(door.router().oneshot(request).await.unwrap().status(), StatusCode::OK);
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    }
    let begun = Instant::now();
    while let Some(given_up) = idle.join_next().await {
        assert_eq!(given_up.unwrap().unwrap().status(), StatusCode::REQUEST_TIMEOUT);
    }
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn large_bodies_leave_room_for_the_usual_ones_and_a_full_door_says_so() {
    let door = Admission::new(Arc::new(Fake::default()), Rules::default());
    let ready = || door.router().oneshot(Request::get("/readyz").body(Body::empty()).unwrap());
    assert_eq!(ready().await.unwrap().status(), StatusCode::OK);
    let taken = door.room.large.acquire_many(u32::try_from(body::LARGE_PIECES).unwrap()).await.unwrap();
    assert_eq!(ready().await.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
    for (length, wanted) in [(None, StatusCode::OK), (Some(body::SMALL + 1), StatusCode::OK)] {
        let mut review = as_sent(&created(SIGNED));
        let length = length.unwrap_or(review.len());
        review.push_str(&" ".repeat(length - review.len()));
        let request = Request::post("/mutate?timeout=5s").header(CONTENT_TYPE, JSON);
        let request = request.header(http::header::CONTENT_LENGTH, length).body(Body::from(review)).unwrap();
        let response = door.router().oneshot(request).await.unwrap();
        assert_eq!(response.status(), wanted);
        let answer = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        // The large one waited for room until its time was over.
        assert_eq!(answer["response"]["allowed"], length <= body::SMALL, "{answer}");
    }
    drop(taken);
    assert_eq!(ready().await.unwrap().status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_reviews_are_judged_at_once_than_memory_allows_and_who_waits_too_long_is_denied() {
    let door =
        Admission::new(Arc::new(Fake { delay: Duration::from_millis(1_500), ..Fake::default() }), Rules::default());
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..3 * JUDGED_AT_ONCE {
        let request = Request::post("/validate?timeout=1s").header(CONTENT_TYPE, JSON);
        calls.spawn(door.router().oneshot(request.body(Body::from(as_sent(&created(SIGNED)))).unwrap()));
    }
    while let Some(answered) = calls.join_next().await {
        let answer = to_bytes(answered.unwrap().unwrap().into_body(), usize::MAX).await.unwrap();
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!(answer["response"]["allowed"], false, "{answer}");
    }
    assert_eq!(door.judging.available_permits(), 0, "what hangs still counts");
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
async fn a_review_of_20_mib_is_read_and_one_byte_more_is_refused() {
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
    let allowed = |body: &[u8]| serde_json::from_slice::<Value>(body).unwrap()["response"]["allowed"].clone();
    assert_eq!(allowed(&body), true);
    let (status, body) = call(Fake::default(), Rules::default(), "/validate", more.clone()).await;
    assert_eq!((status, allowed(&body)), (StatusCode::OK, json!(false)));
    // The same without a stated length, and in pieces.
    for (text, wanted) in [(whole, true), (more, false)] {
        let pieces: Vec<Result<Bytes, std::io::Error>> =
            text.as_bytes().chunks(100_000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        let body = Body::from_stream(Pieces(pieces.into()));
        let (status, body) = call(Fake::default(), Rules::default(), "/validate", body).await;
        assert_eq!((status, allowed(&body)), (StatusCode::OK, json!(wanted)));
    }
    let nobody = " ".repeat(MAX_REVIEW_LEN + 1);
    let refused = call(Fake::default(), Rules::default(), "/validate", nobody).await;
    assert_eq!(refused.0, StatusCode::PAYLOAD_TOO_LARGE);
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

/// A door that answers Gatekeeper and ImagePolicyWebhook too.
fn with_other_doors(fake: Fake) -> Arc<Admission> {
    let text = "listen = '127.0.0.1:0'\ncertificate = 'a'\nkey = 'b'\nimage_review = true\n[gatekeeper]\n";
    Admission::configured(Arc::new(fake), &toml::from_str(text).unwrap())
}

async fn posted(door: &Arc<Admission>, path: &str, content_type: Option<&str>, body: Body) -> (StatusCode, Value) {
    let mut request = Request::post(path);
    if let Some(content_type) = content_type {
        request = request.header(CONTENT_TYPE, content_type);
    }
    let response = door.router().oneshot(request.body(body).unwrap()).await.unwrap();
    let status = response.status();
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

fn provider_request(keys: &Value) -> String {
    json!({"apiVersion": "externaldata.gatekeeper.sh/v1beta1", "kind": "ProviderRequest", "request": {"keys": keys}})
        .to_string()
}

#[tokio::test]
async fn questions_of_the_other_doors_that_are_oversized_malformed_or_of_another_type_are_failed_calls() {
    let door = with_other_doors(Fake::default());
    let json_type = Some("application/json");
    let pod = json!({"apiVersion": "imagepolicy.k8s.io/v1alpha1", "kind": "ImageReview", "spec": {"containers": []}});
    for (path, good) in
        [("/gatekeeper/validate", provider_request(&json!([SIGNED]))), ("/imagereview", pod.to_string())]
    {
        assert_eq!(posted(&door, path, json_type, good.clone().into()).await.0, StatusCode::OK);
        for (content_type, body, wanted) in [
            (None, good.clone(), StatusCode::UNSUPPORTED_MEDIA_TYPE),
            (Some("text/plain"), good.clone(), StatusCode::UNSUPPORTED_MEDIA_TYPE),
            (json_type, String::new(), StatusCode::BAD_REQUEST),
            (json_type, "[".repeat(1_000_000), StatusCode::BAD_REQUEST),
            (json_type, good.replacen('{', "{\"kind\":\"x\",", 1), StatusCode::BAD_REQUEST),
            (json_type, good.replacen("kind", "Kind", 1), StatusCode::BAD_REQUEST),
            (json_type, created(SIGNED).to_string(), StatusCode::BAD_REQUEST),
            (json_type, " ".repeat(MAX_REVIEW_LEN + 1), StatusCode::PAYLOAD_TOO_LARGE),
        ] {
            assert_eq!(posted(&door, path, content_type, body.clone().into()).await.0, wanted, "{path} {body:.60}");
        }
        // A question of the largest size is read.
        let large = good.replacen('{', &format!("{{\"x\":\"{}\",", "y".repeat(MAX_REVIEW_LEN - good.len() - 100)), 1);
        assert_eq!(posted(&door, path, json_type, large.into()).await.0, StatusCode::OK);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_breaks_or_hangs_while_gatekeeper_waits_is_an_error_of_the_whole_and_never_a_value() {
    let question = provider_request(&json!([SIGNED]));
    for (fake, says) in [
        (Fake { delay: Duration::from_secs(5), ..Fake::default() }, "no decision in time"),
        (Fake { breaks: true, ..Fake::default() }, "the decision broke off"),
    ] {
        let door = with_other_doors(fake);
        let (status, answer) =
            posted(&door, "/gatekeeper/mutate", Some("application/json"), question.clone().into()).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!((&answer["response"]["systemError"], &answer["response"]["items"]), (&json!(says), &json!([])));
    }
    // Others have all turns: also then there is an answer in time.
    let door = with_other_doors(Fake::default());
    let _all = door.judging.acquire_many(u32::try_from(JUDGED_AT_ONCE).unwrap()).await.unwrap();
    let (_, answer) = posted(&door, "/gatekeeper/mutate", Some("application/json"), question.into()).await;
    assert!(!answer["response"]["systemError"].as_str().unwrap().is_empty(), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_question_of_gatekeeper_that_does_not_come_is_given_up() {
    let door = with_other_doors(Fake::default());
    for path in ["/gatekeeper/validate", "/gatekeeper/mutate", "/imagereview"] {
        let (status, _) = posted(&door, path, Some("application/json"), Body::from_stream(Never)).await;
        assert_eq!(status, StatusCode::REQUEST_TIMEOUT, "{path}");
    }
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

struct Stalled(Option<Bytes>);

impl futures_core::Stream for Stalled {
    type Item = Result<Bytes, std::io::Error>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        match self.0.take() {
            Some(first) => std::task::Poll::Ready(Some(Ok(first))),
            None => std::task::Poll::Pending,
        }
    }
}
