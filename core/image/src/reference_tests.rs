//! Every row of the table of normalisation, the attacks on it, and its properties.

use super::*;
use proptest::prelude::*;

const D: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn parse(text: &str) -> Reference {
    Reference::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn each_refusal_has_its_own_name() {
    let long_path = format!("r.io/{}", "a".repeat(256));
    let long_tag = format!("r.io/a:{}", "t".repeat(129));
    let upper = format!("r.io/a@sha256:{}", "ABCDEF".repeat(11).get(..64).unwrap());
    let hex64 = "0123456789abcdef".repeat(4);
    let table: Vec<(&str, ReferenceError)> = vec![
        ("", ReferenceError::Empty),
        (&hex64, ReferenceError::ImageId),
        (&upper, ReferenceError::Digest(DigestError::NotLowerHex)),
        (
            "r.io/a@sha256:0123456789012345678901234567890123456789",
            ReferenceError::Digest(DigestError::WrongLength { expected: 64, got: 40 }),
        ),
        ("r.io/a@sha384:00", ReferenceError::Digest(DigestError::UnknownAlgorithm)),
        ("r.io/a@", ReferenceError::Digest(DigestError::NoSeparator)),
        ("Ubuntu", ReferenceError::UpperCasePath),
        ("r.io/App", ReferenceError::UpperCasePath),
        ("a___b", ReferenceError::InvalidPath),
        ("a..b", ReferenceError::InvalidPath),
        ("a_-b", ReferenceError::InvalidPath),
        ("a.-b", ReferenceError::InvalidPath),
        ("-a", ReferenceError::InvalidPath),
        ("a-", ReferenceError::InvalidPath),
        ("r.io/a-", ReferenceError::InvalidPath),
        ("r.io/_a", ReferenceError::InvalidPath),
        ("r.io/b/_a", ReferenceError::InvalidPath),
        ("r.io/.a", ReferenceError::InvalidPath),
        ("r.io/a/../b", ReferenceError::InvalidPath),
        ("r.io/é", ReferenceError::InvalidPath),
        ("a//b", ReferenceError::EmptyComponent),
        ("/a", ReferenceError::EmptyComponent),
        ("a/", ReferenceError::EmptyComponent),
        ("r.io/", ReferenceError::EmptyComponent),
        ("r.io/:t", ReferenceError::EmptyComponent),
        (":t", ReferenceError::EmptyComponent),
        (&long_path, ReferenceError::PathTooLong),
        ("r.io/a:", ReferenceError::InvalidTag),
        ("r.io/a:.x", ReferenceError::InvalidTag),
        ("r.io/a:-x", ReferenceError::InvalidTag),
        ("r.io/a:v+1", ReferenceError::InvalidTag),
        ("r.io/a:b:c", ReferenceError::InvalidTag),
        (&long_tag, ReferenceError::InvalidTag),
        (" r.io/a", ReferenceError::Whitespace),
        ("r.io/a ", ReferenceError::Whitespace),
        ("r.io/a\n", ReferenceError::Whitespace),
        ("r.io/a\0", ReferenceError::Whitespace),
        ("r.io/a\u{a0}", ReferenceError::Whitespace),
        ("https://r.io/a", ReferenceError::Scheme),
        ("docker://r.io/a", ReferenceError::Scheme),
        ("-r.io/a", ReferenceError::InvalidDomain),
        ("r.io-/a", ReferenceError::InvalidDomain),
        ("r..io/a", ReferenceError::InvalidDomain),
        ("r.io./a", ReferenceError::InvalidDomain),
        ("r_x.io/a", ReferenceError::InvalidDomain),
        ("user@r.io/a", ReferenceError::InvalidDomain),
        ("user:pw@r.io/a", ReferenceError::InvalidPort),
        ("[::1/a.b", ReferenceError::InvalidDomain),
        ("[::1]x/a", ReferenceError::InvalidDomain),
        ("[::g]/a", ReferenceError::InvalidDomain),
        ("[fe80::1%25eth0]/a", ReferenceError::InvalidDomain),
        ("::1/a", ReferenceError::InvalidDomain),
        ("r.io:/a", ReferenceError::InvalidPort),
        ("r.io:0/a", ReferenceError::InvalidPort),
        ("r.io:65536/a", ReferenceError::InvalidPort),
        ("r.io:80:80/a", ReferenceError::InvalidPort),
        ("r.io:+80/a", ReferenceError::InvalidPort),
        ("[::1]:/a", ReferenceError::InvalidPort),
    ];
    for (text, reason) in table {
        assert_eq!(Reference::parse(text), Err(reason), "{text:?}");
    }
    assert_eq!(Reference::parse(&"a/".repeat(600)), Err(ReferenceError::TooLong));
}

#[test]
fn every_row_of_the_normalisation_table() {
    let at = format!("r.io/a:1@{D}");
    // input, whole text, domain, path
    let table: &[(&str, &str, &str, &str)] = &[
        ("ubuntu", "docker.io/library/ubuntu:latest", "docker.io", "library/ubuntu"),
        ("docker.io/ubuntu", "docker.io/library/ubuntu:latest", "docker.io", "library/ubuntu"),
        ("index.docker.io/ubuntu", "docker.io/library/ubuntu:latest", "docker.io", "library/ubuntu"),
        ("docker.io/team/app:1", "docker.io/team/app:1", "docker.io", "team/app"),
        ("team/app:1", "docker.io/team/app:1", "docker.io", "team/app"),
        ("localhost/app", "localhost/app:latest", "localhost", "app"),
        ("localhost:5000/app", "localhost:5000/app:latest", "localhost:5000", "app"),
        ("myhost/app", "docker.io/myhost/app:latest", "docker.io", "myhost/app"),
        ("MyHost/app", "MyHost/app:latest", "MyHost", "app"),
        ("a:5000", "docker.io/library/a:5000", "docker.io", "library/a"),
        ("a:5000/b", "a:5000/b:latest", "a:5000", "b"),
        ("example.com", "docker.io/library/example.com:latest", "docker.io", "library/example.com"),
        ("[::1]:5000/app", "[::1]:5000/app:latest", "[::1]:5000", "app"),
        ("[2001:db8::1]/app", "[2001:db8::1]/app:latest", "[2001:db8::1]", "app"),
        ("127.0.0.1:5583/team/app:v1", "127.0.0.1:5583/team/app:v1", "127.0.0.1:5583", "team/app"),
        (&at, &at, "r.io", "a"),
        ("a__b", "docker.io/library/a__b:latest", "docker.io", "library/a__b"),
        ("a---b", "docker.io/library/a---b:latest", "docker.io", "library/a---b"),
        ("a.b", "docker.io/library/a.b:latest", "docker.io", "library/a.b"),
        (
            "registry-1.docker.io/library/ubuntu",
            "registry-1.docker.io/library/ubuntu:latest",
            "registry-1.docker.io",
            "library/ubuntu",
        ),
        ("r.io/a:_x", "r.io/a:_x", "r.io", "a"),
        ("a/manifests/b", "docker.io/a/manifests/b:latest", "docker.io", "a/manifests/b"),
    ];
    for (input, text, domain, path) in table {
        let reference = parse(input);
        assert_eq!(
            (reference.to_string().as_str(), reference.domain(), reference.path()),
            (*text, *domain, *path),
            "{input}"
        );
    }
}

#[test]
fn a_defaulted_tag_is_told_from_a_given_one_and_a_digest_stands_alone() {
    assert!(parse("r.io/a").is_tag_defaulted());
    assert_eq!(parse("r.io/a").tag(), Some("latest"));
    assert!(!parse("r.io/a:latest").is_tag_defaulted());
    let by_digest = parse(&format!("r.io/a@{D}"));
    assert_eq!((by_digest.tag(), by_digest.is_tag_defaulted()), (None, false));
    assert_eq!(by_digest.digest().unwrap().to_string(), D);
    let both = parse(&format!("r.io/a:1@{D}"));
    assert_eq!((both.tag(), both.digest().is_some()), (Some("1"), true));
    assert_eq!(both.pinned(Digest::of(b"x")).to_string(), format!("r.io/a@{}", Digest::of(b"x")));
    assert_eq!(both.tagged("2").unwrap().to_string(), "r.io/a:2");
    assert_eq!(both.tagged("a b"), Err(ReferenceError::InvalidTag));
}

#[test]
fn spellings_of_one_registry_have_one_canonical_name() {
    let table: &[(&str, &str)] = &[
        ("Registry.Example.COM/pay/api", "registry.example.com/pay/api"),
        ("registry.example.com:443/pay/api:v1", "registry.example.com/pay/api"),
        ("registry.example.com:0443/pay/api", "registry.example.com/pay/api"),
        ("registry.example.com:05000/pay", "registry.example.com:5000/pay"),
        ("registry.example.com:80/pay", "registry.example.com:80/pay"),
        ("LOCALHOST:5000/app", "localhost:5000/app"),
        ("MyHost/app", "myhost/app"),
        ("[0:0:0:0:0:0:0:1]:5000/app", "[::1]:5000/app"),
        ("[2001:DB8::1]:443/app", "[2001:db8::1]/app"),
        ("ubuntu", "docker.io/library/ubuntu"),
        ("index.docker.io/library/ubuntu", "docker.io/library/ubuntu"),
        ("registry-1.docker.io/library/ubuntu", "docker.io/library/ubuntu"),
        ("registry-1.docker.io/ubuntu", "docker.io/library/ubuntu"),
        ("Index.Docker.IO:443/team/app", "docker.io/team/app"),
        ("docker.io:443/ubuntu", "docker.io/library/ubuntu"),
        ("docker.io:5000/ubuntu", "docker.io:5000/ubuntu"),
        ("docker.io.example.com/ubuntu", "docker.io.example.com/ubuntu"),
    ];
    for (input, name) in table {
        let reference = parse(input);
        assert_eq!(reference.name(), *name, "{input}");
        assert_eq!(format!("{}/{}", reference.canonical_domain(), reference.canonical_path()), *name);
    }
}

fn component() -> impl Strategy<Value = String> {
    "[a-z0-9]{1,4}((\\.|_|__|-{1,3})[a-z0-9]{1,4}){0,2}"
}

fn domain() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-zA-Z0-9]{1,5}(-[a-z0-9]{1,3})?\\.[a-z]{2,4}(:[1-9][0-9]{0,3})?",
        "localhost(:[1-9][0-9]{0,3})?",
        any::<[u16; 8]>().prop_map(|a| format!("[{}]:5000", Ipv6Addr::from(a))),
    ]
}

