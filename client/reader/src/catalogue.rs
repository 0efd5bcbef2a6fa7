//! The one table of what can go wrong: error id → exit code → headline → cause → remedy → who says it → example.
//!
//! Ids and exit codes are a public promise: an id never changes its meaning and is never used again; a new one is added
//! at its place. Ids are not derived from exit codes: where one code covers several causes the id tells them apart. The
//! first two digits group by subject: 00 the program, 10 what is signed, 12 metadata, 13 freshness, 14 image and
//! registry, 16 root, 30 to 36 other machines and this disk, 40 to 43 keys. Remedies never name a way around a check.

/// Exit codes of the programs. 0 means positively verified, allowed or done.
pub mod exit {
    /// Positively verified, allowed or done.
    pub const DONE: u8 = 0;
    /// A bug in the program.
    pub const INTERNAL: u8 = 1;
    /// Wrong use of the command line.
    pub const USAGE: u8 = 2;
    /// Configuration.
    pub const CONFIGURATION: u8 = 3;
    /// No trust data, not signed.
    pub const NOT_SIGNED: u8 = 10;
    /// Tag or image does not exist.
    pub const NOT_THERE: u8 = 11;
    /// Signatures there, but they do not suffice. Also: the server refuses files of ours by a rule.
    pub const THRESHOLD: u8 = 12;
    /// The digest differs from the signed one.
    pub const DIGEST_DIFFERS: u8 = 13;
    /// Metadata expired (freeze?).
    pub const EXPIRED: u8 = 14;
    /// Rollback seen.
    pub const ROLLBACK: u8 = 15;
    /// The root pin is broken, or there is no chain from the trusted root.
    pub const ROOT: u8 = 16;
    /// Revoked.
    pub const REVOKED: u8 = 17;
    /// Denied by policy.
    pub const POLICY_DENIED: u8 = 20;
    /// The policy could not be evaluated.
    pub const POLICY_FAILED: u8 = 21;
    /// Network unreachable, time-out.
    pub const NETWORK: u8 = 30;
    /// Login needed, or forbidden.
    pub const FORBIDDEN: u8 = 31;
    /// Someone published first.
    pub const CONFLICT: u8 = 32;
    /// Rate limited.
    pub const RATE_LIMITED: u8 = 33;
    /// Server or signer unavailable.
    pub const UNAVAILABLE: u8 = 34;
    /// Local files: disk full, permission, damage.
    pub const LOCAL: u8 = 35;
    /// A passphrase or confirmation is needed and there is no terminal.
    pub const NO_TERMINAL: u8 = 40;
    /// Wrong passphrase.
    pub const PASSPHRASE: u8 = 41;
    /// Key missing, or not allowed for this role.
    pub const KEY: u8 = 42;
    /// Fault of a hardware key.
    pub const HARDWARE: u8 = 43;
    /// Recorded, but the threshold is not yet met.
    pub const RECORDED: u8 = 50;
    /// Problems found by `doctor` or `status`.
    pub const FINDINGS: u8 = 60;
    /// Interrupted.
    pub const INTERRUPTED: u8 = 130;
    /// Terminated.
    pub const TERMINATED: u8 = 143;

    /// All codes with their meaning and whether to try again, in the order of the documentation.
    pub const TABLE: &[(u8, &str, &str)] = &[
        (DONE, "positively verified / allowed / done", "-"),
        (INTERNAL, "internal fault (a bug)", "no"),
        (USAGE, "usage", "no"),
        (CONFIGURATION, "configuration", "no"),
        (NOT_SIGNED, "no trust data / not signed", "no"),
        (NOT_THERE, "tag or image does not exist", "no"),
        (THRESHOLD, "signatures there, but they do not suffice", "no"),
        (DIGEST_DIFFERS, "digest differs from the signed one", "no"),
        (EXPIRED, "metadata expired (freeze?)", "later"),
        (ROLLBACK, "rollback seen", "no"),
        (ROOT, "root pin broken / no chain from the trusted root", "no"),
        (REVOKED, "revoked", "no"),
        (POLICY_DENIED, "policy denied", "no"),
        (POLICY_FAILED, "policy could not be evaluated (fail closed)", "maybe"),
        (NETWORK, "network unreachable, time-out", "yes"),
        (FORBIDDEN, "login needed, or forbidden", "no"),
        (CONFLICT, "conflict: someone published first", "yes"),
        (RATE_LIMITED, "rate limited", "later"),
        (UNAVAILABLE, "server or signer unavailable", "yes"),
        (LOCAL, "local files: disk full, permission, damage", "no"),
        (NO_TERMINAL, "passphrase or confirmation needed, no terminal", "no"),
        (PASSPHRASE, "wrong passphrase or PIN", "no"),
        (KEY, "key missing, or not allowed for this role", "no"),
        (HARDWARE, "hardware key or KMS fault", "maybe"),
        (RECORDED, "recorded, but threshold not yet met", "-"),
        (FINDINGS, "found something: doctor, status, policy test, policy diff, policy fmt --check", "no"),
        (INTERRUPTED, "interrupted", "-"),
        (TERMINATED, "terminated", "-"),
    ];

