//! What an exception would do, as far as that is seen from this machine before it is signed.
//!
//! Invariant: this only warns. What an exception lifts is decided where it is used; an image that cannot be verified here
//! may be verified there, and rules may change. Deliberately absent: other actions than those that gates ask for.

use trust_image::Reference;
use trust_policy::{Action, Effect, Environment, Exception, Exceptions, NotLifted, Policy, Subject};
use trust_reader::catalogue::exit;
use trust_reader::verify::VerifiedImage;
use trust_tuf::UtcTime;

use super::verify::{Verifier, require};
use crate::app::App;
use crate::policy::{fault, judge};
use crate::session::pin_for;
use crate::style;

/// Tags of an image that are tried.
const MAX_TAGS: usize = 16;

/// The image as its collection signs it; else why nobody here can say so.
pub(super) fn verified(app: &App, image: &Reference) -> Result<VerifiedImage, String> {
    if pin_for(app, image).is_err() {
        return Err(format!(
            "no collection that is pinned here covers {}: whether this digest is signed was not looked at",
            image.name()
        ));
    }
    let mut verifier = Verifier::new(app, require(&[], 1));
    verifier.open_all([image], None);
    verifier.verify(image).map_err(|problem| {
        let told = format!("{}: {}", problem.id(), style::plain(&problem.headline));
        match problem.exit() {
            exit::NOT_SIGNED..=exit::REVOKED => {
                format!("no exception lifts that the image is refused before any rule, {told}")
            }
            _ => format!("whether the image is signed could not be looked at, {told}"),
        }
    })
}

/// What naming a rule that permits means.
pub(super) fn of_rules(policy: &Policy, named: &[String]) -> Vec<String> {
    let permits = policy.deciding_rules().filter(|rule| rule.effect == Effect::Permit && named.contains(&rule.id));
    permits
        .map(|rule| {
            format!(
                "rule {} permits, and denies nothing itself: naming it counts only where no rule permits the image, as one \
                 of those that were not met",
                style::plain(&rule.id)
            )
        })
        .collect()
}

/// Whether the exception would lift what the rules decide about the image, by its digest and under each tag that it is
/// signed under.
pub(super) fn of_decision(
    policy: &Policy,
    environment: &Environment,
    exception: &Exception,
    image: (&Reference, &VerifiedImage),
    now: UtcTime,
) -> Vec<String> {
    let alone: Exceptions = [exception.clone()].into_iter().collect();
    let place = format!("in {}", environment.name);
    let (mut found, mut is_allowed) = (Vec::new(), true);
    for subject in subjects(image.0, image.1) {
        for action in [Action::Deploy, Action::Pull] {
            let decision = policy.decide(environment, action, &subject, now.unix());
            is_allowed &= decision.allowed;
            for (_, why) in alone.not_lifting(&decision, &subject, now.unix()) {
                let told = match why {
                    NotLifted::Rules { rules } => {
                        let add: Vec<String> = rules.iter().map(|id| format!("--rule {}", style::plain(id))).collect();
                        let rules: Vec<String> = rules.iter().map(|id| style::plain(id)).collect();
                        format!("still denied {place} by {}, which is not named: {}", rules.join(", "), add.join(" "))
                    }
                    NotLifted::NoRule => {
                        let denial = fault::denial(&subject.reference.to_string(), &decision, None);
                        let told = denial.map(|problem| format!("{}: {}", problem.id(), problem.headline));
                        format!("no exception lifts this, {}", style::plain(&told.unwrap_or_default()))
                    }
                    why => format!("still denied {place}: {why}"),
                };
                if !found.contains(&told) {
                    found.push(told);
                }
            }
        }
    }
    if is_allowed {
        found.push(format!("the rules allow it {place} already: there is nothing to lift now"));
    }
    found
}

/// The image by its digest, and as each of its tags would be asked for: rules may read the tag.
fn subjects(image: &Reference, verified: &VerifiedImage) -> Vec<Subject> {
    let tags = verified.facts.iter().flat_map(|facts| &facts.tags).take(MAX_TAGS);
    let tagged = tags.filter_map(|tag| {
        let written = image.to_string();
        let (name, digest) = written.split_once('@')?;
        Reference::parse(&format!("{name}:{tag}@{digest}")).ok()
    });
    std::iter::once(image.clone()).chain(tagged).map(|image| judge::subject(&image, verified)).collect()
}

#[cfg(test)]
mod tests {
    use trust_policy::{PolicyIdentity, Source};

    use super::*;

    #[test]
    fn a_rule_that_permits_may_be_named_and_what_that_means_is_said() {
        let rules = "@id(\"all\") permit (principal, action, resource);\n@id(\"no\") forbid (principal, action, resource) when { resource.tag_moved };";
        let source = Source { path: "_policy/a.cedar".to_owned(), bytes: rules.as_bytes().to_vec() };
        let policy = Policy::load(&[source], PolicyIdentity::folder()).unwrap();
        assert!(of_rules(&policy, &["no".to_owned()]).is_empty());
        let said = of_rules(&policy, &["all".to_owned(), "no".to_owned()]);
        assert!(matches!(said.as_slice(), [one] if one.contains("rule all permits")), "{said:?}");
    }
}
