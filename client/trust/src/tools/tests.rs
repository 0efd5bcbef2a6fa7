use super::*;

fn words(text: &str) -> Vec<String> {
    text.split_ascii_whitespace().map(str::to_owned).collect()
}

fn found(text: &str) -> Vec<String> {
    find_images(&words(text)).unwrap_or_else(|e| panic!("{text}: {e}")).iter().map(|p| p.image.to_string()).collect()
}

fn refused(text: &str) -> ToolError {
    match find_images(&words(text)) {
        Ok(places) => panic!("{text}: found {places:?}"),
        Err(error) => error,
    }
}

#[test]
fn a_flag_that_could_hide_the_image_is_refused() {
    for text in [
        "docker run --new-flag verified evil",
        "docker run -Z verified evil",
        "docker run -iZ verified evil",
        "docker --new-global x run a.example/a",
        "podman pull --new-flag a.example/a b.example/b",
        "skopeo copy --new-flag docker://a.example/a dir:x",
        "skopeo --new-flag copy docker://a.example/a dir:x",
    ] {
        assert!(matches!(refused(text), ToolError::Flag { .. }), "{text}");
    }
}

#[test]
fn ways_around_the_check_are_refused() {
    for text in [
        "docker pull -a r.example/a",
        "docker pull --all-tags r.example/a",
        "podman run --rootfs /some/where sh",
        "podman run --mount type=image,source=evil.example/x,target=/x r.example/a",
        "docker run --mount=type=IMAGE,src=x r.example/a",
        "docker run --mount \"type=image\",src=x r.example/a",
    ] {
        assert!(matches!(refused(text), ToolError::Unchecked { .. }), "{text}");
    }
}

#[test]
fn other_programs_and_subcommands_are_refused() {
    for text in ["sh -c true", "crane pull r.example/a", "", "/bin/dockerd run r.example/a"] {
        assert!(matches!(refused(text), ToolError::Tool(_)), "{text}");
    }
    for text in [
        "docker build .",
        "docker compose up",
        "docker",
        "docker image ls",
        "docker image run a",
        "skopeo sync a b",
        "podman kube play x",
        "docker container pull a",
    ] {
        assert!(matches!(refused(text), ToolError::Subcommand { .. }), "{text}");
    }
    for text in ["docker run", "docker run --rm", "docker pull", "skopeo copy", "skopeo inspect --raw"] {
        assert!(matches!(refused(text), ToolError::NoImage { .. }), "{text}");
    }
    for text in ["docker run -v", "docker pull --platform"] {
        assert!(matches!(refused(text), ToolError::Value { .. }), "{text}");
    }
}

#[test]
fn only_the_source_of_a_copy_is_the_image() {
    assert_eq!(found("skopeo copy docker://r.example/a:v1 docker://mirror.example/a:v1"), ["r.example/a:v1"]);
    assert_eq!(
        found("skopeo --insecure-policy copy --src-tls-verify=false docker://127.0.0.1:5000/a:v1 dir:out"),
        ["127.0.0.1:5000/a:v1"]
    );
    assert_eq!(found("skopeo copy --src-creds dir:x docker://r.example/a dir:out"), ["r.example/a:latest"]);
    assert_eq!(found("/usr/bin/skopeo inspect --raw docker://r.example/a:v1"), ["r.example/a:v1"]);
    assert!(matches!(refused("skopeo copy dir:in docker://r.example/a:v1"), ToolError::Source { .. }));
    assert!(matches!(refused("skopeo copy docker://r.example/A dir:x"), ToolError::Reference { .. }));
}

#[test]
fn the_image_of_run_is_the_first_word_that_no_flag_takes() {
    for (text, image) in [
        ("docker run r.example/a:v1 sh -c true", "r.example/a:v1"),
        ("docker run -it --rm -v /a:/b r.example/a:v1 --flag-of-the-program", "r.example/a:v1"),
        ("docker run -itv /a:/b r.example/a:v1", "r.example/a:v1"),
        ("docker run -p8080:80 --name x --env=A=b r.example/a:v1", "r.example/a:v1"),
        ("docker --context prod -D container run --pull=always r.example/a:v1", "r.example/a:v1"),
        ("docker run -- r.example/a:v1 --rm", "r.example/a:v1"),
        ("podman create --tls-verify=false docker://r.example/a:v1 x", "r.example/a:v1"),
        ("nerdctl -n k8s.io run -d r.example/a:v1", "r.example/a:v1"),
        ("docker run --unknown=value r.example/a:v1", "r.example/a:v1"),
    ] {
        assert_eq!(found(text), [image], "{text}");
    }
    assert_eq!(found("podman pull -q r.example/a:v1 r.example/b:v2"), ["r.example/a:v1", "r.example/b:v2"]);
    assert_eq!(found("docker image pull ubuntu"), ["docker.io/library/ubuntu:latest"]);
}

#[test]
fn what_runs_names_the_digest_and_nothing_else_changes() {
    let command = words("skopeo copy docker://r.example/a:v1 dir:out");
    let places = find_images(&command).unwrap();
    let digest = Digest::of(b"x");
    let pinned = pin_images(&command, places.iter().map(|place| (place, digest)));
    assert_eq!(pinned, words(&format!("skopeo copy docker://r.example/a@{digest} dir:out")));

    let command = words("docker run --rm r.example/a:v1 r.example/a:v1");
    let places = find_images(&command).unwrap();
    let pinned = pin_images(&command, places.iter().map(|place| (place, digest)));
    assert_eq!(pinned, words(&format!("docker run --rm r.example/a@{digest} r.example/a:v1")));
}
