//! What one signer lists, as one value, wherever it stands: in the signer's own file, or in hash bins below it.
//!
//! Commands set, read and remove entries, and get the files to sign; only this module knows which file holds which entry.
//! Where a signer has bins, an entry stands in the bin of its path, and only the bins that were touched are signed again,
//! until the signer's own file is at half of its life: then all are, because no bin expires before that file, so that it
//! tells for all of them. Entries are moved as they stand in the file, with members that this version does not know.

use std::collections::BTreeMap;

use trust_reader::verdict::Problem;
use trust_tuf::draft::Draft;
use trust_tuf::json::Value;
use trust_tuf::model::Role;
use trust_tuf::{Bins, PublicKey, RoleName, TargetInfo, Targets, UtcTime, Verified, Version, limits};

use crate::app::App;
use crate::fault;
use crate::publish::{self, TARGETS_LIFE};
use crate::session::Session;

/// The files to sign, by role.
pub type Drafts = BTreeMap<RoleName, Draft>;

/// Where a signer's entries stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// In the signer's own file.
    OneFile,
    /// In 2 to this power (1 to 10) hash bins.
    Bins(u32),
}

impl Layout {
    /// How many files hold entries.
    pub fn files(self) -> u64 {
        match self {
            Self::OneFile => 1,
            Self::Bins(bits) => 1 << bits,
        }
    }

    /// The bins of a signer's file of this version. Its number makes their names new each time: a version of a file is
    /// used once, also by a signer who was removed and comes back.
    fn bins(self, signer: &RoleName, version: Version) -> Result<Option<Bins>, Problem> {
        let Self::Bins(bits) = self else { return Ok(None) };
        let bins = Bins::new(&format!("{signer}.b{version}"), bits).filter(|_| bits <= limits::PUBLISH_BIN_BITS);
        let bins = bins.ok_or_else(|| fault::internal("so many bins are not published"))?;
        let fits = bins.names().next().is_some_and(|first| RoleName::parse(&first).is_ok());
        match fits {
            true => Ok(Some(bins)),
            false => Err(fault::usage("the signer's name is too long for bins, which are called after it")),
        }
    }
}

/// The first files of a signer: without entries, and all of its bins.
pub fn first_files(
    app: &App,
    signer: &RoleName,
    version: Version,
    layout: Layout,
    keys: &[PublicKey],
    threshold: u64,
) -> Result<Drafts, Problem> {
    let expires = publish::expires(app, TARGETS_LIFE)?;
    let own = Draft::targets_at(version, expires);
    spread(signer, own, BTreeMap::new(), layout, (keys, threshold), expires)
}

/// The own file and the bins with these entries in them.
fn spread(
    signer: &RoleName,
    mut own: Draft,
    entries: BTreeMap<String, Value>,
    layout: Layout,
    (keys, threshold): (&[PublicKey], u64),
    expires: UtcTime,
) -> Result<Drafts, Problem> {
    let version = own.version().ok_or_else(|| fault::internal("a draft without version"))?;
    let mut drafts = Drafts::new();
    match layout.bins(signer, version)? {
        None => {
            own.remove_delegations();
            for (path, entry) in entries {
                own.put_target(path, entry);
            }
        }
        Some(bins) => {
            own.set_bins(&bins, keys, threshold);
            for name in bins.names() {
                drafts.insert(role_name(&name)?, Draft::targets(expires));
            }
            for (path, entry) in entries {
                if let Some(bin) = drafts.get_mut(&role_name(&bins.name_for(&path))?) {
                    bin.put_target(path, entry);
                }
            }
        }
    }
    drafts.insert(signer.clone(), own);
    Ok(drafts)
}

fn role_name(name: &str) -> Result<RoleName, Problem> {
    RoleName::parse(name).map_err(|e| fault::draft(&e))
}

/// The entries of one signer, with the changes that a command makes.
pub struct Entries<'a> {
    app: &'a App,
    session: &'a mut Session,
    signer: RoleName,
    own: Verified<Targets>,
    bins: Option<Bins>,
    touched: Drafts,
    expires: UtcTime,
}

impl<'a> Entries<'a> {
    /// What `targets` or a role that it delegates directly lists.
    pub fn of(app: &'a App, session: &'a mut Session, signer: &RoleName) -> Result<Self, Problem> {
        let own = session.role(app, signer.as_str())?;
        let bins = session.bins_of(signer);
        // Other clocks may have been ahead when the own file was signed.
        let mut expires = publish::expires(app, TARGETS_LIFE)?;
        if bins.is_some() {
            expires = expires.max(own.expires());
        }
        Ok(Self { app, session, signer: signer.clone(), own, bins, touched: Drafts::new(), expires })
    }

    /// The name of the file in which the entry of a path stands.
    fn home(&self, path: &str) -> Result<RoleName, Problem> {
        match &self.bins {
            None => Ok(self.signer.clone()),
            Some(bins) => role_name(&bins.name_for(path)),
        }
    }

    fn file(&mut self, name: &RoleName) -> Result<Verified<Targets>, Problem> {
        if *name == self.signer {
            return Ok(self.own.clone());
        }
        self.session.role_below(self.app, self.signer.as_str(), name.as_str())
    }

    /// What is published now under a path.
    pub fn published(&mut self, path: &str) -> Result<Option<TargetInfo>, Problem> {
        let home = self.home(path)?;
        Ok(self.file(&home)?.target(path))
    }

