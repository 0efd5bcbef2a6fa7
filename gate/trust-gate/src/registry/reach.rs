//! What leads to what, by name: which indexes list a manifest, which images hold a blob. Read upwards, from what is asked for to
//! what may be signed.
//!
//! Invariant: every link comes from a verified document of that name. A link says what content leads to and nothing about who may
//! have it: that is asked of the decider for the top of each way up, at every use, so that nothing here can go stale. It is
//! content that can be read again: when the links of all names are too many, all are forgotten.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use trust_image::Digest;

use super::document::{Document, Links};

/// Levels of indexes above a manifest, as at signing.
pub(crate) const MAX_DEPTH: usize = 4;
/// Links of all names.
const MAX_LINKS: usize = 250_000;
/// Images that hold a blob that are looked at for one question: a layer of everybody's base image is in many.
const MAX_HOLDERS: usize = 4_096;
/// Indexes above a manifest that are looked at for one question.
const MAX_ABOVE: usize = 256;
/// What one artifact refers to: one digest in its bytes, others by the tags that it is under.
const MAX_SUBJECTS: usize = 16;

/// How a way up goes on after an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// To the indexes that list it.
    Above,
    /// Not through this one.
    Aside,
    /// What was looked for is found.
    Done,
}

/// The links of all names.
#[derive(Default)]
pub(crate) struct Reach {
    names: Mutex<Names>,
}

#[derive(Default)]
struct Names {
    graphs: HashMap<String, Graph>,
    links: usize,
}

/// The links of one name.
#[derive(Default)]
struct Graph {
    /// The documents that were read, and what an index lists (an image: nothing).
    read: HashMap<Digest, Vec<(Digest, bool)>>,
    /// Manifest → indexes that list it, and whether they call it an index.
    listed_in: HashMap<Digest, Vec<(Digest, bool)>>,
    /// Blob → images that hold it, and the length that they state.
    held_by: HashMap<Digest, Vec<(Digest, u64)>>,
    /// Artifact → what it refers to.
    subjects: HashMap<Digest, Vec<Digest>>,
}

impl Reach {
    fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what a verified document of this name leads to.
    pub(crate) fn learn(&self, name: &str, document: &Document) {
        let mut names = self.names();
        if names.graphs.get(name).is_some_and(|graph| graph.read.contains_key(&document.digest)) {
            return;
        }
        let count = match &document.links {
            Links::Blobs(parts) => parts.len(),
            Links::Manifests(entries) => entries.len(),
        };
        if names.links.saturating_add(count) > MAX_LINKS {
            tracing::info!(links = names.links, "the links between manifests are forgotten and read again");
            *names = Names::default();
        }
        names.links = names.links.saturating_add(count).saturating_add(1);
        let graph = names.graphs.entry(name.to_owned()).or_default();
        let mut seen = HashSet::new();
        match &document.links {
            Links::Blobs(parts) => {
                for (digest, size) in parts.iter().filter(|part| seen.insert((part.0, part.1))) {
                    graph.held_by.entry(*digest).or_default().push((document.digest, *size));
                }
                graph.read.insert(document.digest, Vec::new());
            }
            Links::Manifests(entries) => {
                let mut kept = Vec::with_capacity(entries.len());
                for &(digest, as_index) in entries {
                    if seen.insert((digest, u64::from(as_index))) {
                        graph.listed_in.entry(digest).or_default().push((document.digest, as_index));
                        kept.push((digest, as_index));
                    }
                }
                graph.read.insert(document.digest, kept);
            }
        }
    }

    /// Notes that an artifact refers to this digest: its bytes say so, or the tag that it is under.
    pub(crate) fn attach(&self, name: &str, artifact: &Digest, subject: &Digest) {
        let mut names = self.names();
        let known = |graph: &Graph| graph.subjects.get(artifact).is_some_and(|list| list.contains(subject));
        if names.graphs.get(name).is_some_and(known) {
            return;
        }
        if names.links >= MAX_LINKS {
            *names = Names::default();
        }
        names.links = names.links.saturating_add(1);
        names.graphs.entry(name.to_owned()).or_default().subjects.entry(*artifact).or_default().push(*subject);
    }

    /// What an artifact refers to, as far as that is known.
    pub(crate) fn subjects(&self, name: &str, artifact: &Digest) -> Vec<Digest> {
        let names = self.names();
        let subjects = names.graphs.get(name).and_then(|graph| graph.subjects.get(artifact));
        subjects.map(|list| list.iter().take(MAX_SUBJECTS).copied().collect()).unwrap_or_default()
    }

    /// What a document of this name lists; `None` if it was not read yet.
    pub(crate) fn entries_of(&self, name: &str, digest: &Digest) -> Option<Vec<(Digest, bool)>> {
        self.names().graphs.get(name)?.read.get(digest).cloned()
    }

    /// The images that hold a blob, with its length.
    pub(crate) fn holders(&self, name: &str, blob: &Digest) -> Vec<(Digest, u64)> {
        let names = self.names();
        let holders = names.graphs.get(name).and_then(|graph| graph.held_by.get(blob));
        holders.map(|list| list.iter().take(MAX_HOLDERS).copied().collect()).unwrap_or_default()
    }

    /// Visits the indexes above a manifest, nearest first, at most [`MAX_DEPTH`] levels and each once. `as_index` says what
    /// the manifest is: an index that calls it something else does not cover it. What an index lists that is left aside is
    /// reached only by other ways.
    pub(crate) fn climb(&self, name: &str, manifest: &Digest, as_index: bool, mut visit: impl FnMut(&Digest) -> Next) {
        let mut seen = HashSet::from([*manifest]);
        let mut level = vec![*manifest];
        for depth in 0..MAX_DEPTH {
            let room = MAX_ABOVE.saturating_add(1).saturating_sub(seen.len());
            let found = self.listing(name, &level, depth > 0 || as_index, &mut seen, room);
            level.clear();
            // The lock is not held here: a visit takes its time.
            for digest in found {
                match visit(&digest) {
                    Next::Above => level.push(digest),
                    Next::Aside => {}
                    Next::Done => return,
                }
            }
        }
    }

