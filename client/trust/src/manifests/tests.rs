use super::*;

const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\nspec:\n  containers:\n  - image: r.io/a:v1\n";

fn images(text: &str) -> Vec<String> {
    let scan = scan(text).unwrap();
    assert!(scan.faults.is_empty(), "{:?}", scan.faults);
    scan.images.into_iter().map(|found| found.image).collect()
}

fn fault(text: &str) -> Fault {
    let mut scan = scan(text).unwrap();
    assert!(scan.images.is_empty(), "{text}");
    scan.faults.remove(0).1
}

#[test]
fn a_kind_of_others_that_holds_containers_is_an_error() {
    let rollout = "apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nmetadata: {name: web}\nspec:\n  template:\n    spec:\n      containers:\n      - image: r.io/a:v1\n";
    assert!(matches!(fault(rollout), Fault::UnknownKind { object, .. } if object == "Rollout web"));
    let list = format!("apiVersion: v1\nkind: List\nitems:\n- {}", rollout.trim_end().replace('\n', "\n  "));
    assert!(matches!(fault(&list), Fault::UnknownKind { .. }));
    // A misspelt version or kind, and none at all.
    for text in [POD.replace("v1\nkind", "v1x/y\nkind"), POD.replace("Pod", "pod"), POD.replace("kind: Pod\n", "")] {
        assert!(matches!(fault(&text), Fault::UnknownKind { .. }), "{text}");
    }
    assert!(matches!(fault("- spec:\n    containers:\n    - image: r.io/a:v1\n"), Fault::UnknownKind { .. }));
}

#[test]
fn an_image_that_comes_through_a_merge_or_an_alias_is_not_missed() {
    let merged = "apiVersion: v1\nkind: Pod\nx-base: &base\n  image: r.io/evil:v1\nspec:\n  containers:\n  - <<: *base\n    name: c\n";
    assert_eq!(images(merged), ["r.io/evil:v1"]);
    let spec = "x: &spec\n  containers:\n  - image: r.io/evil:v1\napiVersion: v1\nkind: Pod\nspec: *spec\n";
    assert_eq!(images(spec), ["r.io/evil:v1"]);
    let kind = "x: &k Pod\napiVersion: v1\nkind: *k\nspec:\n  containers:\n  - image: r.io/evil:v1\n";
    assert_eq!(images(kind), ["r.io/evil:v1"]);
    let whole = "x: &pod\n  kind: Pod\n  apiVersion: v1\n  spec: {containers: [{image: r.io/evil:v1}]}\n<<: *pod\n";
    assert_eq!(images(whole), ["r.io/evil:v1"]);
}

#[test]
fn an_image_that_is_no_text_is_an_error() {
    for bad in ["1.25", "", "~", "[a]", "{a: b}", "yes"] {
        assert!(matches!(fault(&POD.replace("r.io/a:v1", bad)), Fault::Workload(_)), "{bad}");
    }
    let absent = POD.replace("image: r.io/a:v1", "name: c");
    assert!(matches!(fault(&absent), Fault::NoImage { path, .. } if path == "spec.containers[0].image"));
    assert!(matches!(fault(&POD.replace("image:", "Image:")), Fault::Workload(_) | Fault::NoImage { .. }));
}

#[test]
fn one_bad_document_does_not_hide_the_others() {
    let text = format!(
        "{POD}---\n{}---\nkind: ConfigMap\napiVersion: v1\n---\n{POD}",
        POD.replace("image: r.io/a:v1", "name: c")
    );
    let scan = scan(&text).unwrap();
    assert_eq!((scan.images.len(), scan.faults.len(), scan.documents, scan.without), (2, 1, 4, 1));
    assert_eq!((scan.images[1].document, scan.images[1].at.line), (3, 26));
}

#[test]
fn every_place_has_its_line_object_and_path() {
    let text = "# é\r\napiVersion: apps/v1\r\nkind: Deployment\r\nmetadata:\r\n  name: api\r\nspec:\r\n  template:\r\n    spec:\r\n      initContainers:\r\n      - image: 'r.io/i:v1'\r\n      containers:\r\n      - name: c\r\n        image: r.io/a:v1 # main\r\n";
    let scan = scan(text).unwrap();
    let told: Vec<(usize, String, String)> =
        scan.images.iter().map(|f| (f.at.line, f.object.clone(), f.path.to_string())).collect();
    let place = |line, path: &str| (line, "Deployment api".to_owned(), format!("spec.template.spec.{path}"));
    assert_eq!(told, [place(13, "containers[0].image"), place(10, "initContainers[0].image")]);
}

