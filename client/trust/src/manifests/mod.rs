//! Kubernetes manifests and compose files on disk: every image in them, with its file and line.
//!
//! Invariant: an image is found, or its file or document is an error; nothing is passed over because it cannot be read, is
//! too large, or is of a kind that is not known and has something in it that is called as images are. Only kinds of
//! Kubernetes without images, and what has nothing of that name, are counted and left alone. A document with `services` or
//! `include` is one for compose; if kubectl could take it for its own as well, it is an error.
//! Deliberately absent: verifying the images, and templates (`kustomize build | …` and `helm template | …` give manifests).

pub mod compose;
pub mod files;
pub mod helm;
pub mod pin;
pub mod running;
pub mod yaml;

use serde_json::Value;
use trust_image::workload::{self, Path as Place, Step, WorkloadError};
use trust_reader::catalogue::Code;
use trust_reader::verdict::Problem;

use compose::Parts;
use yaml::{At, NodeId, Tree};

/// Images in all files of one run.
pub const MAX_IMAGES: usize = 10_000;
/// Values in all files with images of one run, aliases written out.
pub const MAX_KEPT: usize = 2_000_000;

/// What an object is called that does not say what it is.
const NO_KIND: &str = "an object without apiVersion and kind";

/// One image in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Where its text is written. For an alias, or what came through a merge key: the one place.
    pub at: At,
    /// The document in the file, from 0.
    pub document: usize,
    /// Kind and name of its object.
    pub object: String,
    /// The place in the document.
    pub path: Place,
    /// The image, as it stands there; of what runs, the name of the spec with the digest that runs.
    pub image: String,
    /// Of what runs: what the spec says. `None` for what is written.
    pub written: Option<String>,
    /// The node of its text.
    pub node: NodeId,
}

/// What is judged once: an image, and what it runs for.
pub type Asked = (String, Option<String>);

impl Found {
    /// What is judged here.
    pub fn asked(&self) -> Asked {
        (self.image.clone(), self.written.clone())
    }
}

/// What a file holds.
#[derive(Debug)]
pub struct Scan {
    /// The file as a tree.
    pub tree: Tree,
    /// Its documents.
    pub values: Vec<Value>,
    /// Its images, in order.
    pub images: Vec<Found>,
    /// Documents that are not empty.
    pub documents: usize,
    /// Documents without an image.
    pub without: usize,
    /// Documents whose images are not known.
    pub faults: Vec<(At, Fault)>,
    /// Services of compose documents.
    pub compose: Parts,
}

impl Scan {
    /// Values that are kept, aliases written out.
    pub fn size(&self) -> usize {
        fn count(value: &Value) -> usize {
            match value {
                Value::Array(items) => items.iter().map(count).sum::<usize>().saturating_add(1),
                Value::Object(members) => members.values().map(count).sum::<usize>().saturating_add(1),
                _ => 1,
            }
        }
        self.values.iter().map(count).sum()
    }

    /// Forgets the content of a file in which nothing is to be written.
    pub fn forget(&mut self) {
        (self.tree, self.values) = (Tree::default(), Vec::new());
    }
}

/// Why the images of a document are not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// What the table of kinds says.
    #[error("{0}")]
    Workload(#[from] WorkloadError),
    /// It may hold images, and is of no kind in the tables.
    #[error("{object} holds {what}, and is of a kind whose images are not known ({path})")]
    UnknownKind {
        /// Kind and name.
        object: String,
        /// Containers, or what is called as an image.
        what: &'static str,
        /// The first place of it.
        path: String,
    },
    /// What compose says.
    #[error("{path} {why}")]
    Compose {
        /// The place.
        path: Place,
        /// What is wrong with it.
        why: compose::Why,
    },
    /// What runs is not known.
    #[error("{object}: {path} {why}")]
    Running {
        /// Kind and name.
        object: String,
        /// The place in its status.
        path: Place,
        /// What is wrong with it.
        why: String,
    },
    /// A container without image.
    #[error("{object} has no image at {path}")]
    NoImage {
        /// Kind and name.
        object: String,
        /// The place.
        path: String,
    },
}

impl Fault {
    /// The place in the document, where it is known as steps.
    fn place(&self) -> Option<&Place> {
        match self {
            Self::Compose { path, .. } | Self::Running { path, .. } => Some(path),
            _ => None,
        }
    }
}

