//! The one table of limits on metadata. Reaching one is an error that names it, never a truncation.
//!
//! Limits on fetching (time, rate, redirects, places to read from) are the other half of the table: `trust_reader::limits`.

/// Largest root file that is read, in bytes.
pub const ROOT_BYTES: u64 = 512_000;
/// Largest timestamp file that is read, in bytes.
pub const TIMESTAMP_BYTES: u64 = 16_384;
/// Largest snapshot that is read when the timestamp states no length, in bytes.
pub const SNAPSHOT_BYTES: u64 = 2_000_000;
/// Largest targets or delegated file that is read when the snapshot states no length, in bytes.
pub const TARGETS_BYTES: u64 = 5_000_000;
/// No file is read beyond this, whatever length is stated for it, in bytes.
pub const STATED_BYTES: u64 = 64 * 1024 * 1024;
/// Largest role file that a repository of ours publishes, in bytes (beyond: bins).
pub const PUBLISH_BYTES: u64 = 8 * 1024 * 1024;
/// Largest `custom` object of one target that a repository of ours publishes, in bytes of canonical JSON.
pub const CUSTOM_BYTES: usize = 16 * 1024;
/// Root files that one update follows; then the update goes on with what it has (5.3).
pub const ROOTS_PER_UPDATE: usize = 1_024;
/// Root files of a chain that a trusted set keeps as verified, the first ones: the rest is verified again by the next update.
pub const ROOTS_KEPT: usize = 128;
/// Roles that one look-up visits (5.6.7).
pub const ROLES_PER_LOOKUP: usize = 32;
/// Nesting of JSON arrays and objects.
pub const JSON_DEPTH: usize = 32;
/// Members of one object whose members are not in canonical order: each must be kept to find two of one name.
pub const UNSORTED_MEMBERS: usize = 1_000_000;
/// Signatures in one file.
pub const SIGNATURES_PER_FILE: usize = 1_000;
/// Keys in one file.
pub const KEYS_PER_FILE: usize = 10_000;
/// Delegations in one role.
pub const DELEGATIONS_PER_ROLE: usize = 100_000;
/// Patterns and hash prefixes of all delegations of one role together, and key ids likewise: two for each delegation.
pub const DELEGATED_PER_ROLE: usize = 200_000;
/// Highest version that is read.
pub const VERSION: u64 = (1 << 63) - 1;
/// Highest version that a repository of ours publishes (the largest integer every JSON reader holds exactly).
pub const PUBLISH_VERSION: u64 = (1 << 53) - 1;
/// Longest target path, in bytes.
pub const TARGET_PATH_BYTES: usize = 1_024;
/// Longest name of a role of ours, in bytes.
pub const ROLE_NAME_BYTES: usize = 128;
/// Longest collection name, in bytes.
pub const COLLECTION_NAME_BYTES: usize = 255;
/// A timestamp of a repository of ours lives at most this long, in seconds (compiled ceiling of the signer).
pub const TIMESTAMP_LIFE: i64 = 7 * 86_400;
/// A snapshot of a repository of ours lives at most this long, in seconds (compiled ceiling of the signer).
pub const SNAPSHOT_LIFE: i64 = 90 * 86_400;
/// A role file that people publish has at least this long to live, in seconds.
pub const LEAST_LIFE: i64 = 7 * 86_400;
/// A role file that people publish lives at most this long (two years), in seconds.
pub const MOST_LIFE: i64 = 2 * 366 * 86_400;
/// What comparing targets with the patterns of delegations may cost in one publication, in steps of about a nanosecond.
pub const PATH_WORK: u64 = 1_000_000_000;
/// Keys of one role of a repository of ours: each is looked at in every publication that concerns it.
pub const KEYS_PER_ROLE: usize = 64;
/// Hash bins of one signer of a repository of ours: 2 to this power (1,024). A collection holds about 47 MB of role files,
/// so that the fullest bin stays small, and all bins of a signer go into one publication.
pub const PUBLISH_BIN_BITS: u32 = 10;
/// Role files in one publication: all bins of a signer, and room for the roles above them and some more.
pub const FILES_PER_PUBLICATION: usize = (1 << PUBLISH_BIN_BITS) + 64;
/// Roles in one collection of ours.
pub const ROLES_PER_COLLECTION: usize = 4_096;
/// What the list of all roles, removed ones among them, may take in the snapshot of a repository of ours, in bytes. Every
/// client reads it with each change; some read no more than 1 MiB.
pub const PUBLISH_SNAPSHOT_BYTES: u64 = 1_000_000;
/// So much of it is kept for publications with a new `targets` file: no signer's key alone can fill what the owner needs to
/// remove or add one, in bytes.
pub const SNAPSHOT_RESERVE: u64 = 100_000;
