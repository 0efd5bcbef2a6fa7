//! skopeo: `copy` (its source) and `inspect`.

use super::flags::{Table, Word, Words};
use super::{Place, ToolError, place};

const TOOL: &str = "skopeo";
const PREFIX: &str = "docker://";
const KNOWN: &str = "copy and inspect";

const GLOBAL: Table = Table {
    switches: "debug insecure-policy",
    values: "command-timeout override-arch override-os override-variant policy registries.d registries-conf tmpdir \
             user-agent-prefix",
    unchecked: "",
};

const COPY: Table = Table {
    switches: "a all dest-compress dest-decompress dest-no-creds dest-oci-accept-uncompressed-layers dest-precompute-digests \
               dest-tls-verify force-compress-format preserve-digests q quiet remove-signatures src-no-creds src-tls-verify",
    values: "additional-tag authfile dest-authfile dest-cert-dir dest-compress-format dest-compress-level dest-creds \
             dest-daemon-host dest-password dest-registry-token dest-shared-blob-dir dest-username digestfile encrypt-layer \
             encryption-key decryption-key f format image-parallel-copies multi-arch retry-delay retry-times sign-by \
             sign-by-sigstore sign-by-sigstore-private-key sign-by-sq-fingerprint sign-identity sign-passphrase-file \
             src-authfile src-cert-dir src-creds src-daemon-host src-password src-registry-token src-shared-blob-dir \
             src-username",
    unchecked: "",
};

const INSPECT: Table = Table {
    switches: "config no-creds n no-tags raw tls-verify",
    values: "authfile cert-dir creds daemon-host f format manifest-digest password registry-token retry-delay retry-times \
             shared-blob-dir username",
    unchecked: "",
};

pub(super) fn images(arguments: &[String]) -> Result<Vec<Place>, ToolError> {
    let mut words = Words::new(TOOL, arguments);
    let refused = ToolError::Subcommand { tool: TOOL, known: KNOWN };
    let table = loop {
        match words.next(&GLOBAL)? {
            Some(Word::Flag { .. }) => {}
            Some(Word::Positional { word: "copy", .. }) => break &COPY,
            Some(Word::Positional { word: "inspect", .. }) => break &INSPECT,
            _ => return Err(refused),
        }
    };
    // The first positional word is the source; what follows is where it goes.
    loop {
        match words.next(table)? {
            None => return Err(ToolError::NoImage { tool: TOOL }),
            Some(Word::Flag { .. }) => {}
            Some(Word::Positional { index, word }) if word.starts_with(PREFIX) => {
                let source = place(index, word, PREFIX)?;
                while words.next(table)?.is_some() {}
                return Ok(vec![source]);
            }
            Some(Word::Positional { .. }) => return Err(ToolError::Source { tool: TOOL }),
        }
    }
}
