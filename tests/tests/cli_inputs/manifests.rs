//! Manifests and compose files in which an image could hide, and what `--pin` must not do.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::cli_world::World;
use super::{api, chmod, fifo};

/// A Pod with this image.
fn pod(image: &str) -> String {
    format!("apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - image: {image}\n")
}

/// What cannot be read or understood is refused; an image that could be missed is found; nothing else is written.
pub fn manifests(world: &mut World) {
    hidden(world);
    refused(world);
    compose(world);
    running(world);
    folders(world);
    charts(world);
    pinned(world);
    bounded(world);
}

/// Every one of these holds the unsigned image where a quick look misses it.
fn hidden(world: &mut World) {
    let (ops, unsigned) = (world.ops.clone(), format!("{}/api:unsigned", world.demo));
    let good = api(world);
    for (what, text) in [
        ("plain", pod(&unsigned)),
        (
            "behind a thousand documents",
            format!("{}---\n{}", "---\nkind: ConfigMap\napiVersion: v1\n".repeat(1_000), pod(&unsigned)),
        ),
        ("by an alias", format!("x: &i {unsigned}\n{}", pod("*i"))),
        (
            "by a merge key",
            format!(
                "x: &c {{image: {unsigned}}}\napiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - <<: *c\n    name: z\n"
            ),
        ),
        (
            "as JSON",
            format!(
                "{{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\n\t\"spec\":{{\"containers\":[{{\"image\":\"{unsigned}\"}}]}}}}"
            ),
        ),
        (
            "in a list",
            format!("apiVersion: v1\nkind: List\nitems:\n- {}", pod(&unsigned).trim_end().replace('\n', "\n  ")),
        ),
        (
            "as init container",
            pod(&good).replace("  containers:", &format!("  initContainers:\n  - image: {unsigned}\n  containers:")),
        ),
        ("as volume", format!("{}  volumes:\n  - image: {{reference: {unsigned}}}\n", pod(&good))),
        ("with CRLF", pod(&unsigned).replace('\n', "\r\n")),
        ("behind a byte order mark", format!("\u{feff}{}", pod(&unsigned))),
        ("as block text", pod(&format!("|-\n      {unsigned}"))),
        ("with escapes", pod(&format!("\"{}\"", unsigned.replace("api", "\\x61pi")))),
        (
            "in a CronJob",
            format!(
                "apiVersion: batch/v1\nkind: CronJob\nspec: {{jobTemplate: {{spec: {{template: {{spec: {{containers: [{{image: \"{unsigned}\"}}]}}}}}}}}}}\n"
            ),
        ),
        ("in a compose file", format!("services:\n  web: {{image: '{good}'}}\n  db:\n    image: {unsigned}\n")),
        (
            "in a profile of a compose file",
            format!("services: {{web: {{image: '{good}'}}, x: {{image: '{unsigned}', profiles: [never]}}}}\n"),
        ),
        (
            "as image volume of a compose file",
            format!(
                "services:\n  web:\n    image: {good}\n    volumes:\n    - {{type: image, source: '{unsigned}', target: /x}}\n"
            ),
        ),
        (
            "by an extension of a compose file",
            format!("x-app: &app {{image: '{unsigned}'}}\nservices:\n  web:\n    <<: *app\n"),
        ),
        ("in a compose file behind a Pod", format!("{}---\nservices: {{web: {{image: '{unsigned}'}}}}\n", pod(&good))),
        (
            "in a hook that helm template prints",
            format!(
                "---\n# Source: shop/templates/web.yaml\n{}---\n# Source: shop/templates/hook.yaml\n{}---\n# Source: shop/templates/empty.yaml\n",
                pod(&good),
                pod(&unsigned)
                    .replace("kind: Pod\n", "kind: Pod\nmetadata: {annotations: {helm.sh/hook: pre-install}}\n")
            ),
        ),
    ] {
        fs::write(ops.home.join("m.yaml"), &text).unwrap();
        for pin in [&[][..], &["--pin"]] {
            let arguments = [&["verify", "--manifests", "m.yaml"], pin].concat();
            world.refused(&format!("hidden {what}"), &ops, &arguments, 10, &["error[E1001]", "m.yaml:"]);
        }
        let same = fs::read_to_string(ops.home.join("m.yaml")).unwrap() == text;
        world.check(&format!("hidden {what}: nothing is written"), same, "");
    }
}

