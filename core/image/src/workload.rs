//! Where image references stand in Kubernetes objects: the pod spec of each workload kind, and the four fields below it.
//!
//! Invariant: what [`images`] returns is every place from which a node would take an image, or an error; nothing is passed
//! over because it has an unexpected type, a second spelling or no place in the table. So whoever decides over all
//! places has decided over the object. An object with `items` is a list to kubectl whatever its kind says, so it is one
//! here or an error. [`images_anywhere`] is for reports on files, where kinds of others are common: it passes those in
//! which nothing has the name of an image, and refuses the rest. Kinds of others are known as far as an operator described
//! them ([`custom`]). Deliberately absent: fetching and deciding.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

use serde_json::{Map, Value};

use crate::json;

pub mod custom;

use self::custom::CustomKinds;

/// Places in one object (with all items of a list).
pub const MAX_PLACES: usize = 1_000;
/// Items of a list, all lists of one object together.
pub const MAX_ITEMS: usize = 10_000;
/// Lists in lists that are read.
pub const MAX_LISTS: usize = 4;
/// Nesting that the search in kinds of others goes down to.
pub const MAX_SEARCH_DEPTH: usize = 64;

/// (API group, kind, members that lead to its pod spec). `extensions` is where some stood before `apps`.
const KINDS: &[(&str, &str, &[&str])] = &[
    ("", "Pod", &["spec"]),
    ("", "ReplicationController", &["spec", "template", "spec"]),
    ("", "PodTemplate", &["template", "spec"]),
    ("apps", "Deployment", &["spec", "template", "spec"]),
    ("apps", "ReplicaSet", &["spec", "template", "spec"]),
    ("apps", "StatefulSet", &["spec", "template", "spec"]),
    ("apps", "DaemonSet", &["spec", "template", "spec"]),
    ("extensions", "Deployment", &["spec", "template", "spec"]),
    ("extensions", "ReplicaSet", &["spec", "template", "spec"]),
    ("extensions", "DaemonSet", &["spec", "template", "spec"]),
    ("batch", "Job", &["spec", "template", "spec"]),
    ("batch", "CronJob", &["spec", "jobTemplate", "spec", "template", "spec"]),
];

/// The lists of containers in a pod spec. A pod spec that has none of the first is no pod spec.
const CONTAINERS: &[(&str, PlaceKind)] = &[
    ("containers", PlaceKind::Container),
    ("initContainers", PlaceKind::InitContainer),
    ("ephemeralContainers", PlaceKind::EphemeralContainer),
];

/// (API group, kinds) of Kubernetes itself that start no Pods: what is called an image in them is data, or a disk's.
const WITHOUT_IMAGES: &[(&str, &[&str])] = &[
    (
        "",
        &[
            "ConfigMap",
            "Endpoints",
            "LimitRange",
            "Namespace",
            "PersistentVolume",
            "PersistentVolumeClaim",
            "ResourceQuota",
            "Secret",
            "Service",
            "ServiceAccount",
        ],
    ),
    ("admissionregistration.k8s.io", &["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"]),
    ("apiextensions.k8s.io", &["CustomResourceDefinition"]),
    ("apiregistration.k8s.io", &["APIService"]),
    ("autoscaling", &["HorizontalPodAutoscaler"]),
    ("discovery.k8s.io", &["EndpointSlice"]),
    ("extensions", &["Ingress"]),
    ("networking.k8s.io", &["Ingress", "IngressClass", "NetworkPolicy"]),
    ("policy", &["PodDisruptionBudget"]),
    ("rbac.authorization.k8s.io", &["ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"]),
    ("scheduling.k8s.io", &["PriorityClass"]),
    ("storage.k8s.io", &["CSIDriver", "StorageClass"]),
];

/// The API group of what kustomize reads: it says how manifests are made, and is none.
const KUSTOMIZE: &str = "kustomize.config.k8s.io";

/// Members of kinds of others that are taken for an image if they hold a text (or a number, as a tag may be).
const IMAGE_NAMES: &[&str] = &["image", "imageName", "newName", "newTag", "reference"];

/// The kinds that [`images`] knows, as (API group, kind).
pub fn kinds() -> impl Iterator<Item = (&'static str, &'static str)> {
    KINDS.iter().map(|(group, kind, _)| (*group, *kind))
}

