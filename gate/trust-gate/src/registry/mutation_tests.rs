//! Two thousand changed requests, always the same ones: what comes out is signed or hangs below what is signed, whatever was
//! asked.

use std::collections::HashSet;
use std::time::Duration;

use trust_image::Digest;

use super::testing::{OCI_MANIFEST, World};

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

#[tokio::test]
async fn no_changed_request_gets_bytes_that_are_not_signed() {
    let world = World::start().await;
    let mut clean = HashSet::new();
    let mut digests = Vec::new();
    for (name, text, is_signed) in
        [("team/app", "signed", true), ("team/app", "unsigned", false), ("other/app", "other", true)]
    {
        let (manifest, config, layer) = world.image(name, text);
        let index = world.index(name, OCI_MANIFEST, &[&manifest]);
        let all = [manifest, config, layer, index.clone()];
        digests.extend(all.iter().map(|content| Digest::of(content)));
        if is_signed {
            world.fake.sign(name, "v1", &index);
            clean.extend(all);
        } else {
            world.upstream.lie("/v2/team/app/manifests/u", super::testing::ok(index));
        }
    }
    let mut dice = Dice(0x7472_7573_7420_6761);
    let (mut answered, mut allowed) = (0, 0);
    for n in 0..REQUESTS {
        let name = ["team/app", "other/app"][dice.roll(2)];
        let digest = digests[dice.roll(digests.len())];
        let line = match dice.roll(6) {
            0 => format!("GET /v2/{name}/manifests/{} HTTP/1.1", ["v1", "u"][dice.roll(2)]),
            1 | 2 => format!("GET /v2/{name}/manifests/{digest} HTTP/1.1"),
            3 | 4 => format!("GET /v2/{name}/blobs/{digest} HTTP/1.1"),
            _ => format!("GET /v2/{name}/tags/list?n=5 HTTP/1.1"),
        };
        let rest = "\r\nhost: gate\r\nconnection: close\r\n\r\n";
        // Some heads are changed as well.
        let request = match dice.roll(4) {
            0 => mutate(&format!("{line}{rest}"), &mut dice),
            _ => [mutate(&line, &mut dice), rest.as_bytes().to_vec()].concat(),
        };
        let request = if request.ends_with(b"\r\n\r\n") { request } else { [request, b"\r\n\r\n".to_vec()].concat() };
        let Some(got) = world.raw_within(&request, false, Duration::from_millis(200)).await else { continue };
        answered += 1;
        let shown = String::from_utf8_lossy(&request).into_owned();
        assert!(got.status < 500 || got.status == 502, "{n}: {shown:?} {got:?}");
        let text = String::from_utf8_lossy(&got.body);
        assert!(!text.contains("of unsigned"), "{n}: {shown:?}");
        if matches!(got.status, 200 | 206)
            && !got.body.is_empty()
            && !got.body.starts_with(b"{\"name\"")
            && got.body != b"{}"
        {
            allowed += 1;
            let fine = clean.iter().any(|content| match got.status {
                200 => *content == got.body,
                _ => content.windows(got.body.len()).any(|part| part == got.body),
            });
            assert!(fine, "{n}: {shown:?} got {} bytes", got.body.len());
        }
    }
    // The seed is a fair one: much is refused, and some still means the clean request.
    assert!(answered > REQUESTS / 2 && allowed > 20, "{answered} {allowed}");
    let mut ways = world.upstream.asked();
    ways.retain(|line| !line.contains("/manifests/sha256:") && !line.contains("/blobs/sha256:"));
    assert_eq!(ways, [""; 0], "only digests are ever asked of the upstream");
    assert_eq!(world.manifest("team/app", "v1").await.status, 200, "the gate still stands");
}
