//! What HTTP sees: caches, hostile paths, limits, tokens in URLs, names.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice, clippy::print_stderr)]

mod common;

use axum::body::Body;
use common::*;
use http::{Request, StatusCode};

#[tokio::test]
async fn versioned_files_are_immutable_and_the_timestamp_is_short_lived_with_304() {
    let world = World::new().await;
    world.born().await;
    let root = world.file("1.root.json").await;
    assert_eq!(root.header("cache-control"), "public, max-age=31536000, immutable");
    assert_eq!(root.header("etag"), format!("\"{}\"", hex::encode(trust_tuf::model::sha256(&first_root()))));
    assert_eq!((root.header("content-type"), &*root.body), ("application/json", &*first_root()));
    let timestamp = world.file("timestamp.json").await;
    assert_eq!(timestamp.header("cache-control"), "public, max-age=1, must-revalidate");
    let etag = timestamp.header("etag").to_owned();
    let with = |tag: String| {
        let path = format!("/tuf/{NAME}/_metadata/timestamp.json");
        world.raw(Request::get(path).header("if-none-match", tag).body(Body::empty()).unwrap())
    };
    for tag in [etag.clone(), format!("W/{etag}"), format!("\"x\", {etag}"), "*".to_owned()] {
        let answer = with(tag.clone()).await;
        assert_eq!((answer.status.as_u16(), answer.body.len()), (304, 0), "{tag}");
        assert_eq!(answer.header("etag"), etag);
    }
    for tag in ["\"x\"".to_owned(), etag.replace('"', ""), String::new()] {
        assert_eq!(with(tag.clone()).await.status, StatusCode::OK, "{tag}");
    }
    let next = world.file("2.root.json").await;
    assert_eq!((next.status.as_u16(), next.header("cache-control")), (404, "no-store"));
}

#[tokio::test]
async fn head_answers_the_head_of_get_without_a_body() {
    let world = World::new().await;
    world.born().await;
    for path in
        [format!("/tuf/{NAME}/_metadata/1.root.json"), format!("/tuf/{NAME}/_metadata/2.root.json"), "/livez".into()]
    {
        let (get, head) = (world.fetch(&path).await, world.send("HEAD", &path, None, Vec::new()).await);
        assert_eq!(head.status, get.status);
        assert!(head.body.is_empty() && !get.body.is_empty());
        assert_eq!(head.headers, get.headers);
        assert_eq!(head.header("content-length"), get.body.len().to_string());
    }
}

#[tokio::test]
async fn traversal_and_hostile_names_find_nothing() {
    let world = World::new().await;
    world.born().await;
    for path in [
        "/tuf/",
        "/tuf/x",
        "/tuf/r.example/pay",
        "/tuf/r.example/pay/_metadata",
        "/tuf/r.example/pay/_metadata/",
        "/tuf/r.example/pay/_metadata/../timestamp.json",
        "/tuf/r.example/pay/_metadata/%2e%2e/timestamp.json",
        "/tuf/r.example/pay/_metadata/..%2f..%2fserver.db",
        "/tuf/r.example/pay/_metadata/..%252f..%252fserver.db",
        "/tuf/r.example/pay/_metadata/1.root.json/",
        "/tuf/r.example/pay/_metadata//1.root.json",
        "/tuf/r.example/pay/_metadata/01.root.json",
        "/tuf/r.example/pay/_metadata/root.json",
        "/tuf/r.example/pay/_metadata/1.root.json%00",
        "/tuf/r.example/pay/_metadata/%31.ROOT.json",
        "/tuf/r.example//pay/_metadata/1.root.json",
        "/tuf/r.example/pay/../pay/_metadata/1.root.json",
        "/tuf/R.example/pay/_metadata/1.root.json",
        "/tuf/r.example%2fpay/_metadata/1.root.json",
        "/tuf/r.example/pay/x/../_metadata/1.root.json",
        "/tuf//etc/passwd",
        "/tuf/r.example/pay/_targets/../../x",
        "/tuf/r.example/pay/_other/1.root.json",
        "/tuf/r.example/pay%0a/_metadata/1.root.json",
        "/tuf/r.example/pay/_metadata/18446744073709551617.root.json",
        "/v1/",
        "/v1/_x",
        "/v1/r.example/pay/_x",
        "/v1/r.example/pay/_log/x",
        "/",
        "/tuf",
        "/etc/passwd",
    ] {
        let answer = world.fetch(path).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (404, "not_found"), "{path}");
        assert_eq!(answer.header("cache-control"), "no-store", "{path}");
    }
    // The one encoding that clients may use finds the one file.
    assert_eq!(world.fetch("/tuf/r.example/pay/_metadata/%31.root.json").await.status, StatusCode::OK);
}

