//! Bad days of the upstream and bad clients: whoever is not concerned notices nothing, and what is cut is never complete.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use trust_image::Digest;

use super::testing::{Answer, World, ok, with};

const APP: &str = "team/app";

fn head(rest: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nConnection: close\r\n{rest}\r\n\r\n").into_bytes()
}

#[tokio::test]
async fn f18_an_upstream_that_limits_fails_redirects_or_cuts_is_told_apart() {
    let world = World::start().await;
    let (image, ..) = world.image(APP, "signed");
    let digest = world.fake.sign(APP, "v1", &image);
    let path = format!("/v2/{APP}/manifests/{digest}");
    let cut = [head(&format!("Content-Length: {}", image.len())), image[..20].to_vec()].concat();
    for (lie, status, code, wait) in [
        (with(429, "Retry-After", "120"), 429, "TOOMANYREQUESTS", "120"),
        (with(429, "Retry-After", "99999999"), 429, "TOOMANYREQUESTS", "3600"),
        (with(429, "Retry-After", "Fri, 31 Dec 2027 23:59:59 GMT"), 429, "TOOMANYREQUESTS", "5"),
        (Answer::Full(500, Vec::new(), b"<html>".to_vec()), 503, "UNAVAILABLE", "5"),
        (Answer::Raw(cut), 503, "UNAVAILABLE", "5"),
        (Answer::Raw(Vec::new()), 503, "UNAVAILABLE", "5"),
        (with(307, "Location", path.clone()), 502, "UNKNOWN", ""),
        (ok(vec![b' '; 5 * 1024 * 1024]), 502, "UNKNOWN", ""),
    ] {
        world.upstream.lie(&path, lie);
        let got = world.manifest(APP, "v1").await;
        assert_eq!((got.status, got.code().as_str(), got.header("retry-after")), (status, code, wait));
        assert!(got.complete);
    }
}

#[tokio::test]
async fn f18_a_tag_that_moves_between_head_and_get_makes_no_difference() {
    let world = World::start().await;
    let (image, ..) = world.image(APP, "signed");
    let (moved, ..) = world.image(APP, "moved");
    world.fake.sign(APP, "v1", &image);
    let first = world.ask("HEAD", "/v2/team/app/manifests/v1", &[]).await;
    world.upstream.lie("/v2/team/app/manifests/v1", ok(moved));
    let second = world.manifest(APP, "v1").await;
    assert_eq!(first.header("docker-content-digest"), second.header("docker-content-digest"));
    assert_eq!(second.body, image);
}

#[tokio::test]
async fn f18_a_large_blob_in_pieces_whose_last_byte_is_wrong_is_cut_before_its_end() {
    let world = World::start().await;
    let layer: Vec<u8> = (0..100_000_000_u32).map(|n| (n >> 8) as u8).collect();
    let config = b"config".to_vec();
    let manifest = super::testing::manifest(&config, &layer);
    world.upstream.hold(APP, "manifests", &manifest);
    world.fake.sign(APP, "v1", &manifest);
    let path = format!("/v2/{APP}/blobs/{}", Digest::of(&layer));
    let pieces = |last: &[u8]| {
        let mut bytes = head("Transfer-Encoding: chunked");
        for piece in layer[..layer.len() - 5].chunks(1 << 20).chain([last]) {
            bytes.extend(format!("{:x}\r\n", piece.len()).bytes());
            bytes.extend_from_slice(piece);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"0\r\n\r\n");
        Answer::Raw(bytes)
    };
    let right = layer[layer.len() - 5..].to_vec();
    world.upstream.lie(&path, pieces(&right));
    let got = world.get(&path).await;
    assert!(got.complete && got.body == layer);
    let mut wrong = right.clone();
    wrong[4] ^= 1;
    for last in [wrong.as_slice(), &right[..4], &[right.as_slice(), b"x"].concat()] {
        world.upstream.lie(&path, pieces(last));
        let got = world.get(&path).await;
        assert!(got.status == 200 && !got.complete && got.body.len() < layer.len(), "{}", got.body.len());
    }
}

#[tokio::test]
async fn f12_clients_that_send_a_byte_now_and_then_or_do_not_read_leave_the_others_alone() {
    let world = World::start().await;
    let (image, _, layer) = world.image(APP, "signed");
    world.fake.sign(APP, "v1", &image);
    let mut held = Vec::new();
    for n in 0..300 {
        let mut stream = TcpStream::connect(world.gate).await.unwrap();
        let request = format!("GET /v2/{APP}/blobs/{} HTTP/1.1\r\nhost: gate\r\n\r\n", Digest::of(&layer));
        let sent = if n % 2 == 0 { &request.as_bytes()[..30] } else { request.as_bytes() };
        stream.write_all(sent).await.unwrap();
        held.push(stream);
    }
    for _ in 0..20 {
        assert_eq!(world.manifest(APP, "v1").await.body, image);
        assert_eq!(world.blob(APP, &layer).await.body, layer);
    }
    drop(held);
}

#[tokio::test]
async fn f12_a_flood_of_resets_and_of_another_protocol_leaves_the_gate_standing() {
    let world = Arc::new(World::start().await);
    let (image, _, layer) = world.image(APP, "signed");
    world.fake.sign(APP, "v1", &image);
    assert_eq!(world.blob(APP, &layer).await.body, layer);
    let request = format!("GET /v2/{APP}/blobs/{} HTTP/1.1\r\nhost: gate\r\n\r\n", Digest::of(&layer));
    for _ in 0..40 {
        let flood = (0..50).map(|_| {
            let (gate, request) = (world.gate, request.clone());
            async move {
                let mut stream = TcpStream::connect(gate).await.unwrap();
                let _ = stream.write_all(request.as_bytes()).await;
                // What was not read makes a reset of the end.
                let _ = stream.read(&mut [0; 16]).await;
            }
        });
        let mut tasks = tokio::task::JoinSet::new();
        flood.for_each(|one| {
            tasks.spawn(one);
        });
        while tasks.join_next().await.is_some() {}
    }
    // The listener speaks HTTP/1.1 alone: there are no streams that could be opened and reset.
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let (text, closed) = world.raw_to_end(preface, Duration::from_secs(2)).await;
    assert!(closed && !text.contains(" 200 "), "{text}");
    assert_eq!(world.manifest(APP, "v1").await.body, image);
}

#[tokio::test]
async fn f12_an_upstream_that_drips_one_blob_does_not_hold_up_the_others() {
    let world = World::start().await;
    let (image, _, layer) = world.image(APP, "signed");
    let (other, config, _) = world.image(APP, "other");
    world.fake.sign(APP, "v1", &image);
    world.fake.sign(APP, "v2", &other);
    // It states the length, sends a little and ends: the answer begins and is cut.
    let drip = [head(&format!("Content-Length: {}", layer.len())), layer[..10].to_vec()].concat();
    let path = format!("/v2/{APP}/blobs/{}", Digest::of(&layer));
    world.upstream.lie(&path, Answer::Drip(drip));
    let mut slow = Vec::new();
    for _ in 0..64 {
        let mut stream = TcpStream::connect(world.gate).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: gate\r\n\r\n").as_bytes()).await.unwrap();
        slow.push(stream);
    }
    assert_eq!(world.manifest(APP, "v2").await.body, other);
    assert_eq!(world.blob(APP, &config).await.body, config);
}
