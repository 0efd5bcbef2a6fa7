//! Making timestamps (and snapshots) again at half of their life. Nothing in them comes from the request but the name of
//! the collection; each collection is judged alone, and what is due is recorded in one transaction.

use std::collections::BTreeMap;

use trust_tuf::{CollectionName, UtcTime};
use trust_wire::signer::{RESIGN_BATCH, Reply, Resigned};

use crate::collection::{Collection, due};
use crate::core::{SignerCore, collection_name};
use crate::fail_point::fail_point;
use crate::refusal::{No, RuleId, refuse};
use crate::sign::Signing;
use crate::store::{Change, Marks};

impl SignerCore {
    pub(crate) fn resign(&mut self, now: UtcTime, collections: &[String]) -> Result<Reply, No> {
        if collections.len() > RESIGN_BATCH {
            return Err(refuse(RuleId::S13, format!("more than {RESIGN_BATCH} collections in one request")));
        }
        let mut changes = Vec::new();
        let mut answers: BTreeMap<&str, Resigned> = BTreeMap::new();
        for name in collections {
            if answers.contains_key(name.as_str()) {
                continue;
            }
            let answer = match self.judge_one(now, name) {
                Ok((answer, change)) => {
                    changes.extend(change);
                    answer
                }
                Err(no) => no.into_resigned(),
            };
            answers.insert(name, answer);
        }
        if !changes.is_empty() {
            self.commit(now, &changes)?;
            fail_point("signer.after_commit_before_reply");
        }
        let timestamps = collections.iter().filter_map(|name| answers.get(name.as_str()).cloned()).collect();
        Ok(Reply::Resigned { timestamps })
    }

    /// The answer for one collection, and the change that must be durable before it leaves. The copy in memory is the one
    /// after that change already (a batch of whole collections would not fit there twice): if the commit fails, all copies
    /// are forgotten.
    fn judge_one(&mut self, now: UtcTime, name: &str) -> Result<(Resigned, Option<Change>), No> {
        let name = collection_name(name)?;
        let known = self.take(&name)?.ok_or_else(|| refuse(RuleId::S8, format!("{name} has no root here")))?;
        let new_snapshot = now >= due(&known.snapshot);
        if !new_snapshot && now < due(&known.timestamp) {
            let answer = done(&known, false);
            self.cache.put(name, known);
            return Ok((answer, None));
        }
        match self.renew(now, &name, &known, new_snapshot) {
            Ok((after, change)) => {
                let answer = done(&after, new_snapshot);
                self.cache.put(name, after);
                Ok((answer, Some(change)))
            }
            Err(no) => {
                self.cache.put(name, known);
                Err(no)
            }
        }
    }

    pub(crate) fn renew(
        &mut self,
        now: UtcTime,
        name: &CollectionName,
        known: &Collection,
        new_snapshot: bool,
    ) -> Result<(Collection, Change), No> {
        self.check_clock(now)?;
        let lifetimes = self.config.lifetimes(name);
        let signing = Signing { now, name, state: &known.state, keys: &known.keys, lifetimes };
        self.take_signatures(now, signing.cost(new_snapshot)?)?;
        let mut after = known.clone();
        let mut signed = Vec::new();
        if new_snapshot {
            let (record, file) = signing.snapshot(Some(known.marks.snapshot))?;
            signed.push(record);
            after.snapshot = file;
        }
        let (record, file) = signing.timestamp(Some(known.marks.timestamp), &after.snapshot)?;
        signed.push(record);
        after.timestamp = file;
        after.listed = signing.judge(&after.snapshot, &after.timestamp)?;
        after.marks =
            Marks { snapshot: after.snapshot.version, timestamp: after.timestamp.version, ..known.marks.clone() };
        let change = Change {
            collection: name.clone(),
            expected: Some(known.marks.clone()),
            marks: after.marks.clone(),
            admission: None,
            roots: Vec::new(),
            roles: Vec::new(),
            buried: Vec::new(),
            gone: Vec::new(),
            named_keys: Vec::new(),
            dropped_keys: Vec::new(),
            signed,
        };
        Ok((after, change))
    }
}

fn done(collection: &Collection, new_snapshot: bool) -> Resigned {
    let signed = collection.signed();
    Resigned::Done {
        snapshot_version: signed.snapshot_version,
        snapshot: new_snapshot.then_some(signed.snapshot),
        timestamp_version: signed.timestamp_version,
        timestamp: signed.timestamp,
        resign_at: signed.resign_at,
    }
}
