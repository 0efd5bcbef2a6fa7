//! The facts that deciding rules read, with their values and where each comes from.
//!
//! Invariant: only what a rule's text mentions is told, and each fact once; values and names are escaped for terminals.
//! Deliberately absent: whether a fact made the difference. Cedar does not say that, and a second evaluator would be a
//! second meaning of the rules.

use std::collections::BTreeMap;

use trust_image::PlatformFacts;

use crate::decide::Hits;
use crate::decision::{FactKind, UsedFact};
use crate::dictionary::Meaning;
use crate::entities;
use crate::environment::{Environment, NOBODY};
use crate::load::Policy;
use crate::reads::Read;
use crate::subject::Subject;
use crate::{text, time};

/// Everything that an explanation needs.
struct Explained<'a> {
    policy: &'a Policy,
    env: &'a Environment,
    subject: &'a Subject,
    runnable: &'a [&'a PlatformFacts],
    now_unix: i64,
}

/// The facts of a decision, environment first.
pub(crate) fn facts(
    policy: &Policy,
    hits: &Hits,
    env: &Environment,
    subject: &Subject,
    runnable: &[&PlatformFacts],
    now_unix: i64,
) -> Vec<UsedFact> {
    // What is read, and of which platforms.
    let mut reads: BTreeMap<&Read, Vec<usize>> = BTreeMap::new();
    for (rule, platforms) in hits {
        for read in policy.rules.get(*rule).into_iter().flat_map(|rule| &rule.reads) {
            let of = reads.entry(read).or_default();
            for at in platforms {
                if !of.contains(at) {
                    of.push(*at);
                }
            }
        }
    }
    // A label whose fitness is asked is told once, with it.
    let asked: Vec<&Read> = reads.keys().copied().collect();
    for read in asked {
        if let Read::Fit(key) = read
            && let Some(platforms) = reads.remove(&Read::Label(key.clone()))
            && let Some(of) = reads.get_mut(read)
        {
            of.extend(platforms);
            of.sort_unstable();
            of.dedup();
        }
    }
    let explained = Explained { policy, env, subject, runnable, now_unix };
    let mut facts = Vec::with_capacity(reads.len());
    for (read, platforms) in reads {
        explained.add(read, &platforms, &mut facts);
    }
    facts
}

/// Where labels come from.
pub(crate) fn from_config(platforms: &[&str]) -> String {
    format!("from image config of {}, covered by signed digest", platforms.join(", "))
}

/// An annotation, and what is to be said of it.
pub(crate) fn annotation(key: &str, value: Option<&str>, more: &str) -> UsedFact {
    UsedFact {
        kind: FactKind::ImageAnnotation,
        name: text::printable(key),
        value: value.map(text::printable),
        origin: format!("from annotations of the manifest, covered by signed digest{more}"),
    }
}

/// A statement, and what is to be said of it.
pub(crate) fn stated(key: &str, value: Option<&str>, more: &str) -> UsedFact {
    UsedFact {
        kind: FactKind::ImageStatement,
        name: text::printable(key),
        value: value.map(text::printable),
        origin: format!("stated when signing, not covered by the digest{more}"),
    }
}

