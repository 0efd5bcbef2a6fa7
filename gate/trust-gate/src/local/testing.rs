//! A decider for tests of local doors: it knows what is signed, and remembers what it was asked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use trust_image::{Digest, Reference};

use super::{Asked, Rules, Ruling};

/// Signed: canonical name → tags, and digests without a tag.
#[derive(Default)]
pub(crate) struct Signed {
    tags: BTreeMap<(String, String), Digest>,
    digests: BTreeSet<(String, Digest)>,
    pub(crate) asked: Mutex<Vec<Asked>>,
    pub(crate) trouble: Option<String>,
}

impl Signed {
    pub(crate) fn with(mut self, image: &str, digest: Digest) -> Self {
        let image = Reference::parse(image).unwrap();
        self.tags.insert((image.name().to_owned(), image.tag().unwrap().to_owned()), digest);
        self.digests.insert((image.name().to_owned(), digest));
        self
    }

    /// The images of the questions whose answers are in the log.
    pub(crate) fn logged(&self) -> Vec<String> {
        self.asked.lock().unwrap().iter().filter(|asked| !asked.quiet).map(|asked| asked.image.clone()).collect()
    }
}

impl Rules for Signed {
    fn rule(&self, asked: &Asked) -> Ruling {
        self.asked.lock().unwrap().push(asked.clone());
        let denied = |line: &str| Ruling { digest: None, line: format!("{} {line} (E1001)", asked.image) };
        let Ok(image) = Reference::parse(&asked.image) else { return denied("is no image") };
        let digest = match image.digest() {
            Some(digest) => self.digests.contains(&(image.name().to_owned(), *digest)).then_some(*digest),
            None => {
                let tag = image.tag().unwrap_or_default().to_owned();
                self.tags.get(&(image.name().to_owned(), tag)).copied()
            }
        };
        match digest {
            Some(_) if asked.digest_only && image.digest().is_none() => denied("names the tag alone"),
            Some(digest) => Ruling { digest: Some(digest), line: String::new() },
            None => denied("is not signed"),
        }
    }

    fn trouble(&self) -> Option<String> {
        self.trouble.clone()
    }
}
