//! What all parts look at: a registry, a trust server and its signer, a collection with signed and unsigned images.

use std::io;
use std::path::Path;

use super::report::Said;
use crate::stack::images::{self, Image};
use crate::stack::{Options, Person, Stack};

/// How often the gates ask for news.
pub const REFRESH: &str = "1s";

/// The running services and what is in them.
pub struct World {
    /// Registry, signer, server.
    pub stack: Stack,
    /// Signs.
    pub alice: Person,
    /// Has pinned the collection: its root is what the gates get.
    pub operator: Person,
    /// `HOST:PORT/shop`.
    pub collection: String,
    /// `app:v1`, signed.
    pub v1: Image,
    /// `app:v2`, signed.
    pub v2: Image,
    /// `app:unsigned`.
    pub unsigned: Image,
}

impl World {
    /// Starts everything below `dir`, on this registry program, or on Debian's.
    pub fn start(dir: &Path, registry: Option<&Path>) -> io::Result<Self> {
        let stack = match registry {
            Some(program) => Stack::registry_of(dir, program)?,
            None => Stack::registry_only(dir)?,
        };
        let stack = stack.with_services(Options::default())?;
        let token = stack.token("alice", "*=read,publish,admin")?;
        let (alice, operator) = (stack.person("alice", Some(&token))?, stack.person("operator", None)?);
        let collection = format!("{}/shop", stack.registry);
        let fingerprint = stack.create(&alice, &collection)?;
        command(operator.trust().args(["pin", "add", &collection, &fingerprint]))?;
        let images = dir.join("images");
        let make = |name: &str| images::single(&images.join(name), &format!("app {name}"), &[]);
        let (v1, v2, unsigned) = (make("v1")?, make("v2")?, make("unsigned")?);
        let world = Self { stack, alice, operator, collection, v1, v2, unsigned };
        world.publish(&world.v1, "app:v1")?;
        world.publish(&world.v2, "app:v2")?;
        images::push(&world.unsigned, &world.name("app:unsigned"))?;
        Ok(world)
    }

    /// `HOST:PORT/shop/IMAGE`.
    pub fn name(&self, image: &str) -> String {
        format!("{}/{image}", self.collection)
    }

    /// The name with the digest, as a gate pins it.
    pub fn pinned(&self, image: &str, made: &Image) -> String {
        format!("{}@{}", self.name(image), made.digest)
    }

    /// Pushes and signs.
    pub fn publish(&self, made: &Image, image: &str) -> io::Result<()> {
        images::push(made, &self.name(image))?;
        self.sign(made, image)
    }

    /// Signs what is pushed.
    pub fn sign(&self, made: &Image, image: &str) -> io::Result<()> {
        command(self.alice.trust().args(["sign", &self.pinned(image, made)]))
    }
}

fn command(command: &mut std::process::Command) -> io::Result<()> {
    let said = Said::by(command);
    said.done(&[]).map(|_| ()).map_err(io::Error::other)
}
