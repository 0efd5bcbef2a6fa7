//! Recovery: open candidates go on, and a store that is behind the signer takes the signer's last set.
//!
//! The signer's mark is the commit point. A server that crashed, or was restored from an old copy, therefore asks the
//! signer before it trusts its own memory; what the signer hands over is verified like everything else, and nothing is
//! ever lowered.

use std::collections::BTreeMap;

use trust_tuf::model::Role;
use trust_wire::api::PublicationResponse;
use trust_wire::signer::{CollectionFiles, CollectionState, Reply, Request};

use super::App;
use super::error::{AppError, KEPT};
use super::publish::{Read, blocking, conflict};
use super::slot::Slot;
use super::view::View;
use crate::store::Cause;

impl App {
    /// Brings a collection up to date: its open candidate if there is one, then the comparison with the signer if there
    /// was none since the start. Gives the candidate's answer. The caller holds the turn.
    pub(super) async fn recover(&self, slot: &Slot) -> Result<Option<PublicationResponse>, AppError> {
        self.store_shown(slot).await?;
        let mut answer = None;
        if slot.is_open() {
            if let Some(candidate) = self.store.candidate(slot.name().as_str()).await? {
                answer = match self.roll_forward(slot, candidate).await {
                    Ok(answer) => Some(answer),
                    Err(error) if slot.is_open() => return Err(error),
                    Err(error) => {
                        // It was refused and is gone; what is left may be shown.
                        self.sync(slot).await?;
                        return Err(error);
                    }
                };
            } else {
                slot.set_open(false);
            }
        }
        if !slot.is_synced() {
            self.sync(slot).await?;
        }
        Ok(answer)
    }

    /// Compares with the signer, and adopts its set if that is ahead.
    pub(super) async fn sync(&self, slot: &Slot) -> Result<(), AppError> {
        let state = self.signer_state(slot).await?;
        let view = slot.view();
        if let Some(state) = state
            && view.as_deref().is_none_or(|view| is_ahead(&state, view))
        {
            let files = self.signer_files(slot).await?;
            self.adopt(slot, files).await?;
        }
        slot.set_synced();
        Ok(())
    }

    /// Takes the signer's set, verified.
    pub(super) async fn adopt(&self, slot: &Slot, files: CollectionFiles) -> Result<(), AppError> {
        let after = self.verify_files(slot, files).await?;
        let before = slot.view();
        let old = before.as_deref().map(View::versions).unwrap_or_default();
        let new = after.versions();
        let changed: BTreeMap<String, u64> = new
            .roles
            .iter()
            .filter(|(role, version)| old.roles.get(*role) != Some(*version))
            .map(|(role, version)| (role.clone(), *version))
            .collect();
        let renewed = changed.is_empty() && old.root == new.root;
        let cause = if renewed { Cause::Renewed } else { Cause::Adopted(changed) };
        let set = after.to_store(before.as_deref());
        let sequence = self.store.promote(set, cause, self.now().unix()).await?;
        slot.set_sequence(sequence);
        slot.show(after);
        if !renewed {
            tracing::warn!(collection = %slot.name(), "the signer was ahead: its last set is adopted");
        }
        Ok(())
    }

    async fn signer_state(&self, slot: &Slot) -> Result<Option<CollectionState>, AppError> {
        let collection = slot.name().as_str().to_owned();
        match self.signer.call(Request::State { collection }).await? {
            Reply::State { state } => Ok(state),
            _ => Err(AppError::SignerUnavailable(KEPT)),
        }
    }

    async fn signer_files(&self, slot: &Slot) -> Result<CollectionFiles, AppError> {
        let collection = slot.name().as_str().to_owned();
        match self.signer.call(Request::Files { collection }).await? {
            Reply::Files { files: Some(files) } => Ok(files),
            _ => Err(AppError::SignerUnavailable(KEPT)),
        }
    }

    async fn verify_files(&self, slot: &Slot, files: CollectionFiles) -> Result<View, AppError> {
        let (name, before) = (slot.name().clone(), slot.view());
        blocking(move || {
            View::adopted(&name, files, before.as_deref()).map_err(|error| {
                tracing::error!(collection = %name, %error, "the signer's set does not verify; it is not adopted");
                AppError::SignerUnavailable("the signer's answer does not verify")
            })
        })
        .await
    }

    /// Decides about a candidate that was refused after it was stored (`why`). If the signer's set holds it, it is
    /// current; if the signer is ahead without it, someone else was first; otherwise the refusal stands.
    pub(super) async fn settle(
        &self,
        slot: &Slot,
        id: i64,
        read: &Read,
        why: AppError,
    ) -> Result<PublicationResponse, AppError> {
        let view = slot.view();
        let state = self.signer_state(slot).await.map_err(|_| AppError::SignerUnavailable(KEPT))?;
        let ahead = state.is_some_and(|state| view.as_deref().is_none_or(|view| is_ahead(&state, view)));
        let why = if ahead {
            let files = self.signer_files(slot).await.map_err(|_| AppError::SignerUnavailable(KEPT))?;
            if holds(&files, read) {
                let after = self.verify_files(slot, files).await?;
                return self.make_current(slot, id, read, after).await;
            }
            let snapshot = view.as_deref().map(View::snapshot_version);
            self.adopt(slot, files).await?;
            let view = slot.view();
            if view.as_deref().map(View::snapshot_version) == snapshot {
                why // only the timestamp was newer
            } else {
                conflict(view.as_deref().map(View::versions).unwrap_or_default())
            }
        } else if let Some(view) = view.filter(|view| view.holds(&read.files)) {
            let after = View::clone(&view);
            return self.make_current(slot, id, read, after).await;
        } else {
            why
        };
        self.end_refused(slot, id, &why).await?;
        Err(match why {
            // The signer's limit of publications a second: nothing is wrong with this one.
            AppError::SignerRefused { rule, .. } if rule == "S10" => AppError::RateLimited,
            why => why,
        })
    }
}

fn is_ahead(state: &CollectionState, view: &View) -> bool {
    state.root > view.state().root().version().get()
        || state.snapshot > view.snapshot_version().get()
        || state.timestamp > view.timestamp().version().get()
}

/// Whether every file of the publication is, byte for byte, in the signer's set.
fn holds(files: &CollectionFiles, read: &Read) -> bool {
    read.request.roots.iter().all(|root| files.roots.contains(root))
        && read.request.roles.iter().all(|(name, file)| files.roles.get(name) == Some(file))
}
