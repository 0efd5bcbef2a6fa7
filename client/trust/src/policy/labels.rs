//! Labels that no gate would accept are not signed: a value outside the dictionary is found where it can still be corrected.
//!
//! Invariant: this only refuses. Where no policy collection is named nothing is looked at: the gates decide all the same.

use std::collections::BTreeMap;

use trust_image::Reference;
use trust_policy::Cloud;
use trust_policy::dictionary::Meaning;
use trust_reader::catalogue::Code;
use trust_reader::verdict::Problem;

use super::in_force::{InForce, pin_of_policy};
use crate::app::App;
use crate::session::Session;

/// One platform of an image to be signed: its name and labels.
pub type Labels<'a> = (&'a str, &'a BTreeMap<String, String>);

/// Refuses images with a governed label whose value the dictionary of the policy collection does not have.
pub fn check(app: &App, images: &[(&Reference, Vec<Labels<'_>>)]) -> Result<(), Problem> {
    let Some(setting) = &app.settings.policy else { return Ok(()) };
    let mut session = Session::open(app, pin_of_policy(app, None)?)?;
    let found = InForce::read(app, &mut session)?;
    // Before the first policy is published there is no dictionary.
    if found.sources.is_empty() {
        return Ok(());
    }
    let policy = found.load()?;
    let dictionary = policy.dictionary();
    for (image, platforms) in images {
        for (platform, labels) in platforms {
            for (key, value) in *labels {
                let Meaning::Outside { owner } = dictionary.meaning(key, value, Cloud::Public) else { continue };
                let known: Vec<String> = dictionary.values(key).map(|value| format!("{value:?}")).collect();
                let mut problem = Problem::new(Code::LabelOutside)
                    .headline(format!("{image} is not signed: every gate would refuse the label {key}"))
                    .fact("image", image)
                    .fact("label", format!("{key} = {value:?}  from image config of {platform}"))
                    .fact("known", known.join(", "))
                    .fact("dictionary", format!("{} v{}", setting.value, found.identity.version));
                if let Some(owner) = owner {
                    problem = problem.fact("owner", owner);
                }
                return Err(problem);
            }
        }
    }
    Ok(())
}