/// What one reader takes for this and another for that is not guessed.
fn refused(world: &mut World) {
    let ops = world.ops.clone();
    let good = pod(&api(world));
    let laughs: String =
        (1..12).map(|n| format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 10].join(", "))).collect();
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("a key twice", good.replace("kind: Pod\n", "kind: Pod\nkind: Pod\n").into(), "m.yaml:3:1"),
        ("a billion laughs", format!("a0: &a0 [x]\n{laughs}{good}").into(), "aliases written out"),
        ("an alias of itself", format!("a: &a [*a]\n{good}").into(), "alias"),
        ("tabs as indentation", good.replace("  - image", "\t- image").into(), "m.yaml:5"),
        ("content behind the separator", format!("--- |\n  x\n{good}").into(), "---"),
        ("a separator that kubectl takes for one", format!("---x: |\n  y\n{good}").into(), "---"),
        ("a line break of others", format!("a: 1 # x\u{2028}b: 2\n{good}").into(), "U+2028"),
        ("a bare CR", format!("a: 1 # x\rb: 2\n{good}").into(), "U+000D"),
        ("a byte order mark inside", format!("{good}---\n\u{feff}{good}").into(), "U+FEFF"),
        ("a binary tag", good.replace("kind: Pod", "kind: !!binary UG9k").into(), "tag"),
        (
            "a merge that overrides",
            format!("x: &c {{image: a}}\n{}", good.replace("- image:", "- <<: *c\n    image:")).into(),
            "<<",
        ),
        ("UTF-16", b"\xff\xfea\0:\0 \x001\0".to_vec(), "UTF-8"),
        ("a number as image", pod("1.25").into(), "not a string"),
        ("no image", pod("x").replace("image: x", "name: x").into(), "no image"),
        ("a misspelt kind", good.replace("Pod", "pod").into(), "not known"),
        ("a kind of others", good.replace("v1", "example.com/v1").into(), "not known"),
        ("items beside a Pod", format!("{good}items:\n- {}", good.trim_end().replace('\n', "\n  ")).into(), "items"),
        ("an image in a kind of others", "apiVersion: x.io/v1\nkind: X\nspec: {image: a}\n".into(), "spec.image"),
        (
            "a document for kustomize",
            "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nimages: [{name: a, newName: b}]\n"
                .into(),
            "kustomize build DIR",
        ),
        ("a template", good.replace("kind: Pod", "kind: {{ .Values.kind }}").into(), "m.yaml:2"),
        ("a template in quotes", pod("'{{ .Values.image }}'").into(), "helm template NAME CHART"),
        ("a template in a comment", format!("{good}# {{{{ include \"sidecar\" . }}}}\n").into(), "m.yaml:6:1"),
        (
            "a block that only templates have",
            format!("{{{{- if $x }}}}\n{good}{{{{- end }}}}\n").into(),
            "helm template",
        ),
        (
            "a stream of JSON",
            br#"{"kind":"ConfigMap","apiVersion":"v1"}{"kind":"Pod","apiVersion":"v1"}"#.to_vec(),
            "m.yaml:1",
        ),
        ("deep nesting", format!("a: {}\n{good}", "[".repeat(5_000)).into(), "m.yaml:1"),
        ("nothing", Vec::new(), "no image in it"),
        ("only comments", b"# a\n---\n# b\n".to_vec(), "no image in it"),
        ("too large", vec![b'#'; 8 * 1024 * 1024 + 1], "larger than"),
    ];
    for (what, text, says) in cases {
        fs::write(ops.home.join("m.yaml"), text).unwrap();
        world.refused(what, &ops, &["verify", "--manifests", "m.yaml"], 2, &["error[E0009]", says]);
    }
    fs::write(ops.home.join("m.yaml"), pod("\"${IMAGE}\"")).unwrap();
    world.refused("a placeholder as image", &ops, &["verify", "--manifests", "m.yaml"], 2, &["error[E0004]"]);
    fifo(&ops.home.join("pipe.yaml"));
    world.refused("a pipe that nobody writes to", &ops, &["verify", "--manifests", "pipe.yaml"], 2, &["E0009"]);
    for arguments in [
        &["verify", "--pin"][..],
        &["verify", "--manifests", "m.yaml", "a/b:v1"],
        &["verify", "--manifests", "m.yaml", "--dry-run"],
    ] {
        world.refused("flags that do not fit", &ops, arguments, 2, &["error[E0002]"]);
    }
}