    // Worst first. Signs of an attack stand above what is merely missing, and those above what a retry may cure.
    const BADNESS: &[u8] = &[
        INTERNAL,
        ROOT,
        ROLLBACK,
        REVOKED,
        DIGEST_DIFFERS,
        THRESHOLD,
        EXPIRED,
        NOT_SIGNED,
        NOT_THERE,
        POLICY_DENIED,
        POLICY_FAILED,
        HARDWARE,
        KEY,
        PASSPHRASE,
        NO_TERMINAL,
        LOCAL,
        CONFIGURATION,
        USAGE,
        FORBIDDEN,
        UNAVAILABLE,
        NETWORK,
        RATE_LIMITED,
        CONFLICT,
        TERMINATED,
        INTERRUPTED,
        RECORDED,
        FINDINGS,
        DONE,
    ];

    /// The worst of several codes; 0 if there are none. A code that is not in the table counts as the worst.
    pub fn worst(codes: impl IntoIterator<Item = u8>) -> u8 {
        let rank = |code: &u8| BADNESS.iter().position(|c| c == code).map_or(0, |at| at + 1);
        codes.into_iter().min_by_key(rank).unwrap_or(DONE)
    }
}

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The stable id, `E` and four digits.
    pub id: &'static str,
    /// The exit code, one of [`exit`].
    pub exit: u8,
    /// What happened, in general; a problem may say it with names.
    pub headline: &'static str,
    /// The usual cause.
    pub cause: &'static str,
    /// What to do, one step a line.
    pub remedy: &'static [&'static str],
    /// Which commands and programs end with it.
    pub printed_by: &'static str,
    /// What to type in a case like this, one command a line; empty where nothing fits every case.
    pub example: &'static [&'static str],
}

/// Who ends with an error, in words: behind `by` in a row of the table. A row without it can come from every command.
mod by {
    pub(super) const ANY: &str = "every command";
    pub(super) const NONE: &str = "no command of this version; the id is kept for it";
    pub(super) const READ: &str = "every command that reads a collection: verify, resolve, exec, inspect, list, log, diff, and those that publish";
    pub(super) const VERIFY: &str = "verify, resolve and exec; inspect and list say it beside the image; the gate";
    pub(super) const SIGN_AND_VERIFY: &str =
        "sign, before anything is signed; verify, resolve and exec; inspect says it beside the image; the gate";
    pub(super) const SIGNERS: &str = "verify, resolve and exec with --signer or --min-signers; the gate";
    pub(super) const COMPARE: &str = "verify, which asks the registry; sign with --expect";
    pub(super) const REGISTRY: &str = "commands that ask a registry: sign and verify; the gate";
    pub(super) const PUBLISH: &str = "commands that publish: init, sign, unsign, revoke, rotate, signer";
    pub(super) const KEYS: &str =
        "commands that use a private key: init, sign, unsign, revoke, rotate, signer, key, policy, labels, exception";
    pub(super) const PINS: &str = "pin add, init, and every command that reads a collection";
    pub(super) const ROOTS: &str = "init and rotate, which ask for online keys";
    pub(super) const POLICY: &str =
        "verify --env, sign where a policy is in use, the commands policy, labels and exception; the gate";
    pub(super) const FOLDERS: &str = "policy diff";
    pub(super) const CASES: &str = "policy test and policy publish";
    pub(super) const FORMATS: &str = "policy fmt --check";
    pub(super) const FINDERS: &str = "doctor, status and policy check --strict";
    pub(super) const DOCTOR: &str = "doctor and status";
    pub(super) const MANIFESTS: &str = "verify --manifests";
    pub(super) const ASK: &str = "commands that change or remove something: sign, unsign, revoke, rotate, signer, pin";
    pub(super) const INIT: &str = "init";
    pub(super) const EXEC: &str = "exec";
    pub(super) const GATE: &str = "the gate";
    pub(super) const OFFLINE: &str = "every command that reads a collection, with --offline";
    pub(super) const FILES: &str =
        "commands that read or write a file of yours: key, pin, sign, man, and every one with --out";
}

macro_rules! printed_by {
    () => {
        by::ANY
    };
    ($by:ident) => {
        by::$by
    };
}

macro_rules! catalogue {
    ($($variant:ident $id:literal $exit:ident: $headline:literal, $cause:literal, [$($remedy:literal),* $(,)?]
        $(, by $by:ident)? $(, example [$($example:literal),* $(,)?])?;)*) => {
        /// What went wrong. Each value is one row of the table.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $(#[doc = concat!($id, ": ", $headline, ".")] $variant,)*
        }

        impl Code {
            /// Every code, in the order of the table.
            pub const ALL: &'static [Code] = &[$(Code::$variant,)*];

            /// The row.
            pub fn entry(self) -> &'static Entry {
                match self {
                    $(Code::$variant => &Entry {
                        id: $id, exit: exit::$exit, headline: $headline, cause: $cause, remedy: &[$($remedy),*],
                        printed_by: printed_by!($($by)?), example: &[$($($example),*)?],
                    },)*
                }
            }
        }
    };
}

