use super::*;
use crate::manifests::scan;

fn images(text: &str) -> Vec<(String, String)> {
    let scan = scan(text).unwrap();
    assert!(scan.faults.is_empty(), "{text}: {:?}", scan.faults);
    scan.images.into_iter().map(|found| (found.path.to_string(), found.image)).collect()
}

fn why(text: &str) -> Why {
    let scan = scan(text).unwrap();
    assert!(scan.images.is_empty(), "{text}: {:?}", scan.images);
    match &scan.faults[..] {
        [(_, Fault::Compose { why, .. })] => *why,
        other => panic!("{text}: {other:?}"),
    }
}

fn service(text: &str) -> String {
    format!("services:\n  web:\n    image: r.io/a:v1\n    {text}\n")
}

#[test]
fn every_service_is_found_also_those_of_profiles_and_without_replicas() {
    let text = "name: shop\nx-common: &common\n  image: r.io/c:v1\n  restart: always\nservices:\n  web:\n    <<: *common\n    profiles: [debug]\n  db:\n    image: 'r.io/db:v1@sha256:00'\n    platform: linux/arm64\n    deploy: {replicas: 0}\n    environment: {IMAGE: 'r.io/no:v1', A: '${B}'}\n    x-note: {image: no}\n    volumes:\n    - data:/data\n    - type: image\n      source: r.io/v:v1\n      target: /v\n    - {type: bind, source: ., target: /x}\n  worker:\n    extends: web\n  other:\n    extends: {service: worker}\nvolumes: {data: {}}\nnetworks: {a: {driver: bridge}}\nx-more: {image: no}\n";
    let mut found = images(text);
    found.sort();
    let expected = [
        ("services.db.image", "r.io/db:v1@sha256:00"),
        ("services.db.volumes[1].source", "r.io/v:v1"),
        ("services.web.image", "r.io/c:v1"),
    ];
    assert_eq!(found, expected.map(|(path, image)| (path.to_owned(), image.to_owned())));
    assert!(scan(text).unwrap().compose.without.is_empty());
}

#[test]
fn a_service_that_is_called_as_an_extension_hides_no_image() {
    let found =
        images("services:\n  x-base: {image: r.io/evil:v1}\n  web: {image: r.io/a:v1}\n  x-other: {tty: true}\n");
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(scan("services: {x-other: {tty: true}}").unwrap().compose.without.is_empty());
    assert_eq!(why("services: {x-base: {build: .}}"), Why::Built);
}

#[test]
fn what_compose_fills_in_later_is_refused() {
    for (text, expected) in [
        ("services: {web: {image: '${IMAGE}'}}", Why::Variable),
        ("services: {web: {image: 'r.io/a:${TAG:-v1}'}}", Why::Variable),
        ("services: {web: {image: $IMAGE}}", Why::Variable),
        ("services: {web: {image: 'a$$b'}}", Why::Variable),
        ("services: {web: {pull_policy: '${P}', build: null}}", Why::Variable),
        ("services: {web: {volumes: [{type: '${T}', source: r.io/a}]}}", Why::Variable),
        ("services: {web: {volumes: [{type: image, source: '${S}'}]}}", Why::Variable),
        ("include: [other.yaml]\n", Why::Include),
        ("include: other.yaml\nservices: {web: {image: a}}", Why::Include),
        ("services: {web: {extends: {file: base.yaml, service: web}}}", Why::OtherFile),
        ("services: {web: {extends: '${S}'}}", Why::Variable),
        ("services: {web: {extends: nobody}}", Why::Extends),
        ("services: {web: {extends: web}}", Why::Extends),
        ("services: {a: {extends: b}, b: {extends: c}, c: {extends: b}}", Why::Extends),
        ("services: {web: {extends: {service: [a]}}}", Why::Extends),
        ("services: {web: {extends: [a]}}", Why::Extends),
    ] {
        assert_eq!(why(text), expected, "{text}");
    }
}

