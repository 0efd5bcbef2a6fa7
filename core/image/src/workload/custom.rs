//! Kinds of others, as an operator describes them: which paths lead to pod specs, and which to the text of an image.
//!
//! Invariants: a described path that is absent in an object holds nothing; one that leads to another type than it says is an
//! error, and so is a second spelling of a member on it, because a controller written in Go would read that one; a place that
//! two paths reach is one place. Deliberately absent: conditions, filters, and a search for what nobody described.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use serde_json::Value;

use super::{Path, PlaceKind, Step, Walk, WorkloadError, as_array, as_object, named, pod_spec_of};
use crate::json;

/// Kinds that can be described.
pub const MAX_KINDS: usize = 64;
/// Paths of one kind.
pub const MAX_PATHS: usize = 16;
/// Steps of one path.
pub const MAX_STEPS: usize = 16;
/// The longest name of a group, kind or member, in bytes.
const MAX_NAME: usize = 253;

/// Why a description is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DescriptionError {
    /// Not what an API group or kind is called.
    #[error("{0:?} is no API group (as `argoproj.io`) or kind (as `Rollout`)")]
    Name(String),
    /// The table of Kubernetes' own kinds has it.
    #[error("{0} is known without a description")]
    Known(String),
    /// Described twice.
    #[error("{0} is described twice")]
    Twice(String),
    /// No path at all: everything of that kind would pass.
    #[error("{0} has neither `pod_specs` nor `images`: say where its images are")]
    Nothing(String),
    /// Not a path.
    #[error("{0:?} is no path: names joined by `.`, with `[*]` behind each that is a list, as `spec.template.spec`")]
    Path(String),
    /// Over a limit.
    #[error("more than {0}")]
    TooMany(&'static str),
}

/// A step of a described path.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Want {
    Member(String),
    Each,
}

/// A described path.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern(Vec<Want>);

impl Pattern {
    fn parse(text: &str) -> Result<Self, DescriptionError> {
        let bad = || DescriptionError::Path(text.to_owned());
        let mut steps = Vec::new();
        for part in text.split('.') {
            let mut name = part;
            let mut lists = 0_usize;
            while let Some(rest) = name.strip_suffix("[*]") {
                name = rest;
                lists = lists.saturating_add(1);
            }
            let is_name = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
            if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(is_name) {
                return Err(bad());
            }
            steps.push(Want::Member(name.to_owned()));
            steps.extend(std::iter::repeat_n(Want::Each, lists.min(MAX_STEPS)));
            if steps.len() > MAX_STEPS {
                return Err(DescriptionError::TooMany("16 steps in a path"));
            }
        }
        Ok(Self(steps))
    }
}

/// A kind and where its images are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomKind {
    group: String,
    kind: String,
    pod_specs: Vec<Pattern>,
    images: Vec<Pattern>,
}

impl CustomKind {
    /// `pod_specs` lead to what has the fields of a pod spec, `images` to texts.
    pub fn new(group: &str, kind: &str, pod_specs: &[String], images: &[String]) -> Result<Self, DescriptionError> {
        let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
        for name in [group, kind] {
            if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(is_word) {
                return Err(DescriptionError::Name(name.to_owned()));
            }
        }
        let shown = format!("{kind} of {group}");
        if pod_spec_of(group, kind).is_some() {
            return Err(DescriptionError::Known(shown));
        }
        match pod_specs.len().saturating_add(images.len()) {
            0 => return Err(DescriptionError::Nothing(shown)),
            1..=MAX_PATHS => {}
            _ => return Err(DescriptionError::TooMany("16 paths of one kind")),
        }
        let patterns = |texts: &[String]| texts.iter().map(|text| Pattern::parse(text)).collect::<Result<Vec<_>, _>>();
        let (pod_specs, images) = (patterns(pod_specs)?, patterns(images)?);
        Ok(Self { group: group.to_owned(), kind: kind.to_owned(), pod_specs, images })
    }
}

/// All kinds of others that are known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CustomKinds {
    kinds: Vec<CustomKind>,
    members: BTreeSet<String>,
}

static NONE: LazyLock<CustomKinds> = LazyLock::new(CustomKinds::default);

