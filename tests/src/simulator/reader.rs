//! The shipped reader, on a real folder, fed from a [`super::Wire`].
pub use super::stages::Stages as ReaderClient;
