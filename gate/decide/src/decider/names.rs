//! Which names have signed tags, for a list of repositories.
//!
//! Invariant: it says what verified trust data holds and nothing about what may pass. Bounded.

use super::Decider;

/// Names in one list.
const MAX_NAMES: usize = 10_000;

impl Decider {
    /// The names below `HOST` with signed tags, each with one of them. Nothing may pass because it is here.
    pub fn names(&self, host: &str) -> Vec<(String, String)> {
        let mut names = Vec::new();
        for loaded in self.collections.iter().filter_map(|collection| collection.loaded()) {
            let below =
                |(name, tag): (String, String)| Some((name.strip_prefix(host)?.strip_prefix('/')?.to_owned(), tag));
            let room = MAX_NAMES.saturating_sub(names.len());
            names.extend(loaded.view.names(room).into_iter().filter_map(below));
        }
        names
    }
}