/// Finds the images in the text of a file (without byte order mark).
pub fn scan(text: &str) -> Result<Scan, yaml::YamlError> {
    let tree = Tree::read(text)?;
    let values = tree.values()?;
    let mut scan = Scan {
        tree,
        values,
        images: Vec::new(),
        documents: 0,
        without: 0,
        faults: Vec::new(),
        compose: Parts::default(),
    };
    let roots = scan.tree.roots().to_vec();
    for (document, (root, value)) in roots.iter().zip(&scan.values).enumerate() {
        if value.is_null() {
            continue;
        }
        scan.documents = scan.documents.saturating_add(1);
        let begin = scan.tree.node(*root).map_or(At { line: 1, column: 1 }, |node| node.at);
        let places = match images_of(value, &scan.tree, *root, &mut scan.compose) {
            Ok(places) => places,
            Err(fault) => {
                let at = fault.place().and_then(|path| written_at(&scan.tree, *root, path)).unwrap_or(begin);
                scan.faults.push((at, fault));
                continue;
            }
        };
        if places.is_empty() {
            scan.without = scan.without.saturating_add(1);
        }
        for (object, place) in places {
            let found = scan.tree.find(*root, place.path.steps());
            let Some((node, written)) = found.and_then(|id| Some((id, scan.tree.node(id)?))) else {
                scan.faults.push((begin, Fault::NoImage { object, path: place.path.to_string() }));
                continue;
            };
            let at = written.at;
            match running::of(value, &place) {
                Ok(None) => {}
                Ok(Some(running)) => {
                    let found = scan.tree.find(*root, running.path.steps());
                    let (path, image, written) = (running.path, running.image, Some(place.image.clone()));
                    if let Some((node, at)) = found.and_then(|id| Some((id, scan.tree.node(id)?.at))) {
                        let object = object.clone();
                        scan.images.push(Found { at, document, object, path, image, written, node });
                    } else {
                        let why = "is not found where it is written".to_owned();
                        scan.faults.push((begin, Fault::Running { object: object.clone(), path, why }));
                    }
                }
                Err(fault) => {
                    let at = fault.place().and_then(|path| written_at(&scan.tree, *root, path)).unwrap_or(begin);
                    scan.faults.push((at, fault));
                }
            }
            scan.images.push(Found { at, document, object, path: place.path, image: place.image, written: None, node });
        }
    }
    Ok(scan)
}

/// Where a place, or the innermost part of it that is there, is written.
fn written_at(tree: &Tree, root: NodeId, path: &Place) -> Option<At> {
    let steps = path.steps();
    let found = (0..=steps.len()).rev().find_map(|count| tree.find(root, steps.get(..count)?))?;
    tree.node(found).map(|node| node.at)
}

/// The images of one document, each with its object.
fn images_of(
    value: &Value,
    tree: &Tree,
    root: NodeId,
    parts: &mut Parts,
) -> Result<Vec<(String, workload::Place)>, Fault> {
    if compose::is_compose(value)? {
        let services = compose::services(value)?;
        parts.with.extend(services.with);
        for service in services.without {
            let steps = ["services".to_owned(), service.clone()].map(|name| Step::Member(name.into()));
            let at = written_at(tree, root, &steps.into_iter().collect()).unwrap_or(At { line: 1, column: 1 });
            parts.without.push((at, service));
        }
        return Ok(services.images);
    }
    kubernetes(value)
}

/// The images of a document for Kubernetes.
fn kubernetes(value: &Value) -> Result<Vec<(String, workload::Place)>, Fault> {
    let wrapped;
    let object = match value {
        Value::Object(_) => value,
        // No Kubernetes object; but if there are containers in it somebody means it to be one.
        other => {
            wrapped = serde_json::json!({ "document": other });
            &wrapped
        }
    };
    let places = workload::images_anywhere(object).map_err(|error| match error {
        WorkloadError::MayBeImage { place } => {
            let is_list = |step: &Step| matches!(step, Step::Member(name) if name.ends_with("ontainers"));
            let what = if place.steps().iter().any(is_list) { "containers" } else { "what may be an image" };
            Fault::UnknownKind { object: Owner::of(object, place.steps()).name(), what, path: place.to_string() }
        }
        other => other.into(),
    })?;
    let mut found = Vec::new();
    for place in places {
        let object = Owner::of(object, place.path.steps()).name();
        if place.image.is_empty() {
            return Err(Fault::NoImage { object, path: place.path.to_string() });
        }
        found.push((object, place));
    }
    Ok(found)
}

