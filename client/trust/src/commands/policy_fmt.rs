//! `trust policy fmt`: rules and dictionary of a folder, written the one way.
//!
//! Invariants: a file is written whole or stays; with `--check`, and where it does not parse, it stays. Deliberately absent:
//! what the one way is (`trust_policy`), and examples, which are not in force.

use std::path::PathBuf;

use serde_json::Value;
use trust_policy::{format_labels, format_rules};
use trust_reader::verdict::Problem;

use crate::anchors::write_whole;
use crate::cli::policy::PolicyFmt;
use crate::output::PolicyFormatted;
use crate::policy::fault;
use crate::policy::folder::{self, Folder};
use crate::printer::Answer;
use crate::style::{self, Style};

/// What was formatted.
pub struct Formatted {
    report: PolicyFormatted,
    problems: Vec<Problem>,
}

/// Runs the command.
pub fn run(args: &PolicyFmt) -> Result<Formatted, Problem> {
    let folder = Folder::read(&args.folder)?;
    let mut report = PolicyFormatted {
        folder: args.folder.display().to_string(),
        check: args.check,
        changed: Vec::new(),
        unchanged: Vec::new(),
        refused: Vec::new(),
    };
    let (mut problems, mut written): (_, Vec<(PathBuf, String)>) = (Vec::new(), Vec::new());
    for source in &folder.sources {
        let path = folder::on_disk(&args.folder, &source.path);
        let formatted = match source.path.starts_with("_policy/") {
            true => format_rules(&source.path, &source.bytes),
            false => format_labels(&source.path, &source.bytes),
        };
        match formatted {
            Ok(text) if text.as_bytes() == source.bytes => report.unchanged.push(path.display().to_string()),
            Ok(text) => {
                report.changed.push(path.display().to_string());
                written.push((path, text));
            }
            Err(error) => {
                let problem = fault::not_formattable(&args.folder, &error.to_string());
                report.refused.push(problem.headline.clone());
                problems.push(problem);
            }
        }
    }
    if args.check {
        if !report.changed.is_empty() {
            problems.push(fault::not_formatted(&args.folder, &report.changed));
        }
        return Ok(Formatted { report, problems });
    }
    for (path, text) in written {
        // A link stays a link: what it names is written.
        let file = path.canonicalize().map_err(|e| crate::fault::file(&path, &e))?;
        write_whole(&file, text.as_bytes()).map_err(|e| crate::fault::file(&path, &e))?;
    }
    Ok(Formatted { report, problems })
}

impl Answer for Formatted {
    fn command(&self) -> &'static str {
        "policy fmt"
    }

    fn json(&self) -> Value {
        crate::output::value(&self.report)
    }

    fn text(&self, _: Style) -> String {
        self.report.changed.iter().map(|file| format!("{}\n", style::plain(file))).collect()
    }

    fn report(&self, style: Style) -> String {
        let PolicyFormatted { check, changed, unchanged, .. } = &self.report;
        match (check, self.problems.is_empty()) {
            (false, _) if !changed.is_empty() => format!(
                "{} files: {} written anew, {} were so already\n",
                style.good("formatted"),
                changed.len(),
                unchanged.len()
            ),
            (_, true) => format!("{} files: {}, all written so already\n", style.good("formatted"), unchanged.len()),
            _ => String::new(),
        }
    }

    fn problems(&self) -> Vec<&Problem> {
        self.problems.iter().collect()
    }
}
