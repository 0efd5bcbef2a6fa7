//! Paths of requests: decoded once, segment by segment, and never joined to a file name. A segment that decodes to
//! something with a slash, a control character or bad UTF-8 is no path of ours.

use trust_tuf::CollectionName;

/// A path below `/tuf/` or `/v1/`: the collection, the segment with `_`, and what follows it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Split {
    pub(super) collection: Option<CollectionName>,
    pub(super) family: String,
    pub(super) rest: Vec<String>,
}

/// Decodes `%XX` once.
pub(super) fn decode(segment: &str) -> Option<String> {
    let mut out = Vec::with_capacity(segment.len());
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || bytes.next().and_then(|b| char::from(b).to_digit(16)).and_then(|d| u8::try_from(d).ok());
        let (high, low) = (digit()?, digit()?);
        out.push((high << 4) | low);
    }
    let text = String::from_utf8(out).ok()?;
    (!text.chars().any(|c| c == '/' || c.is_control())).then_some(text)
}

/// Splits a raw path without its prefix. `None`: no such path can exist.
pub(super) fn split(path: &str) -> Option<Split> {
    let mut before = Vec::new();
    let mut segments = path.split('/');
    let family = loop {
        let segment = decode(segments.next()?)?;
        if segment.starts_with('_') {
            break segment;
        }
        before.push(segment);
    };
    let rest = segments.map(decode).collect::<Option<Vec<_>>>()?;
    let collection = match before.is_empty() {
        true => None,
        false => Some(CollectionName::parse(&before.join("/")).ok()?),
    };
    Some(Split { collection, family, rest })
}

/// The target path and hash of `DIR/HASH.NAME` or `HASH.DIR/NAME`.
pub(super) fn content(rest: &[String]) -> Vec<(String, String)> {
    let hashed = |segment: &str| {
        let (hash, name) = segment.split_once('.')?;
        let is_hash = matches!(hash.len(), 64 | 128) && hash.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        (is_hash && !name.is_empty()).then(|| (hash.to_owned(), name.to_owned()))
    };
    let mut found = Vec::new();
    if let Some((last, dir)) = rest.split_last()
        && let Some((hash, name)) = hashed(last)
    {
        let path: Vec<&str> = dir.iter().map(String::as_str).chain([name.as_str()]).collect();
        found.push((path.join("/"), hash));
    }
    if let Some((first, dir)) = rest.split_first()
        && !dir.is_empty()
        && let Some((hash, name)) = hashed(first)
    {
        let path: Vec<&str> = [name.as_str()].into_iter().chain(dir.iter().map(String::as_str)).collect();
        found.push((path.join("/"), hash));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_are_no_paths() {
        for path in [
            "",
            "r/a",
            "r/../a/_metadata/timestamp.json",
            "r/%2e%2e/a/_metadata/x",
            "r%2Fa/_metadata/x",
            "r/a//_metadata/x",
            "/r/a/_metadata/x",
            "r/A/_metadata/x",
            "r/a%00/_metadata/x",
            "r/a%0a/_metadata/x",
            "r/a/_metadata/%2e%2e%2fx",
            "r/a/_metadata/%ff",
            "r/a/_metadata/%4",
            "r/a/_metadata/%zz",
            "r/a%252f/_metadata/x",
            "r/\u{430}/_metadata/x",
            "r/a\\b/_metadata/x",
            "r/a./_metadata/x",
            "r/a%20/_metadata/x",
            "r/%EF%BC%8F/_metadata/x",
            "r/a\u{200b}/_metadata/x",
        ] {
            assert_eq!(split(path), None, "{path}");
        }
        let long = format!("r/{}/_metadata/x", "a".repeat(256));
        assert_eq!(split(&long), None);
    }

    #[test]
    fn the_first_segment_with_an_underscore_ends_the_collection() {
        let split = split("127.0.0.1%3A5000/a/_targets/_targets/x%20y").unwrap();
        assert_eq!(split.collection.unwrap().as_str(), "127.0.0.1:5000/a");
        assert_eq!((split.family.as_str(), split.rest), ("_targets", vec!["_targets".to_owned(), "x y".to_owned()]));
        assert_eq!(super::split("_collections").unwrap().collection, None);
    }

    #[test]
    fn both_spellings_of_a_content_are_read() {
        let hash = "0".repeat(64);
        let own = |parts: &[&str]| parts.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>();
        assert_eq!(content(&own(&["api", &format!("{hash}.v1")])), [("api/v1".to_owned(), hash.clone())]);
        assert_eq!(content(&own(&[&format!("{hash}.api"), "v1"])), [("api/v1".to_owned(), hash.clone())]);
        assert_eq!(content(&own(&[&format!("{hash}.v1.2")])), [("v1.2".to_owned(), hash.clone())]);
        for bad in ["v1", "x.v1", &format!("{hash}."), &format!("{hash}v1"), &format!("{}.v1", "A".repeat(64))] {
            assert!(content(&own(&["api", bad])).is_empty(), "{bad}");
        }
        assert!(content(&[]).is_empty());
    }
}
