//! Two thousand changed requests, always the same ones: what comes out is signed or hangs on what is signed, whatever was
//! asked. More of them, with other seeds, as many as SOAK says (`make soak`).

use std::collections::HashSet;
use std::time::Duration;

use serde_json::json;
use trust_image::Digest;

use super::testing::{OCI_MANIFEST, Switches, World, descriptor, ok, with};

const REQUESTS: usize = 2_000;

/// SplitMix64: the same numbers in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % sides as u64) as usize
    }
}

const PIECES: &[&str] = &[
    "/",
    "//",
    "%2F",
    "%2f",
    "..",
    "/../",
    ".",
    "%00",
    "%0a",
    ";",
    "\\",
    "@",
    ":",
    "?",
    "#",
    "&",
    "%25",
    "%",
    "v2",
    "blobs",
    "manifests",
    "tags/list",
    "sha256:",
    "sha512:",
    "SHA256:",
    "u",
    "v1",
    "A",
    "\u{e4}",
    " ",
    "\t",
    "*",
    "team/app",
    "other/app",
    "referrers",
    "uploads",
    "_catalog",
    ".sig",
    "?artifactType=",
    "?digest=sha256:",
    "&mount=",
];

fn mutate(line: &str, dice: &mut Dice) -> Vec<u8> {
    let mut bytes = line.as_bytes().to_vec();
    for _ in 0..=dice.roll(3) {
        let at = dice.roll(bytes.len());
        match dice.roll(12) {
            // What another reader might take for the same.
            6..=9 => {
                let encoded = format!("%{:02X}", bytes[at]);
                let is_in_path = bytes[..at].contains(&b'/') && !bytes[..at].ends_with(b"HTTP/") && bytes[at] != b' ';
                bytes.splice(at..=at, if is_in_path { encoded.into_bytes() } else { vec![bytes[at]] });
            }
            10 => {
                let end = bytes.windows(5).position(|part| part == b" HTTP").unwrap_or(at);
                bytes.splice(end..end, *b"?ns=evil.example&digest=x");
            }
            0 => bytes[at] = dice.roll(256) as u8,
            1 => {
                bytes.remove(at);
            }
            2 | 3 => {
                let piece = PIECES[dice.roll(PIECES.len())];
                bytes.splice(at..at, piece.bytes());
            }
            4 => {
                let end = (at + 1 + dice.roll(8)).min(bytes.len());
                let part = bytes[at..end].to_vec();
                let to = dice.roll(bytes.len());
                bytes.splice(to..to, part);
            }
            _ => bytes[at] ^= 1 << dice.roll(8),
        }
        if bytes.is_empty() {
            bytes.push(b' ');
        }
    }
    bytes
}

/// What is never signed says so in its bytes.
const UNSIGNED: &str = "of unsigned";

#[tokio::test]
async fn no_changed_request_gets_bytes_that_are_not_signed() {
    changed(REQUESTS, 0x7472_7573_7420_6761).await;
}

#[tokio::test]
async fn soak_of_changed_requests_to_the_registry() {
    let size = std::env::var("SOAK").ok().and_then(|n| n.parse().ok()).unwrap_or(20);
    changed(size, 0x50ac).await;
    println!("{size} changed requests to the registry gate");
}

/// An upstream that holds signed and unsigned things, lies under tags and takes pushes; the contents that may come out.
struct Held {
    clean: HashSet<Vec<u8>>,
    digests: Vec<Digest>,
}

fn fill(world: &World) -> Held {
    let mut held = Held { clean: HashSet::new(), digests: Vec::new() };
    for (name, text, is_signed) in
        [("team/app", "signed", true), ("team/app", "unsigned", false), ("other/app", "other", true)]
    {
        let (manifest, config, layer) = world.image(name, text);
        let index = world.index(name, OCI_MANIFEST, &[&manifest]);
        let sbom = artifact(world, name, &manifest, text);
        let all = [manifest.clone(), config, layer, index.clone(), sbom.clone()];
        held.digests.extend(all.iter().map(|content| Digest::of(content)));
        if is_signed {
            world.fake.sign(name, "v1", &index);
            held.clean.extend(all);
            held.clean.insert(b"{}".to_vec());
        } else {
            world.upstream.lie("/v2/team/app/manifests/u", ok(index));
        }
        let list = super::testing::index(OCI_MANIFEST, &[&sbom]);
        world.upstream.lie(&format!("/v2/{name}/referrers/{}", Digest::of(&manifest)), ok(list.clone()));
        let tag = format!("/v2/{name}/manifests/sha256-{}", Digest::of(&manifest).hex());
        world.upstream.lie(&tag, ok(list));
        world.upstream.lie(&format!("{tag}.sig"), ok(manifest));
        let uploads = format!("/v2/{name}/blobs/uploads/");
        world.upstream.lie(&uploads, with(202, "Location", format!("{uploads}1?_state=x")));
    }
    held
}