#[tokio::test]
async fn hostile_collection_names_cannot_be_reserved_and_neighbours_neither() {
    let world = World::new().await;
    world.born().await;
    let reserve = |name: String| {
        let body = serde_json::to_vec(&serde_json::json!({ "name": name })).unwrap();
        world.send("POST", "/v1/_collections", Some(&world.admin), body)
    };
    for name in [
        "",
        "pay",
        "r.example",
        "r.example/",
        "R.example/pay",
        "r.example/../pay",
        "r.example/_x",
        "r.example/a//b",
        "r.example/a%2fb",
        "r.example/a\u{0}",
        "r.example/a\n",
        "r.example/\u{430}",
        "r.example/a b",
        "-r/a",
        "/r/a",
        "http://r.example/a",
        "user@r.example/a",
        "r.example/a\u{202e}",
        "r.example/.a",
        "r.example:99999/a",
    ] {
        let answer = reserve(name.to_owned()).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (400, "bad_request"), "{name:?}");
    }
    assert_eq!(reserve(format!("r.example/{}", "a".repeat(250))).await.status.as_u16(), 400);
    for name in ["r.example/pay/api", "r.example/pay/api/deep"] {
        assert_eq!(reserve(name.to_owned()).await.code(), "conflict", "{name}");
    }
    assert_eq!(reserve("r.example/payroll".to_owned()).await.json()["published"], false);
    assert_eq!(reserve(NAME.to_owned()).await.json()["published"], true);
}

#[tokio::test]
async fn a_token_in_a_url_is_refused_wherever_it_stands() {
    let world = World::new().await;
    world.born().await;
    let token = world.admin.clone();
    for query in [
        format!("token={token}"),
        "token=x".to_owned(),
        "Access_Token=x".to_owned(),
        format!("a=1&x={token}"),
        "to%6ben=x".to_owned(),
        "apikey=x".to_owned(),
        "authorization=x".to_owned(),
    ] {
        for path in
            [format!("/tuf/{NAME}/_metadata/timestamp.json"), format!("/v1/{NAME}/_log"), "/v1/_collections".into()]
        {
            let answer = world.send("GET", &format!("{path}?{query}"), Some(&token), Vec::new()).await;
            assert_eq!(answer.status.as_u16(), 400, "{path}?{query}");
            assert!(!String::from_utf8_lossy(&answer.body).contains(&token));
        }
    }
}

#[tokio::test]
async fn bodies_beyond_their_limit_are_413_stated_or_not() {
    let world = World::new().await;
    world.born().await;
    let large = vec![b' '; trust_wire::api::SMALL_BODY + 1];
    for path in ["/v1/_collections".to_owned(), format!("/v1/{NAME}/_online-keys")] {
        let answer = world.send("POST", &path, Some(&world.admin), large.clone()).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (413, "too_large"), "{path}");
        let lying = Request::post(&path)
            .header("authorization", format!("Bearer {}", world.admin))
            .header("content-length", "10")
            .body(Body::from(large.clone()))
            .unwrap();
        assert_eq!(world.raw(lying).await.status.as_u16(), 413, "{path}");
    }
    let stated = Request::post(format!("/v1/{NAME}/_publications"))
        .header("authorization", format!("Bearer {}", world.admin))
        .header("content-length", "999999999")
        .body(Body::empty())
        .unwrap();
    assert_eq!(world.raw(stated).await.status.as_u16(), 413);
}

#[tokio::test]
async fn other_methods_are_405_and_name_the_right_ones() {
    let world = World::new().await;
    world.born().await;
    for (method, path, allow) in [
        ("POST", format!("/tuf/{NAME}/_metadata/timestamp.json"), "GET, HEAD"),
        ("DELETE", "/v1/_collections".to_owned(), "GET, HEAD, POST"),
        ("GET", format!("/v1/{NAME}/_publications"), "POST"),
        ("PUT", format!("/v1/{NAME}/_online-keys"), "POST"),
        ("POST", format!("/v1/{NAME}/_log"), "GET, HEAD"),
        ("POST", "/livez".to_owned(), "GET, HEAD"),
        ("POST", "/readyz".to_owned(), "GET, HEAD"),
    ] {
        let answer = world.send(method, &path, Some(&world.admin), Vec::new()).await;
        assert_eq!((answer.status.as_u16(), answer.header("allow")), (405, allow), "{method} {path}");
    }
}