#[test]
fn what_is_built_or_started_by_others_is_refused_even_beside_an_image() {
    for (text, expected) in [
        ("build: .", Why::Built),
        ("build: {context: ., dockerfile_inline: FROM r.io/evil}", Why::Built),
        ("pull_policy: build", Why::Built),
        ("provider: {type: awesomecloud}", Why::Provider),
        ("models: [llm]", Why::Models),
        ("post_start: [{command: x, image: r.io/evil}]", Why::Member),
        ("pre_start: [{image: r.io/evil}]", Why::Member),
        ("Image: r.io/evil", Why::Member),
        ("volumes: [{type: new, source: r.io/evil}]", Why::Type("a type of volume that is known here")),
        ("volumes: [{source: r.io/evil}]", Why::Type("a type of volume that is known here")),
        ("volumes: text", Why::Type("a list")),
        ("pull_policy: 5", Why::Type("a text")),
    ] {
        assert_eq!(why(&service(text)), expected, "{text}");
    }
    for (text, expected) in [
        ("services: {web: {image: a}}\nmodels: {llm: {model: ai/x}}", Why::Models),
        ("services: {web: {image: a}}\nservces: {web: {image: b}}", Why::Member),
        ("services: [postgres]", Why::Type("a mapping from names to services")),
        ("services: {web: text}", Why::Type("a mapping")),
        ("services: {web: {image: 1.25}}", Why::Type("a text")),
        ("services: {web: {image: [a]}}", Why::Type("a text")),
    ] {
        assert_eq!(why(text), expected, "{text}");
    }
}

#[test]
fn what_kubectl_and_compose_could_both_take_for_their_own_is_refused() {
    let pod = "spec: {containers: [{image: r.io/a}]}\n";
    for head in ["apiVersion: v1\nkind: Pod\n", "kind: ConfigMap\n", "apiVersion: v1\nkind: ConfigMap\n", "Kind: x\n"] {
        assert_eq!(why(&format!("{head}{pod}services: {{web: {{image: r.io/evil}}}}\n")), Why::Both, "{head}");
        assert_eq!(why(&format!("{head}{pod}include: [a.yaml]\n")), Why::Both, "{head}");
    }
    // Without `services`, or with another spelling, it is no compose file; images in it are refused all the same.
    for text in ["web: {image: r.io/evil}\n", "Services: {web: {image: r.io/evil}}\n"] {
        assert!(matches!(scan(text).unwrap().faults[..], [(_, Fault::UnknownKind { .. })]), "{text}");
    }
}

#[test]
fn a_fault_is_told_where_it_is_written() {
    let scan = scan("# a\nservices:\n  db:\n    image: r.io/a\n  web:\n    image: \"${X}\"\n").unwrap();
    assert_eq!(scan.faults[0].0, At { line: 6, column: 12 });
    assert_eq!(
        scan.faults[0].1.to_string(),
        "services.web.image has a variable in it, so that the image is known only when it is filled in"
    );
}

fn input(path: Option<&str>, text: &str) -> (Input, Scan) {
    let name = path.unwrap_or("-").to_owned();
    let scan = scan(text).unwrap();
    assert!(scan.faults.is_empty(), "{:?}", scan.faults);
    (Input { name, path: path.map(Into::into), text: text.to_owned() }, scan)
}

#[test]
fn a_service_without_image_needs_one_from_a_file_in_the_same_folder() {
    let whole = "services: {web: {image: r.io/a}}";
    let part = "services: {web: {ports: ['80:80']}}";
    let none = "services: {web: }";
    assert!(without_image(&[input(Some("/x/a.yaml"), whole), input(Some("/x/b.yaml"), part)]).is_empty());
    assert!(without_image(&[input(Some("/x/a.yaml"), &format!("{whole}\n---\n{none}"))]).is_empty());
    for files in [
        vec![input(Some("/x/b.yaml"), part)],
        vec![input(None, none)],
        vec![input(Some("/x/a.yaml"), whole), input(Some("/x/y/b.yaml"), part)],
        vec![input(Some("/x/a.yaml"), &whole.replace("web", "db")), input(Some("/x/b.yaml"), part)],
        vec![input(Some("/x/a.yaml"), part), input(Some("/x/b.yaml"), part)],
    ] {
        let problems = without_image(&files);
        assert!(!problems.is_empty(), "{files:?}");
        assert!(problems[0].headline.contains("services.web has no image"), "{}", problems[0].headline);
        assert!(problems[0].remedy.iter().any(|line| line.contains("docker compose")), "{:?}", problems[0].remedy);
    }
}

#[test]
fn more_images_than_are_read_are_an_error() {
    let many: String = (0..=workload::MAX_PLACES).map(|n| format!("  s{n}: {{image: a}}\n")).collect();
    assert!(matches!(scan(&format!("services:\n{many}")).unwrap().faults[..], [(_, Fault::Workload(_))]));
}