/// One step from an object into it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// A member of an object.
    Member(Cow<'static, str>),
    /// An item of an array, from 0.
    Index(usize),
}

/// The steps from the outermost object to a value. Displayed for people: `spec.containers[0].image`.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path(Vec<Step>);

impl Path {
    /// The steps, from the outside.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// As a JSON pointer (RFC 6901): `/spec/containers/0/image`.
    pub fn pointer(&self) -> String {
        let mut pointer = String::new();
        for step in &self.0 {
            match step {
                Step::Member(name) => {
                    pointer.push('/');
                    pointer.push_str(&escape(name));
                }
                // Writing to a String does not fail.
                Step::Index(index) => drop(write!(pointer, "/{index}")),
            }
        }
        pointer
    }

    fn member(&self, name: &'static str) -> Path {
        self.with(Step::Member(Cow::Borrowed(name)))
    }

    fn index(&self, index: usize) -> Path {
        self.with(Step::Index(index))
    }

    fn with(&self, step: Step) -> Path {
        let mut steps = Vec::with_capacity(self.0.len() + 4);
        steps.extend_from_slice(&self.0);
        steps.push(step);
        Path(steps)
    }
}

impl FromIterator<Step> for Path {
    fn from_iter<I: IntoIterator<Item = Step>>(steps: I) -> Self {
        Self(steps.into_iter().collect())
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, step) in self.0.iter().enumerate() {
            match step {
                Step::Member(name) => {
                    // Names come from the object: what steers a terminal is escaped.
                    write!(f, "{}{}", if i == 0 { "" } else { "." }, name.escape_debug())?;
                }
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// A member's name as it stands in a JSON pointer: `~` becomes `~0`, `/` becomes `~1`.
pub fn escape(name: &str) -> Cow<'_, str> {
    match name.contains(['~', '/']) {
        true => Cow::Owned(name.replace('~', "~0").replace('/', "~1")),
        false => Cow::Borrowed(name),
    }
}

/// What an image is used for at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PlaceKind {
    /// `containers[i].image`
    Container,
    /// `initContainers[i].image`
    InitContainer,
    /// `ephemeralContainers[i].image`
    EphemeralContainer,
    /// `volumes[i].image.reference`
    Volume,
    /// A text that an operator named as an image, in a kind of others.
    Described,
}

/// A place where an image reference stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Where; the last step need not exist if the image is empty.
    pub path: Path,
    /// What stands there, unchecked; empty if the member is absent or empty, as templates may have it.
    pub image: String,
    /// What for.
    pub kind: PlaceKind,
}

/// Why the places of an object are not known. A gate denies on each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorkloadError {
    /// `apiVersion` or `kind` is absent or no string.
    #[error("{at} says no apiVersion and kind")]
    NoKind {
        /// The object, `the object` for the outermost.
        at: String,
    },
    /// No table says where this kind has its images.
    #[error("kind {kind:?} of apiVersion {api_version:?} is not one whose images are known")]
    UnknownKind {
        /// As given.
        api_version: String,
        /// As given.
        kind: String,
    },
    /// A member without which there is no pod spec, or no container.
    #[error("{at} is missing")]
    Missing {
        /// Where.
        at: String,
    },
    /// A value of another type than Kubernetes has there.
    #[error("{at} is not {wanted}")]
    WrongType {
        /// Where.
        at: String,
        /// What should stand there.
        wanted: &'static str,
    },
    /// A member that another reader would take for `name`.
    #[error("{at} holds a second spelling of \"{name}\"")]
    SecondSpelling {
        /// The object.
        at: String,
        /// The name that we read.
        name: &'static str,
    },
    /// A member on a described path that another reader would take for `name`.
    #[error("{at} holds a second spelling of \"{name}\"")]
    SecondName {
        /// The object.
        at: String,
        /// The name on the path.
        name: String,
    },
    /// A list to kubectl, and by its kind none: which of the two counts is not guessed.
    #[error("{at} holds \"items\" and is of kind {kind:?}, which is no list; tools differ on what it is")]
    NoList {
        /// The object.
        at: String,
        /// As given.
        kind: String,
    },
    /// A list that is also an object.
    #[error("{at} is a list that also holds \"{name}\"; tools differ on what it is")]
    ListAndObject {
        /// The list.
        at: String,
        /// `spec` or `template`.
        name: &'static str,
    },
    /// In an object whose kind is in no table, what has the name of an image or of containers. Only [`images_anywhere`].
    #[error("{place} may be an image, in an object of a kind whose images are not known")]
    MayBeImage {
        /// Where.
        place: Path,
    },
    /// What kustomize makes manifests from. Only [`images_anywhere`].
    #[error("{at} is for kustomize, which makes manifests from it (and may replace images); it is none")]
    Kustomization {
        /// The object.
        at: String,
    },
    /// More places than [`MAX_PLACES`], or more items than [`MAX_ITEMS`].
    #[error("more than {MAX_PLACES} images, or more than {MAX_ITEMS} items")]
    TooMany,
    /// Lists nested deeper than [`MAX_LISTS`], or an object deeper than [`MAX_SEARCH_DEPTH`].
    #[error("nested too deep")]
    TooDeep,
}

