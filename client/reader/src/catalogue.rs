//! The one table of what can go wrong: error id → exit code → headline → cause → remedy.
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
        (FINDINGS, "doctor/status: problems or overdue items found", "no"),
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
}

macro_rules! catalogue {
    ($($variant:ident $id:literal $exit:ident: $headline:literal, $cause:literal, [$($remedy:literal),* $(,)?];)*) => {
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
        "an argument is missing, unknown or does not fit another one", ["look at the help of the command"];
    Configuration "E0003" CONFIGURATION: "the configuration cannot be used",
        "a setting is missing, unknown or has a value that is not allowed", ["correct the setting that is named above"];
    BadReference "E0004" USAGE: "this is not an image reference",
        "a reference is [HOST[:PORT]/]NAME[:TAG][@DIGEST]", ["correct the reference"];
    NoServer "E0005" CONFIGURATION: "no server is configured",
        "neither --server, TRUST_SERVER nor the context names one", ["name the server with --server or in the configuration"];
    PlainHttpRefused "E0006" CONFIGURATION: "plain HTTP is refused for this host",
        "without TLS anybody on the way reads tokens and holds back answers", ["use the https:// address of the server"];
    CommandFailed "E0007" LOCAL: "the program cannot be started",
        "it is not in PATH, or this user may not run it", ["check the name of the program"];
    Interrupted "E0130" INTERRUPTED: "interrupted", "a person or program stopped the command", ["run it again"];
    Terminated "E0143" TERMINATED: "terminated", "the system or a program stopped the command", ["run it again"];

    NotSigned "E1001" NOT_SIGNED: "the image is not signed",
        "no signer of the collection lists this tag or digest", ["ask one of its signers to sign it"];
    NoPin "E1002" NOT_SIGNED: "no pinned collection speaks for this image",
        "trust is looked up under the longest pinned name that is a prefix of the image's name, by whole components",
        ["pin the root of the image's collection: trust pin add COLLECTION FINGERPRINT"];
    NothingStored "E1003" NOT_SIGNED: "nothing is stored for this collection yet",
        "offline only what an earlier run verified and kept can be used", ["run the command once with network"];
    SignerMissing "E1004" THRESHOLD: "a required signer has not signed this image",
        "other signers vouch for it, but not all that were asked for", ["ask the signer to sign this digest"];
    TooFewSigners "E1005" THRESHOLD: "too few signers have signed this image",
        "signers that share a key count once, and what hangs below a signer counts as that signer",
        ["ask further signers to sign this digest"];
    SignerConflict "E1006" THRESHOLD: "a required signer has signed another image under this name",
        "the signers do not agree on which image this is", ["let the signers agree, then sign the right digest"];
    SignerUnusable "E1007" THRESHOLD: "the file of a required signer cannot be used",
        "it is expired, not validly signed or cannot be fetched", ["ask the signer to sign again"];
    FactsDiffer "E1008" THRESHOLD: "the signers state different facts about this image",
        "labels or platforms of one digest cannot differ: one of the statements is wrong",
        ["let the signers sign the digest again with a current program"];
    SignersShareKey "E1009" THRESHOLD: "required signers share a key",
        "one key stands behind several of the names, so that one holder could sign for all of them",
        ["give each signer a key of its own"];
    DigestRevoked "E1021" REVOKED: "this image was revoked",
        "a revocation of its digest is in force", ["use another version of the image"];
    TagRevoked "E1022" REVOKED: "this tag was revoked",
        "a revocation of the tag is in force", ["use another tag"];
    PlatformRevoked "E1023" REVOKED: "a part of this image was revoked",
        "a revocation of one of the images in the index is in force", ["use another version of the image"];

    RoleSignatures "E1201" THRESHOLD: "a role file is not signed by the keys that may sign it",
        "a stranger made it, the server mixes files, or the keys were changed without signing the file again",
        ["do not use the image", "ask the people who run the collection; show them the role and version above"];
    MetadataMalformed "E1202" THRESHOLD: "a metadata file cannot be read",
        "the server or something on the way changed or damaged it", ["try again; if it stays, ask the people who run the server"];
    MetadataDiffers "E1203" THRESHOLD: "a metadata file is not the one that the signed list names",
        "length or hash differ: the server mixes files of different publications, or changed one",
        ["try again; if it stays, ask the people who run the server"];
    WrongVersion "E1204" THRESHOLD: "a metadata file has another version than the signed list names",
        "the server mixes files of different publications", ["try again; if it stays, ask the people who run the server"];
    RoleNotListed "E1205" THRESHOLD: "a delegated role is missing from the snapshot",
        "the role was delegated but never published, or dropped", ["ask the people who run the collection to publish the role"];
    UndefinedPattern "E1206" THRESHOLD: "a delegation uses a pattern that has no defined meaning",
        "clients would read it in different ways", ["ask the people who run the collection to replace the pattern"];
    SearchLimit "E1207" THRESHOLD: "the search for the image visited too many roles",
        "the delegations of the collection are too deep or form a circle", ["ask the people who run the collection to simplify them"];

    TimestampRollback "E1301" ROLLBACK: "the server shows an older state than this machine has seen",
        "a copy from before was put back, or somebody replays old metadata",
        ["do not use the image", "ask the people who run the server whether it was restored"];
    SnapshotRollback "E1302" ROLLBACK: "the newest timestamp names an older snapshot than before",
        "the online keys signed a step back: the server was restored wrongly, or they are stolen",
        ["do not use the image", "ask the people who run the collection"];
    RoleRollback "E1303" ROLLBACK: "the snapshot takes a role back to an older version, or drops it",
        "the online keys signed a step back: the server was restored wrongly, or they are stolen",
        ["do not use the image", "ask the people who run the collection"];
    RootRollback "E1304" ROLLBACK: "the server holds back a root that this machine has seen",
        "the server was restored from a copy, or somebody replays an old state",
        ["do not use the image", "ask the people who run the server"];
    TimestampExpired "E1311" EXPIRED: "the timestamp of the collection has expired",
        "the server is frozen: its signer does not answer, or somebody holds back newer metadata",
        ["try again in a few minutes", "ask the people who run the server whether trust-signer works"];
    RoleExpired "E1312" EXPIRED: "a role file of the collection has expired",
        "nobody signed it again in time", ["ask the holder of the role to sign it again"];
    RootExpired "E1313" EXPIRED: "the root of the collection has expired",
        "nobody signed a new root in time, or somebody holds it back", ["ask the holders of the root keys for a new root"];
    StoredExpired "E1314" EXPIRED: "what is stored on this machine has expired",
        "offline nothing newer can be fetched", ["run the command with network"];
    ClockBack "E1315" EXPIRED: "the clock of this machine went back",
        "it is earlier than at the last successful update, so that nothing can be said to be fresh",
        ["set the clock, then try again"];

    NoSuchTag "E1401" NOT_THERE: "the registry does not have this tag",
        "it was never pushed, or deleted", ["check the name, or push the image"];
    NoSuchImage "E1402" NOT_THERE: "the registry does not have this image",
        "it was never pushed, or deleted, or this login may not see it", ["check the name and the login to the registry"];
    DigestDiffers "E1403" DIGEST_DIFFERS: "the tag is signed for a different image than the registry serves",
        "the tag was pushed again after it was signed", ["pull the signed digest, or sign the new one if you made it"];
    RegistryLies "E1404" DIGEST_DIFFERS: "the registry serves other content under this digest",
        "the registry or something on the way is damaged or lies", ["do not use the image", "ask the people who run the registry"];
    TagIsOther "E1405" DIGEST_DIFFERS: "the tag is signed for another digest than the one given",
        "the tag was signed again, or the digest belongs to another tag",
        ["verify the digest alone, or take the digest that is signed"];
    EntryIsOther "E1406" DIGEST_DIFFERS: "the signed entry of this digest names another image",
        "the signer wrote a wrong entry, or on purpose a misleading one", ["do not use the image", "ask the signer named above"];
    ImageUnreadable "E1407" DIGEST_DIFFERS: "the registry serves something that is no image manifest",
        "it is damaged, or of a kind that cannot be signed", ["check the image in the registry"];

    PinnedRootBroken "E1601" ROOT: "the pinned root cannot be used",
        "it is no root file that its own keys signed", ["pin the right root file"];
    NoRootChain "E1602" ROOT: "the next root is not signed by the root that is trusted",
        "it belongs to another collection, or somebody tries to take it over",
        ["do not use the image", "compare the fingerprint of the root with the people who run the collection"];
    OtherRoot "E1603" ROOT: "the server speaks for another root than the pinned one",
        "the pin is wrong, the collection was set up anew, or this is another server",
        ["compare the fingerprint of the root with the people who run the collection"];
    RootMalformed "E1604" ROOT: "the next root cannot be used",
        "it is malformed, or does not have the version that is due",
        ["try again; if it stays, ask the people who run the server"];
    FingerprintDiffers "E1605" ROOT: "no root on the server has the pinned fingerprint",
        "the fingerprint is mistyped, or this is another collection or server",
        ["compare the fingerprint with the people who run the collection"];
    SignerIdentity "E1606" ROOT: "the online keys are not proved by the expected signer",
        "the server offers keys of a signer with another identity, or an old proof",
        ["compare the fingerprint with: trust-signer identity"];

    Unreachable "E3001" NETWORK: "the server cannot be reached",
        "it is down, the address is wrong, or the network is", ["check the address and the network, then try again"];
    Timeout "E3002" NETWORK: "the server did not answer in time",
        "it is overloaded, or the network is slow", ["try again"];
    CutOff "E3003" NETWORK: "the answer was cut off",
        "the connection broke before the end", ["try again"];
    Certificate "E3004" NETWORK: "the certificate of the server is not accepted",
        "it is signed by an authority that this machine does not know, expired, or for another name",
        ["name the authority's file in the configuration (ca), or ask the people who run the server"];
    RegistryUnreachable "E3011" NETWORK: "the registry cannot be reached",
        "it is down, the address is wrong, or the network is", ["check the address and the network, then try again"];
    RegistryCertificate "E3012" NETWORK: "the certificate of the registry is not accepted",
        "it is signed by an authority that this machine does not know, expired, or for another name",
        ["name the authority's file, or ask the people who run the registry"];
    LoginNeeded "E3101" FORBIDDEN: "the server asks for a token",
        "no token was sent, or it is expired or revoked", ["set TRUST_TOKEN_FILE or TRUST_TOKEN to a valid token"];
    Forbidden "E3102" FORBIDDEN: "the server does not allow this",
        "the scope of the token does not cover the collection or the action, or no token was sent", ["ask an administrator for a token with this scope"];
    RegistryLogin "E3111" FORBIDDEN: "the registry asks for a login",
        "no credentials are stored for it, or they are not accepted", ["log in with docker login or podman login"];
    RegistryForbidden "E3112" FORBIDDEN: "the registry denies access",
        "this login may not read the image", ["ask the people who run the registry"];
    Conflict "E3201" CONFLICT: "someone published first",
        "another publication became current in between", ["run the command again: it starts from the new state"];
    NameTaken "E3202" CONFLICT: "this collection exists already",
        "it, or one above or below it, is reserved", ["choose another name, or use the existing collection"];
    RateLimited "E3301" RATE_LIMITED: "too many requests",
        "the server limits how often it may be asked", ["try again later"];
    ServerFault "E3401" UNAVAILABLE: "the server failed",
        "it answered with an error of its own", ["try again", "ask the people who run the server"];
    SignerUnavailable "E3402" UNAVAILABLE: "the signer does not answer",
        "trust-signer is down or cut off; the server keeps the publication and goes on when it is back",
        ["try again: the same publication is not made twice"];
    NotPublished "E3403" UNAVAILABLE: "NOT published: no current timestamp covers the new version",
        "the server took the files, but what it shows does not contain them",
        ["run the command again", "do not tell anybody that it is signed before this succeeds"];
    FileMissing "E3404" UNAVAILABLE: "the server lacks a file that its own metadata names",
        "its store is damaged, or a cache before it is wrong", ["try again", "ask the people who run the server"];
    AnswerRefused "E3405" UNAVAILABLE: "the answer of the server is refused",
        "it is longer than it may be, encoded, redirected elsewhere or not understood",
        ["check the address", "ask the people who run the server"];
    RegistryFault "E3411" UNAVAILABLE: "the registry failed",
        "it answered with an error of its own or with something that is not understood", ["try again", "ask the people who run the registry"];
    StateIo "E3501" LOCAL: "the stored state cannot be read or written",
        "the disk, the permissions or the path are at fault", ["check the path that is named above"];
    StateDamaged "E3502" LOCAL: "the stored state is damaged",
        "a file is missing, cut off or changed. It is not treated as a first use: that would give up the protection against rollback",
        ["find out what changed the file",
         "to start again from the pinned root, move the folder away: until the next update, older states than the one lost cannot be told from new ones"];
    StateRefused "E3503" LOCAL: "a file of the stored state is refused",
        "it is a link or special file, belongs to another user, or others may write it", ["look at the path that is named above and repair owner and mode"];
    StateLocked "E3504" LOCAL: "another program uses the stored state",
        "two commands on one collection take turns, and the other one did not end", ["try again when it has ended"];
    DiskFull "E3505" LOCAL: "the disk is full",
        "what was stored before is unchanged", ["make room, then try again"];
    StateNewer "E3506" LOCAL: "the stored state was written by a newer program",
        "this program does not know its format", ["use the newer program"];
    FileIo "E3507" LOCAL: "a file cannot be read or written",
        "the disk, the permissions or the path are at fault", ["check the path that is named above"];
    StoredIncomplete "E3508" LOCAL: "what is stored on this machine is not complete",
        "an update was interrupted, or a file was cut off, changed or taken away",
        ["run the command once with network: what is missing is fetched and checked again"];
    PublicationRefused "E3601" THRESHOLD: "the server refuses the publication by a rule",
        "a file of it breaks a rule of the collection", ["correct what the rule names, then publish again"];
    SignerRefused "E3602" THRESHOLD: "the signer refuses the publication",
        "the collection is not admitted, or a file breaks a rule that the signer checks for itself",
        ["ask the people who run trust-signer; for a new collection: trust-signer admit NAME FINGERPRINT --data DIR"];
    RequestRefused "E3603" USAGE: "the server does not accept the request",
        "it does not understand it, or it is too large", ["check that program and server are of the same version"];
    NoSuchCollection "E3604" NOT_SIGNED: "the server does not have this collection",
        "it was never set up there, or the address is that of another server, or of no trust server at all",
        ["check the address (TRUST_SERVER, --server, the context) and the name", "for a new collection: trust init"];
    ContentTrustIgnored "E3901" FINDINGS: "the content-trust variable is set, but Docker ignores it",
        "Docker 29 and later have no content trust: nothing is checked", ["use trust exec, or a gate", "unset DOCKER_CONTENT_TRUST"];

    NeedPassphrase "E4001" NO_TERMINAL: "a passphrase is needed and there is no terminal",
        "a pipeline cannot be asked", ["set TRUST_PASSPHRASE_FILE, or use --passphrase-file or --passphrase-fd"];
    NeedConfirmation "E4002" NO_TERMINAL: "a confirmation is needed and there is no terminal",
        "a pipeline cannot be asked", ["answer with --yes, --confirm NAME or --expect DIGEST, as the text above says"];
    WrongPassphrase "E4101" PASSPHRASE: "the passphrase does not open the key",
        "it is mistyped, or belongs to another key. One passphrase from a file or variable is used for all keys that are no root keys",
        ["try again; give keys that one command uses together the same passphrase"];
    KeyMissing "E4201" KEY: "the key is not there",
        "it was never made or imported on this machine", ["look at: trust key list"];
    KeyNotAllowed "E4202" KEY: "the key may not sign for this role",
        "the role lists other keys", ["use a key of the role, or let its delegator add this one"];
    KeyRefused "E4203" KEY: "the key file is refused",
        "it is damaged, of an unknown kind, or others may read it", ["look at the path that is named above"];
    KeyExists "E4204" KEY: "there is a key of this name already",
        "keys are never overwritten", ["choose another name"];
    ExampleKey "E4205" KEY: "this is an example key: its private half is public",
        "example keys are for the demo alone", ["make a key of your own: trust key generate"];
    Hardware "E4301" HARDWARE: "the hardware key failed",
        "it is not there, locked, or reports a fault", ["check the device, then try again"];
    Recorded "E5001" RECORDED: "recorded, but the threshold is not yet met",
        "more key holders have to sign", ["ask the others to sign"];
    Findings "E6001" FINDINGS: "problems were found",
        "see the list above", ["follow the fix beside each"];
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
        let Entry { id, exit, headline, cause, remedy } = self.entry();
        let mut text = format!("{id}: {headline}\n\nExit code: {exit}\n\nCause: {cause}.\n\nWhat to do:\n");
        for step in *remedy {
            text.push_str("  - ");
            text.push_str(step);
            text.push('\n');
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
            assert!(!code.entry().remedy.is_empty() && !code.entry().cause.is_empty(), "{}", code.id());
        }
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
