//! Where the facts of two signers of one digest differ.
//!
//! Time and tags are each signer's own, and platforms have no order; everything else is compared exactly. Invariant: there is a
//! difference if and only if a member that is compared differs. Deliberately absent: which of the two is right.

use std::collections::BTreeMap;
use std::fmt;

use crate::facts::{ImageFacts, PlatformFacts};

/// A member of facts that two signers state differently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Member {
    /// The media type.
    MediaType,
    /// Platforms that are listed, each with its digest.
    Platforms,
    /// A label of one platform.
    Label {
        /// The platform.
        platform: String,
        /// The label.
        key: String,
    },
    /// An annotation of the manifest or index, by its key.
    Annotation(String),
    /// What a signer stated beside the image, by its key.
    Stated(String),
}

/// The first member that differs, and what stands there; `None`: nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The member.
    pub member: Member,
    /// What the first facts say.
    pub first: Option<String>,
    /// What the second facts say.
    pub second: Option<String>,
}

/// As it is told; keys and names are those of the facts, and not escaped.
impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Member::MediaType => f.write_str("media type"),
            Member::Platforms => f.write_str("platforms"),
            Member::Label { platform, key } => write!(f, "label {key} of {platform}"),
            Member::Annotation(key) => write!(f, "annotation {key}"),
            Member::Stated(key) => write!(f, "statement {key}"),
        }
    }
}

impl ImageFacts {
    /// Whether two signers say the same: all but time and tags, platforms in any order.
    pub fn agrees_with(&self, other: &ImageFacts) -> bool {
        self.difference(other).is_none()
    }

    /// The first member that another signer states differently. What signers state themselves comes first: it is what people
    /// can say otherwise.
    pub fn difference(&self, other: &ImageFacts) -> Option<Difference> {
        let stated = || of_texts(&self.stated, &other.stated, |key| Member::Stated(key.to_owned()));
        let annotations = || of_texts(&self.annotations, &other.annotations, |key| Member::Annotation(key.to_owned()));
        stated().or_else(|| of_platforms(self, other)).or_else(annotations).or_else(|| {
            (self.media_type != other.media_type).then(|| Difference {
                member: Member::MediaType,
                first: Some(self.media_type.clone()),
                second: Some(other.media_type.clone()),
            })
        })
    }
}

/// The first key that one of them lacks, or has with another value.
fn of_texts(
    first: &BTreeMap<String, String>,
    second: &BTreeMap<String, String>,
    member: impl Fn(&str) -> Member,
) -> Option<Difference> {
    let key = first.keys().chain(second.keys()).find(|key| first.get(*key) != second.get(*key))?;
    Some(Difference { member: member(key), first: first.get(key).cloned(), second: second.get(key).cloned() })
}

fn of_platforms(first: &ImageFacts, second: &ImageFacts) -> Option<Difference> {
    let sorted = |facts: &ImageFacts| {
        let mut platforms = facts.platforms.clone();
        platforms.sort();
        platforms
    };
    let (first, second) = (sorted(first), sorted(second));
    let names = |platforms: &[PlatformFacts]| -> Vec<String> {
        platforms.iter().map(|entry| format!("{}@{}", entry.platform, entry.digest)).collect()
    };
    let (first_names, second_names) = (names(&first), names(&second));
    if first_names != second_names {
        // What both list says nothing; it would hide the rest of a long list.
        let only = |ours: &[String], theirs: &[String]| {
            let only: Vec<&str> = ours.iter().filter(|name| !theirs.contains(name)).map(String::as_str).collect();
            match only.as_slice() {
                [] => format!("{} entries", ours.len()),
                names => names.join(", "),
            }
        };
        return Some(Difference {
            member: Member::Platforms,
            first: Some(only(&first_names, &second_names)),
            second: Some(only(&second_names, &first_names)),
        });
    }
    first.iter().zip(&second).find_map(|(first, second)| {
        let member = |key: &str| Member::Label { platform: first.platform.clone(), key: key.to_owned() };
        of_texts(&first.labels, &second.labels, member)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use proptest::prelude::*;

    fn platform(n: u8, label: &str) -> PlatformFacts {
        PlatformFacts {
            platform: format!("linux/p{n}"),
            digest: Digest::of(&[n]),
            labels: [("com.example.data".to_owned(), label.to_owned())].into(),
        }
    }

    fn facts() -> ImageFacts {
        ImageFacts {
            media_type: "application/vnd.oci.image.index.v1+json".to_owned(),
            signed: "2030-01-01T00:00:00Z".to_owned(),
            tags: vec!["v1".to_owned()],
            platforms: vec![platform(1, "public"), platform(2, "public")],
            annotations: [("a".to_owned(), "x".to_owned())].into(),
            stated: [("s".to_owned(), "x".to_owned())].into(),
        }
    }

    #[test]
    fn each_member_that_differs_is_named_with_both_values() {
        let some = |text: &str| Some(text.to_owned());
        type Change = fn(&mut ImageFacts);
        let table: [(Change, &str, Option<String>, Option<String>); 7] = [
            (|f| drop(f.stated.insert("s".to_owned(), "y".to_owned())), "statement s", some("x"), some("y")),
            (|f| f.stated.clear(), "statement s", some("x"), None),
            (|f| drop(f.annotations.insert("b".to_owned(), "y".to_owned())), "annotation b", None, some("y")),
            (
                |f| f.platforms[1] = platform(2, "pii"),
                "label com.example.data of linux/p2",
                some("public"),
                some("pii"),
            ),
            (
                |f| f.platforms[1] = platform(3, "public"),
                "platforms",
                some(&format!("linux/p2@{}", Digest::of(&[2]))),
                some(&format!("linux/p3@{}", Digest::of(&[3]))),
            ),
            (|f| f.platforms.push(platform(1, "public")), "platforms", some("2 entries"), some("3 entries")),
            (|f| f.media_type = "other".to_owned(), "media type", some(&facts().media_type), some("other")),
        ];
        for (change, member, first, second) in table {
            let mut other = facts();
            change(&mut other);
            let found = facts().difference(&other).unwrap();
            assert_eq!((found.member.to_string().as_str(), found.first, found.second), (member, first, second));
            assert!(!facts().agrees_with(&other) && !other.agrees_with(&facts()));
        }
    }

    proptest! {
        #[test]
        fn facts_agree_if_and_only_if_everything_but_time_tags_and_order_is_equal(
            changes in proptest::collection::vec((any::<bool>(), 0..6usize, 0..2u8), 0..6),
        ) {
            let mut both = [facts(), facts()];
            for (of, what, n) in changes {
                let facts = &mut both[usize::from(of)];
                let text = n.to_string();
                match what {
                    0 => drop(facts.stated.insert("s".to_owned(), text)),
                    1 => drop(facts.annotations.insert(text, "x".to_owned())),
                    2 => facts.platforms.push(platform(n, "public")),
                    3 => facts.platforms.push(platform(n, "pii")),
                    4 => facts.platforms.reverse(),
                    _ => facts.tags.push(text),
                }
            }
            let [one, other] = &both;
            let bare = |facts: &ImageFacts| {
                let mut bare = facts.clone();
                bare.tags.clear();
                bare.platforms.sort();
                bare
            };
            prop_assert_eq!(one.agrees_with(other), bare(one) == bare(other));
            prop_assert_eq!(one.agrees_with(other), other.agrees_with(one));
        }
    }
}
