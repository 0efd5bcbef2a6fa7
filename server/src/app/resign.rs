//! New timestamps before half of the life of the old ones is over: the signer makes them, this asks in time.

use std::sync::Arc;

use trust_wire::signer::{RESIGN_BATCH, Reply, Request, Resigned};

use super::App;
use super::publish::blocking;
use super::slot::{Slot, Turn};
use super::view::View;

impl App {
    /// Renews every timestamp that is due; false if one is left.
    pub(super) async fn resign_due(&self) -> bool {
        let now = self.now();
        let mut due: Vec<(Arc<Slot>, Arc<View>, Turn)> = Vec::new();
        let mut done = true;
        for slot in self.all_slots() {
            if slot.is_open() || !slot.is_synced() || slot.view().is_none_or(|view| view.resign_at() > now) {
                continue;
            }
            // Whoever holds the turn publishes, and that brings a new timestamp.
            let Some(turn) = slot.try_turn() else { continue };
            // A timestamp is stored beside the set that it belongs to, or not at all.
            if self.store_shown(&slot).await.is_err() {
                done = false;
                continue;
            }
            if let Some(view) = slot.view() {
                due.push((slot, view, turn));
            }
        }
        while !due.is_empty() {
            let rest = due.split_off(due.len().min(RESIGN_BATCH));
            done &= self.resign(due).await;
            due = rest;
        }
        done
    }

    async fn resign(&self, batch: Vec<(Arc<Slot>, Arc<View>, Turn)>) -> bool {
        let collections = batch.iter().map(|(slot, ..)| slot.name().as_str().to_owned()).collect();
        let timestamps = match self.signer.call(Request::Resign { collections }).await {
            Ok(Reply::Resigned { timestamps }) if timestamps.len() == batch.len() => timestamps,
            Ok(_) => {
                tracing::error!("the signer answered something else than was asked");
                return false;
            }
            Err(error) => {
                tracing::warn!(%error, "timestamps are not renewed");
                return false;
            }
        };
        let mut all = true;
        let (mut renewed, mut stored) = (Vec::new(), Vec::new());
        // The turns are held to the end.
        let mut turns = Vec::new();
        for ((slot, view, turn), answer) in batch.into_iter().zip(timestamps) {
            turns.push(turn);
            match self.renew(&slot, &view, answer).await {
                Some(Some(after)) => {
                    stored.push((slot.name().as_str().to_owned(), after.stored_timestamp()));
                    renewed.push((slot, after));
                }
                Some(None) => {}
                None => all = false,
            }
        }
        if stored.is_empty() {
            return all;
        }
        // On the disk before it is shown: after a restart nobody sees an older one.
        if let Err(error) = self.store.renew(stored).await {
            tracing::error!(%error, "renewed timestamps are not stored");
            return false;
        }
        for (slot, view) in renewed {
            slot.show(view);
        }
        all
    }

    /// The set with the new timestamp; `Some(None)` if the signer's whole set was taken; `None` if it failed.
    async fn renew(&self, slot: &Slot, view: &Arc<View>, answer: Resigned) -> Option<Option<View>> {
        match answer {
            Resigned::Done { snapshot_version, .. } if snapshot_version > view.snapshot_version().get() => {
                // The signer renewed the snapshot as well, or is ahead for another reason.
                self.sync(slot).await.ok().map(|()| None)
            }
            Resigned::Done { timestamp_version, timestamp, resign_at, .. } => {
                let (view, now) = (Arc::clone(view), self.now());
                let after = blocking(move || Ok(view.renewed(&timestamp.0, timestamp_version, &resign_at, now)));
                match after.await.ok()? {
                    Ok(after) => Some(Some(after)),
                    Err(error) => {
                        tracing::error!(collection = %slot.name(), %error, "the signer's timestamp does not verify");
                        slot.unsync();
                        None
                    }
                }
            }
            Resigned::Refused { rule, reason } => {
                tracing::warn!(collection = %slot.name(), rule, reason, "the signer refused a new timestamp");
                None
            }
        }
    }
}
