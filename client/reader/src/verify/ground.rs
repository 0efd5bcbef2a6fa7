//! What a verification looks things up in: a reader, which loads roles as they are needed, or a view, which has them.
//!
//! One verification, written once, so that a gate in the middle of an update and a command on a terminal cannot differ.

use std::future::Future;

use trust_tuf::lookup::Outcome;
use trust_tuf::trusted::TrustedSet;
use trust_tuf::{Targets, Verified, Version};

use crate::anchor::Anchor;
use crate::problems::Scene;
use crate::reader::Reader;
use crate::transport::Transport;
use crate::verdict::Problem;

/// Where a verification looks.
pub(crate) trait Ground {
    /// The plain search. An empty outcome means that no role lists the path.
    fn lookup(&mut self, path: &str) -> impl Future<Output = Result<Outcome, Problem>>;
    /// A role that `targets` delegates directly, or `targets` itself.
    fn role(&mut self, role: &str) -> impl Future<Output = Result<Verified<Targets>, Problem>>;
    /// The verified set.
    fn trusted(&self) -> &TrustedSet;
    /// The pinned root.
    fn anchor(&self) -> &Anchor;
    /// The version of the pinned root.
    fn pinned_version(&self) -> Version;
    /// What should be said about the update.
    fn warnings(&self) -> &[String];
    /// What messages name.
    fn scene(&self) -> Scene;
}

impl<T: Transport> Ground for Reader<T> {
    fn lookup(&mut self, path: &str) -> impl Future<Output = Result<Outcome, Problem>> {
        Reader::lookup(self, path)
    }

    fn role(&mut self, role: &str) -> impl Future<Output = Result<Verified<Targets>, Problem>> {
        Reader::role(self, role)
    }

    fn trusted(&self) -> &TrustedSet {
        Reader::trusted(self)
    }

    fn anchor(&self) -> &Anchor {
        Reader::anchor(self)
    }

    fn pinned_version(&self) -> Version {
        Reader::pinned_version(self)
    }

    fn warnings(&self) -> &[String] {
        Reader::warnings(self)
    }

    fn scene(&self) -> Scene {
        Reader::scene(self)
    }
}

/// One verification on its ground.
pub(crate) struct Examination<'a, G>(pub(crate) &'a mut G);

impl<G: Ground> Examination<'_, G> {
    pub(super) async fn lookup(&mut self, path: &str) -> Result<Outcome, Problem> {
        self.0.lookup(path).await
    }

    pub(super) async fn role(&mut self, role: &str) -> Result<Verified<Targets>, Problem> {
        self.0.role(role).await
    }

    pub(super) fn trusted(&self) -> &TrustedSet {
        self.0.trusted()
    }

    pub(super) fn anchor(&self) -> &Anchor {
        self.0.anchor()
    }

    pub(super) fn pinned_version(&self) -> Version {
        self.0.pinned_version()
    }

    pub(super) fn warnings(&self) -> &[String] {
        self.0.warnings()
    }

    pub(super) fn scene(&self) -> Scene {
        self.0.scene()
    }
}
