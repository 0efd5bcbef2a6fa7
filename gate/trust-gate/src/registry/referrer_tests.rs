//! What is not signed and hangs on what is: it comes as a list and as artifacts, and never as something that could be run.

use serde_json::{Value, json};
use trust_image::Digest;

use super::testing::{Answer, Got, OCI_INDEX, OCI_MANIFEST, Switches, World, descriptor, index, ok};

const APP: &str = "team/app";
const EMPTY: &str = "application/vnd.oci.empty.v1+json";
const SBOM: &str = "application/spdx+json";

/// An artifact that refers to this, held by the upstream: manifest and content.
fn artifact(world: &World, name: &str, subject: Option<&[u8]>, kind: &str, text: &str) -> (Vec<u8>, Vec<u8>) {
    artifact_with(world, name, subject, kind, text, EMPTY, SBOM)
}

fn artifact_with(
    world: &World,
    name: &str,
    subject: Option<&[u8]>,
    kind: &str,
    text: &str,
    config: &str,
    layer: &str,
) -> (Vec<u8>, Vec<u8>) {
    let content = format!("content of {text}").into_bytes();
    let mut body = json!({ "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": kind,
        "config": descriptor(config, b"{}"), "layers": [descriptor(layer, &content)],
        "annotations": { "text": text } });
    if let Some(subject) = subject {
        body["subject"] = descriptor(OCI_MANIFEST, subject);
    }
    let manifest = serde_json::to_vec(&body).unwrap();
    world.upstream.hold(name, "manifests", &manifest);
    world.upstream.hold(name, "blobs", &content);
    world.upstream.hold(name, "blobs", b"{}");
    (manifest, content)
}

/// The upstream lists these as referrers of this.
fn lists(world: &World, subject: &[u8], manifests: &[&[u8]]) {
    let path = format!("/v2/{APP}/referrers/{}", Digest::of(subject));
    world.upstream.lie(&path, ok(index(OCI_MANIFEST, manifests)));
}

async fn referrers(world: &World, subject: &[u8], query: &str) -> Got {
    world.get(&format!("/v2/{APP}/referrers/{}{query}", Digest::of(subject))).await
}