/// Every place of an image in an object of a known kind, in the order of the fields above. `v1` `List` and `KINDList` of a
/// known kind are their items.
pub fn images(object: &Value) -> Result<Vec<Place>, WorkloadError> {
    walk(object, false, CustomKinds::none())
}

/// The same, also for the kinds of others that are described.
pub fn images_with(object: &Value, kinds: &CustomKinds) -> Result<Vec<Place>, WorkloadError> {
    walk(object, false, kinds)
}

/// As [`images`] for the known kinds, also as items of any list. Kinds of Kubernetes without images have no places. In an
/// object of another kind, or of none, what has the name of an image (a word with `image` in it, `newName`, `newTag`, `reference`,
/// `bundle`, `repository` beside a tag) or of containers is an error, at any depth and in any case of letters.
pub fn images_anywhere(object: &Value) -> Result<Vec<Place>, WorkloadError> {
    walk(object, true, CustomKinds::none())
}

fn walk(object: &Value, lenient: bool, custom: &CustomKinds) -> Result<Vec<Place>, WorkloadError> {
    let mut walk = Walk { places: Vec::new(), items: 0, lenient, custom };
    walk.object(object, &Path::default(), None, 0)?;
    Ok(walk.places)
}

/// What an item of a typed list is if it does not say so itself.
type Assumed<'a> = Option<(&'a str, &'a str)>;

struct Walk<'k> {
    places: Vec<Place>,
    items: usize,
    /// Kinds that are not known are searched; else they are an error.
    lenient: bool,
    /// Kinds of others that are known all the same.
    custom: &'k CustomKinds,
}

