//! The table of who may do what: every principal on every route.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice, clippy::print_stderr)]

mod common;

use axum::body::Body;
use common::*;
use http::Request;
use trust_server::store::Store;

/// Route, method, body: one row for each operation.
const OPERATIONS: [(&str, &str, &str); 9] = [
    ("GET", "/tuf/r.example/pay/_metadata/1.root.json", ""),
    ("GET", "/tuf/r.example/pay/_targets/x", ""),
    ("GET", "/v1/r.example/pay/_log", ""),
    ("GET", "/v1/_collections", ""),
    ("POST", "/v1/_collections", r#"{"name":"r.example/pay"}"#),
    ("POST", "/v1/r.example/pay/_online-keys", "{"),
    ("POST", "/v1/r.example/pay/_publications", "{"),
    ("GET", "/livez", ""),
    ("GET", "/readyz", ""),
];

async fn row(world: &World, token: Option<&str>) -> Vec<u16> {
    let mut row = Vec::new();
    for (method, path, body) in OPERATIONS {
        row.push(world.send(method, path, token, body.as_bytes().to_vec()).await.status.as_u16());
    }
    row
}

#[test]
fn every_route_of_the_document_has_its_rows_here() {
    for route in &trust_server::api::openapi::ROUTES {
        let pattern = route.path.replace("{collection}", "r.example/pay");
        let start = pattern.split('{').next().unwrap();
        let found = OPERATIONS.iter().any(|(method, path, _)| {
            method.eq_ignore_ascii_case(route.method)
                && if start == pattern { *path == pattern } else { path.starts_with(start) }
        });
        assert!(found, "{} {}", route.method, route.path);
    }
}

#[tokio::test]
async fn every_principal_on_every_operation() {
    for anonymous_read in [true, false] {
        let world = World::with(anonymous_read).await;
        world.born().await;
        let expired = world.token_until("expired", "*=read,publish,admin", Some(*START)).await;
        let revoked = world.token("revoked", "*=read,publish,admin").await;
        assert!(world.store.revoke_token("revoked", event()).await.unwrap());
        let others = trust_server::app::auth::new_token().unwrap().0;
        let token = |name: &'static str, scope: &'static str| world.token(name, scope);

        let (reader, publisher) =
            (token("reader", "r.example/pay=read").await, token("pub", "r.example/pay=publish").await);
        let (elsewhere, below) = (
            token("else", "r.example/other=read,publish,admin").await,
            token("below", "r.example/pay/*=read,publish,admin").await,
        );
        let (admin, prefix) =
            (token("adm", "r.example/pay=admin").await, token("prefix", "r.example/*=read,publish,admin").await);

        // 404: allowed, and nothing there; 400: allowed, and the body is malformed.
        let all = [200, 404, 200, 200, 200, 400, 400, 200, 200];
        let nobody = [401, 401, 401, 401, 401, 401, 401, 200, 200];
        // What anonymous may do holds for every valid token: metadata, contents, the log.
        let with = |row: [u16; 9]| {
            let free = [200, 404, 200];
            std::array::from_fn::<_, 9, _>(|i| if anonymous_read && i < 3 { free[i] } else { row[i] })
        };
        let table = [
            ("anonymous", None, if anonymous_read { [200, 404, 200, 401, 401, 401, 401, 200, 200] } else { nobody }),
            ("reader", Some(&reader), [200, 404, 200, 200, 403, 403, 403, 200, 200]),
            ("publisher", Some(&publisher), with([403, 403, 403, 403, 403, 400, 400, 200, 200])),
            ("of another collection", Some(&elsewhere), with([403, 403, 403, 200, 403, 403, 403, 200, 200])),
            ("of what is below", Some(&below), with([403, 403, 403, 200, 403, 403, 403, 200, 200])),
            ("admin", Some(&admin), with([403, 403, 403, 403, 200, 403, 403, 200, 200])),
            ("of the prefix", Some(&prefix), all),
            ("of everything", Some(&world.admin), all),
        ];
        for (who, token, expected) in table {
            assert_eq!(
                row(&world, token.map(String::as_str)).await,
                expected,
                "{who}, anonymous_read {anonymous_read}"
            );
        }
        // A token that is no good is not anonymous either.
        let garbage = format!("trust_{}", "z".repeat(64));
        for (who, token) in
            [("expired", &expired), ("revoked", &revoked), ("of another server", &others), ("garbage", &garbage)]
        {
            assert_eq!(row(&world, Some(token)).await, nobody, "{who}");
        }
    }
}

#[tokio::test]
async fn without_permission_a_collection_that_exists_answers_like_one_that_does_not() {
    let world = World::with(false).await;
    world.born().await;
    let token = world.token("other", "r.example/other=read").await;
    for token in [None, Some(token.as_str())] {
        let there = world.send("GET", "/tuf/r.example/pay/_metadata/1.root.json", token, Vec::new()).await;
        let not_there = world.send("GET", "/tuf/r.example/none/_metadata/1.root.json", token, Vec::new()).await;
        assert_eq!((there.status, &there.body), (not_there.status, &not_there.body));
        assert_eq!(there.headers, not_there.headers);
    }
    // And no cache on the way keeps what not everybody may read.
    let mine = world.send("GET", "/tuf/r.example/pay/_metadata/1.root.json", Some(&world.admin), Vec::new()).await;
    assert_eq!(mine.header("cache-control"), "private, max-age=31536000, immutable");
    let list = world.send("GET", "/v1/_collections", Some(&token), Vec::new()).await.json();
    assert_eq!(list["collections"].as_array().unwrap().len(), 0);
}

#[tokio::test]
async fn anonymous_reading_does_not_show_the_names_of_collections_to_holders_of_other_tokens() {
    let world = World::with(true).await;
    world.born().await;
    for (name, scope, seen) in [("o", "r.example/other=read", 0), ("p", "r.example/*=read", 1)] {
        let token = world.token(name, scope).await;
        let list = world.send("GET", "/v1/_collections", Some(&token), Vec::new()).await.json();
        assert_eq!(list["collections"].as_array().unwrap().len(), seen, "{scope}");
    }
}

#[tokio::test]
async fn malformed_authorization_is_nobody_and_its_text_is_not_repeated() {
    let world = World::new().await;
    world.born().await;
    let admin = world.admin.clone();
    for value in [
        String::new(),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        admin.clone(),
        format!("Basic {admin}"),
        format!("Bearer {admin}x"),
        format!("Bearer {}", admin.to_uppercase()),
        format!("Bearer {admin},{admin}"),
    ] {
        let request =
            Request::get(format!("/v1/{NAME}/_log")).header("authorization", &value).body(Body::empty()).unwrap();
        let answer = world.raw(request).await;
        assert_eq!(answer.status.as_u16(), 401, "{value}");
        assert!(answer.header("www-authenticate").starts_with("Bearer"));
        assert!(!String::from_utf8_lossy(&answer.body).contains(&admin));
    }
    let twice = Request::get(format!("/v1/{NAME}/_log"))
        .header("authorization", format!("Bearer {admin}"))
        .header("authorization", format!("Bearer {admin}"))
        .body(Body::empty())
        .unwrap();
    assert_eq!(world.raw(twice).await.status.as_u16(), 401);
}

#[tokio::test]
async fn the_database_holds_no_token() {
    let world = World::new().await;
    let secret = world.admin.trim_start_matches("trust_").to_owned();
    for file in ["server.db", "server.db-wal"] {
        let bytes = std::fs::read(world.dir.path().join("data").join(file)).unwrap();
        assert!(!bytes.windows(secret.len()).any(|w| w == secret.as_bytes()), "{file}");
        let raw = hex::decode(&secret).unwrap();
        assert!(!bytes.windows(raw.len()).any(|w| w == raw), "{file}");
    }
}