/// Something that refers to an image and cannot be run.
fn artifact(world: &World, name: &str, subject: &[u8], text: &str) -> Vec<u8> {
    let body = json!({ "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": "application/spdx+json",
        "config": descriptor("application/vnd.oci.empty.v1+json", b"{}"), "layers": [],
        "subject": descriptor(OCI_MANIFEST, subject), "annotations": { "text": format!("sbom of {text}") } });
    let body = serde_json::to_vec(&body).unwrap();
    world.upstream.hold(name, "manifests", &body);
    world.upstream.hold(name, "blobs", b"{}");
    body
}

fn request(dice: &mut Dice, digests: &[Digest]) -> Vec<u8> {
    let name = ["team/app", "other/app"][dice.roll(2)];
    let digest = digests[dice.roll(digests.len())];
    let line = match dice.roll(9) {
        0 => format!("GET /v2/{name}/manifests/{} HTTP/1.1", ["v1", "u"][dice.roll(2)]),
        1 | 2 => format!("GET /v2/{name}/manifests/{digest} HTTP/1.1"),
        3 | 4 => format!("GET /v2/{name}/blobs/{digest} HTTP/1.1"),
        5 => format!("GET /v2/{name}/referrers/{digest}?artifactType=application/spdx%2Bjson HTTP/1.1"),
        6 => format!("GET /v2/{name}/manifests/sha256-{}{} HTTP/1.1", digest.hex(), ["", ".sig"][dice.roll(2)]),
        7 => match dice.roll(4) {
            0 => format!("POST /v2/{name}/blobs/uploads/?mount={digest}&from=other/app HTTP/1.1"),
            1 => format!("PUT /v2/{name}/blobs/uploads/1?_state=x&digest={digest} HTTP/1.1"),
            2 => format!("DELETE /v2/{name}/manifests/{digest} HTTP/1.1"),
            _ => "GET /v2/_catalog?n=5 HTTP/1.1".to_owned(),
        },
        _ => format!("GET /v2/{name}/tags/list?n=5 HTTP/1.1"),
    };
    let rest = "\r\nhost: gate\r\nconnection: close\r\n\r\n";
    // Some heads are changed as well.
    let request = match dice.roll(4) {
        0 => mutate(&format!("{line}{rest}"), dice),
        _ => [mutate(&line, dice), rest.as_bytes().to_vec()].concat(),
    };
    if request.ends_with(b"\r\n\r\n") { request } else { [request, b"\r\n\r\n".to_vec()].concat() }
}

async fn changed(count: usize, seed: u64) {
    let world = World::with(Switches { push: true, catalog: true, ..Switches::default() }).await;
    let held = fill(&world);
    let mut dice = Dice(seed);
    let (mut answered, mut allowed) = (0, 0);
    for n in 0..count {
        let request = request(&mut dice, &held.digests);
        let Some(got) = world.raw_within(&request, false, Duration::from_millis(200)).await else { continue };
        answered += 1;
        let shown = String::from_utf8_lossy(&request).into_owned();
        assert!(got.status < 500 || got.status == 502, "{n}: {shown:?} {got:?}");
        let text = String::from_utf8_lossy(&got.body);
        assert!(!text.contains(UNSIGNED), "{n}: {shown:?}");
        let made_here = got.body.starts_with(b"{\"name\"")
            || got.body.starts_with(b"{\"repositories\"")
            || got.header("content-type") == super::testing::OCI_INDEX && text.contains("artifactType")
            || got.body == empty_list()
            || got.body == b"{}";
        if matches!(got.status, 200 | 206) && !got.body.is_empty() && !made_here {
            allowed += 1;
            let fine = held.clean.iter().any(|content| match got.status {
                200 => *content == got.body,
                _ => content.windows(got.body.len()).any(|part| part == got.body),
            });
            assert!(fine, "{n}: {shown:?} got {} bytes: {text}", got.body.len());
        }
    }
    // The seed is a fair one: much is refused, and some still means the clean request.
    assert!(answered > count / 2 && (allowed > 20 || count < REQUESTS), "{answered} {allowed}");
    let mut ways = world.upstream.asked();
    ways.retain(|line| {
        let reads = ["/manifests/sha256:", "/manifests/sha256-", "/blobs/sha256:", "/referrers/sha256:"];
        line.starts_with("GET ") && !reads.iter().any(|part| line.contains(part)) && !line.contains("/blobs/uploads/")
    });
    assert_eq!(ways, [""; 0], "no image is ever asked of the upstream by tag");
    assert_eq!(world.manifest("team/app", "v1").await.status, 200, "the gate still stands");
}

/// The list of nothing.
fn empty_list() -> Vec<u8> {
    json!({ "schemaVersion": 2, "mediaType": super::testing::OCI_INDEX, "manifests": [] }).to_string().into_bytes()
}
