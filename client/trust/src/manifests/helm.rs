//! What Helm makes manifests from: charts and templates are no manifests, and are refused with the command that renders them.
//!
//! Invariant: a folder with a chart in it is never read as a folder of manifests, and a text with what only Helm fills in is
//! none. What `helm template` prints is plain Kubernetes YAML and needs nothing of this. Deliberately absent: rendering.

use std::path::{Path, PathBuf};

use trust_reader::verdict::Problem;

use super::{Fault, NO_KIND, refused};

/// What Helm alone knows in `{{ … }}`.
const OBJECTS: &[&str] = &[".Values", ".Release", ".Chart", ".Capabilities", ".Template", ".Files"];

/// Whether this is the file that makes its folder a chart.
pub fn is_chart_file(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().eq_ignore_ascii_case(b"chart.yaml"))
}

/// Whether helmfile reads this file by its name.
pub fn is_helmfile(path: &Path) -> bool {
    let names: [&[u8]; 2] = [b"helmfile.yaml", b"helmfile.yml"];
    path.file_name().is_some_and(|name| names.iter().any(|one| name.as_encoded_bytes().eq_ignore_ascii_case(one)))
}

/// The chart whose template this file or folder is.
pub fn chart_of(real: &Path) -> Option<PathBuf> {
    let templates = real.ancestors().filter(|folder| folder.file_name().is_some_and(|name| name == "templates"));
    let charts = templates.filter_map(Path::parent);
    charts.filter(|folder| folder.join("Chart.yaml").exists()).last().map(Path::to_owned)
}

/// A chart where manifests should be.
pub fn chart(shown: &Path) -> Problem {
    let shown = shown.display().to_string();
    let folder = if shown.is_empty() { "." } else { shown.as_str() };
    let command = format!("helm template NAME {folder} --values FILE | trust verify --manifests -");
    refused(folder, "this is a Helm chart: its templates are no manifests")
        .cause("which images a chart names is known only with its values and with the charts that it depends on")
        .remedy(["render it first, with the values of the deployment".to_owned(), command])
}

/// A helmfile where manifests should be.
pub fn helmfile(shown: &str) -> Problem {
    refused(shown, "this file is for helmfile, and is no manifest")
        .cause("helmfile makes manifests from charts that it names")
        .remedy(["render it first: helmfile template | trust verify --manifests -"])
}

/// Whether this may be a file with values for a chart: by its name, or as an object that says no kind.
pub fn may_be_values(file: &str, fault: &Fault) -> bool {
    let name = Path::new(file).file_name().and_then(|name| name.to_str()).unwrap_or_default().to_ascii_lowercase();
    let is_called_so = ["yaml", "yml"].iter().any(|ending| {
        let name = name.strip_suffix(ending).and_then(|name| name.strip_suffix('.'));
        name.is_some_and(|name| name.starts_with("values") || name.ends_with("values"))
    });
    match fault {
        Fault::UnknownKind { object, .. } => is_called_so || object.starts_with(NO_KIND),
        Fault::Compose { .. } => is_called_so,
        _ => false,
    }
}

/// What may be a file with values for a chart.
pub fn values(problem: Problem) -> Problem {
    problem.cause("it says no kind of Kubernetes whose images are known, as files with the values of a chart do not").remedy([
        "a values file of a chart does not belong here: render the chart: helm template NAME CHART --values FILE | trust verify --manifests -",
        "a manifest: check the spelling of apiVersion and kind",
        "a kind of others: a gate in the cluster checks its Pods when they are made",
    ])
}

/// A file that was not rendered.
pub fn template(problem: Problem) -> Problem {
    problem
        .cause("it has `{{ … }}` in it as Helm templates have, and what Helm writes there is not known")
        .remedy(["render it first: helm template NAME CHART --values FILE | trust verify --manifests -"])
}