/// A compose file says what it pulls, or is refused with what to do.
fn compose(world: &mut World) {
    let (ops, good) = (world.ops.clone(), api(world));
    let service = |more: &str| format!("services:\n  web:\n    image: {good}\n    {more}\n");
    let config = "docker compose --profile '*' config | trust verify --manifests -";
    for (what, text, says) in [
        ("a variable", "services: {web: {image: 'r.io/a:${TAG:-v1}'}}".to_owned(), config),
        ("a service that is built", service("build: ."), "is built here"),
        ("a policy that builds", service("pull_policy: build"), "is built here"),
        ("services of another file", format!("include: [other.yaml]\n{}", service("")), config),
        ("a service of another file", "services: {web: {extends: {file: a.yaml, service: a}}}".to_owned(), config),
        ("a part of a service", "services: {web: {ports: ['80:80']}}".to_owned(), config),
        ("a program that starts services", service("provider: {type: x}"), "any image"),
        ("a member that is not known", service("pre_start: [{image: x}]"), "services.web.pre_start"),
        ("a merge that overrides", format!("x: &a {{image: b}}\n{}", service("<<: *a")), "second time"),
        ("both kinds of file at once", format!("{}services: {{web: {{image: x}}}}\n", pod(&good)), "Kubernetes"),
        ("the format before services", format!("web: {{image: {good}}}\n"), "web.image"),
    ] {
        fs::write(ops.home.join("m.yaml"), text).unwrap();
        let arguments = ["verify", "--manifests", "m.yaml", "--pin"];
        world.refused(&format!("compose: {what}"), &ops, &arguments, 2, &["error[E0009]", says]);
    }
    let folder = ops.home.join("compose");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("compose.yaml"), service("profiles: [a]")).unwrap();
    fs::write(folder.join("compose.override.yaml"), "services: {web: {ports: ['80:80']}}").unwrap();
    world.refused(
        "compose: a part beside the whole",
        &ops,
        &["verify", "--manifests", "compose"],
        0,
        &["verified: 1,"],
    );
    fs::write(folder.join("compose.prod.yaml"), format!("services: {{web: {{image: '{}/api:unsigned'}}}}", world.demo))
        .unwrap();
    let says = ["E1001", "compose.prod.yaml:1"];
    world.refused(
        "compose: an image that another file puts in",
        &ops,
        &["verify", "--manifests", "compose"],
        10,
        &says,
    );
}

