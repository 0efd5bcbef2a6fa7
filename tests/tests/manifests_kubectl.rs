//! Manifests that were damaged in every way, read by kubectl and by us: an image that kubectl would send to a cluster is one
//! that we found, or we refused the file. So no damage hides an unsigned image behind a clean exit.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use serde_json::Value;
use trust::manifests::{helm, scan};
use trust_tests::stack::{run, tool};

/// Files; `SOAK` says how many in a long run.
fn count() -> usize {
    std::env::var("SOAK").ok().and_then(|n| n.parse().ok()).unwrap_or(2_000)
}

/// Files that one run of kubectl reads.
const BATCH: usize = 1_000;

/// Kinds, and where their pod specs are.
const KINDS: [(&str, &str); 8] = [
    ("Pod", "/spec"),
    ("Deployment", "/spec/template/spec"),
    ("StatefulSet", "/spec/template/spec"),
    ("DaemonSet", "/spec/template/spec"),
    ("ReplicaSet", "/spec/template/spec"),
    ("ReplicationController", "/spec/template/spec"),
    ("Job", "/spec/template/spec"),
    ("CronJob", "/spec/jobTemplate/spec/template/spec"),
];

/// Numbers that look random and are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % end.max(1)
    }
}

fn originals(n: usize) -> Vec<String> {
    let (evil, good) = (format!("r.io/evil:n{n}"), "r.io/good:v1");
    vec![
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\nspec:\n  containers:\n  - image: {good}\n    name: a\n  - name: b\n    image: {evil} # b\n  volumes:\n  - name: v\n    image: {{reference: {evil}}}\n"
        ),
        format!(
            "---\n# Source: shop/a.yaml\napiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: a\nspec:\n  template:\n    spec:\n      initContainers: [{{name: i, image: '{evil}'}}]\n      containers:\n      - {{name: a, \"image\": \"{good}\"}}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c}}\ndata:\n  a: |\n    image: x\n"
        ),
        format!(
            "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Pod\n  metadata: {{name: a}}\n  spec: &spec\n    containers: [{{image: {good}}}]\n- apiVersion: v1\n  kind: Pod\n  metadata: {{name: b}}\n  spec:\n    <<: *spec\n    initContainers: [{{image: &e {evil}}}, {{image: *e}}]\n"
        ),
        format!(
            "{{\"apiVersion\": \"batch/v1\", \"kind\": \"CronJob\", \"metadata\": {{\"name\": \"a\"}}, \"spec\": {{\"jobTemplate\": {{\"spec\": {{\"template\": {{\"spec\": {{\n\t\"containers\": [{{\"image\": \"{good}\"}}, {{\"image\": \"{evil}\"}}]}}}}}}}}}}}}\n"
        ),
    ]
}

fn damaged(n: usize) -> String {
    const WORDS: [&str; 40] = [
        "\n",
        "\n  ",
        " ",
        "    ",
        "'",
        "\"",
        "#",
        " # ",
        ":",
        ": ",
        "- ",
        "&a ",
        "*e",
        "*spec",
        "{",
        "}",
        "[",
        "]",
        "|\n",
        ">-\n",
        "\t",
        "\r",
        "\r\n",
        "---\n",
        "--- |\n",
        "...\n",
        "<<: *spec\n",
        "image: x\n",
        "Image: ",
        "kind: ConfigMap\n",
        "items: []\n",
        "\u{feff}",
        "\u{85}",
        "\u{2028}",
        "!!str ",
        "!!binary ",
        "\\",
        ",",
        "? ",
        "services: {}\n",
    ];
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(u64::try_from(n).unwrap() + 1));
    for _ in 0..8 {
        numbers.below(2);
    }
    let originals = originals(n);
    let mut text = originals[numbers.below(originals.len())].clone();
    for _ in 0..1 + numbers.below(5) / 3 {
        let mut at = numbers.below(text.len() + 1);
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
        if lines.is_empty() {
            break;
        }
        let (one, other) = (numbers.below(lines.len()), numbers.below(lines.len()));
        match numbers.below(8) {
            0 => drop(lines.remove(one)),
            1 => lines.insert(other, lines[one].clone()),
            2 => lines.swap(one, other),
            3 => lines[one] = lines[one].replacen("  ", "", 1),
            4 => lines[one].insert_str(0, "  "),
            5 => {
                text.truncate(at);
                lines = vec![text.clone()];
            }
            _ => {
                text.insert_str(at, WORDS[numbers.below(WORDS.len())]);
                lines = vec![text.clone()];
            }
        }
        text = lines.concat();
    }
    text
}

/// Every image that an object starts containers from, as the API server reads it.
fn images(object: &Value) -> BTreeSet<String> {
    let kind = object["kind"].as_str().unwrap_or_default();
    let spec = KINDS.iter().find(|(name, _)| *name == kind).and_then(|(_, place)| object.pointer(place));
    let list = |name: &str| spec.and_then(|spec| spec[name].as_array()).into_iter().flatten();
    let containers = ["containers", "initContainers", "ephemeralContainers"].into_iter().flat_map(list);
    let images = containers.map(|one| &one["image"]).chain(list("volumes").map(|one| &one["image"]["reference"]));
    images.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// What we say of a text: its images, or nothing if it is refused.
fn ours(text: &str) -> Option<BTreeSet<String>> {
    let body = text.strip_prefix('\u{feff}').unwrap_or(text);
    if helm::first_action(body).is_some() {
        return None;
    }
    let scan = scan(body).ok().filter(|scan| scan.faults.is_empty() && scan.compose.without.is_empty())?;
    Some(scan.images.into_iter().map(|found| found.image).collect())
}

#[test]
fn no_damage_hides_an_image_from_us_that_kubectl_sees_soak() {
    let kubectl = tool("kubectl").expect("kubectl is missing: run tests/tools/fetch.sh");
    let (mut seen, mut refused, mut checked) = (0, 0, 0);
    for begin in (0..count()).step_by(BATCH) {
        let folder = tempfile::tempdir().unwrap();
        let texts: Vec<String> = (begin..(begin + BATCH).min(count())).map(damaged).collect();
        for (n, text) in texts.iter().enumerate() {
            fs::write(folder.path().join(format!("{}.yaml", begin + n)), text).unwrap();
        }
        // Offline, and it goes on behind a file that it cannot read.
        let mut command = Command::new(&kubectl);
        command.args(["annotate", "--local", "x=y", "-o", "json", "--kubeconfig=/dev/null", "-f"]).arg(folder.path());
        let output = run(&mut command).unwrap();
        let objects = serde_json::Deserializer::from_slice(&output.stdout).into_iter::<Value>();
        for object in objects.map(|object| object.expect("kubectl prints JSON")) {
            for image in images(&object) {
                let Some(n) = image.strip_prefix("r.io/evil:n").and_then(|n| n.parse::<usize>().ok()) else { continue };
                let Some(text) = n.checked_sub(begin).and_then(|n| texts.get(n)) else { continue };
                seen += 1;
                match ours(text) {
                    None => refused += 1,
                    Some(found) => assert!(found.contains(&image), "{n}: kubectl sees {image}, we {found:?}:\n{text}"),
                }
            }
        }
        checked += texts.len();
    }
    assert_eq!(checked, count());
    // kubectl reads a good part of them, and we do not simply refuse what is damaged.
    assert!(
        seen > checked / 8 && refused < seen / 2,
        "{checked} files: kubectl sees {seen}, of which we refuse {refused}"
    );
    println!("{checked} files: kubectl sees the image in {seen}, of which we refuse {refused}");
}