    /// Lists a target.
    pub fn set(&mut self, path: &str, target: &TargetInfo) -> Result<(), Problem> {
        self.draft_for(path)?.set_target(path, target);
        Ok(())
    }

    /// Removes a target.
    pub fn remove(&mut self, path: &str) -> Result<(), Problem> {
        self.draft_for(path)?.remove_target(path);
        Ok(())
    }

    fn draft_for(&mut self, path: &str) -> Result<&mut Draft, Problem> {
        let home = self.home(path)?;
        self.touch(&home)?;
        self.touched.get_mut(&home).ok_or_else(|| fault::internal("no draft"))
    }

    fn touch(&mut self, name: &RoleName) -> Result<(), Problem> {
        if !self.touched.contains_key(name) {
            let file = self.file(name)?;
            let draft = Draft::next(file.bytes(), self.expires).map_err(|e| fault::draft(&e))?;
            self.touched.insert(name.clone(), draft);
        }
        Ok(())
    }

    fn touch_all(&mut self) -> Result<(), Problem> {
        let bins = self.bins.iter().flat_map(Bins::names).collect::<Vec<_>>();
        for bin in bins {
            self.touch(&role_name(&bin)?)?;
        }
        self.touch(&self.signer.clone())
    }

    /// Whether signing what was touched signs all bins again, because they are at half of their life.
    pub fn is_renewal(&self) -> Result<bool, Problem> {
        Ok(self.bins.is_some() && self.own.expires().secs_since(self.app.now()?) < TARGETS_LIFE / 2)
    }

    /// The files that were touched; or all, where they are at half of their life.
    pub fn drafts(mut self) -> Result<Drafts, Problem> {
        if self.is_renewal()? {
            self.touch_all()?;
        }
        Ok(self.touched)
    }

    /// All files again, to be signed by these keys.
    pub fn renewed(mut self, keys: &[PublicKey], threshold: u64) -> Result<Drafts, Problem> {
        self.touch_all()?;
        if let (Some(bins), Some(own)) = (&self.bins, self.touched.get_mut(&self.signer)) {
            own.set_bins(bins, keys, threshold);
        }
        Ok(self.touched)
    }

    /// Where the entries stand now.
    pub fn layout(&self) -> Layout {
        self.bins.as_ref().map_or(Layout::OneFile, |bins| Layout::Bins(bins.bit_length()))
    }

    /// Everything in another layout: the next version of the own file, and new bins. How many entries that moves, and the
    /// files.
    pub fn laid_out(mut self, layout: Layout, keys: &[PublicKey], threshold: u64) -> Result<(usize, Drafts), Problem> {
        if self.own.delegations().is_some_and(|d| !d.roles().is_empty()) {
            return Err(fault::usage("this signer delegates to roles of its own; a role has either those or bins"));
        }
        self.touch_all()?;
        let mut entries = BTreeMap::new();
        for draft in self.touched.values_mut() {
            entries.append(&mut draft.take_targets());
        }
        let moved = entries.len();
        let own = self.touched.remove(&self.signer).ok_or_else(|| fault::internal("no draft"))?;
        Ok((moved, spread(&self.signer, own, entries, layout, (keys, threshold), self.expires)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expires() -> UtcTime {
        UtcTime::parse("2030-01-01T00:00:00Z").unwrap()
    }

    fn key() -> PublicKey {
        let point = hex::decode("8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c").unwrap();
        PublicKey::ed25519(&point).unwrap()
    }

    fn targets(draft: &Draft) -> Vec<&str> {
        let targets = draft.signed().get("targets").and_then(Value::as_object).unwrap();
        targets.keys().map(String::as_str).collect()
    }

    #[test]
    fn every_entry_is_moved_once_into_its_bin_and_back_with_members_that_nobody_knows() {
        let alice = RoleName::parse("alice").unwrap();
        let paths: Vec<String> = (0..50).map(|n| format!("app/v{n}")).collect();
        let entry = |path: &str| Value::object([("unknown", Value::from(path))]);
        let entries: BTreeMap<String, Value> = paths.iter().map(|path| (path.clone(), entry(path))).collect();
        let own = Draft::targets_at(Version::new(7).unwrap(), expires());
        let who = (&[key()][..], 1);
        let drafts = spread(&alice, own, entries.clone(), Layout::Bins(3), who, expires()).unwrap();
        assert_eq!(drafts.len(), 9);
        assert!(targets(&drafts[&alice]).is_empty());
        let bins = Bins::new("alice.b7", 3).unwrap();
        let mut found = BTreeMap::new();
        for (name, draft) in drafts.iter().filter(|(name, _)| **name != alice) {
            for path in targets(draft) {
                assert_eq!(bins.name_for(path), name.as_str());
            }
            found.append(&mut draft.clone().take_targets());
        }
        assert_eq!(found, entries);
        let again = spread(&alice, drafts[&alice].clone(), found, Layout::OneFile, who, expires()).unwrap();
        assert_eq!(again.keys().collect::<Vec<_>>(), [&alice]);
        assert_eq!(targets(&again[&alice]).len(), 50);
        assert!(again[&alice].signed().get("delegations").is_none());
    }

    #[test]
    fn a_signer_with_a_name_too_long_for_bins_is_told_so() {
        let long = RoleName::parse(&"a".repeat(limits::ROLE_NAME_BYTES - 4)).unwrap();
        assert!(Layout::Bins(1).bins(&long, Version::ONE).is_err());
        assert!(Layout::Bins(11).bins(&RoleName::parse("a").unwrap(), Version::ONE).is_err());
    }
}