/// What `kubectl get pods -o yaml` says: not the written tag alone counts, but what runs.
fn running(world: &mut World) {
    let (ops, tag) = (world.ops.clone(), api(world));
    let (signed, other) = (world.images["api"].digest.clone(), world.images["other"].digest.clone());
    let pods = |image: &str, id: &str| {
        format!(
            "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Pod\n  metadata: {{name: p}}\n  spec:\n    containers:\n    - {{name: c, image: '{image}'}}\n  status:\n    containerStatuses:\n    - name: c\n      imageID: {id}\n"
        )
    };
    let name = format!("{}/api", world.demo);
    let path = ops.home.join("pods.yaml");
    for (what, id, exit, says) in [
        ("the signed image", format!("docker-pullable://mirror.io/x@{signed}"), 0, &["of what runs: 1"][..]),
        ("another image", format!("{name}@{other}"), 10, &["E1001", "what runs as", "containerStatuses[0].imageID"]),
        ("a configuration", other.clone(), 2, &["E0009", "digest of a configuration", "not understood: 1"]),
    ] {
        fs::write(&path, pods(&tag, &id)).unwrap();
        let run = world.run_fed(&ops, &["verify", "--manifests", "-"], &path);
        world.check(&format!("{what} runs: exit {exit}"), run.exit == exit, &run.said());
        let missing = says.iter().find(|says| !run.said().contains(**says));
        world.check(&format!("{what} runs: it is said"), missing.is_none(), &run.said());
    }
    // A digest in the spec is what runs.
    fs::write(&path, pods(&format!("{tag}@{signed}"), &format!("{name}@{other}"))).unwrap();
    world.refused("by digest", &ops, &["verify", "--manifests", "pods.yaml"], 0, &["images verified: 1,"]);
    // Tags of what runs are pinned where they are written, and nowhere else.
    let text = pods(&tag, &format!("{name}@{signed}"));
    fs::write(&path, &text).unwrap();
    world.refused("pin what runs", &ops, &["verify", "--manifests", "pods.yaml", "--pin"], 0, &["pinned"]);
    let now = fs::read_to_string(&path).unwrap();
    world.check("only the spec is pinned", now == text.replace(&tag, &format!("{tag}@{signed}")), &now);
}

/// What Helm makes manifests from is refused as a whole, with the command that renders it.
fn charts(world: &mut World) {
    let (ops, good) = (world.ops.clone(), pod(&api(world)));
    let chart = ops.home.join("all/chart");
    fs::create_dir_all(chart.join("templates")).unwrap();
    fs::write(chart.join("Chart.yaml"), "apiVersion: v2\nname: shop\nversion: 1.0.0\n").unwrap();
    fs::write(chart.join("values.yaml"), "repository: r.io/evil\n").unwrap();
    fs::write(chart.join("templates/pod.yaml"), &good).unwrap();
    fs::write(ops.home.join("all/pod.yaml"), &good).unwrap();
    for place in ["all", "all/chart", "all/chart/templates", "all/chart/templates/pod.yaml", "all/chart/Chart.yaml"] {
        let says = ["error[E0009]", "helm template NAME", "trust verify --manifests -"];
        world.refused("a chart", &ops, &["verify", "--manifests", place, "--pin"], 2, &says);
    }
    let same = fs::read_to_string(ops.home.join("all/pod.yaml")).unwrap() == good;
    world.check("a chart, and nothing is written", same, "");
    fs::remove_dir_all(&chart).unwrap();
    world.refused("no chart any more", &ops, &["verify", "--manifests", "all"], 0, &["images verified: 1,"]);
    fs::write(ops.home.join("all/values.yaml"), "image: {repository: r.io/a, tag: v1}\nsidecar: {image: r.io/b}\n")
        .unwrap();
    let says = ["E0009", "all/values.yaml:1", "does not belong here: render the chart: helm template"];
    world.refused("values of a chart", &ops, &["verify", "--manifests", "all"], 2, &says);
    fs::remove_file(ops.home.join("all/values.yaml")).unwrap();
    fs::write(ops.home.join("all/helmfile.yaml"), "releases: [{chart: shop}]").unwrap();
    world.refused("a helmfile", &ops, &["verify", "--manifests", "all"], 2, &["helmfile template"]);
}

