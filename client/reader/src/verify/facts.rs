//! The facts of several signers on one digest, which must be the same.
//!
//! Facts that differ refuse: nobody could say which of them are right. The refusal names the first member that differs, what
//! each signer says of it, and who has to do what. `trust sign` asks here before it signs, because afterwards everybody is
//! refused. Deliberately absent: which of the signers is right.

use std::collections::BTreeSet;

use trust_image::{Difference, Digest, ImageFacts, Member, Reference};
use trust_tuf::json;
use trust_tuf::lookup::{Outcome, Statement};

use super::names;
use crate::catalogue::Code;
use crate::reader::Reader;
use crate::transport::Transport;
use crate::verdict::{Problem, is_unprintable, printable};

/// Characters of a value that are told.
const MAX_TOLD: usize = 128;
/// Characters before the first one that differs that are told of values with a long common beginning.
const BEFORE: usize = 16;

/// The facts of the first signer that states some, and all digests that any of the signers lists below this one.
pub(super) fn facts_of(
    image: &Reference,
    digest: &Digest,
    statements: &[&Statement],
    warnings: &mut Vec<String>,
) -> Result<(Option<ImageFacts>, BTreeSet<Digest>), Problem> {
    let mut first: Option<ImageFacts> = None;
    let mut agreed: Vec<&str> = Vec::new();
    let mut children = BTreeSet::new();
    for statement in statements {
        let Some(custom) = &statement.target.custom else { continue };
        children.extend(digests_in(custom));
        match ImageFacts::from_custom(&custom.to_json()) {
            Ok(None) => {}
            Ok(Some(facts)) => {
                let known = first.get_or_insert_with(|| facts.clone());
                if let Some(found) = known.difference(&facts) {
                    return Err(differ(image, digest, &found, &agreed.join(", "), &statement.signer));
                }
                agreed.push(&statement.signer);
            }
            Err(error) => warnings.push(format!("the facts of signer {} cannot be read: {error}", statement.signer)),
        }
    }
    Ok((first, children))
}

/// Refuses if a signer who did not sign what was found (`here`) says other facts of the digest elsewhere: in its own entry, or
/// under another tag. What one signer said at another time of an entry is no contradiction.
pub(super) fn check_elsewhere(
    image: &Reference,
    digest: &Digest,
    facts: &ImageFacts,
    here: &Outcome,
    elsewhere: &Outcome,
) -> Result<(), Problem> {
    let signed = |outcome: &Outcome| -> Vec<Statement> {
        outcome.statements.iter().filter(|s| names(&s.target, digest)).cloned().collect()
    };
    let signers: BTreeSet<String> = signed(here).into_iter().map(|s| s.signer).collect();
    for statement in signed(elsewhere).iter().filter(|s| !signers.contains(&s.signer)) {
        let theirs = super::facts_in(&statement.target);
        if let Some(found) = theirs.and_then(|theirs| facts.difference(&theirs)) {
            let first = signers.iter().cloned().collect::<Vec<_>>().join(", ");
            return Err(differ(image, digest, &found, &first, &statement.signer));
        }
    }
    Ok(())
}

/// The digests of the parts in a `custom` object, also in one whose other members cannot be read: a revocation must not
/// be missed because a label is malformed.
pub(super) fn digests_in(custom: &json::Value) -> impl Iterator<Item = Digest> + '_ {
    let platforms = custom.get("image").and_then(|i| i.get("platforms")).and_then(json::Value::as_array);
    platforms.into_iter().flatten().filter_map(|p| Digest::parse(p.get("digest")?.as_str()?).ok())
}

impl<T: Transport> Reader<T> {
    /// Refuses facts that another signer of this digest contradicts under this target path: signed like this, nobody could
    /// use the image any more. `signer`: whose entry there is replaced.
    pub async fn check_facts(
        &mut self,
        image: &Reference,
        path: &str,
        (digest, length): (&Digest, u64),
        facts: &ImageFacts,
        signer: &str,
    ) -> Result<(), Problem> {
        // A signer before the others whose file has expired hides them, to everybody. Whoever signs anew to end that is not kept
        // from it: what differs then is refused at the next use.
        let Ok(outcome) = self.lookup(path).await else { return Ok(()) };
        let same = outcome.statements.iter().filter(|s| names(&s.target, digest) && s.target.length == length);
        for statement in same.filter(|s| s.signer != signer) {
            let theirs = super::facts_in(&statement.target);
            if let Some(found) = theirs.and_then(|theirs| theirs.difference(facts)) {
                return Err(would_differ(image, digest, &found, &statement.signer));
            }
        }
        Ok(())
    }
}

/// The refusal of an image whose signers state different facts.
fn differ(image: &Reference, digest: &Digest, found: &Difference, first: &str, second: &str) -> Problem {
    let problem = told(Problem::new(Code::FactsDiffer), image, digest, found, [first, &format!("by {second}")]);
    let sign = format!("trust sign {}@{digest}", image.name());
    match &found.member {
        Member::Stated(key) => {
            let key = word(key);
            problem
                .cause("what signers state of one digest must be the same, and these two state it differently")
                .remedy([
                    format!("agree on the statement {key}; whoever is wrong signs again, with the same -a or without:"),
                    format!("{sign} [-a {key}=VALUE]"),
                ])
        }
        _ => problem
            .cause(
                "the digest covers this, so that it cannot differ: one of the two did not copy it from the image. \
                 Programs that knew no statements wrote what was given with -a into the annotations",
            )
            .remedy(["whoever is wrong signs again with a current program:".to_owned(), sign]),
    }
}