impl Walk<'_> {
    fn object(&mut self, value: &Value, at: &Path, assumed: Assumed<'_>, lists: usize) -> Result<(), WorkloadError> {
        let object = as_object(value, at)?;
        let word = |name| match member(object, name, at)? {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str())),
            Some(_) => Err(WorkloadError::WrongType { at: at.member(name).to_string(), wanted: "a string" }),
        };
        let items = member(object, "items", at)?.filter(|items| !items.is_null());
        let no_list = |kind: &str| Err(WorkloadError::NoList { at: named(at), kind: kind.to_owned() });
        let (api_version, kind) = match (word("apiVersion")?, word("kind")?, assumed) {
            (Some(api_version), Some(kind), _) => (api_version, kind),
            (None, None, Some(assumed)) => assumed,
            _ if !self.lenient => return Err(WorkloadError::NoKind { at: named(at) }),
            (_, kind, _) if items.is_some() => return no_list(kind.unwrap_or_default()),
            _ => return search(value, at, 0),
        };
        let group = group_of(api_version);
        let prefix = pod_spec_of(group, kind);
        if let Some(items) = items {
            return match kind.strip_suffix("List").filter(|_| prefix.is_none()) {
                None => no_list(kind),
                Some(item) => {
                    let is_known = api_version == "v1" && item.is_empty() || pod_spec_of(group, item).is_some();
                    if !is_known && !self.lenient {
                        return unknown(api_version, kind);
                    }
                    self.list(object, items, at, (!item.is_empty()).then_some((api_version, item)), lists)
                }
            };
        }
        if let Some(prefix) = prefix {
            return self.pod_spec_at(object, prefix, at);
        }
        if let Some(described) = self.custom.find(group, kind) {
            return self.described(value, described, at);
        }
        if !self.lenient {
            return unknown(api_version, kind);
        }
        if group == KUSTOMIZE {
            return Err(WorkloadError::Kustomization { at: named(at) });
        }
        match WITHOUT_IMAGES.iter().any(|(g, kinds)| *g == group && kinds.contains(&kind)) {
            true => Ok(()),
            false => search(value, at, 0),
        }
    }

    fn list(
        &mut self,
        object: &Map<String, Value>,
        items: &Value,
        at: &Path,
        assumed: Assumed<'_>,
        lists: usize,
    ) -> Result<(), WorkloadError> {
        if lists >= MAX_LISTS {
            return Err(WorkloadError::TooDeep);
        }
        for name in ["spec", "template"] {
            if member(object, name, at)?.is_some_and(|value| !value.is_null()) {
                return Err(WorkloadError::ListAndObject { at: named(at), name });
            }
        }
        let place = at.member("items");
        for (i, item) in as_array(items, &place)?.iter().enumerate() {
            self.items += 1;
            if self.items > MAX_ITEMS {
                return Err(WorkloadError::TooMany);
            }
            self.object(item, &place.index(i), assumed, lists + 1)?;
        }
        Ok(())
    }

    fn pod_spec_at(
        &mut self,
        object: &Map<String, Value>,
        prefix: &[&'static str],
        at: &Path,
    ) -> Result<(), WorkloadError> {
        let (mut object, mut at) = (object, at.clone());
        for name in prefix {
            let inner = at.member(name);
            object = match member(object, name, &at)? {
                None | Some(Value::Null) => return Err(WorkloadError::Missing { at: inner.to_string() }),
                Some(value) => as_object(value, &inner)?,
            };
            at = inner;
        }
        if matches!(member(object, "containers", &at)?, None | Some(Value::Null)) {
            return Err(WorkloadError::Missing { at: at.member("containers").to_string() });
        }
        self.pod_spec(object, &at)
    }

    /// The four fields. A list that is absent or null (which Go reads alike) holds no image.
    fn pod_spec(&mut self, spec: &Map<String, Value>, at: &Path) -> Result<(), WorkloadError> {
        for (name, kind) in CONTAINERS {
            let list = at.member(name);
            for (i, container) in optional_array(spec, name, at)?.iter().enumerate() {
                let place = list.index(i);
                let image = text(as_object(container, &place)?, "image", &place)?;
                self.push(place.member("image"), image, *kind)?;
            }
        }
        let list = at.member("volumes");
        for (i, volume) in optional_array(spec, "volumes", at)?.iter().enumerate() {
            let place = list.index(i);
            let source = match member(as_object(volume, &place)?, "image", &place)? {
                None => continue,
                Some(source) => source,
            };
            let place = place.member("image");
            let image = text(as_object(source, &place)?, "reference", &place)?;
            self.push(place.member("reference"), image, PlaceKind::Volume)?;
        }
        Ok(())
    }

    fn push(&mut self, path: Path, image: &str, kind: PlaceKind) -> Result<(), WorkloadError> {
        if self.places.len() >= MAX_PLACES {
            return Err(WorkloadError::TooMany);
        }
        self.places.push(Place { path, image: image.to_owned(), kind });
        Ok(())
    }
}