#[tokio::test]
async fn health_says_who_is_missing() {
    let world = World::new().await;
    assert_eq!(world.fetch("/livez").await.status, StatusCode::OK);
    let ready = world.fetch("/readyz?verbose").await.json();
    assert_eq!((ready["ready"].as_bool(), ready["signer"].as_bool()), (Some(true), Some(true)));
    world.signer.set(Mode::Down);
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    let ready = world.fetch("/readyz?verbose").await;
    assert_eq!(ready.status.as_u16(), 503);
    assert_eq!((ready.json()["database"].as_bool(), ready.json()["signer"].as_bool()), (Some(true), Some(false)));
    assert_eq!(world.fetch("/livez").await.status, StatusCode::OK);
}

#[tokio::test]
async fn online_keys_are_asked_for_with_known_roles_and_a_nonce() {
    let world = World::new().await;
    world.born().await;
    let path = format!("/v1/{NAME}/_online-keys");
    for body in [
        r#"{"roles":[],"nonce":"0123456789abcdef"}"#,
        r#"{"roles":["root"],"nonce":"0123456789abcdef"}"#,
        r#"{"roles":["timestamp","timestamp"],"nonce":"0123456789abcdef"}"#,
        r#"{"roles":["timestamp"],"nonce":"short"}"#,
        r#"{"roles":["timestamp"],"nonce":"0123456789abcde\n"}"#,
        r#"{"roles":["timestamp"]}"#,
    ] {
        let answer = world.send("POST", &path, Some(&world.admin), body.as_bytes().to_vec()).await;
        assert_eq!(answer.status.as_u16(), 400, "{body}");
    }
    // A signer that answers with fewer proofs than roles is not passed on.
    let body = br#"{"roles":["timestamp"],"nonce":"0123456789abcdef"}"#.to_vec();
    let answer = world.send("POST", &path, Some(&world.admin), body).await;
    assert_eq!(answer.code(), "signer_unavailable");
}

#[tokio::test]
async fn a_head_of_more_than_32_kib_is_refused_with_431_and_one_below_is_answered() {
    let world = World::new().await;
    let ask = |bytes: usize, count: usize| {
        let mut request = Request::get("/livez");
        for n in 0..count {
            request = request.header(format!("x-filler-{n}"), "a".repeat(bytes / count));
        }
        world.raw(request.body(Body::empty()).unwrap())
    };
    assert_eq!(ask(30 * 1024, 1).await.status, StatusCode::OK);
    assert_eq!(ask(30 * 1024, 50).await.status, StatusCode::OK);
    for count in [1, 50] {
        let answer = ask(33 * 1024, count).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (431, "too_large"), "{count}");
    }
    let path = format!("/tuf/{}", "a".repeat(40 * 1024));
    assert_eq!(world.fetch(&path).await.status.as_u16(), 431);
}

#[tokio::test(start_paused = true)]
async fn contents_that_are_asked_for_and_not_taken_have_bounded_memory_and_current_files_go_on() {
    let world = World::new().await;
    let first = world.born().await;
    let large = vec![7; 4 * 1024 * 1024];
    let mut publication = request(2, 1, &[("targets", 1, next_targets(&first, "v1", &large))]);
    publication.blobs = vec![trust_wire::api::Blob { path: "v1".to_owned(), bytes: large.clone().into() }];
    world.publish(&publication).await.published();
    let (name, hash) = (trust_tuf::CollectionName::parse(NAME).unwrap(), hex::encode(trust_tuf::model::sha256(&large)));
    let mut held = Vec::new();
    while let Ok(file) = world.app.content(&name, "v1", &hash).await {
        held.push(file);
        assert!(held.len() < 100, "nothing bounds what is in memory");
    }
    assert!(held.len() >= 10, "{}", held.len());
    assert_eq!(world.file("2.targets.json").await.status, StatusCode::OK);
    assert_eq!(world.file("timestamp.json").await.status, StatusCode::OK);
    held.clear();
    assert!(world.app.content(&name, "v1", &hash).await.is_ok());
}