/// What is huge or deep ends with a reason, and soon.
fn bounded(world: &mut World) {
    let (ops, good) = (world.ops.clone(), pod(&api(world)));
    let services: String = (0..=1_000).map(|n| format!("  s{n}: {{image: 'r.io/a'}}\n")).collect();
    for (what, text, says) in [
        ("ten thousand documents and one", format!("{}{good}", "a: 1\n---\n".repeat(10_000)), "documents"),
        ("a million values", format!("{good}x: [{}]\n", "1,".repeat(1_000_001)), "values"),
        ("many services", format!("services:\n{services}"), "more than 1000 images"),
        ("flow in flow", format!("services: {}", "{a: ".repeat(50_000)), "m.yaml:1"),
        ("quotes without an end", format!("services: \"{}", "\\x61".repeat(500_000)), "m.yaml:1"),
        ("braces without an end", "{{".repeat(2_000_000), "m.yaml:1"),
    ] {
        fs::write(ops.home.join("m.yaml"), text).unwrap();
        world.refused(what, &ops, &["verify", "--manifests", "m.yaml"], 2, &["error[E0009]", says]);
    }
    fs::write(ops.home.join("m.yaml"), (0..=255_u8).cycle().take(100_000).collect::<Vec<_>>()).unwrap();
    world.refused("bytes", &ops, &["verify", "--manifests", "m.yaml"], 2, &["error[E0009]", "UTF-8"]);
    fs::write(ops.home.join("m.yaml"), "\u{0}\u{1}\u{2}").unwrap();
    world.refused("control characters", &ops, &["verify", "--manifests", "m.yaml"], 2, &["error[E0009]", "U+0000"]);
}

fn folders(world: &mut World) {
    let (ops, good) = (world.ops.clone(), pod(&api(world)));
    let folder = ops.home.join("folder");
    fs::create_dir_all(folder.join("below/.git")).unwrap();
    fs::write(folder.join("below/a.yaml"), &good).unwrap();
    fs::write(folder.join("below/.git/b.yaml"), "a: b: c").unwrap();
    fs::write(folder.join("notes.txt"), "a: b: c").unwrap();
    symlink("..", folder.join("below/circle")).unwrap();
    world.refused("a circle of links", &ops, &["verify", "--manifests", "folder"], 0, &["images verified: 1,"]);
    for hidden in [".hidden.yaml", ".yaml", ".x/a.yaml"] {
        fs::create_dir_all(folder.join(".x")).unwrap();
        fs::write(folder.join(hidden), pod(&format!("{}/api:unsigned", world.demo))).unwrap();
        world.refused("a hidden file", &ops, &["verify", "--manifests", "folder"], 10, &["E1001", hidden]);
        fs::remove_file(folder.join(hidden)).unwrap();
    }
    fs::write(folder.join("Kustomization"), "images: [{name: a, newName: b}]").unwrap();
    let says = ["E0009", "kustomize build DIR"];
    world.refused("a file for kustomize", &ops, &["verify", "--manifests", "folder"], 2, &says);
    fs::remove_file(folder.join("Kustomization")).unwrap();
    symlink("/etc/hostname", folder.join("out.yaml")).unwrap();
    world.refused("a link out of the folder", &ops, &["verify", "--manifests", "folder"], 2, &["E0009", "out.yaml"]);
    fs::remove_file(folder.join("out.yaml")).unwrap();
    symlink("nowhere", folder.join("none.yaml")).unwrap();
    world.refused("a link to nothing", &ops, &["verify", "--manifests", "folder"], 35, &["none.yaml"]);
    fs::remove_file(folder.join("none.yaml")).unwrap();
    fs::write(folder.join("bad.json"), "{").unwrap();
    let run = world.refused("one bad file", &ops, &["verify", "--manifests", "folder", "--pin"], 2, &["bad.json:"]);
    world.check("the others are told all the same", run.said().contains("below/a.yaml:5"), &run.said());
    let same = fs::read_to_string(folder.join("below/a.yaml")).unwrap() == good;
    world.check("one bad file and nothing is written", same, "");
    world.refused("no folder", &ops, &["verify", "--manifests", "nowhere"], 35, &["nowhere"]);
}