/// The object that a place is in: the document, or an item of a list.
struct Owner<'v> {
    object: &'v Value,
    /// What the items of a typed list are, if they do not say so.
    assumed: Option<(&'v str, &'v str)>,
}

impl<'v> Owner<'v> {
    fn of(document: &'v Value, steps: &[Step]) -> Self {
        let (mut object, mut assumed) = (document, None);
        for pair in steps.chunks(2) {
            let [Step::Member(name), Step::Index(index)] = pair else { break };
            let Some(item) = word(object, "kind").and_then(|kind| kind.strip_suffix("List")) else { break };
            let Some(inner) = object.get(name.as_ref()).and_then(|items| items.get(*index)) else { break };
            if name != "items" {
                break;
            }
            assumed = word(object, "apiVersion").map(|version| (version, item)).filter(|_| !item.is_empty());
            object = inner;
        }
        Self { object, assumed }
    }

    fn kind(&self) -> Option<(&'v str, &'v str)> {
        word(self.object, "apiVersion").zip(word(self.object, "kind")).or(self.assumed)
    }

    /// `Deployment api`
    fn name(&self) -> String {
        let kind = self.kind().map_or(NO_KIND, |(_, kind)| kind);
        let name = self.object.pointer("/metadata/name").and_then(Value::as_str);
        let text = name.map_or(kind.to_owned(), |name| format!("{kind} {name}"));
        trust_reader::verdict::printable(&text)
    }
}

fn word<'v>(object: &'v Value, name: &str) -> Option<&'v str> {
    object.get(name).and_then(Value::as_str)
}

/// A manifest that cannot be used.
pub fn refused(file: &str, why: &str) -> Problem {
    Problem::new(Code::ManifestRefused).headline(format!("{file}: {why}")).fact("file", file)
}

/// A place in a manifest that cannot be used.
pub fn refused_at(file: &str, at: At, why: &impl std::fmt::Display) -> Problem {
    refused(file, &why.to_string()).headline(format!("{file}:{}:{}: {why}", at.line, at.column))
}

/// A document whose images are not known.
pub fn not_known(file: &str, at: At, fault: &Fault) -> Problem {
    let problem = refused_at(file, at, fault);
    if helm::may_be_values(file, fault) {
        return helm::values(problem);
    }
    match fault {
        Fault::UnknownKind { .. } => {
            problem.cause("only of the kinds of Kubernetes itself is it known where all their images stand").remedy([
                "check the spelling of apiVersion and kind",
                "a kind of others: a gate in the cluster checks its Pods when they are made",
            ])
        }
        Fault::Compose { why, .. } => compose::advised(problem, *why),
        Fault::Running { .. } => problem
            .cause("the status of a Pod says what runs, and here it does not say it as an image that can be verified")
            .remedy([
                "name the image by its digest in the spec, and start the Pod anew",
                "look on the node at what runs (crictl images --digests), if it was loaded or built there",
            ]),
        Fault::Workload(WorkloadError::Kustomization { .. }) => for_kustomize(problem),
        Fault::Workload(WorkloadError::NoList { .. } | WorkloadError::ListAndObject { .. }) => problem
            .cause("to kubectl every object with `items` is a list, and nothing else in it is applied")
            .remedy(["write the objects as documents of their own, with `---` between them"]),
        _ => problem,
    }
}

/// What to do with files that kustomize makes manifests from.
fn for_kustomize(problem: Problem) -> Problem {
    problem
        .cause("kustomize makes manifests from it, and may write other images into them")
        .remedy(["check what is applied: kustomize build DIR | trust verify --manifests -"])
}

/// Whether kustomize reads this file by its name.
fn is_kustomization(file: &std::path::Path) -> bool {
    let names: [&[u8]; 3] = [b"kustomization.yaml", b"kustomization.yml", b"kustomization"];
    file.file_name().is_some_and(|name| names.iter().any(|one| name.as_encoded_bytes().eq_ignore_ascii_case(one)))
}

/// A file that is not read, because it is for kustomize.
fn kustomization(file: &str) -> Problem {
    for_kustomize(refused(file, "this file is for kustomize, and is no manifest"))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
