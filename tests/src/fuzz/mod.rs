//! Fuzz targets: one function for every parser that reads what others wrote, and for the whole update.
//!
//! Each takes bytes and asserts what must hold of them: nothing panics, what is read and written again is read as the
//! same, and what is accepted is accepted by a second, simpler judgement too. They run in three ways: on stable over the
//! inputs in `tests/corpus/NAME` and small changes of them (`tests/tests/corpus.rs`), and below libFuzzer (`fuzz/`).

pub mod documents;
pub mod mutate;
pub mod policies;
pub mod programs;
#[path = "../../../core/policy/tests/policy/second.rs"]
mod second;
pub mod stored;
pub mod tuf;
pub mod update;

/// A target.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name: of the folder in `tests/corpus`, and of the program in `fuzz/fuzz_targets`.
    pub name: &'static str,
    /// What it does with an input.
    pub run: fn(&[u8]),
    /// How many changed inputs `make test` tries: fewer where one costs more.
    pub cases: usize,
}

macro_rules! targets {
    ($($module:ident::$name:ident $cases:literal,)*) => {
        /// All targets.
        pub const TARGETS: &[Target] =
            &[$(Target { name: stringify!($name), run: $module::$name, cases: $cases }),*];
        $(pub use $module::$name;)*
    };
}

targets! {
    tuf::json 4000,
    tuf::root 800,
    tuf::timestamp 1500,
    tuf::snapshot 1500,
    tuf::targets 1500,
    tuf::pattern 1500,
    tuf::public_key 1500,
    tuf::time 4000,
    tuf::names 4000,
    documents::image_reference 4000,
    documents::manifest 3000,
    documents::image_config 3000,
    documents::facts 3000,
    documents::workload 3000,
    documents::described_kind 3000,
    policies::dictionary 300,
    policies::environment 2000,
    policies::policy 100,
    policies::exception 1500,
    policies::decision 1500,
    stored::wire_frames 3000,
    stored::state_record 400,
    stored::private_key 1500,
    programs::admission_review 2000,
    programs::image_review 2000,
    programs::provider_request 2000,
    programs::yaml_manifest 2000,
    update::publication 300,
    update::edited_repository 120,
    update::story 40,
}