impl CustomKinds {
    /// These, each once.
    pub fn new(kinds: Vec<CustomKind>) -> Result<Self, DescriptionError> {
        if kinds.len() > MAX_KINDS {
            return Err(DescriptionError::TooMany("64 kinds"));
        }
        let mut seen = BTreeSet::new();
        let mut members = BTreeSet::new();
        for kind in &kinds {
            if !seen.insert((&kind.group, &kind.kind)) {
                return Err(DescriptionError::Twice(format!("{} of {}", kind.kind, kind.group)));
            }
            for want in kind.pod_specs.iter().chain(&kind.images).flat_map(|pattern| &pattern.0) {
                if let Want::Member(name) = want {
                    members.insert(name.clone());
                }
            }
        }
        drop(seen);
        Ok(Self { kinds, members })
    }

    /// No kinds of others.
    pub fn none() -> &'static Self {
        &NONE
    }

    /// The members on their paths: what a reader that keeps a few members must keep beside.
    pub fn members(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(String::as_str)
    }

    /// Whether this kind is described.
    pub fn has(&self, group: &str, kind: &str) -> bool {
        self.find(group, kind).is_some()
    }

    pub(super) fn find(&self, group: &str, kind: &str) -> Option<&CustomKind> {
        self.kinds.iter().find(|known| known.group == group && known.kind == kind)
    }
}