catalogue! {
    Internal "E0001" INTERNAL: "the program has a fault",
        "this should not happen: it is a bug", ["report it with the command and this text"];
    Usage "E0002" USAGE: "the command line cannot be understood",
        "an argument is missing, unknown or does not fit another one", ["look at the help of the command"],
        example ["trust verify --help"];
    Configuration "E0003" CONFIGURATION: "the configuration cannot be used",
        "a setting is missing, unknown or has a value that is not allowed", ["correct the setting that is named above"],
        example ["trust config show --origin"];
    BadReference "E0004" USAGE: "this is not an image reference",
        "a reference is [HOST[:PORT]/]NAME[:TAG][@DIGEST]", ["correct the reference"],
        example ["trust verify registry.example.com/pay/api:v1", "trust help references"];
    NoServer "E0005" CONFIGURATION: "no server is configured",
        "neither --server, TRUST_SERVER nor the context names one", ["name the server with --server or in the configuration"], by READ,
        example ["trust context add work --server https://trust.example.com", "trust context use work"];
    PlainHttpRefused "E0006" CONFIGURATION: "plain HTTP is refused for this host",
        "without TLS anybody on the way reads tokens and holds back answers", ["use the https:// address of the server"];
    CommandFailed "E0007" LOCAL: "the program cannot be started",
        "it is not in PATH, or this user may not run it", ["check the name of the program"], by EXEC;
    Interrupted "E0130" INTERRUPTED: "interrupted", "a person or program stopped the command", ["run it again"];
    Terminated "E0143" TERMINATED: "terminated", "the system or a program stopped the command", ["run it again"], by NONE;

    NotSigned "E1001" NOT_SIGNED: "the image is not signed",
        "no signer of the collection lists this tag or digest", ["ask one of its signers to sign it"], by VERIFY,
        example ["trust list registry.example.com/pay", "trust sign registry.example.com/pay/api:v1 --expect sha256:1c8f0e5d1c8f0e5d1c8f0e5d1c8f0e5d1c8f0e5d1c8f0e5d1c8f0e5d1c8f0e5d"];
    NoPin "E1002" NOT_SIGNED: "no pinned collection speaks for this image",
        "trust is looked up under the longest pinned name that is a prefix of the image's name, by whole components",
        ["pin the root of the image's collection: trust pin add COLLECTION FINGERPRINT"], by READ,
        example ["trust pin list", "trust pin add registry.example.com/pay 5f70bf185f70bf185f70bf185f70bf185f70bf185f70bf185f70bf185f70bf18"];
    NothingStored "E1003" NOT_SIGNED: "nothing is stored for this collection yet",
        "offline only what an earlier run verified and kept can be used", ["run the command once with network"], by OFFLINE,
        example ["trust verify registry.example.com/pay/api:v1"];
    SignerMissing "E1004" THRESHOLD: "a required signer has not signed this image",
        "other signers vouch for it, but not all that were asked for", ["ask the signer to sign this digest"], by SIGNERS,
        example ["trust inspect registry.example.com/pay/api:v1", "trust sign registry.example.com/pay/api:v1@sha256:1c8f0e5d1c8f0e5d1c8f0e5d1c8f0e5d1c8f0e5d1c8f0e5d1c8f0e5d1c8f0e5d --as qa"];
    TooFewSigners "E1005" THRESHOLD: "too few signers have signed this image",
        "signers that share a key count once, and what hangs below a signer counts as that signer",
        ["ask further signers to sign this digest"], by SIGNERS,
        example ["trust inspect registry.example.com/pay/api:v1", "trust signer list registry.example.com/pay"];
    SignerConflict "E1006" THRESHOLD: "a required signer has signed another image under this name",
        "the signers do not agree on which image this is", ["let the signers agree, then sign the right digest"], by SIGNERS,
        example ["trust inspect registry.example.com/pay/api:v1"];
    SignerUnusable "E1007" THRESHOLD: "the file of a required signer cannot be used",
        "it is expired, not validly signed or cannot be fetched", ["ask the signer to sign again"], by SIGNERS,
        example ["trust signer list registry.example.com/pay"];
    FactsDiffer "E1008" THRESHOLD: "the signers state different facts about this image",
        "facts of several signers on one digest must be the same: labels and platforms, which the digest covers, and what was \
         stated with -a",
        ["let whoever is wrong sign the digest again, with the same -a as the others"], by SIGN_AND_VERIFY,
        example ["trust inspect registry.example.com/pay/api:v1", "trust sign registry.example.com/pay/api:v1@sha256:1c8f0e5d1c8f0e5d1c8f0e5d1c8f0e5d1c8f0e5d1c8f0e5d1c8f0e5d1c8f0e5d -a com.example.ticket=4711"];
    SignersShareKey "E1009" THRESHOLD: "required signers share a key",
        "one key stands behind several of the names, so that one holder could sign for all of them",
        ["give each signer a key of its own"], by SIGNERS,
        example ["trust signer list registry.example.com/pay", "trust rotate signer:qa registry.example.com/pay"];
    DigestRevoked "E1021" REVOKED: "this image was revoked",
        "a revocation of its digest is in force", ["use another version of the image"], by VERIFY,
        example ["trust inspect registry.example.com/pay/api:v1", "trust list registry.example.com/pay"];
    TagRevoked "E1022" REVOKED: "this tag was revoked",
        "a revocation of the tag is in force", ["use another tag"], by VERIFY,
        example ["trust inspect registry.example.com/pay/api:v1", "trust list registry.example.com/pay"];
    PlatformRevoked "E1023" REVOKED: "a part of this image was revoked",
        "a revocation of one of the images in the index is in force", ["use another version of the image"], by VERIFY,
        example ["trust inspect registry.example.com/pay/api:v1", "trust list registry.example.com/pay"];
    PartsUnknown "E1024" REVOKED: "it cannot be told whether a part of this image was revoked",
        "digests are revoked in this collection, and no signer's facts name the parts of this image, so that a revoked one could be among them",
        ["sign the digest again with a current program: its facts then name every part"], by VERIFY,
        example ["trust sign registry.example.com/pay/api:v1@sha256:1c8f0e5d1c8f0e5d1c8f0e5d1c8f0e5d1c8f0e5d1c8f0e5d1c8f0e5d1c8f0e5d"];

    RoleSignatures "E1201" THRESHOLD: "a role file is not signed by the keys that may sign it",
        "a stranger made it, the server mixes files, or the keys were changed without signing the file again",
        ["do not use the image", "ask the people who run the collection; show them the role and version above"], by READ,
        example ["trust inspect registry.example.com/pay"];
    MetadataMalformed "E1202" THRESHOLD: "a metadata file cannot be read",
        "the server or something on the way changed or damaged it", ["try again; if it stays, ask the people who run the server"], by READ;
    MetadataDiffers "E1203" THRESHOLD: "a metadata file is not the one that the signed list names",
        "length or hash differ: the server mixes files of different publications, or changed one",
        ["try again; if it stays, ask the people who run the server"], by READ;
    WrongVersion "E1204" THRESHOLD: "a metadata file has another version than the signed list names",
        "the server mixes files of different publications", ["try again; if it stays, ask the people who run the server"], by READ;
    RoleNotListed "E1205" THRESHOLD: "a delegated role is missing from the snapshot",
        "the role was delegated but never published, or dropped", ["ask the people who run the collection to publish the role"], by READ;
    UndefinedPattern "E1206" THRESHOLD: "a delegation uses a pattern that has no defined meaning",
        "clients would read it in different ways", ["ask the people who run the collection to replace the pattern"], by READ;
    SearchLimit "E1207" THRESHOLD: "the search for the image visited too many roles",
        "the delegations of the collection are too deep or form a circle", ["ask the people who run the collection to simplify them"], by READ;

    TimestampRollback "E1301" ROLLBACK: "the server shows an older state than this machine has seen",
        "a copy from before was put back, or somebody replays old metadata",
        ["do not use the image", "ask the people who run the server whether it was restored"], by READ;
    SnapshotRollback "E1302" ROLLBACK: "the newest timestamp names an older snapshot than before",
        "the online keys signed a step back: the server was restored wrongly, or they are stolen",
        ["do not use the image", "ask the people who run the collection"], by READ;
    RoleRollback "E1303" ROLLBACK: "the snapshot takes a role back to an older version, or drops it",
        "the online keys signed a step back: the server was restored wrongly, or they are stolen",
        ["do not use the image", "ask the people who run the collection"], by READ;
    RootRollback "E1304" ROLLBACK: "the server holds back a root that this machine has seen",
        "the server was restored from a copy, or somebody replays an old state",
        ["do not use the image", "ask the people who run the server"], by READ;
    TimestampExpired "E1311" EXPIRED: "the timestamp of the collection has expired",
        "the server is frozen: its signer does not answer, or somebody holds back newer metadata",
        ["try again in a few minutes", "ask the people who run the server whether trust-signer works"], by READ,
        example ["trust inspect registry.example.com/pay --offline"];
    RoleExpired "E1312" EXPIRED: "a role file of the collection has expired",
        "nobody signed it again in time", ["ask the holder of the role to sign it again"], by READ,
        example ["trust sign registry.example.com/pay/api:v1@sha256:1c8f0e5d1c8f0e5d1c8f0e5d1c8f0e5d1c8f0e5d1c8f0e5d1c8f0e5d1c8f0e5d --as qa"];
    RootExpired "E1313" EXPIRED: "the root of the collection has expired",
        "nobody signed a new root in time, or somebody holds it back", ["ask the holders of the root keys for a new root"], by READ,
        example ["trust rotate root registry.example.com/pay"];
    StoredExpired "E1314" EXPIRED: "what is stored on this machine has expired",
        "offline nothing newer can be fetched; a clock that is ahead looks the same", ["run the command with network"], by OFFLINE,
        example ["trust verify registry.example.com/pay/api:v1"];
    ClockBack "E1315" EXPIRED: "the clock of this machine went back",
        "it is earlier than at the last successful update, so that nothing can be said to be fresh",
        ["set the clock, then try again", "if it is right now, it was ahead at the last update: try again after the time that is named above"], by READ;
    RefreshOverdue "E1316" EXPIRED: "what is known of the collection was not refreshed in time",
        "the server could not be reached, or what it sent was refused, for longer than max_staleness allows",
        ["ask the gate: GET /readyz?verbose names what the refresh failed with", "check the server and the network between it and the gate"],
        by GATE, example ["trust verify registry.example.com/pay/api:v1"];

    ClockAhead "E1317" EXPIRED: "by the clock of this machine the metadata has expired, by the server's it has not",
        "the clock of this machine is ahead; or the server's is behind, or somebody shows old metadata with a time that fits it",
        ["compare the clock with another one, set it if it is wrong, then try again",
         "if it is right, ask the people who run the server"], by READ,
        example ["trust status"];

    NoSuchTag "E1401" NOT_THERE: "the registry does not have this tag",
        "it was never pushed, or deleted", ["check the name, or push the image"], by REGISTRY;
    NoSuchImage "E1402" NOT_THERE: "the registry does not have this image",
        "it was never pushed, or deleted, or this login may not see it", ["check the name and the login to the registry"], by REGISTRY;
    DigestDiffers "E1403" DIGEST_DIFFERS: "the tag is signed for a different image than the registry serves",
        "the tag was pushed again after it was signed", ["pull the signed digest, or sign the new one if you made it"], by COMPARE,
        example ["trust resolve registry.example.com/pay/api:v1", "trust sign registry.example.com/pay/api:v1@sha256:1c8f0e5d1c8f0e5d1c8f0e5d1c8f0e5d1c8f0e5d1c8f0e5d1c8f0e5d1c8f0e5d"];
    RegistryLies "E1404" DIGEST_DIFFERS: "the registry serves other content under this digest",
        "the registry or something on the way is damaged or lies", ["do not use the image", "ask the people who run the registry"], by REGISTRY;
    TagIsOther "E1405" DIGEST_DIFFERS: "the tag is signed for another digest than the one given",
        "the tag was signed again, or the digest belongs to another tag",
        ["verify the digest alone, or take the digest that is signed"], by VERIFY,
        example ["trust verify registry.example.com/pay/api@sha256:1c8f0e5d1c8f0e5d1c8f0e5d1c8f0e5d1c8f0e5d1c8f0e5d1c8f0e5d1c8f0e5d", "trust inspect registry.example.com/pay/api:v1"];
    EntryIsOther "E1406" DIGEST_DIFFERS: "the signed entry of this digest names another image",
        "the signer wrote a wrong entry, or on purpose a misleading one", ["do not use the image", "ask the signer named above"], by VERIFY,
        example ["trust inspect registry.example.com/pay/api:v1"];
    ImageUnreadable "E1407" DIGEST_DIFFERS: "the registry serves something that is no image manifest",
        "it is damaged, or of a kind that cannot be signed", ["check the image in the registry"], by REGISTRY;

    PinnedRootBroken "E1601" ROOT: "the pinned root cannot be used",
        "it is no root file that its own keys signed", ["pin the right root file"], by PINS,
        example ["trust pin show registry.example.com/pay"];
    NoRootChain "E1602" ROOT: "the next root is not signed by the root that is trusted",
        "it belongs to another collection, or somebody tries to take it over",
        ["do not use the image", "compare the fingerprint of the root with the people who run the collection"], by READ,
        example ["trust pin show registry.example.com/pay"];
    OtherRoot "E1603" ROOT: "the server speaks for another root than the pinned one",
        "the pin is wrong, the collection was set up anew, or this is another server",
        ["compare the fingerprint of the root with the people who run the collection"], by READ,
        example ["trust pin show registry.example.com/pay"];
    RootMalformed "E1604" ROOT: "the next root cannot be used",
        "it is malformed, or does not have the version that is due",
        ["try again; if it stays, ask the people who run the server"], by READ;
    FingerprintDiffers "E1605" ROOT: "no root on the server has the pinned fingerprint",
        "the fingerprint is mistyped, or this is another collection or server",
        ["compare the fingerprint with the people who run the collection"], by PINS,
        example ["trust pin show registry.example.com/pay"];
    SignerIdentity "E1606" ROOT: "the online keys are not proved by the expected signer",
        "the server offers keys of a signer with another identity, or an old proof",
        ["compare the fingerprint with: trust-signer identity"], by ROOTS;

    PolicyDenied "E2001" POLICY_DENIED: "the policy does not allow this image here",
        "no rule permits it in this environment, or a rule forbids it",
        ["run it where it is allowed, or ask the contact that the rule names", "see the whole evaluation: trust policy explain"], by POLICY;
    LabelOutside "E2002" POLICY_DENIED: "a governed label has a value that the dictionary does not know",
        "the value is misspelt, or the dictionary lacks it; it is not guessed what was meant",
        ["build the image with a value of the dictionary, then sign it", "ask the owner of the label to add the value"], by POLICY;
    TagAlone "E2003" POLICY_DENIED: "a tag alone is named, and not the verified digest",
        "what runs would be what the registry says then, and not what was verified",
        ["let the webhook /mutate run first: it writes the digest", "or name the image by its digest"], by GATE,
        example ["trust resolve registry.example.com/pay/api:v1"];
    LabelMissing "E2004" POLICY_DENIED: "a label is missing that the dictionary requires of this image",
        "the dictionary names images that must carry the label on every platform, and this is one of them",
        ["build the image with the label and a value of the dictionary, then sign it",
         "if the label is there, compare its spelling: trust labels check --image REF"], by POLICY;
    ExceptionRefused "E2005" POLICY_DENIED: "an exception is refused",
        "it says too much or too little, so that it would not be clear what it lifts, and for how long",
        ["grant it again: trust exception grant"], by POLICY;
    PolicyFailed "E2101" POLICY_FAILED: "the policy could not be evaluated",
        "a rule failed on these facts; a rule that fails might have been the one that forbids",
        ["correct the rule that is named above, then publish the policy again"], by POLICY;
    NoPolicy "E2102" POLICY_FAILED: "there is no verified policy",
        "the policy collection holds none, could not be read, or its last good version is too old",
        ["check that the policy collection can be reached and has not expired", "publish a policy: trust policy publish"], by POLICY;
    PolicyRefused "E2103" POLICY_FAILED: "the policy is refused",
        "it does not load: a rule, the dictionary or a limit is broken", ["correct what is named above: trust policy check"], by POLICY;
    EnvironmentRefused "E0008" CONFIGURATION: "the description of the environment cannot be used",
        "a member is missing, unknown or of the wrong kind", ["see an example: trust help environment"], by POLICY;
    CarriesImages "E0010" CONFIGURATION: "a collection that carries images can be no policy collection",
        "whoever signs images in it would stand beside the rules that judge them",
        ["make a collection for the policy alone: trust init COLLECTION"], by POLICY,
        example ["trust policy publish ./policy registry.example.com/policy"];
    CasesRefused "E0011" USAGE: "the cases of a policy cannot be used",
        "a member is missing, unknown or of the wrong kind, or there is no case at all",
        ["correct what is named above", "see a case: the README.md that trust policy init writes"], by CASES,
        example ["trust policy test ./policy"];
    ManifestRefused "E0009" USAGE: "a manifest cannot be used",
        "every image in it must be known, so that what cannot be read or understood is refused",
        ["correct what is named above", "check what is applied, not its template: kustomize build, helm template or docker compose config, into --manifests -"], by MANIFESTS,
        example ["trust verify --manifests ./deploy"];
    Unreachable "E3001" NETWORK: "the server cannot be reached",
        "it is down, the address is wrong, or the network is", ["check the address and the network, then try again"], by READ,
        example ["trust config show --origin"];
    Timeout "E3002" NETWORK: "the server did not answer in time",
        "it is overloaded, or the network is slow", ["try again"], by READ,
        example ["trust verify registry.example.com/pay/api:v1 --timeout 2m"];
    CutOff "E3003" NETWORK: "the answer was cut off",
        "the connection broke before the end", ["try again"], by READ;
    Certificate "E3004" NETWORK: "the certificate of the server is not accepted",
        "it is signed by an authority that this machine does not know, for another name, or expired by the clock of this machine",
        ["name the authority's file in the configuration (ca), or ask the people who run the server"], by READ,
        example ["trust context add work --server https://trust.example.com --ca ca.pem"];
    RegistryUnreachable "E3011" NETWORK: "the registry cannot be reached",
        "it is down, the address is wrong, or the network is", ["check the address and the network, then try again"], by REGISTRY;
    RegistryCertificate "E3012" NETWORK: "the certificate of the registry is not accepted",
        "it is signed by an authority that this machine does not know, for another name, or expired by the clock of this machine",
        ["name the authority's file, or ask the people who run the registry"], by REGISTRY;
    LoginNeeded "E3101" FORBIDDEN: "the server asks for a token",
        "no token was sent, or it is expired or revoked", ["set TRUST_TOKEN_FILE or TRUST_TOKEN to a valid token"], by READ,
        example ["trust config show --origin"];
    Forbidden "E3102" FORBIDDEN: "the server does not allow this",
        "the scope of the token does not cover the collection or the action, or no token was sent", ["ask an administrator for a token with this scope"], by READ,
        example ["trust config show --origin"];
    RegistryLogin "E3111" FORBIDDEN: "the registry asks for a login",
        "no credentials are stored for it, or they are not accepted", ["log in with docker login or podman login"], by REGISTRY;
    RegistryForbidden "E3112" FORBIDDEN: "the registry denies access",
        "this login may not read the image", ["ask the people who run the registry"], by REGISTRY;
    Conflict "E3201" CONFLICT: "someone published first",
        "another publication became current in between", ["run the command again: it starts from the new state"], by PUBLISH,
        example ["trust log registry.example.com/pay"];
    NameTaken "E3202" CONFLICT: "this collection exists already",
        "it, or one above or below it, is reserved", ["choose another name, or use the existing collection"], by INIT,
        example ["trust pin add registry.example.com/pay 5f70bf185f70bf185f70bf185f70bf185f70bf185f70bf185f70bf185f70bf18"];
    RateLimited "E3301" RATE_LIMITED: "too many requests",
        "the server limits how often it may be asked", ["try again later"], by READ;
    ServerFault "E3401" UNAVAILABLE: "the server failed",
        "it answered with an error of its own", ["try again", "ask the people who run the server"], by READ;
    SignerUnavailable "E3402" UNAVAILABLE: "the signer does not answer",
        "trust-signer is down or cut off; the server keeps the publication and goes on when it is back",
        ["try again: the same publication is not made twice"], by PUBLISH;
    NotPublished "E3403" UNAVAILABLE: "NOT published: no current timestamp covers the new version",
        "the server took the files, but what it shows does not contain them",
        ["run the command again", "do not tell anybody that it is signed before this succeeds"], by PUBLISH,
        example ["trust verify registry.example.com/pay/api:v1"];
    FileMissing "E3404" UNAVAILABLE: "the server lacks a file that its own metadata names",
        "its store is damaged, or a cache before it is wrong", ["try again", "ask the people who run the server"], by READ;
    AnswerRefused "E3405" UNAVAILABLE: "the answer of the server is refused",
        "it is longer than it may be, encoded, redirected elsewhere or not understood",
        ["check the address", "ask the people who run the server"], by READ,
        example ["trust config show --origin"];
    CollectionGone "E3406" UNAVAILABLE: "the server does not serve this collection any more",
        "this machine verified it before: somebody holds it back, the server lost it, or the address is that of another server",
        ["check the address (TRUST_SERVER, --server, the context), then try again",
         "ask the people who run the server what happened to it; what was verified before is not forgotten"], by READ,
        example ["trust config show --origin", "trust inspect registry.example.com/pay --offline"];
    RegistryFault "E3411" UNAVAILABLE: "the registry failed",
        "it answered with an error of its own or with something that is not understood", ["try again", "ask the people who run the registry"], by REGISTRY;
    StateIo "E3501" LOCAL: "the stored state cannot be read or written",
        "the disk, the permissions or the path are at fault", ["check the path that is named above"], by READ;
    StateDamaged "E3502" LOCAL: "the stored state is damaged",
        "a file is missing, cut off or changed. It is not treated as a first use: that would give up the protection against rollback",
        ["find out what changed the file",
         "to start again from the pinned root, move the folder away: until the next update, older states than the one lost cannot be told from new ones"], by READ;
    StateRefused "E3503" LOCAL: "a file of the stored state is refused",
        "it is a link or special file, belongs to another user, or others may write it", ["look at the path that is named above and repair owner and mode"], by READ;
    StateLocked "E3504" LOCAL: "another program uses the stored state",
        "two commands on one collection take turns, and the other one did not end", ["try again when it has ended"], by READ;
    DiskFull "E3505" LOCAL: "the disk is full",
        "what was stored before is unchanged", ["make room, then try again"];
    StateNewer "E3506" LOCAL: "the stored state was written by a newer program",
        "this program does not know its format", ["use the newer program"], by READ,
        example ["trust version"];
    FileIo "E3507" LOCAL: "a file cannot be read or written",
        "the disk, the permissions or the path are at fault", ["check the path that is named above"], by FILES;
    StoredIncomplete "E3508" LOCAL: "what is stored on this machine is not complete",
        "an update was interrupted, or a file was cut off, changed or taken away",
        ["run the command once with network: what is missing is fetched and checked again"], by OFFLINE,
        example ["trust verify registry.example.com/pay/api:v1"];
    LogFailed "E3509" LOCAL: "the decision could not be logged",
        "nothing passes that is not in the log, and the log cannot be written",
        ["make room on the disk, or repair the file that is named above"], by GATE;
    PublicationRefused "E3601" THRESHOLD: "the server refuses the publication by a rule",
        "a file of it breaks a rule of the collection", ["correct what the rule names, then publish again"], by PUBLISH,
        example ["trust inspect registry.example.com/pay"];
    SignerRefused "E3602" THRESHOLD: "the signer refuses the publication",
        "the collection is not admitted, or a file breaks a rule that the signer checks for itself",
        ["ask the people who run trust-signer; for a new collection: trust-signer admit NAME FINGERPRINT --data DIR"], by PUBLISH;
    RequestRefused "E3603" USAGE: "the server does not accept the request",
        "it does not understand it, or it is too large", ["check that program and server are of the same version"], by PUBLISH,
        example ["trust version"];
    NoSuchCollection "E3604" NOT_SIGNED: "the server does not have this collection",
        "it was never set up there, or the address is that of another server, or of no trust server at all",
        ["check the address (TRUST_SERVER, --server, the context) and the name", "for a new collection: trust init"], by PINS,
        example ["trust config show --origin", "trust init registry.example.com/pay"];
    ContentTrustIgnored "E3901" FINDINGS: "the content-trust variable is set, but Docker ignores it",
        "Docker 29 and later have no content trust: nothing is checked", ["use trust exec, or a gate", "unset DOCKER_CONTENT_TRUST"], by DOCTOR,
        example ["trust exec -- docker pull registry.example.com/pay/api:v1"];

    NeedPassphrase "E4001" NO_TERMINAL: "a passphrase is needed and there is no terminal",
        "a pipeline cannot be asked", ["set TRUST_PASSPHRASE_FILE, or use --passphrase-file or --passphrase-fd"], by KEYS,
        example ["trust sign registry.example.com/pay/api:v1@sha256:1c8f0e5d1c8f0e5d1c8f0e5d1c8f0e5d1c8f0e5d1c8f0e5d1c8f0e5d1c8f0e5d --passphrase-file /run/secrets/trust"];
    NeedConfirmation "E4002" NO_TERMINAL: "a confirmation is needed and there is no terminal",
        "a pipeline cannot be asked", ["answer with --yes, --confirm NAME or --expect DIGEST, as the text above says"], by ASK,
        example ["trust sign registry.example.com/pay/api:v1 --expect sha256:1c8f0e5d1c8f0e5d1c8f0e5d1c8f0e5d1c8f0e5d1c8f0e5d1c8f0e5d1c8f0e5d", "trust pin remove registry.example.com/pay --confirm registry.example.com/pay"];
    WrongPassphrase "E4101" PASSPHRASE: "the passphrase does not open the key",
        "it is mistyped, or belongs to another key. One passphrase from a file or variable is used for all keys that are no root keys",
        ["try again; give keys that one command uses together the same passphrase"], by KEYS;
    KeyMissing "E4201" KEY: "the key is not there",
        "it was never made or imported on this machine", ["look at: trust key list"], by KEYS,
        example ["trust key list", "trust key generate alice"];
    KeyNotAllowed "E4202" KEY: "the key may not sign for this role",
        "the role lists other keys", ["use a key of the role, or let its delegator add this one"], by KEYS,
        example ["trust key list", "trust signer list registry.example.com/pay"];
    KeyRefused "E4203" KEY: "the key file is refused",
        "it is damaged, of an unknown kind, or others may read it", ["look at the path that is named above"], by KEYS,
        example ["trust key list"];
    KeyExists "E4204" KEY: "there is a key of this name already",
        "keys are never overwritten", ["choose another name"], by KEYS,
        example ["trust key list", "trust key generate alice-2"];
    ExampleKey "E4205" KEY: "this is an example key: its private half is public",
        "example keys are for the demo alone", ["make a key of your own: trust key generate"], by PINS,
        example ["trust key generate alice"];
    Hardware "E4301" HARDWARE: "the hardware key failed",
        "it is not there, locked, or reports a fault", ["check the device, then try again"], by NONE;
    Recorded "E5001" RECORDED: "recorded, but the threshold is not yet met",
        "more key holders have to sign", ["ask the others to sign"], by NONE;
    Findings "E6001" FINDINGS: "problems were found",
        "see the list above", ["follow the fix beside each"], by FINDERS,
        example ["trust status", "trust doctor"];
    FolderDiffers "E6002" FINDINGS: "the folder is not what is in force",
        "it was changed and not published, or somebody published something else", ["publish the folder, or take what is in force"],
        by FOLDERS, example ["trust policy diff ./policy", "trust policy pull ./policy"];
    NotFormatted "E6003" FINDINGS: "files are not written the one way",
        "they were edited and not formatted", ["format them: trust policy fmt DIR"], by FORMATS,
        example ["trust policy fmt ./policy"];
    CasesFailed "E6004" FINDINGS: "the rules do not decide as the cases say",
        "a rule, the dictionary or a case is wrong", ["correct what is wrong, then: trust policy test DIR"], by CASES,
        example ["trust policy test ./policy"];
}