/// The refusal to sign what another signer contradicts.
fn would_differ(image: &Reference, digest: &Digest, found: &Difference, other: &str) -> Problem {
    let problem = Problem::new(Code::FactsDiffer)
        .headline(format!("{image} is not signed: signer {other} states other facts about the same image"));
    let problem = told(problem, image, digest, found, [other, "to be signed now"])
        .cause("facts that differ between signers of one digest are refused everywhere: nobody could use it any more");
    let unsign = format!("or {other} takes the signature back first: trust unsign {image} --digest");
    match (&found.member, &found.first) {
        (Member::Stated(key), Some(value)) => problem.remedy([
            match is_plain(key) && is_plain(value) {
                true => format!("sign with the same statement: -a {key}={value}"),
                false => format!("sign with the same statement of {}: -a KEY=VALUE", word(key)),
            },
            unsign,
        ]),
        (Member::Stated(key), None) => problem.remedy([format!("sign without -a {}", word(key)), unsign]),
        _ => problem.remedy([
            format!(
                "the digest covers this: {other} did not copy it from the image, and signs again with a current program"
            ),
            unsign,
        ]),
    }
}

/// Adds what differs, and who says what.
fn told(
    problem: Problem,
    image: &Reference,
    digest: &Digest,
    found: &Difference,
    [first, second]: [&str; 2],
) -> Problem {
    let (one, other) = values(found.first.as_deref(), found.second.as_deref());
    let member = match &found.member {
        Member::Stated(key) => format!("statement {}", word(key)),
        Member::Annotation(key) => format!("annotation {}", word(key)),
        Member::Label { platform, key } => format!("label {} of {platform}", word(key)),
        plain => plain.to_string(),
    };
    problem
        .fact("image", image)
        .fact("digest", digest)
        .fact("differs", member)
        .fact("stated", format!("{one}  by {first}"))
        .fact("", format!("{other}  {second}"))
}

/// A key, escaped and cut.
fn word(key: &str) -> String {
    let mut told = printable(&key.chars().take(MAX_TOLD).collect::<String>());
    if key.chars().nth(MAX_TOLD).is_some() {
        told.push('…');
    }
    told
}

/// Two values that are not the same, escaped and cut, so that they do not look the same.
fn values(one: Option<&str>, other: Option<&str>) -> (String, String) {
    let nothing = || "nothing".to_owned();
    let (Some(first), Some(second)) = (one, other) else {
        let alone = |text: Option<&str>| text.map_or_else(nothing, |text| excerpt(text, 0, false));
        return (alone(one), alone(other));
    };
    let common = first.chars().zip(second.chars()).take_while(|(a, b)| a == b).count();
    let next = |text: &str| text.chars().nth(common);
    // Letters of other scripts look like ours.
    let alike = [next(first), next(second)].into_iter().flatten().any(|c| !c.is_ascii());
    (excerpt(first, common, alike), excerpt(second, common, alike))
}

/// A value in quotation marks: from its beginning, or from shortly before a place that would be cut off.
fn excerpt(text: &str, place: usize, ascii: bool) -> String {
    let from = if place < MAX_TOLD / 2 { 0 } else { place.saturating_sub(BEFORE) };
    let mut out = String::from(if from == 0 { "\"" } else { "\"…" });
    for c in text.chars().skip(from).take(MAX_TOLD) {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if is_unprintable(c) || (ascii && !c.is_ascii()) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    if text.chars().nth(from.saturating_add(MAX_TOLD)).is_some() {
        out.push('…');
    }
    out.push('"');
    out
}

/// Whether a shell reads it as it stands.
fn is_plain(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-/:@+,%".contains(c);
    !text.is_empty() && text.len() <= MAX_TOLD && text.chars().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_differ_never_look_the_same_and_steer_no_terminal() {
        let long = "a".repeat(16_000);
        let table = [
            ("public".to_owned(), "PII".to_owned()),
            (format!("{long}x"), format!("{long}y")),
            (long.clone(), format!("{long}a")),
            ("PII".to_owned(), "\u{420}II".to_owned()),
            ("a".to_owned(), "a\u{200b}".to_owned()),
            ("a".to_owned(), "a ".to_owned()),
            ("\u{1b}[2J\u{202e}x".to_owned(), "\u{1b}[2J\u{202e}y".to_owned()),
            (format!("{}x", "\u{e9}".repeat(500)), format!("{}e\u{301}", "\u{e9}".repeat(500))),
        ];
        for (one, other) in table {
            let (first, second) = values(Some(&one), Some(&other));
            assert_ne!(first, second, "{one:?} {other:?}");
            for told in [first, second] {
                assert!(told.chars().count() < 1_000 && !told.chars().any(is_unprintable), "{told}");
            }
        }
        assert_eq!(values(None, Some("")), ("nothing".to_owned(), "\"\"".to_owned()));
    }
}