/// The line with the first `{{ … }}` that only Helm fills in, from 1.
pub fn first_action(text: &str) -> Option<usize> {
    let mut line = 1_usize;
    // Each byte is looked at once: an action ends where the next one begins, if it does not end before.
    for (n, part) in text.split("{{").enumerate() {
        let action = part.split_once("}}").map_or(part, |(action, _)| action);
        if n > 0 && is_of_helm(action) {
            return Some(line);
        }
        line = line.saturating_add(part.bytes().filter(|b| *b == b'\n').count());
    }
    None
}

fn is_of_helm(action: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    let stands = |word: &str| {
        action.match_indices(word).any(|(at, _)| {
            let before = action.get(..at).and_then(|text| text.chars().next_back());
            let after = action.get(at.saturating_add(word.len())..).and_then(|text| text.chars().next());
            !before.is_some_and(is_word) && !after.is_some_and(|c| c != '.' && is_word(c))
        })
    };
    OBJECTS.iter().any(|word| stands(word)) || action.trim_start_matches(['-', ' ']).starts_with("include ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_helm_fills_in_is_seen_and_templates_of_others_are_not() {
        for text in [
            "a: 1\n# {{ .Values.image }}\n",
            "a: 1\nimage: \"{{ $.Values.image }}\"\n",
            "a: 1\n{{- include \"x\" . }}\n",
            "a: 1\nb: '{{ printf \"%s\" (.Chart.Name) }}'\n",
            "a: 1\nb: {{{ .Release.Name }}}\n",
            "a: {{ x }}\nb: {{ .Values }}",
            "a: 1\nb: {{ .Values.x",
        ] {
            assert_eq!(first_action(text), Some(2), "{text}");
        }
        for text in [
            "summary: '{{ $labels.instance }} is down'",
            "title: '{{ range .GroupLabels.SortedPairs.Values }}{{ . }}{{ end }}'",
            "a: '{{ $values.A }} {{ .ValuesOf }} {{ template \"x\" . }}'",
            "a: {b: {c: d}}",
            ".Values",
        ] {
            assert_eq!(first_action(text), None, "{text}");
        }
    }

    #[test]
    fn a_values_file_is_told_where_it_belongs() {
        let told = |file: &str, text: &str| {
            let fault = crate::manifests::scan(text).unwrap().faults.remove(0).1;
            let at = crate::manifests::yaml::At { line: 1, column: 1 };
            crate::manifests::not_known(file, at, &fault).remedy.join("\n")
        };
        let values = "image:\n  repository: r.io/a\n  tag: v1\nsidecar: {image: r.io/b}\n";
        for file in ["a/values.yaml", "values-production.yml", "production.values.yaml", "production.yaml", "-"] {
            let told = told(file, values);
            assert!(told.contains("does not belong here: render the chart: helm template"), "{file}: {told}");
            assert!(told.contains("apiVersion and kind"), "{file}: {told}");
        }
        let other = "apiVersion: x.io/v1\nkind: X\nspec: {image: a}\n";
        assert!(!told("x.yaml", other).contains("helm template"));
        assert!(told("values.yaml", other).contains("helm template"));
    }

    #[test]
    fn a_template_knows_its_chart_however_deep_it_lies() {
        let folder = tempfile::tempdir().unwrap();
        let chart = folder.path().canonicalize().unwrap().join("c");
        let sub = chart.join("charts/d/templates/e");
        std::fs::create_dir_all(&sub).unwrap();
        std::fs::create_dir_all(chart.join("templates")).unwrap();
        std::fs::write(chart.join("Chart.yaml"), "name: c").unwrap();
        assert_eq!(chart_of(&chart.join("templates/pod.yaml")), Some(chart.clone()));
        assert_eq!(chart_of(&sub), None);
        std::fs::write(chart.join("charts/d/Chart.yaml"), "name: d").unwrap();
        assert_eq!(chart_of(&sub.join("a.yaml")), Some(chart.join("charts/d")));
        assert_eq!(chart_of(&chart.join("values.yaml")), None);
    }
}