/// Refuses what has the name of an image or of containers, anywhere below `value`. Another spelling of such a name counts
/// whatever it holds: whose reader it is meant for is not known.
fn search(value: &Value, at: &Path, depth: usize) -> Result<(), WorkloadError> {
    if depth > MAX_SEARCH_DEPTH {
        return Err(WorkloadError::TooDeep);
    }
    match value {
        Value::Object(object) => {
            for name in CONTAINERS.iter().map(|(name, _)| *name) {
                let list = at.member(name);
                let place = match json::member(object, name) {
                    Ok(None) => continue,
                    // Where its image is, if it is what it is called.
                    Ok(Some(Value::Array(containers))) => containers
                        .iter()
                        .position(|container| container.get("image").is_some_and(Value::is_string))
                        .map_or(list.clone(), |i| list.index(i).member("image")),
                    _ => list,
                };
                return Err(WorkloadError::MayBeImage { place });
            }
            for name in IMAGE_NAMES {
                let is_image = match json::member(object, name) {
                    Ok(None | Some(Value::Null)) => false,
                    // An object of this name has repository and tag in it, or whatever its owner calls them.
                    Ok(Some(value)) => *name == "image" || !(value.is_array() || value.is_object()),
                    Err(_) => true,
                };
                if is_image {
                    return Err(WorkloadError::MayBeImage { place: at.member(name) });
                }
            }
            if let Some(name) = object.iter().find_map(|(name, value)| has_name_of_image(object, name, value)) {
                return Err(WorkloadError::MayBeImage { place: at.with(Step::Member(Cow::Owned(name.clone()))) });
            }
            object.iter().filter(|(_, inner)| inner.is_array() || inner.is_object()).try_for_each(|(name, inner)| {
                search(inner, &at.with(Step::Member(Cow::Owned(name.clone()))), depth + 1)
            })
        }
        Value::Array(items) => (items.iter().enumerate())
            .filter(|(_, inner)| inner.is_array() || inner.is_object())
            .try_for_each(|(i, inner)| search(inner, &at.index(i), depth + 1)),
        _ => Ok(()),
    }
}

/// The name of a member of a kind of others that is called as an image is, in whatever its owner made of the word, and holds
/// texts: `baseImage`, `images`, `image_ref`; the bundle of a task; a repository beside its tag.
fn has_name_of_image<'n>(
    object: &serde_json::Map<String, Value>,
    name: &'n String,
    value: &Value,
) -> Option<&'n String> {
    let is_text = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
    let holds_text = is_text(value) || value.as_array().is_some_and(|items| items.iter().any(is_text));
    let lower = name.to_ascii_lowercase();
    let has = |wanted: &str| object.keys().any(|other| other.eq_ignore_ascii_case(wanted));
    // How and with which secret an image is pulled says nothing of which one.
    let is_called = lower.contains("image") && !lower.starts_with("imagepull")
        || lower == "bundle"
        || lower == "repository" && (has("tag") || has("digest"));
    (holds_text && is_called).then_some(name)
}

fn group_of(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

/// The members that lead to the pod spec of a known kind.
fn pod_spec_of(group: &str, kind: &str) -> Option<&'static [&'static str]> {
    KINDS.iter().find(|(g, k, _)| *g == group && *k == kind).map(|(_, _, prefix)| *prefix)
}

fn unknown(api_version: &str, kind: &str) -> Result<(), WorkloadError> {
    Err(WorkloadError::UnknownKind { api_version: api_version.to_owned(), kind: kind.to_owned() })
}

fn named(at: &Path) -> String {
    if at.steps().is_empty() { "the object".to_owned() } else { at.to_string() }
}

fn member<'v>(
    object: &'v Map<String, Value>,
    name: &'static str,
    at: &Path,
) -> Result<Option<&'v Value>, WorkloadError> {
    json::member(object, name).map_err(|_| WorkloadError::SecondSpelling { at: named(at), name })
}

fn as_object<'v>(value: &'v Value, at: &Path) -> Result<&'v Map<String, Value>, WorkloadError> {
    value.as_object().ok_or_else(|| WorkloadError::WrongType { at: named(at), wanted: "an object" })
}

fn as_array<'v>(value: &'v Value, at: &Path) -> Result<&'v [Value], WorkloadError> {
    value.as_array().map(Vec::as_slice).ok_or_else(|| WorkloadError::WrongType { at: named(at), wanted: "an array" })
}

fn optional_array<'v>(
    object: &'v Map<String, Value>,
    name: &'static str,
    at: &Path,
) -> Result<&'v [Value], WorkloadError> {
    match member(object, name, at)? {
        None | Some(Value::Null) => Ok(&[]),
        Some(value) => as_array(value, &at.member(name)),
    }
}

/// The string `name`, empty if it is absent. Null is no image: nobody who means one writes it.
fn text<'v>(object: &'v Map<String, Value>, name: &'static str, at: &Path) -> Result<&'v str, WorkloadError> {
    match member(object, name, at)? {
        None => Ok(""),
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(WorkloadError::WrongType { at: at.member(name).to_string(), wanted: "a string" }),
    }
}

#[cfg(test)]
#[path = "workload_tests.rs"]
mod tests;
