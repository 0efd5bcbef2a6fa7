//! What the dictionary makes of the labels of an image: where each value is fit, and what every gate would refuse. Asked at
//! signing, where it can still be corrected, and by `trust labels check`.
//!
//! Invariant: this only refuses and warns. Where no policy collection is named nothing is looked at when signing: the gates
//! decide all the same.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use trust_image::Reference;
use trust_policy::dictionary::Meaning;
use trust_policy::{Cloud, Dictionary};
use trust_reader::catalogue::Code;
use trust_reader::verdict::Problem;

use super::in_force::{InForce, pin_of_policy};
use crate::app::App;
use crate::printer::Printer;
use crate::session::Session;
use crate::style;

/// One platform of an image: its name and labels.
pub type Labels<'a> = (&'a str, &'a BTreeMap<String, String>);

/// An image that is to be signed, with all that gates look up in the dictionary.
pub struct Signing<'a> {
    /// The image.
    pub image: &'a Reference,
    /// Its platforms.
    pub platforms: Vec<Labels<'a>>,
    /// Annotations of the manifest or index.
    pub annotations: &'a BTreeMap<String, String>,
    /// What the signer states.
    pub stated: &'a BTreeMap<String, String>,
}

/// Where a text of an image stands: what it is called, and of what it is.
type Place<'a> = (&'static str, &'a str);

/// Allowed values that are told; of more only how many.
const MAX_TOLD: usize = 20;

/// What a label is by the dictionary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LabelState {
    /// A value of the dictionary.
    Known,
    /// A governed label with a value that the dictionary does not have.
    Outside,
    /// A label that is required of this image, and is not there.
    Missing,
    /// Not governed, and nearly written like a label that is.
    Near,
    /// Not governed.
    Free,
}

/// One label of one platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LabelReport {
    /// The label.
    pub key: String,
    /// Its value; null if it is missing.
    pub value: Option<String>,
    /// What it is by the dictionary.
    pub state: LabelState,
    /// The value that it means, after aliases.
    pub means: Option<String>,
    /// The kinds of cloud that it is fit for.
    pub fit: Vec<String>,
    /// The values that it may have.
    pub allowed: Vec<String>,
    /// The governed label that was probably meant.
    pub near: Option<String>,
    /// Whom to ask.
    pub owner: Option<String>,
}

/// What the dictionary makes of the labels of one platform of an image of this canonical name, by key.
pub fn judge(dictionary: &Dictionary, name: &str, labels: &BTreeMap<String, String>) -> Vec<LabelReport> {
    let report = |key: &str, value: Option<&str>, state| LabelReport {
        key: key.to_owned(),
        value: value.map(str::to_owned),
        state,
        means: None,
        fit: Vec::new(),
        allowed: Vec::new(),
        near: None,
        owner: dictionary.owner(key).map(str::to_owned),
    };
    let allowed = |key: &str| -> Vec<String> { dictionary.values(key).map(str::to_owned).collect() };
    let mut found = Vec::new();
    for (key, value) in labels {
        found.push(match dictionary.meaning(key, value, Cloud::Public) {
            Meaning::Value { value: means, .. } => {
                let fit = fit(dictionary, key, value);
                LabelReport { means: Some(means.to_owned()), fit, ..report(key, Some(value), LabelState::Known) }
            }
            Meaning::Outside { .. } => {
                LabelReport { allowed: allowed(key), ..report(key, Some(value), LabelState::Outside) }
            }
            Meaning::Free => match dictionary.near(key) {
                None => report(key, Some(value), LabelState::Free),
                Some(near) => LabelReport {
                    near: Some(near.to_owned()),
                    owner: dictionary.owner(near).map(str::to_owned),
                    ..report(key, Some(value), LabelState::Near)
                },
            },
        });
    }
    for key in dictionary.required(name).into_iter().filter(|key| !labels.contains_key(*key)) {
        found.push(LabelReport { allowed: allowed(key), ..report(key, None, LabelState::Missing) });
    }
    found.sort_by(|a, b| a.key.cmp(&b.key));
    found
}

/// The kinds of cloud that a value is fit for.
pub fn fit(dictionary: &Dictionary, key: &str, value: &str) -> Vec<String> {
    let is_fit = |cloud: &Cloud| matches!(dictionary.meaning(key, value, *cloud), Meaning::Value { fit: true, .. });
    Cloud::ALL.iter().filter(|cloud| is_fit(cloud)).map(ToString::to_string).collect()
}