impl Code {
    /// The stable id.
    pub fn id(self) -> &'static str {
        self.entry().id
    }

    /// The exit code.
    pub fn exit(self) -> u8 {
        self.entry().exit
    }

    /// The code with this id, in any case.
    pub fn from_id(id: &str) -> Option<Code> {
        Code::ALL.iter().copied().find(|c| c.id().eq_ignore_ascii_case(id))
    }

    /// The text of `trust help ID`, with a newline at its end.
    pub fn help(self) -> String {
        let Entry { id, exit, headline, cause, remedy, printed_by, example } = self.entry();
        let meaning = exit::TABLE.iter().find(|(code, ..)| code == exit);
        let meaning = meaning.map(|(_, means, retry)| format!(" ({means}; try again: {retry})")).unwrap_or_default();
        let list =
            |steps: &[&str], mark: &str| steps.iter().map(|step| format!("  {mark}{step}\n")).collect::<String>();
        let mut text = format!(
            "{id}: {headline}\n\nExit code: {exit}{meaning}\nPrinted by: {printed_by}\n\nCause: {cause}.\n\nWhat to do:\n{}",
            list(remedy, "- ")
        );
        if !example.is_empty() {
            text.push_str(&format!("\nExample:\n{}", list(example, "")));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_id_is_used_twice_and_each_has_its_form() {
        let ids: BTreeSet<_> = Code::ALL.iter().map(|c| c.id()).collect();
        assert_eq!(ids.len(), Code::ALL.len());
        for id in ids {
            let digits = id.strip_prefix('E').unwrap();
            assert!(digits.len() == 4 && digits.bytes().all(|b| b.is_ascii_digit()), "{id}");
        }
    }

    #[test]
    fn no_problem_ends_with_success_or_with_an_unknown_exit_code() {
        for code in Code::ALL {
            assert_ne!(code.exit(), exit::DONE, "{}", code.id());
            assert!(exit::TABLE.iter().any(|(e, ..)| *e == code.exit()), "{}", code.id());
        }
    }

    #[test]
    fn the_fixed_ids_keep_their_exit_codes() {
        for (id, code) in [("E1001", 10), ("E1403", 13), ("E3901", 60)] {
            assert_eq!(Code::from_id(id).unwrap().exit(), code);
        }
    }

    #[test]
    fn no_text_suggests_a_way_around_a_check() {
        for code in Code::ALL {
            let help = code.help().to_lowercase();
            for word in ["insecure", "--allow", "skip", "disable", "ignore the", "--force"] {
                assert!(!help.contains(word), "{}: {word}", code.id());
            }
        }
    }

    #[test]
    fn every_id_says_why_what_to_do_which_command_and_which_exit_code() {
        for code in Code::ALL {
            let Entry { id, exit, headline, cause, remedy, printed_by, example } = code.entry();
            let texts = [*headline, *cause, *printed_by].into_iter().chain(remedy.iter().chain(*example).copied());
            for text in texts {
                assert!(text.trim() == text && text.len() > 2, "{id}: `{text}`");
            }
            assert!(!remedy.is_empty(), "{id}: nothing to do");
            let help = code.help();
            let exit = format!("Exit code: {exit} (");
            for part in
                [*headline, *cause, *printed_by, &exit].into_iter().chain(remedy.iter().chain(*example).copied())
            {
                assert!(help.contains(part), "{id}: {part}");
            }
        }
    }

    #[test]
    fn most_ids_have_an_example() {
        let with = Code::ALL.iter().filter(|code| !code.entry().example.is_empty()).count();
        assert!(with * 2 >= Code::ALL.len(), "{with} of {}", Code::ALL.len());
    }

    #[test]
    fn every_exit_code_has_one_place_in_the_order_of_badness() {
        for (code, ..) in exit::TABLE {
            if *code != exit::DONE {
                assert_eq!(exit::worst([exit::DONE, *code, exit::DONE]), *code);
            }
        }
        assert_eq!(exit::worst([10, 15, 30]), 15);
        assert_eq!(exit::worst([30, 10]), 10);
        assert_eq!(exit::worst([]), 0);
        assert_eq!(exit::worst([99, 16]), 99, "an unknown code is never hidden");
    }
}