fn listed(got: &Got) -> Vec<String> {
    assert_eq!((got.status, got.header("content-type")), (200, OCI_INDEX), "{got:?}");
    let body: Value = serde_json::from_slice(&got.body).unwrap();
    assert_eq!(body["mediaType"], OCI_INDEX);
    let entries = body["manifests"].as_array().unwrap().iter();
    entries.map(|entry| entry["digest"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn what_refers_to_a_signed_image_is_listed_and_comes_with_its_content() {
    let mut world = World::start().await;
    let (image, ..) = world.image(APP, "signed");
    world.fake.sign(APP, "v1", &image);
    let (sbom, content) = artifact(&world, APP, Some(&image), SBOM, "sbom");
    let (signature, _) = artifact(&world, APP, Some(&image), "application/vnd.example.signature", "signature");
    lists(&world, &image, &[&sbom, &signature]);
    let got = referrers(&world, &image, "").await;
    assert_eq!(listed(&got), [Digest::of(&sbom).to_string(), Digest::of(&signature).to_string()]);
    assert_eq!(got.header("oci-filters-applied"), "");
    let body: Value = serde_json::from_slice(&got.body).unwrap();
    assert_eq!(body["manifests"][0]["artifactType"], SBOM);
    assert_eq!(body["manifests"][0]["size"], sbom.len());
    assert_eq!(body["manifests"][0]["annotations"]["text"], "sbom");

    let got = referrers(&world, &image, &format!("?artifactType={}", SBOM.replace('+', "%2B"))).await;
    assert_eq!(listed(&got), [Digest::of(&sbom).to_string()]);
    assert_eq!(got.header("oci-filters-applied"), "artifactType");
    let head = world.ask("HEAD", &format!("/v2/{APP}/referrers/{}", Digest::of(&image)), &[]).await;
    assert_eq!((head.status, head.body.len()), (200, 0));

    for round in 0..2 {
        let got = world.manifest(APP, Digest::of(&sbom)).await;
        assert_eq!((got.status, &got.body), (200, &sbom), "round {round}");
        assert_eq!(world.blob(APP, &content).await.body, content);
        world.restart().await;
    }
}

#[tokio::test]
async fn g31_referrers_of_what_may_not_pass_are_none_and_the_upstream_is_not_asked() {
    let world = World::start().await;
    let (signed, ..) = world.image(APP, "signed");
    let (unsigned, ..) = world.image(APP, "unsigned");
    let (denied, ..) = world.image(APP, "denied");
    world.fake.sign(APP, "v1", &signed);
    let digest = world.fake.sign(APP, "v2", &denied);
    world.fake.deny(&digest, "no");
    for subject in [&unsigned, &denied] {
        let (sbom, content) = artifact(&world, APP, Some(subject), SBOM, "of another");
        lists(&world, subject, &[&sbom]);
        assert_eq!(listed(&referrers(&world, subject, "").await), [""; 0]);
        assert_eq!(world.manifest(APP, Digest::of(&sbom)).await.status, 403);
        assert_eq!(world.blob(APP, &content).await.status, 404);
        let tag = format!("sha256-{}", Digest::of(subject).hex());
        for end in ["", ".sig"] {
            world.upstream.lie(&format!("/v2/{APP}/manifests/{tag}{end}"), ok(sbom.clone()));
            assert_eq!(world.manifest(APP, format!("{tag}{end}")).await.status, 403);
        }
    }
    assert!(!world.upstream.asked().iter().any(|line| line.contains("/referrers/") || line.contains("sha256-")));
    let expired = super::ruling::Denial { exit: trust_reader::catalogue::exit::EXPIRED, ..Default::default() };
    *world.fake.trouble.lock().unwrap() = Some(expired);
    assert_eq!(referrers(&world, &signed, "").await.status, 403, "trust data that cannot be used is no empty list");
}

#[tokio::test]
async fn a_list_that_lies_adds_nothing() {
    let world = World::start().await;
    let (image, ..) = world.image(APP, "signed");
    let (other, ..) = world.image(APP, "other");
    world.fake.sign(APP, "v1", &image);
    let (fine, _) = artifact(&world, APP, Some(&image), SBOM, "fine");
    let (of_other, _) = artifact(&world, APP, Some(&other), SBOM, "of other");
    let (of_nothing, _) = artifact(&world, APP, None, SBOM, "of nothing");
    let (revoked, _) = artifact(&world, APP, Some(&image), SBOM, "revoked");
    let (swapped, _) = artifact(&world, APP, Some(&image), SBOM, "swapped");
    let (gone, _) = artifact(&world, "elsewhere", Some(&image), SBOM, "gone");
    world.fake.revoke(&Digest::of(&revoked));
    world.upstream.lie(&format!("/v2/{APP}/manifests/{}", Digest::of(&swapped)), ok(fine.clone()));
    lists(&world, &image, &[&other, &of_other, &fine, &of_nothing, &revoked, &swapped, &gone]);
    assert_eq!(listed(&referrers(&world, &image, "").await), [Digest::of(&fine).to_string()]);
    for digest in [&of_other, &of_nothing, &revoked].map(|m| Digest::of(m)) {
        assert_eq!(world.manifest(APP, digest).await.status, 403);
    }
    // An artifact of an artifact does not come: what it refers to is not signed.
    let (second, _) = artifact(&world, APP, Some(&fine), SBOM, "second");
    lists(&world, &fine, &[&second]);
    assert_eq!(world.manifest(APP, Digest::of(&fine)).await.status, 200);
    assert_eq!(listed(&referrers(&world, &fine, "").await), [""; 0]);
    assert_eq!(world.manifest(APP, Digest::of(&second)).await.status, 403);
    // Nor does it in another name.
    let (sbom, content) = artifact(&world, "other/app", Some(&image), SBOM, "fine");
    assert_eq!(world.manifest("other/app", Digest::of(&sbom)).await.status, 403);
    assert_eq!(world.blob("other/app", &content).await.status, 404);
}

#[tokio::test]
async fn an_artifact_that_lies_about_a_layer_of_a_signed_image_hides_nothing() {
    let mut world = World::start().await;
    let (image, _, layer) = world.image(APP, "signed");
    world.fake.sign(APP, "v1", &image);
    let mut lie = descriptor(SBOM, &layer);
    lie["size"] = 1.into();
    let body = json!({ "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": SBOM,
        "config": descriptor(EMPTY, b"{}"), "layers": [lie], "subject": descriptor(OCI_MANIFEST, &image) });
    let body = serde_json::to_vec(&body).unwrap();
    world.upstream.hold(APP, "manifests", &body);
    for _ in 0..2 {
        assert_eq!(world.manifest(APP, Digest::of(&body)).await.body, body, "the artifact first");
        assert_eq!(world.blob(APP, &layer).await.body, layer);
        world.restart().await;
    }
}

#[tokio::test]
async fn g32_tags_and_lists_of_referrers_carry_nothing_that_could_be_run() {
    let world = World::start().await;
    let (image, ..) = world.image(APP, "signed");
    let digest = world.fake.sign(APP, "v1", &image);
    let (evil, config, layer) = world.image(APP, "evil");
    let evil_index = world.index(APP, OCI_MANIFEST, &[&evil]);
    let oci = "application/vnd.oci.image.config.v1+json";
    let tar = "application/vnd.oci.image.layer.v1.tar+gzip";
    let dressed = [
        evil.clone(),
        evil_index,
        artifact_with(&world, APP, Some(&image), SBOM, "image config", oci, SBOM).0,
        artifact_with(&world, APP, Some(&image), SBOM, "image layer", EMPTY, tar).0,
        artifact_with(&world, APP, Some(&image), SBOM, "taken for an image", "application/octet-stream", SBOM).0,
        artifact_with(&world, APP, Some(&image), SBOM, "plugin", "application/vnd.docker.plugin.v1+json", SBOM).0,
    ];
    for manifest in &dressed {
        lists(&world, &image, &[manifest]);
        assert_eq!(listed(&referrers(&world, &image, "").await), [""; 0]);
        for end in [".sig", ".att", ".sbom"] {
            let tag = format!("sha256-{}{end}", digest.hex());
            world.upstream.lie(&format!("/v2/{APP}/manifests/{tag}"), ok(manifest.clone()));
            for method in ["GET", "HEAD"] {
                let got = world.ask(method, &format!("/v2/{APP}/manifests/{tag}"), &[]).await;
                assert_eq!(got.status, 403, "{}", String::from_utf8_lossy(manifest));
            }
        }
        assert_eq!(world.manifest(APP, Digest::of(manifest)).await.status, 403);
    }
    for content in [&config, &layer] {
        assert_eq!(world.blob(APP, content).await.status, 404);
    }
}

#[tokio::test]
async fn a_registry_without_referrers_lists_them_under_a_tag_and_signing_tools_use_theirs() {
    let world = World::start().await;
    let (image, ..) = world.image(APP, "signed");
    let digest = world.fake.sign(APP, "v1", &image);
    let (sbom, content) = artifact(&world, APP, Some(&image), SBOM, "sbom");
    let tag = format!("sha256-{}", digest.hex());
    world.upstream.lie(&format!("/v2/{APP}/manifests/{tag}"), ok(index(OCI_MANIFEST, &[&sbom])));
    assert_eq!(listed(&referrers(&world, &image, "").await), [Digest::of(&sbom).to_string()]);
    let got = world.manifest(APP, &tag).await;
    assert_eq!(listed(&got), [Digest::of(&sbom).to_string()], "clients that know the tag alone");
    assert_eq!(got.header("docker-content-digest"), Digest::of(&got.body).to_string());
    assert_eq!(world.blob(APP, &content).await.body, content);

    // A signature under its tag says by nothing else what it refers to.
    let (signature, payload) = artifact(&world, APP, None, "application/vnd.example.signature", "signature");
    assert_eq!(world.manifest(APP, Digest::of(&signature)).await.status, 403);
    world.upstream.lie(&format!("/v2/{APP}/manifests/{tag}.sig"), ok(signature.clone()));
    let (get, head) = (
        world.manifest(APP, format!("{tag}.sig")).await,
        world.ask("HEAD", &format!("/v2/{APP}/manifests/{tag}.sig"), &[]).await,
    );
    assert_eq!((get.status, &get.body), (200, &signature));
    assert_eq!((head.status, head.header("docker-content-digest")), (200, get.header("docker-content-digest")));
    assert_eq!(world.manifest(APP, Digest::of(&signature)).await.body, signature);
    assert_eq!(world.blob(APP, &payload).await.body, payload);
    // Bytes that refer to another image are not those of this tag.
    let (other, ..) = world.image(APP, "other");
    let (of_other, _) = artifact(&world, APP, Some(&other), SBOM, "of other");
    world.upstream.lie(&format!("/v2/{APP}/manifests/{tag}.att"), ok(of_other));
    assert_eq!(world.manifest(APP, format!("{tag}.att")).await.status, 403);
    assert_eq!(world.manifest(APP, format!("{tag}.sbom")).await.status, 404);
    // With the image goes what hangs on it.
    world.fake.deny(&digest, "no");
    assert_eq!(world.manifest(APP, Digest::of(&sbom)).await.status, 403);
    assert_eq!(world.manifest(APP, format!("{tag}.sig")).await.status, 403);
    assert_eq!(world.blob(APP, &payload).await.status, 403);
    assert_eq!(listed(&referrers(&world, &image, "").await), [""; 0]);
}

#[tokio::test]
async fn a_broken_or_huge_list_is_an_error_and_not_an_empty_one() {
    let world = World::start().await;
    let (image, ..) = world.image(APP, "signed");
    world.fake.sign(APP, "v1", &image);
    let path = format!("/v2/{APP}/referrers/{}", Digest::of(&image));
    let many: Vec<Vec<u8>> = (0..300_u32).map(|n| n.to_be_bytes().to_vec()).collect();
    let many: Vec<&[u8]> = many.iter().map(Vec::as_slice).collect();
    for (lie, expected) in [
        (ok("<html>"), 502),
        (ok(image.clone()), 502),
        (ok(index(OCI_MANIFEST, &many)), 502),
        (ok(vec![b' '; 5 * 1024 * 1024]), 502),
        (Answer::Full(500, Vec::new(), Vec::new()), 503),
        (Answer::Raw(Vec::new()), 503),
    ] {
        world.upstream.lie(&path, lie);
        assert_eq!(referrers(&world, &image, "").await.status, expected);
    }
}

#[tokio::test]
async fn g31_the_catalogue_is_off_and_then_lists_names_with_signed_tags_in_pages() {
    let off = World::start().await;
    let got = off.get("/v2/_catalog").await;
    assert_eq!((got.status, got.code().as_str()), (403, "DENIED"));
    let world = World::with(Switches { catalog: true, ..Switches::default() }).await;
    world.upstream.lie("/v2/_catalog", ok(r#"{"repositories":["secret/unsigned"]}"#));
    let (image, ..) = world.image(APP, "signed");
    for name in ["team/b", "team/a", "a", "z/y/x", "team/a-b"] {
        world.fake.sign(name, "v1", &image);
    }
    world.image("secret/unsigned", "unsigned");
    let all = ["a", "team/a", "team/a-b", "team/b", "z/y/x"];
    let names = |got: &Got| -> Vec<String> {
        let body: Value = serde_json::from_slice(&got.body).unwrap();
        body["repositories"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
    };
    let got = world.get("/v2/_catalog").await;
    assert_eq!((names(&got), got.header("link")), (all.map(str::to_owned).to_vec(), ""));
    let (mut seen, mut path, mut pages) = (Vec::new(), "/v2/_catalog?n=2".to_owned(), 0);
    while !path.is_empty() {
        let got = world.get(&path).await;
        seen.extend(names(&got));
        let link = got.header("link").strip_prefix('<').and_then(|link| link.split_once('>'));
        path = link.map(|(path, _)| path.to_owned()).unwrap_or_default();
        pages += 1;
        assert!(pages < 10);
    }
    assert_eq!((seen, pages), (all.map(str::to_owned).to_vec(), 3));
    let trouble = super::ruling::Denial {
        exit: trust_reader::catalogue::exit::EXPIRED,
        line: "expired".to_owned(),
        ..Default::default()
    };
    *world.fake.trouble.lock().unwrap() = Some(trouble);
    let got = world.get("/v2/_catalog").await;
    assert_eq!((got.status, got.error()["message"].as_str()), (403, Some("expired")));
    assert_eq!(world.upstream.asked(), [""; 0]);
}

#[tokio::test]
async fn g17_an_artifact_opens_no_layer_of_an_image_that_may_not_pass() {
    let world = World::start().await;
    let (allowed, ..) = world.image(APP, "allowed");
    world.fake.sign(APP, "v1", &allowed);
    let (denied, config, layer) = world.image(APP, "denied");
    world.fake.deny(&world.fake.sign(APP, "pii", &denied), "rule pii-not-in-public");
    let (revoked, _, of_revoked) = world.image(APP, "revoked");
    world.fake.revoke(&world.fake.sign(APP, "old", &revoked));
    // A layer of an image that nobody signed: an archive, which is no text.
    let unsigned = [b"\x1f\x8b\x08".as_slice(), &[0; 300]].concat();
    world.upstream.hold(APP, "blobs", &unsigned);
    let large = vec![b'x'; 5 * 1024 * 1024];
    world.upstream.hold(APP, "blobs", &large);
    let contents = [&config, &layer, &of_revoked, &unsigned, &large];
    let layers: Vec<Value> = contents.iter().map(|content| descriptor(SBOM, content)).collect();
    let body = json!({ "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": SBOM,
        "config": descriptor(EMPTY, b"{}"), "layers": layers, "subject": descriptor(OCI_MANIFEST, &allowed) });
    let artifact = serde_json::to_vec(&body).unwrap();
    world.upstream.hold(APP, "manifests", &artifact);
    world.upstream.hold(APP, "blobs", b"{}");
    lists(&world, &allowed, &[&artifact]);
    assert_eq!(listed(&referrers(&world, &allowed, "").await), [Digest::of(&artifact).to_string()]);
    assert_eq!(world.manifest(APP, Digest::of(&artifact)).await.status, 200);
    assert_eq!(world.blob(APP, b"{}").await.status, 200);
    for (n, content) in contents.into_iter().enumerate() {
        for method in ["GET", "HEAD"] {
            let got = world.ask(method, &format!("/v2/{APP}/blobs/{}", Digest::of(content)), &[]).await;
            assert_eq!(got.status, 403, "{method} of content {n}");
        }
    }
}
