//! What the doors on one machine share: a Unix socket that only its users reach, and the questions to the decider.
//!
//! Deliberately absent: what is asked on the socket ([`crate::docker`], [`crate::containerd`]).

mod rules;
mod socket;
#[cfg(test)]
pub(crate) mod testing;

use trust_image::text::is_unprintable;

pub(crate) use self::rules::{Asked, Deciding, Rules, Ruling};
pub use self::socket::{LocalSocket, SocketError};

/// The longest sentence that a door gives to people, in bytes.
const MAX_SENTENCE: usize = 2_048;

/// One printable line of bounded length, for those who asked.
pub(crate) fn sentence(text: &str) -> String {
    let mut line = String::with_capacity(text.len().min(MAX_SENTENCE));
    for c in text.chars() {
        if line.len() > MAX_SENTENCE {
            line.push('…');
            break;
        }
        line.push(if is_unprintable(c) { ' ' } else { c });
    }
    line
}
