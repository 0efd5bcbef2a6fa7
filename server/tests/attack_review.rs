//! Attacks of publishers with a valid token on everybody else, and on their own collection.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // a test program

mod common;

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use common::{Key, NAME, World, alice_key, delegating_targets, expires, first_alice, first_root, request, sign};
use common::{root_key, targets_key, undelegating_targets};
use http::{Request, StatusCode};
use hyper::body::Frame;
use trust_tuf::RoleType;
use trust_tuf::draft::{Draft, NewDelegation};
use trust_wire::api::PublicationRequest;

/// A body that never comes.
struct Never;

impl hyper::body::Body for Never {
    type Data = bytes::Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Self::Data>, Infallible>>> {
        std::task::Poll::Pending
    }
}

#[tokio::test]
async fn one_token_with_many_slow_uploads_does_not_keep_others_from_publishing() {
    let world = World::new().await;
    let reserve = br#"{"name":"r.example/other"}"#.to_vec();
    assert_eq!(world.send("POST", "/v1/_collections", Some(&world.admin), reserve).await.status, StatusCode::OK);
    let mallory = world.token("mallory", "r.example/other=publish").await;
    let slow: Vec<_> = (0..16)
        .map(|_| {
            let router = world.router.clone();
            let request = Request::post("/v1/r.example/other/_publications")
                .header("authorization", format!("Bearer {mallory}"))
                .header("content-length", "40000000")
                .body(Body::new(Never))
                .unwrap();
            tokio::spawn(async move { tower::ServiceExt::oneshot(router, request).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(200)).await;
    // Without a length this counts as large too.
    tokio::time::timeout(Duration::from_secs(20), world.born()).await.expect("the places are taken");
    // Whoever goes away gives the share back.
    for task in slow {
        task.abort();
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    let answer = world.send("POST", "/v1/r.example/other/_publications", Some(&mallory), b"{}".to_vec()).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{answer:?}");
}

#[tokio::test]
async fn a_role_that_begins_again_with_other_content_is_refused_and_does_not_block_the_collection() {
    let world = World::new().await;
    let targets = world.born().await;
    let two = delegating_targets(&targets);
    world.publish(&request(2, 1, &[("targets", 1, two.clone()), ("alice", 0, first_alice())])).await.published();
    let three = undelegating_targets(&two);
    world.publish(&request(3, 1, &[("targets", 2, three.clone())])).await.published();
    // All snapshot keys are replaced: the tombstone goes.
    let mut root = Draft::next(&first_root(), expires()).unwrap();
    root.set_role(RoleType::Snapshot, &[Key::new(99).public()], 1);
    let root = sign(&root, &[&root_key()]);
    let only_root = PublicationRequest { roots: vec![root.into()], ..request(4, 1, &[]) };
    world.publish(&only_root).await.published();

    let mut four = Draft::next(&three, expires()).unwrap();
    four.set_delegation(&NewDelegation {
        name: "alice".to_owned(),
        keys: vec![alice_key().public()],
        threshold: 1,
        terminating: false,
        patterns: vec!["web/*".to_owned()],
    });
    let four = sign(&four, &[&targets_key()]);
    let other = sign(&Draft::targets(expires().plus_secs(1).unwrap()), &[&alice_key()]);
    let answer = world.publish(&request(5, 2, &[("targets", 3, four.clone()), ("alice", 0, other)])).await;
    assert_eq!((answer.status, answer.rule().as_str()), (StatusCode::UNPROCESSABLE_ENTITY, "next_version"));
    // Nothing is left that blocks.
    let next = common::next_targets(&three, "x", b"x");
    world.publish(&request(6, 2, &[("targets", 3, next)])).await.published();
    assert_eq!(world.fetch(&format!("/tuf/{NAME}/_metadata/1.alice.json")).await.body, first_alice());
}