fn pinned(world: &mut World) {
    let (ops, image) = (world.ops.clone(), api(world));
    let digest = world.images["api"].digest.clone();
    let text = format!(
        "\u{feff}# é 界\r\n---\r\n{}---\n{{\"apiVersion\": \"v1\",\t\"kind\": \"Pod\", spec: {{containers: [{{image: '{image}'}}, {{image: \"{image}\"}}]}}}}\n# end, no line break",
        pod(&format!("&i {image}   # why")).replace('\n', "\r\n") + "  - image: *i\n"
    );
    let path = ops.home.join("pin.yaml");
    fs::write(&path, &text).unwrap();
    chmod(&path, 0o640);
    world.refused("pin, dry run", &ops, &["verify", "--manifests", "pin.yaml", "--pin", "--dry-run"], 0, &["+ "]);
    world.check("a dry run writes nothing", fs::read_to_string(&path).unwrap() == text, "");
    world.refused("pin", &ops, &["verify", "--manifests", "pin.yaml", "--pin"], 0, &["pinned"]);
    let now = fs::read_to_string(&path).unwrap();
    let expected = text.replace(&image, &format!("{image}@{digest}"));
    world.check("pin keeps every other byte", now == expected, &now);
    let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o7777;
    world.check("pin keeps the mode", mode == 0o640, &format!("{mode:o}"));
    world.refused("pin again", &ops, &["verify", "--manifests", "pin.yaml", "--pin"], 0, &["files changed: 0"]);
    world.check("pin again changes nothing", fs::read_to_string(&path).unwrap() == expected, "");

    fs::write(&path, &text).unwrap();
    symlink("pin.yaml", ops.home.join("link.yaml")).unwrap();
    world.refused("pin through a link", &ops, &["verify", "--manifests", "link.yaml", "--pin"], 0, &["pinned"]);
    let is_link = fs::symlink_metadata(ops.home.join("link.yaml")).unwrap().is_symlink();
    world.check("the link stays one", is_link && fs::read_to_string(&path).unwrap() == expected, "");

    let text = format!(
        "# compose\r\nx-app: &app   # shared\r\n  image: '{image}'\t# tab\r\n  restart: always\r\nservices:\r\n  a:\r\n    <<: *app\r\n  b: {{ <<: *app, labels: [\"{image}\"] }}\r\n  c:\r\n    image: {image}"
    );
    fs::write(&path, &text).unwrap();
    world.refused(
        "pin a compose file",
        &ops,
        &["verify", "--manifests", "pin.yaml", "--pin"],
        0,
        &["services.c.image"],
    );
    let expected = format!("{image}@{digest}");
    let expected = text
        .replace(&format!("'{image}'"), &format!("'{expected}'"))
        .replace(&format!("    image: {image}"), &format!("    image: {expected}"));
    let now = fs::read_to_string(&path).unwrap();
    world.check("pin keeps every other byte of a compose file", now == expected, &now);

    for (what, text) in [
        ("block text", pod(&format!("|-\n      {image}"))),
        ("an anchor that is also a label", format!("metadata: {{labels: {{i: &i \"{image}\"}}}}\n{}", pod("*i"))),
    ] {
        fs::write(&path, &text).unwrap();
        world.refused(what, &ops, &["verify", "--manifests", "pin.yaml"], 0, &[]);
        world.refused(what, &ops, &["verify", "--manifests", "pin.yaml", "--pin"], 2, &["E0009", "then pin it"]);
        world.check(&format!("{what}: nothing is written"), fs::read_to_string(&path).unwrap() == text, "");
    }
    // In a pipe: only what may be applied comes out.
    for (image, exit) in [(image.clone(), 0), (format!("{}/api:unsigned", world.demo), 10)] {
        fs::write(&path, pod(&image)).unwrap();
        let run = world.run_fed(&ops, &["verify", "--manifests", "-", "--pin"], &path);
        world.check(&format!("stdin: exit {exit}"), run.exit == exit, &run.said());
        let expected = if exit == 0 { pod(&format!("{image}@{digest}")) } else { String::new() };
        world.check("stdin: nothing but the manifests on stdout", run.out == expected, &run.out);
    }
    let left: Vec<_> = fs::read_dir(&ops.home).unwrap().map(|e| e.unwrap().file_name()).collect();
    let left: Vec<_> = left.iter().filter(|name| name.to_string_lossy().ends_with(".new")).collect();
    world.check("nothing is left beside", left.is_empty(), &format!("{left:?}"));
}
