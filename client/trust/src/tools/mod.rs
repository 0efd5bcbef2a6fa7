//! Where container tools take image references: pure functions from an argument list to the places of its images.
//!
//! INVARIANT: an image that the tool would fetch or start is either found here or the whole command is refused. So flags are
//! read by tables of what is known; a flag that is in none is refused, because it could take the next word as its value
//! and so hide which word is the image. What is pushed (the second image of `skopeo copy`) is left as it is.
//! Deliberately absent: verifying, and running.

mod engine;
mod flags;
mod skopeo;
#[cfg(test)]
mod tests;

use trust_image::{Digest, Reference};

/// An image reference among the arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Which argument.
    pub index: usize,
    /// What stands before the reference in that argument: `docker://`, or nothing.
    pub prefix: &'static str,
    /// The reference.
    pub image: Reference,
}

/// Why a command is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ToolError {
    /// Another program.
    #[error("`{0}` is not a tool whose arguments are understood (skopeo, docker, podman, nerdctl)")]
    Tool(String),
    /// No subcommand, or one without an image that could be verified.
    #[error("{tool}: only {known} can be run")]
    Subcommand {
        /// The tool.
        tool: &'static str,
        /// The subcommands that are understood.
        known: &'static str,
    },
    /// A flag that could hide which word is the image.
    #[error("{tool}: the flag `{flag}` is not understood; if it takes a value, write it as {flag}=VALUE")]
    Flag {
        /// The tool.
        tool: &'static str,
        /// The flag.
        flag: String,
    },
    /// A flag that brings in an image past the check.
    #[error("{tool}: `{flag}` uses images that are not checked")]
    Unchecked {
        /// The tool.
        tool: &'static str,
        /// The flag.
        flag: String,
    },
    /// A flag without its value.
    #[error("{tool}: the flag `{flag}` needs a value")]
    Value {
        /// The tool.
        tool: &'static str,
        /// The flag.
        flag: String,
    },
    /// There is no image.
    #[error("{tool}: there is no image in this command")]
    NoImage {
        /// The tool.
        tool: &'static str,
    },
    /// The source is no image in a registry.
    #[error("{tool}: the source must be docker://REF")]
    Source {
        /// The tool.
        tool: &'static str,
    },
    /// A word where an image stands is none.
    #[error("`{word}` is not an image reference: {why}")]
    Reference {
        /// The word.
        word: String,
        /// Why.
        why: trust_image::ReferenceError,
    },
    /// A word that is not UTF-8.
    #[error("argument {0} is not text")]
    NotText(usize),
}

/// Finds the images in a command. At least one is found, or the command is refused.
pub fn find_images(command: &[String]) -> Result<Vec<Place>, ToolError> {
    let program = command.first().map(String::as_str).unwrap_or_default();
    let name = program.rsplit('/').next().unwrap_or_default();
    let arguments = command.get(1..).unwrap_or_default();
    let places = match name {
        "skopeo" => skopeo::images(arguments)?,
        "docker" => engine::images(&engine::DOCKER, arguments)?,
        "podman" => engine::images(&engine::PODMAN, arguments)?,
        "nerdctl" => engine::images(&engine::NERDCTL, arguments)?,
        other => return Err(ToolError::Tool(other.escape_debug().to_string())),
    };
    // The places count from the first argument; the command has the program before it.
    Ok(places.into_iter().map(|place| Place { index: place.index.saturating_add(1), ..place }).collect())
}

/// The command with each image replaced by its name and digest.
pub fn pin_images<'a>(command: &[String], pinned: impl IntoIterator<Item = (&'a Place, Digest)>) -> Vec<String> {
    let mut command = command.to_vec();
    for (place, digest) in pinned {
        if let Some(word) = command.get_mut(place.index) {
            *word = format!("{}{}", place.prefix, place.image.pinned(digest));
        }
    }
    command
}

/// Reads the image in a word.
fn place(index: usize, word: &str, prefix: &'static str) -> Result<Place, ToolError> {
    let text = word.strip_prefix(prefix).unwrap_or(word);
    let image =
        Reference::parse(text).map_err(|why| ToolError::Reference { word: text.escape_debug().to_string(), why })?;
    Ok(Place { index, prefix, image })
}