impl Walk<'_> {
    /// The places that a description leads to, each once.
    pub(super) fn described(&mut self, object: &Value, kind: &CustomKind, at: &Path) -> Result<(), WorkloadError> {
        let before = self.places.len();
        for pattern in &kind.pod_specs {
            self.follow(object, &pattern.0, at, &mut |walk, value, at| walk.pod_spec(as_object(value, at)?, at))?;
        }
        for pattern in &kind.images {
            self.follow(object, &pattern.0, at, &mut |walk, value, at| match value {
                Value::String(image) => walk.push(at.clone(), image, PlaceKind::Described),
                _ => Err(WorkloadError::WrongType { at: named(at), wanted: "a string" }),
            })?;
        }
        let mut seen: BTreeSet<Path> = self.places.iter().take(before).map(|place| place.path.clone()).collect();
        self.places.retain({
            let mut number = 0_usize;
            move |place| {
                number = number.saturating_add(1);
                number <= before || seen.insert(place.path.clone())
            }
        });
        Ok(())
    }

    /// Goes down all branches of a path, and does this at each end that is there.
    fn follow(
        &mut self,
        value: &Value,
        steps: &[Want],
        at: &Path,
        end: &mut dyn FnMut(&mut Self, &Value, &Path) -> Result<(), WorkloadError>,
    ) -> Result<(), WorkloadError> {
        // Go reads null as nothing.
        if value.is_null() {
            return Ok(());
        }
        match steps.split_first() {
            None => end(self, value, at),
            Some((Want::Each, rest)) => {
                for (i, item) in as_array(value, at)?.iter().enumerate() {
                    self.items = self.items.saturating_add(1);
                    if self.items > super::MAX_ITEMS {
                        return Err(WorkloadError::TooMany);
                    }
                    self.follow(item, rest, &at.index(i), end)?;
                }
                Ok(())
            }
            Some((Want::Member(name), rest)) => {
                let object = as_object(value, at)?;
                if object.keys().any(|key| key != name && json::folds_to(key, name)) {
                    return Err(WorkloadError::SecondName { at: named(at), name: name.clone() });
                }
                match object.get(name) {
                    None => Ok(()),
                    Some(inner) => self.follow(inner, rest, &at.with(Step::Member(name.clone().into())), end),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::images_with;
    use super::*;

    fn kind(pod_specs: &[&str], images: &[&str]) -> Result<CustomKind, DescriptionError> {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        CustomKind::new("argoproj.io", "Rollout", &owned(pod_specs), &owned(images))
    }

    fn found(pod_specs: &[&str], images: &[&str], spec: Value) -> Result<Vec<String>, WorkloadError> {
        let kinds = CustomKinds::new(vec![kind(pod_specs, images).unwrap()]).unwrap();
        let object = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "spec": spec});
        let places = images_with(&object, &kinds)?;
        Ok(places.into_iter().map(|place| format!("{}={}", place.path, place.image)).collect())
    }

    #[test]
    fn each_path_of_a_described_kind_is_followed_into_every_list() {
        let spec = json!({
            "template": {"spec": {"containers": [{"image": "a"}], "volumes": [{"image": {"reference": "v"}}]}},
            "steps": [{"tasks": [{"image": "x"}, {"image": "y"}, {}]}, {"tasks": null}, {}],
            "base": "z",
        });
        let places = found(&["spec.template.spec"], &["spec.steps[*].tasks[*].image", "spec.base"], spec).unwrap();
        assert_eq!(
            places,
            [
                "spec.template.spec.containers[0].image=a",
                "spec.template.spec.volumes[0].image.reference=v",
                "spec.steps[0].tasks[0].image=x",
                "spec.steps[0].tasks[1].image=y",
                "spec.base=z",
            ]
        );
        let nested = found(&[], &["spec.grid[*][*]"], json!({"grid": [["a"], ["b", "c"]]})).unwrap();
        assert_eq!(nested, ["spec.grid[0][0]=a", "spec.grid[1][0]=b", "spec.grid[1][1]=c"]);
    }

    #[test]
    fn a_place_that_two_paths_reach_is_one_place() {
        let spec = json!({"template": {"spec": {"containers": [{"image": "a"}, {"image": "b"}]}}});
        let images = ["spec.template.spec.containers[*].image"];
        let places = found(&["spec.template.spec"], &images, spec).unwrap();
        assert_eq!(places, ["spec.template.spec.containers[0].image=a", "spec.template.spec.containers[1].image=b"]);
    }

    #[test]
    fn another_type_or_a_second_spelling_on_a_described_path_is_an_error_and_nothing_there_is_nothing() {
        let (pods, images) = (["spec.template.spec"], ["spec.images[*]"]);
        for spec in [
            json!({"template": []}),
            json!({"template": "x"}),
            json!({"template": {"spec": []}}),
            json!({"template": {"spec": {"containers": {"image": "x"}}}}),
            json!({"images": "x"}),
            json!({"images": {"0": "x"}}),
            json!({"images": ["x", 5]}),
            json!({"Template": {"spec": {}}}),
            json!({"template": {}, "TEMPLATE": {}}),
            json!({"image\u{17f}": ["x"]}),
        ] {
            assert!(found(&pods, &images, spec.clone()).is_err(), "{spec}");
        }
        for spec in [json!({}), json!({"template": null}), json!({"template": {}}), json!({"images": []})] {
            assert_eq!(found(&pods, &images, spec.clone()), Ok(Vec::new()), "{spec}");
        }
    }

    #[test]
    fn descriptions_that_say_nothing_or_cannot_be_read_are_refused() {
        let long = vec!["a"; MAX_STEPS + 1].join(".");
        for path in
            ["", ".", "spec.", ".spec", "spec..x", "spec[0]", "spec[*", "spec.[*]", "[*]", "$.spec", "a b", &long]
        {
            assert!(kind(&[path], &[]).is_err(), "{path}");
            assert!(kind(&[], &[path]).is_err(), "{path}");
        }
        assert!(matches!(kind(&[], &[]), Err(DescriptionError::Nothing(_))));
        assert!(matches!(kind(&["a"; MAX_PATHS + 1], &[]), Err(DescriptionError::TooMany(_))));
        let paths = ["spec".to_owned()];
        for (group, kind) in [("", "Rollout"), ("argoproj.io", ""), ("argoproj.io/v1", "Rollout"), ("a", "Roll out")] {
            assert!(
                matches!(CustomKind::new(group, kind, &paths, &[]), Err(DescriptionError::Name(_))),
                "{group} {kind}"
            );
        }
        assert!(matches!(CustomKind::new("apps", "Deployment", &paths, &[]), Err(DescriptionError::Known(_))));
        let one = kind(&["spec"], &[]).unwrap();
        assert!(matches!(CustomKinds::new(vec![one.clone(), one.clone()]), Err(DescriptionError::Twice(_))));
        assert!(matches!(CustomKinds::new(vec![one; MAX_KINDS + 1]), Err(DescriptionError::TooMany(_))));
    }

    #[test]
    fn a_kind_of_the_same_name_in_another_group_is_not_known() {
        let kinds = CustomKinds::new(vec![kind(&["spec"], &[]).unwrap()]).unwrap();
        let object = json!({"apiVersion": "other.io/v1", "kind": "Rollout", "spec": {"containers": []}});
        assert!(matches!(images_with(&object, &kinds), Err(WorkloadError::UnknownKind { .. })));
    }
}