#[test]
fn lists_typed_or_not_are_their_items() {
    let list = format!("apiVersion: v1\nkind: List\nitems:\n- {}", POD.trim_end().replace('\n', "\n  "));
    assert_eq!(images(&list), ["r.io/a:v1"]);
    let typed = "apiVersion: v1\nkind: PodList\nitems:\n- spec: {containers: [{image: r.io/a:v1}]}\n";
    assert_eq!(images(typed), ["r.io/a:v1"]);
    let json = r#"{"apiVersion":"v1","kind":"List","items":[{"apiVersion":"v1","kind":"Service"},{"apiVersion":"v1","kind":"Pod","spec":{"containers":[{"image":"r.io/a:v1"}]}}]}"#;
    assert_eq!(images(json), ["r.io/a:v1"]);
}

#[test]
fn documents_without_images_are_counted_and_empty_ones_are_none() {
    let scan =
        scan("---\n# nothing\n---\nkind: ConfigMap\napiVersion: v1\ndata: {image: x}\n---\n---\n- a\n- b\n").unwrap();
    assert_eq!((scan.documents, scan.without, scan.images.len(), scan.faults.len()), (2, 2, 0, 0));
}

#[test]
fn items_beside_a_pod_do_not_hide_their_images() {
    let evil = POD.trim_end().replace('\n', "\n  ");
    for name in ["items", "Items"] {
        assert!(matches!(fault(&format!("{POD}{name}:\n- {evil}\n")), Fault::Workload(_)), "{name}");
    }
}

#[test]
fn an_image_in_a_kind_of_others_is_named_with_its_place_and_what_to_do() {
    let text = "apiVersion: x.io/v1\nkind: Prometheus\nmetadata: {name: p}\nspec: {image: r.io/a:v1}\n";
    let found = fault(text);
    assert!(
        matches!(&found, Fault::UnknownKind { object, path, .. } if object == "Prometheus p" && path == "spec.image")
    );
    let problem = not_known("a.yaml", At { line: 1, column: 1 }, &found);
    assert!(problem.headline.contains("what may be an image") && !problem.remedy.is_empty(), "{}", problem.headline);
    let number = "apiVersion: x.io/v1\nkind: X\nspec: {newTag: 1.25}\n";
    assert!(matches!(fault(number), Fault::UnknownKind { .. }));
    let hidden = "apiVersion: x.io/v1\nkind: X\nx: &a {containers: [{name: c}]}\nspec: {<<: *a}\n";
    assert!(matches!(fault(hidden), Fault::UnknownKind { .. }));
}

#[test]
fn a_document_for_kustomize_points_to_its_build() {
    let text = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [a.yaml]\n";
    let problem = not_known("a.yaml", At { line: 1, column: 1 }, &fault(text));
    assert!(problem.remedy.iter().any(|line| line.contains("kustomize build DIR | trust verify --manifests -")));
}

#[test]
fn the_manifests_of_this_repository_are_understood() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/kubernetes");
    let (inputs, problems) = files::read(&folder).unwrap();
    assert!(inputs.len() >= 5 && problems.is_empty(), "{problems:?}");
    let scans: Vec<Scan> = inputs.iter().map(|input| scan(input.body()).unwrap()).collect();
    assert!(scans.iter().all(|scan| scan.faults.is_empty()));
    assert_eq!(scans.iter().map(|scan| scan.images.len()).sum::<usize>(), 1);
}

#[test]
fn the_chart_of_this_repository_is_no_folder_of_manifests() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/helm");
    let (inputs, problems) = files::read(&folder).unwrap();
    assert!(inputs.is_empty() && problems.len() == 1, "{problems:?}");
    assert!(problems[0].remedy.iter().any(|line| line.contains("helm template NAME")), "{problems:?}");
    // Its templates are none either, also without the chart around them.
    let templates = std::fs::read_dir(folder.join("trust-gate/templates")).unwrap().map(|entry| entry.unwrap().path());
    let mut seen = 0;
    for path in templates.filter(|path| path.extension().is_some_and(|ending| ending == "yaml")) {
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(helm::first_action(&text).is_some() || scan(&text).is_err(), "{}", path.display());
        seen += 1;
    }
    assert!(seen > 0);
}