    /// The indexes that list one of these as `as_index` says, and were not seen.
    fn listing(
        &self,
        name: &str,
        below: &[Digest],
        as_index: bool,
        seen: &mut HashSet<Digest>,
        room: usize,
    ) -> Vec<Digest> {
        let names = self.names();
        let Some(graph) = names.graphs.get(name) else { return Vec::new() };
        let links = below.iter().filter_map(|digest| graph.listed_in.get(digest)).flatten();
        let right = links.filter(|(_, kind)| *kind == as_index).map(|(digest, _)| *digest);
        let mut found = Vec::new();
        for digest in right {
            if found.len() >= room {
                break;
            }
            if seen.insert(digest) {
                found.push(digest);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use trust_image::MediaType;

    use super::*;

    fn digest(n: u64) -> Digest {
        Digest::of(&n.to_be_bytes())
    }

    fn document(n: u64, links: Links) -> Document {
        Document { digest: digest(n), bytes: Bytes::new(), kind: MediaType::OciIndex, links, artifact: None }
    }

    fn above(reach: &Reach, name: &str, n: u64, as_index: bool) -> Vec<Digest> {
        let mut found = Vec::new();
        reach.climb(name, &digest(n), as_index, |index| {
            found.push(*index);
            Next::Above
        });
        found
    }

    fn index(n: u64, entries: &[(u64, bool)]) -> Document {
        document(n, Links::Manifests(entries.iter().map(|(n, kind)| (digest(*n), *kind)).collect()))
    }

    #[test]
    fn links_of_one_name_are_not_those_of_another() {
        let reach = Reach::default();
        reach.learn("a", &index(1, &[(2, false)]));
        reach.learn("a", &document(2, Links::Blobs(vec![(digest(3), 7)])));
        assert_eq!(above(&reach, "a", 2, false), [digest(1)]);
        assert_eq!(reach.holders("a", &digest(3)), [(digest(2), 7)]);
        assert_eq!(above(&reach, "b", 2, false), []);
        assert_eq!(reach.holders("b", &digest(3)), []);
        assert_eq!(reach.entries_of("b", &digest(1)), None);
    }

    #[test]
    fn g05_a_deep_chain_and_a_cycle_end() {
        let reach = Reach::default();
        for n in 0..6 {
            reach.learn("a", &index(n, &[(n + 1, true)]));
        }
        assert_eq!(above(&reach, "a", 6, true), [5, 4, 3, 2].map(digest));
        // No hash can make this one; the graph does not rely on it.
        reach.learn("a", &index(6, &[(0, true)]));
        assert_eq!(above(&reach, "a", 6, true).len(), MAX_DEPTH);
    }

    #[test]
    fn an_entry_that_is_called_something_else_covers_nothing() {
        let reach = Reach::default();
        reach.learn("a", &index(1, &[(2, false)]));
        reach.learn("a", &index(2, &[(3, false)]));
        assert_eq!(above(&reach, "a", 2, true), []);
        // 2 is listed as an image and is an index: 1 covers nothing below it.
        assert_eq!(above(&reach, "a", 3, false), [digest(2)]);
    }

    #[test]
    fn what_is_left_aside_hides_all_that_only_it_leads_to() {
        let reach = Reach::default();
        reach.learn("a", &index(1, &[(2, true)]));
        reach.learn("a", &index(2, &[(3, false)]));
        let climbed = |aside: u64| {
            let mut found = Vec::new();
            reach.climb("a", &digest(3), false, |index| {
                found.push(*index);
                if *index == digest(aside) { Next::Aside } else { Next::Above }
            });
            found
        };
        assert_eq!(climbed(2), [digest(2)]);
        assert_eq!(climbed(9), [digest(2), digest(1)]);
        // By another way it is reached.
        reach.learn("a", &index(4, &[(3, false)]));
        reach.learn("a", &index(1_000, &[(4, true)]));
        assert_eq!(climbed(2), [2, 4, 1_000].map(digest));
    }

    #[test]
    fn what_an_artifact_refers_to_is_noted_once_and_bounded() {
        let reach = Reach::default();
        for _ in 0..3 {
            reach.attach("a", &digest(1), &digest(2));
        }
        assert_eq!(reach.subjects("a", &digest(1)), [digest(2)]);
        assert_eq!(reach.subjects("b", &digest(1)), []);
        for n in 0..300_000 {
            reach.attach("a", &digest(n), &digest(2));
        }
        assert!(reach.names().links <= MAX_LINKS);
    }

    #[test]
    fn the_memory_is_bounded_and_what_is_forgotten_is_read_again() {
        let reach = Reach::default();
        let image = |n: u64| document(n, Links::Blobs((0..1_000).map(|part| (digest(n * 10_000 + part), 1)).collect()));
        for n in 0..300 {
            reach.learn(&format!("name{}", n % 3), &image(n));
            assert!(reach.names().links <= MAX_LINKS + 1);
        }
        assert_eq!(reach.entries_of("name0", &digest(0)), None);
        reach.learn("name0", &image(0));
        assert_eq!(reach.holders("name0", &digest(5)).len(), 1);
        reach.learn("name0", &image(0));
        assert_eq!(reach.holders("name0", &digest(5)).len(), 1, "a document that is learnt twice counts once");
    }
}