impl Explained<'_> {
    fn add(&self, read: &Read, platforms: &[usize], facts: &mut Vec<UsedFact>) {
        match read {
            Read::Environment(name) => {
                let value = match name.as_str() {
                    "name" => Some(self.env.name.clone()),
                    "cloud" => Some(self.env.cloud.as_str().to_owned()),
                    _ => self.env.region.clone(),
                };
                facts.push(self.operator_set(FactKind::Environment, name, value));
            }
            Read::EnvironmentLabel(key) => {
                facts.push(self.operator_set(FactKind::EnvironmentLabel, key, self.env.labels.get(key).cloned()));
            }
            Read::Label(key) => self.labels(key, platforms, false, facts),
            Read::Fit(key) => self.labels(key, platforms, true, facts),
            Read::Annotation(key) => {
                let value = self.subject.facts.as_ref().and_then(|facts| facts.annotations.get(key));
                facts.push(annotation(key, value.map(String::as_str), ""));
            }
            Read::Stated(key) => {
                let value = self.subject.facts.as_ref().and_then(|facts| facts.stated.get(key));
                facts.push(stated(key, value.map(String::as_str), ""));
            }
            Read::Image(name) if name == "platform" => {
                let names: Vec<&str> = self.platforms(platforms).map(|p| p.platform.as_str()).collect();
                facts.push(image(name, Some(names.join(", ")), "from the signed facts"));
            }
            Read::Image(name) => facts.push(self.image(name)),
            Read::Time => facts.push(UsedFact {
                kind: FactKind::Time,
                name: "now".to_owned(),
                value: time::text(self.now_unix),
                origin: "from the clock of this machine".to_owned(),
            }),
        }
    }

    fn platforms<'s>(&'s self, places: &'s [usize]) -> impl Iterator<Item = &'s PlatformFacts> {
        places.iter().filter_map(|at| self.runnable.get(*at).copied())
    }

    fn operator_set(&self, kind: FactKind, name: &str, value: Option<String>) -> UsedFact {
        let (environment, origin) = (&self.env.name, text::printable(&self.env.origin));
        let origin = match origin.contains(environment.as_str()) {
            _ if origin == NOBODY => format!("of environment {environment}: {NOBODY}"),
            true => format!("from {origin} (operator-set)"),
            false => format!("of environment {environment}, from {origin} (operator-set)"),
        };
        UsedFact { kind, name: text::printable(name), value: value.map(|v| text::printable(&v)), origin }
    }

    /// One fact for each value that a label has; platforms with the same value share it.
    fn labels(&self, key: &str, places: &[usize], with_fitness: bool, facts: &mut Vec<UsedFact>) {
        let mut values: BTreeMap<Option<&str>, Vec<&str>> = BTreeMap::new();
        for platform in self.platforms(places) {
            let value = platform.labels.get(key).map(String::as_str);
            values.entry(value).or_default().push(&platform.platform);
        }
        for (value, platforms) in values {
            let mut origin = from_config(&platforms);
            if let Some(signed) = value
                && let Meaning::Value { value, fit } = self.policy.dictionary.meaning(key, signed, self.env.cloud)
            {
                if value != signed {
                    origin.push_str(&format!("; means {}", text::quoted(value)));
                }
                if with_fitness {
                    let not = if fit { "" } else { "not " };
                    origin.push_str(&format!("; {not}fit for {} by the dictionary", self.env.cloud));
                }
            }
            facts.push(UsedFact {
                kind: FactKind::ImageLabel,
                name: text::printable(key),
                value: value.map(text::printable),
                origin,
            });
        }
        let Some(of_image) = self.subject.facts.as_ref().filter(|_| with_fitness) else { return };
        type Told = fn(&str, Option<&str>, &str) -> UsedFact;
        for (texts, told) in [(&of_image.annotations, annotation as Told), (&of_image.stated, stated as Told)] {
            if let Some(said) = texts.get(key)
                && let Meaning::Value { fit, .. } = self.policy.dictionary.meaning(key, said, self.env.cloud)
            {
                let not = if fit { "" } else { "not " };
                facts.push(told(key, Some(said), &format!("; {not}fit for {} by the dictionary", self.env.cloud)));
            }
        }
    }

    fn image(&self, name: &str) -> UsedFact {
        let subject = self.subject;
        let reference = &subject.reference;
        let facts = subject.facts.as_ref();
        let (value, origin) = match name {
            "collection" => (Some(subject.collection.clone()), "pinned here"),
            "registry" => (Some(reference.canonical_domain().to_owned()), "from the reference"),
            "repository" => (Some(reference.canonical_path().to_owned()), "from the reference"),
            "digest" => (Some(subject.digest.to_string()), "verified"),
            "tag" => (reference.tag().map(str::to_owned), "from the reference"),
            "tags" => {
                let mut tags: Vec<&str> = facts.into_iter().flat_map(|f| &f.tags).map(String::as_str).collect();
                tags.extend(reference.tag());
                tags.sort_unstable();
                tags.dedup();
                (listed(&tags), "from the signed facts and the reference")
            }
            "tag_moved" => (Some(entities::tag_moved(subject).to_string()), "from the verified collection"),
            "platforms" => {
                let names: Vec<&str> = self.runnable.iter().map(|p| p.platform.as_str()).collect();
                (listed(&names), "from the signed facts")
            }
            "root_version" => (Some(subject.root_version.to_string()), "verified"),
            "signers" => (listed(&subject.signers), "from verified signatures on this digest"),
            "conflicts" => (listed(&subject.conflicts), "from verified signatures on another digest"),
            "signed" => (facts.map(|f| f.signed.clone()), "claimed by the signer"),
            _ => (None, "from the signed facts"),
        };
        image(name, value, origin)
    }
}

fn image(name: &str, value: Option<String>, origin: &str) -> UsedFact {
    UsedFact {
        kind: FactKind::Image,
        name: text::printable(name),
        value: value.map(|v| text::printable(&v)),
        origin: origin.to_owned(),
    }
}

fn listed<T: AsRef<str>>(items: &[T]) -> Option<String> {
    let items: Vec<&str> = items.iter().map(AsRef::as_ref).collect();
    (!items.is_empty()).then(|| items.join(", "))
}
