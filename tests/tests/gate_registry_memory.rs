//! Memory of the real gate while large blobs pass through it, in both directions.

mod gate_registry_world;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use gate_registry_world::*;
use serde_json::json;
use trust_image::Digest;
use trust_tests::bench::process::peak_of;
use trust_tests::stack::gate::GateOptions;
use trust_tests::stack::images::Image;
use trust_tests::stack::scene::ask;

/// Clients at one time.
const CLIENTS: usize = 40;
/// Bytes of the blob.
const BLOB: usize = 50_000_000;
/// What the gate may take for all of them, over what it had before.
const ROOM: u64 = 64_000_000;

fn content() -> Vec<u8> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..BLOB).map(|_| next()).collect()
}

/// An image with this layer, pushed past the gate.
fn publish(world: &World, layer: &[u8]) -> String {
    let (registry, name) = (&world.scene.stack.registry, "demo/app");
    let diff = Digest::of(layer).to_string();
    let config = json!({ "architecture": "amd64", "os": "linux", "config": {}, "rootfs": { "type": "layers", "diff_ids": [diff] } });
    let config = serde_json::to_vec(&config).unwrap();
    upload(registry, name, layer);
    upload(registry, name, &config);
    let descriptor = |kind: &str, content: &[u8]| json!({ "mediaType": format!("application/vnd.oci.image.{kind}"), "digest": Digest::of(content).to_string(), "size": content.len() });
    let body = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": descriptor("config.v1+json", &config),
        "layers": [descriptor("layer.v1.tar", layer)] });
    let body = serde_json::to_vec(&body).unwrap();
    put(registry, "/v2/demo/app/manifests/large", MANIFEST, &body);
    let digest = Digest::of(&body).to_string();
    world.sign(&Image { digest: digest.clone(), layout: world.dir.path().to_owned() }, "app:large");
    digest
}

/// Reads a blob as it comes and keeps none of it: the digest of what came.
fn pull(address: &str, path: &str) -> (usize, Digest) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").unwrap();
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&head));
    let (mut hasher, mut count, mut buffer) = (Digest::of(b"").hasher(), 0, vec![0; 1 << 18]);
    loop {
        let n = stream.read(&mut buffer).unwrap();
        if n == 0 {
            return (count, hasher.finish());
        }
        hasher.update(&buffer[..n]);
        count += n;
    }
}

/// Asks for a blob and reads nothing of it.
fn ask_and_wait(address: &str, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n").unwrap();
    stream
}

#[test]
fn f12_hundreds_who_ask_and_do_not_read_or_send_half_a_head_take_little_and_hold_nobody_up() {
    let world = World::start();
    let layer = content();
    let digest = Digest::of(&layer);
    let manifest = publish(&world, &layer);
    let gate = world.launch(&world.options("slow"));
    assert!(comes(|| by(&gate, &manifest).status == 200));
    let path = format!("/v2/demo/app/blobs/{digest}");
    assert_eq!(pull(&gate.address, &path), (BLOB, digest));
    let before = peak_of(gate.process.id());
    let waiting: Vec<TcpStream> = (0..64).map(|_| ask_and_wait(&gate.address, &path)).collect();
    // More than there are places, and none of them says what it wants.
    let silent: Vec<TcpStream> = (0..1_500)
        .map(|n| {
            let mut stream = TcpStream::connect(&gate.address).unwrap();
            let _ = stream.write_all(if n % 2 == 0 { b"GET /v2/ HT" } else { b"" });
            stream
        })
        .collect();
    for _ in 0..5 {
        assert_eq!(by(&gate, &manifest).status, 200);
    }
    assert_eq!(pull(&gate.address, &path), (BLOB, digest));
    let over = peak_of(gate.process.id()).saturating_sub(before);
    println!("64 who do not read and 1500 who say nothing: {over} bytes over what it had");
    assert!(over < ROOM, "{over}");
    drop((waiting, silent));
    // And a flood of those who ask and are gone.
    for _ in 0..1_000 {
        drop(ask_and_wait(&gate.address, &path));
    }
    assert_eq!(pull(&gate.address, &path), (BLOB, digest));
    let over = peak_of(gate.process.id()).saturating_sub(before);
    println!("and a thousand resets: {over} bytes over what it had");
    assert!(over < ROOM, "{over}");
}

#[test]
fn forty_large_blobs_at_one_time_pass_in_constant_memory_down_and_up() {
    let world = World::start();
    let layer = content();
    let digest = Digest::of(&layer);
    let manifest = publish(&world, &layer);
    let options = GateOptions { registry: "push = true\n".to_owned(), ..world.options("memory") };
    let gate = world.launch(&options);
    assert!(comes(|| by(&gate, &manifest).status == 200));
    let path = format!("/v2/demo/app/blobs/{digest}");
    let small = ask(&gate.address, "GET", &path, &[("range", "bytes=0-9")]).unwrap();
    assert_eq!(small.status, 206);

    let before = peak_of(gate.process.id());
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(|| pull(&gate.address, &path))).collect();
        for client in clients {
            assert_eq!(client.join().unwrap(), (BLOB, digest));
        }
    });
    let down = peak_of(gate.process.id()).saturating_sub(before);
    println!("{CLIENTS} blobs of {BLOB} bytes down: {down} bytes over what it had");
    assert!(down < ROOM, "{down}");

    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|n| {
                scope.spawn({
                    let (gate, layer) = (&gate, &layer);
                    move || upload(&gate.address, &format!("demo/up{n}"), layer)
                })
            })
            .collect();
        for client in clients {
            assert_eq!(client.join().unwrap(), digest.to_string());
        }
    });
    let up = peak_of(gate.process.id()).saturating_sub(before);
    println!("and four of them up: {up} bytes over what it had");
    assert!(up < ROOM, "{up}");
    assert_eq!(
        ask(&world.scene.stack.registry, "HEAD", &format!("/v2/demo/up3/blobs/{digest}"), &[]).unwrap().status,
        200
    );
}
