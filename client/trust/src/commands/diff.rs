//! `trust diff`: what changed between two versions of a role. The current version is verified; an older one is fetched and
//! must be signed by the keys that the role has today, or it is not shown.

use std::collections::BTreeMap;

use serde_json::Value;
use trust_reader::verdict::Problem;
use trust_reader::verify::digest_of;
use trust_tuf::model::Role;
use trust_tuf::{Delegation, Targets};

use crate::anchors;
use crate::app::App;
use crate::cli::images::Diff;
use crate::fault;
use crate::history;
use crate::output::Difference;
use crate::printer::Answer;
use crate::session::Session;
use crate::style::{self, Style};

/// Runs the command.
pub fn run(app: &App, args: &Diff) -> Result<Difference, Problem> {
    app.need_network("comparing with an older version")?;
    let pin = anchors::pin_of(app, &args.collection)?;
    let mut session = Session::open(app, pin)?;
    if session.keys_of(&args.role).is_none() {
        let known: Vec<String> = session.signers().iter().map(ToString::to_string).collect();
        return Err(fault::no_such_signer(args.role.as_str(), args.collection.as_str(), &known));
    }
    let current = session.role(app, args.role.as_str())?;
    let newest = current.version().get();
    let to = args.to.unwrap_or(newest);
    let from = args.from.unwrap_or_else(|| to.saturating_sub(1));
    if from == 0 || from >= to || to > newest {
        return Err(fault::usage(&format!("`{}` has versions 1 to {newest}; give --from below --to", args.role)));
    }
    let newer = if to == newest { current } else { history::version(app, &session, &args.role, to)? };
    let older = history::version(app, &session, &args.role, from)?;
    Ok(compare(args, (from, &older), (to, &newer)))
}

pub(super) fn digests(file: &Targets) -> BTreeMap<String, String> {
    let text =
        |info: &trust_tuf::TargetInfo| digest_of(info).map_or_else(|| "no known hash".to_owned(), |d| d.to_string());
    file.targets().map(|(path, info)| (path.to_owned(), text(&info))).collect()
}

fn delegations(file: &Targets) -> BTreeMap<String, Delegation> {
    file.delegations().into_iter().flat_map(|d| d.roles()).map(|d| (d.name().to_owned(), d.clone())).collect()
}

fn bins(file: &Targets) -> Option<u64> {
    file.delegations()?.succinct().map(|succinct| succinct.layout().count())
}

fn compare(args: &Diff, (from, older): (u64, &Targets), (to, newer): (u64, &Targets)) -> Difference {
    let (old, new) = (digests(older), digests(newer));
    let (old_signers, new_signers) = (delegations(older), delegations(newer));
    let same = |a: &Delegation, b: &Delegation| {
        a.keys() == b.keys() && a.paths() == b.paths() && a.terminating() == b.terminating()
    };
    let only = |a: &BTreeMap<String, String>, b: &BTreeMap<String, String>| -> BTreeMap<String, String> {
        a.iter().filter(|(path, _)| !b.contains_key(*path)).map(|(p, d)| (p.clone(), d.clone())).collect()
    };
    let changed = old.iter().filter_map(|(path, before)| {
        let after = new.get(path).filter(|after| *after != before)?;
        Some((path.clone(), [before.clone(), after.clone()]))
    });
    let missing = |a: &BTreeMap<String, Delegation>, b: &BTreeMap<String, Delegation>| -> Vec<String> {
        a.keys().filter(|name| !b.contains_key(*name)).cloned().collect()
    };
    let differ = old_signers.iter().filter(|(name, d)| new_signers.get(*name).is_some_and(|other| !same(d, other)));
    Difference {
        collection: args.collection.to_string(),
        role: args.role.to_string(),
        from,
        to,
        added: only(&new, &old),
        removed: only(&old, &new),
        changed: changed.collect(),
        signers_added: missing(&new_signers, &old_signers),
        signers_removed: missing(&old_signers, &new_signers),
        signers_changed: differ.map(|(name, _)| name.clone()).collect(),
        bins_before: bins(older),
        bins: bins(newer),
    }
}

impl Answer for Difference {
    fn command(&self) -> &'static str {
        "diff"
    }

    fn json(&self) -> Value {
        crate::output::value(self)
    }

    fn text(&self, _: Style) -> String {
        let mut text = format!("{} of {}   v{} to v{}\n", self.role, self.collection, self.from, self.to);
        let mut line = |mark: &str, what: &str, more: &str| {
            text.push_str(&format!("{mark} {}  {}\n", style::plain(what), style::plain(more)));
        };
        for (path, digest) in &self.removed {
            line("-", path, &style::short(digest));
        }
        for (path, digest) in &self.added {
            line("+", path, &style::short(digest));
        }
        for (path, [before, after]) in &self.changed {
            line("~", path, &format!("{} to {}", style::short(before), style::short(after)));
        }
        if self.bins_before.or(self.bins).is_some() {
            let layout = |bins: Option<u64>| bins.map_or("one file".to_owned(), |bins| format!("{bins} bins"));
            line(
                "~",
                "files",
                &format!("{} to {}; what stands in bins is not compared", layout(self.bins_before), layout(self.bins)),
            );
        }
        for (mark, names) in [("-", &self.signers_removed), ("+", &self.signers_added), ("~", &self.signers_changed)] {
            for name in names {
                line(mark, &format!("signer {name}"), "");
            }
        }
        text
    }
}
