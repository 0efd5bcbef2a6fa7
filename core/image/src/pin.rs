//! The text of an image with the digest that was verified.
//!
//! Invariants: the tag stays (`repo:tag@sha256:…`; what runs is the digest); the new text reads back as the same name with
//! exactly that digest.

use crate::{Digest, Reference};

/// The image with its digest; the text unchanged if it has that digest already. `None` if it has another, or if the two do
/// not read back as one reference.
pub fn pinned(image: &str, digest: &Digest) -> Option<String> {
    let reference = Reference::parse(image).ok()?;
    if let Some(written) = reference.digest() {
        return (written == digest).then(|| image.to_owned());
    }
    let text = format!("{image}@{digest}");
    let read = Reference::parse(&text).ok()?;
    let same = read.name() == reference.name() && read.digest() == Some(digest);
    let tag_stays = reference.is_tag_defaulted() || read.tag() == reference.tag();
    (same && tag_stays).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(byte: u8) -> Digest {
        Digest::parse(&format!("sha256:{}", hex(byte))).unwrap()
    }

    fn hex(byte: u8) -> String {
        format!("{byte:02x}").repeat(32)
    }

    #[test]
    fn an_image_with_another_digest_or_no_reference_is_never_pinned() {
        assert_eq!(pinned(&format!("r.io/a@{}", digest(1)), &digest(2)), None);
        assert_eq!(pinned("r.io/a:1 ", &digest(1)), None);
        assert_eq!(pinned("", &digest(1)), None);
        assert_eq!(pinned(&hex(1), &digest(1)), None);
        let long = format!("r.io/{}:{}", "a/".repeat(120) + "a", "t".repeat(129));
        assert_eq!(pinned(&long, &digest(1)), None);
    }

    #[test]
    fn the_tag_stays_and_a_digest_is_not_added_twice() {
        let d = digest(7);
        assert_eq!(pinned("r.io:5000/a/b:v1", &d).unwrap(), format!("r.io:5000/a/b:v1@{d}"));
        assert_eq!(pinned("ubuntu", &d).unwrap(), format!("ubuntu@{d}"));
        for done in [format!("r.io/a@{d}"), format!("r.io/a:1@{d}")] {
            assert_eq!(pinned(&done, &d).unwrap(), done);
        }
    }
}