impl LabelReport {
    /// The refusal that a label is at every gate, if it is one. `so` says what follows: `is not signed`.
    pub fn problem(&self, image: &Reference, platform: &str, so: &str, dictionary: &str) -> Option<Problem> {
        self.problem_at(image, ("label", &format!("from image config of {platform}")), so, dictionary)
    }

    fn problem_at(&self, image: &Reference, (what, origin): Place<'_>, so: &str, dictionary: &str) -> Option<Problem> {
        let key = style::plain(&self.key);
        let (code, why, label) = match (self.state, &self.value) {
            (LabelState::Outside, Some(value)) => (
                Code::LabelOutside,
                format!("every gate would refuse the {what} {key}"),
                format!("{key} = {value:?}  {origin}"),
            ),
            (LabelState::Missing, _) => (
                Code::LabelMissing,
                format!("every gate wants the label {key} on it"),
                format!("{key} is absent  {origin}"),
            ),
            _ => return None,
        };
        let mut problem = Problem::new(code)
            .headline(format!("{image} {so}: {why}"))
            .fact("image", image)
            .fact(what, label)
            .fact("known", values_text(&self.allowed))
            .fact("dictionary", dictionary);
        if let Some(owner) = &self.owner {
            problem = problem.fact("owner", owner);
        }
        Some(problem)
    }

    /// What is probably not meant, if it is: one line.
    pub fn warning(&self, image: &Reference, platform: &str) -> Option<String> {
        self.warning_at(image, ("label", platform))
    }

    fn warning_at(&self, image: &Reference, (what, origin): Place<'_>) -> Option<String> {
        let near = self.near.as_deref()?;
        let owner = self.owner.as_ref().map(|owner| format!("; its owner is {}", style::plain(owner)));
        Some(format!(
            "the {what} {:?} of {image} ({}) means nothing to any gate: is it {near:?}, which the dictionary governs{}?",
            self.key,
            style::plain(origin),
            owner.unwrap_or_default()
        ))
    }
}

/// Allowed values, for people.
pub fn values_text(values: &[String]) -> String {
    let mut told: Vec<String> = values.iter().take(MAX_TOLD).map(|value| format!("{value:?}")).collect();
    if let Some(more) = values.len().checked_sub(MAX_TOLD).filter(|more| *more > 0) {
        told.push(format!("and {more} more (trust labels show)"));
    }
    told.join(", ")
}