proptest! {
    #[test]
    fn text_round_trips(domain in domain(), path in proptest::collection::vec(component(), 1..4), tag in proptest::option::of("[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"), digest in proptest::option::of(any::<[u8; 32]>())) {
        let digest = digest.map(Digest::Sha256);
        let mut text = format!("{domain}/{}", path.join("/"));
        if let Some(tag) = &tag { text.push(':'); text.push_str(tag); }
        if let Some(digest) = &digest { text.push_str(&format!("@{digest}")); }
        let one = Reference::parse(&text).unwrap();
        let two = Reference::parse(&one.to_string()).unwrap();
        prop_assert_eq!(one.name(), two.name());
        prop_assert_eq!((one.domain(), one.path(), one.tag(), one.digest()), (two.domain(), two.path(), two.tag(), two.digest()));
        prop_assert_eq!(one.digest(), digest.as_ref());
        if let Some(tag) = &tag { prop_assert_eq!(one.tag(), Some(tag.as_str())); }
        // the canonical name is its own canonical name
        let canonical = Reference::parse(one.name()).unwrap();
        prop_assert_eq!(canonical.name(), one.name());
    }

    #[test]
    fn arbitrary_text_never_panics_and_what_parses_prints_back_to_itself(text in "[a-zA-Z0-9:/@._\\[\\]-]{0,40}|.{0,40}") {
        if let Ok(one) = Reference::parse(&text) {
            let two = Reference::parse(&one.to_string()).unwrap();
            prop_assert_eq!(one.to_string(), two.to_string());
            prop_assert_eq!(one.name(), two.name());
        }
    }

    #[test]
    fn no_component_of_a_name_begins_with_an_underscore(text in "[a-z0-9._:/@-]{1,30}") {
        if let Ok(one) = Reference::parse(&text) {
            prop_assert!(one.name().split('/').all(|part| !part.starts_with('_')));
        }
    }

    #[test]
    fn a_name_with_an_underscore_component_is_always_refused(before in "(r\\.io|[a-z0-9]{1,4})", rest in "[a-z0-9._-]{0,8}", after in proptest::option::of("[a-z]{1,3}")) {
        let text = match after { Some(after) => format!("{before}/_{rest}/{after}"), None => format!("{before}/_{rest}") };
        prop_assert!(Reference::parse(&text).is_err());
    }
}