/// Refuses images with labels, annotations or statements that no gate would accept, by the dictionary of the policy
/// collection; says which are nearly written like governed ones, and gives that back.
pub fn check(app: &App, printer: &Printer, images: &[Signing<'_>]) -> Result<Vec<String>, Problem> {
    let mut warnings = Vec::new();
    let Some(setting) = &app.settings.policy else { return Ok(warnings) };
    let mut session = Session::open(app, pin_of_policy(app, None)?)?;
    let found = InForce::read(app, &mut session)?;
    // Before the first policy is published there is no dictionary.
    if found.sources.is_empty() {
        return Ok(warnings);
    }
    let (dictionary, _) = Dictionary::load(&found.sources)
        .map_err(|error| super::fault::refused_collection(&found.identity.collection, found.labels.version, &error))?;
    let place = format!("{} v{}", setting.value, found.labels.version);
    for signing in images {
        let (near, refused) = looked_at(&dictionary, signing, &place);
        // First what stands nearly right: it is often why another label is missing.
        for warning in &near {
            printer.note(&format!("! {warning}"));
        }
        if let Some(problem) = refused {
            return Err(near.into_iter().fold(problem, |problem, near| problem.fact("near", near)));
        }
        warnings.extend(near);
    }
    Ok(warnings)
}

/// What is probably not meant, and the first refusal.
fn looked_at(dictionary: &Dictionary, signing: &Signing<'_>, place: &str) -> (Vec<String>, Option<Problem>) {
    let Signing { image, platforms, annotations, stated } = signing;
    let (mut near, mut refused) = (Vec::new(), None);
    for (platform, labels) in platforms {
        for report in judge(dictionary, image.name(), labels) {
            near.extend(report.warning(image, platform));
            refused = refused.or_else(|| report.problem(image, platform, "is not signed", place));
        }
    }
    for (what, origin, texts) in
        [("annotation", "from annotations of the manifest", annotations), ("statement", "given with -a", stated)]
    {
        // No dictionary requires these.
        let reports = judge(dictionary, image.name(), texts);
        for report in reports.iter().filter(|report| report.state != LabelState::Missing) {
            near.extend(report.warning_at(image, (what, origin)));
            refused = refused.or_else(|| report.problem_at(image, (what, origin), "is not signed", place));
        }
    }
    (near, refused)
}

#[cfg(test)]
mod tests {
    use trust_policy::Source;

    use super::*;

    fn dictionary() -> Dictionary {
        let file = r#"{"schema":"trust/labels/v1","labels":{"com.example.data":{"owner":"dp@example.com",
            "required":["r.example/hr"],"values":{"public":{"fit":["public","private"]},"PII":{"fit":["private"],"aliases":["pii"]}}}}}"#;
        let source = Source { path: "_labels/a.json".to_owned(), bytes: file.as_bytes().to_vec() };
        Dictionary::load(&[source]).unwrap().0
    }

    fn of(name: &str, labels: &[(&str, &str)]) -> Vec<LabelReport> {
        let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        judge(&dictionary(), name, &labels)
    }

    #[test]
    fn each_label_is_said_to_be_what_gates_take_it_for() {
        let image = Reference::parse("r.example/hr/payroll:7").unwrap();
        let known = of(image.name(), &[("com.example.data", "pii"), ("com.example.team", "a")]);
        assert_eq!((known[0].means.as_deref(), known[0].fit.as_slice()), (Some("PII"), &["private".to_owned()][..]));
        assert_eq!(known[1].state, LabelState::Free);
        assert!(known.iter().all(|report| report.problem(&image, "linux/amd64", "x", "d").is_none()));
        let outside = of(image.name(), &[("com.example.data", "Pii")]);
        let problem = outside[0].problem(&image, "linux/amd64", "is not signed", "d").unwrap();
        assert_eq!(problem.code, Code::LabelOutside);
        for told in ["dp@example.com", "\"PII\"", "linux/amd64", "\"Pii\""] {
            assert!(problem.text().contains(told), "{told}: {}", problem.text());
        }
    }

    #[test]
    fn what_a_signer_states_is_refused_like_a_label_and_a_key_nearly_right_is_warned_of() {
        let image = Reference::parse("r.example/web/x:7").unwrap();
        let texts = |key: &str, value: &str| BTreeMap::from([(key.to_owned(), value.to_owned())]);
        let (none, look) = (BTreeMap::new(), |annotations: &BTreeMap<_, _>, stated: &BTreeMap<_, _>| {
            looked_at(&dictionary(), &Signing { image: &image, platforms: Vec::new(), annotations, stated }, "d v1")
        });
        let outside = texts("com.example.data", "Public");
        for (annotations, stated, what) in [(&none, &outside, "statement"), (&outside, &none, "annotation")] {
            let problem = look(annotations, stated).1.unwrap();
            assert_eq!((problem.code, problem.exit()), (Code::LabelOutside, 20));
            let text = problem.text();
            for told in [what, "is not signed", "\"Public\"", "\"public\"", "dp@example.com", "d v1"] {
                assert!(text.contains(told), "{told}: {text}");
            }
        }
        assert_eq!(look(&none, &texts("com.example.data", "pii")), (Vec::new(), None));
        let (near, refused) = look(&none, &texts("com.example.dat", "Public"));
        assert!(refused.is_none());
        assert!(near[0].contains("the statement") && near[0].contains("com.example.data"), "{near:?}");
        // What is required is required of platforms.
        let required = Reference::parse("r.example/hr/payroll:7").unwrap();
        let signing = Signing { image: &required, platforms: Vec::new(), annotations: &none, stated: &none };
        assert_eq!(looked_at(&dictionary(), &signing, "d v1"), (Vec::new(), None));
    }

    #[test]
    fn a_required_label_that_is_misspelt_is_missing_and_the_right_key_is_named() {
        let image = Reference::parse("r.example/hr/payroll:7").unwrap();
        let reports = of(image.name(), &[("com.example.dat", "PII")]);
        assert_eq!(reports.iter().map(|r| r.state).collect::<Vec<_>>(), [LabelState::Near, LabelState::Missing]);
        let warning = reports[0].warning(&image, "linux/amd64").unwrap();
        assert!(warning.contains("com.example.data") && warning.contains("dp@example.com"), "{warning}");
        let problem = reports[1].problem(&image, "linux/amd64", "is not signed", "d").unwrap();
        assert_eq!(problem.code, Code::LabelMissing);
        assert!(problem.text().contains("dp@example.com"));
        assert!(of("r.example/web/x", &[]).is_empty(), "not required elsewhere");
    }
}
