//! Commands about images.

use clap::Args;
use trust_image::{Digest, Reference};
use trust_tuf::{CollectionName, RoleName, UtcTime};

use super::globals::Change;
use super::keys::KeyOptions;
use super::policy::Deciding;
use super::values::{self, Subject};

/// `trust sign`
#[derive(Debug, Args)]
#[command(
    long_about = "Adds my signature: this tag means this digest.\n\nWhat is signed is the digest. Give it (NAME:TAG@sha256:…, or \
                  --expect), so that a registry in foreign hands cannot have its own image signed. Without it the digest that \
                  the registry names now is shown, and a person at a terminal has to confirm it. An index is signed as an \
                  index; its platforms are covered through it.\n\nNAME:TAG@DIGEST signs the digest even if the registry has \
                  no such tag, or serves another digest for it: that is said, and it is signed. With --expect DIGEST it is \
                  refused.",
    after_help = "Examples:\n  \
        trust sign registry.example.com/pay/api:v1@sha256:1c8f0e8b2f5b0e1a7e43a2ad6c1f7f6a2f6d2a9f4b0c8d7e6f5a4b3c2d1e0f9a\n  \
        trust sign registry.example.com/pay/api:v1 --expect sha256:1c8f0e8b2f5b0e1a7e43a2ad6c1f7f6a2f6d2a9f4b0c8d7e6f5a4b3c2d1e0f9a\n  \
        trust sign registry.example.com/pay/api:v1 --as alice --key file:/media/usb/alice.pem"
)]
pub struct Sign {
    /// The images, each with its tag
    #[arg(value_name = "REF", required = true, value_parser = values::image)]
    pub images: Vec<Reference>,
    /// Sign as this signer (default: the one whose key I have)
    #[arg(long = "as", value_name = "NAME", value_parser = values::role)]
    pub signer: Option<RoleName>,
    /// A statement of mine to sign beside what the digest covers; all signers of one digest state the same
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = values::annotation)]
    pub annotation: Vec<(String, String)>,
    /// The digest that the registry must serve for the tag; any other answer refuses
    #[arg(long, value_name = "DIGEST", value_parser = values::digest)]
    pub expect: Option<Digest>,
    /// Keys and passphrases.
    #[command(flatten)]
    pub keys: KeyOptions,
    /// Changes.
    #[command(flatten)]
    pub change: Change,
}

/// `trust verify`
#[derive(Debug, Args)]
#[command(
    long_about = "Checks images and prints what was verified.\n\nRefreshes the trusted metadata from the server, looks the image \
                  up, checks that it is not revoked, and compares the digest with the one that the registry serves for the tag \
                  now. NAME:TAG@DIGEST asks whether the tag means this digest. With several images the exit code is the worst.\n\n\
                  With --env the policy decides as well, about each image that was verified: exit code 20 if it denies, 21 if it \
                  could not be evaluated.\n\n\
                  With --manifests every image in Kubernetes manifests (YAML or JSON, also what helm template and kustomize \
                  print) and in compose files is checked: of Pods, Deployments, Jobs and the other workloads, and of services. \
                  What cannot be read, kinds of others that hold containers, templates, variables and services that are built \
                  are errors: trust help manifests. --pin writes NAME:TAG@sha256:… in place of each tag, and nothing else; \
                  from stdin to stdout.",
    after_help = "Examples:\n  \
        trust verify registry.example.com/pay/api:v1\n  \
        trust verify registry.example.com/pay/api:v1 --signer alice --signer qa\n  \
        trust verify registry.example.com/pay/api:v1 --env public-eu.toml\n  \
        trust verify --manifests ./deploy --env public-eu.toml\n  \
        trust verify --manifests ./deploy --pin\n  \
        trust verify --manifests compose.yaml --pin --dry-run\n  \
        trust verify registry.example.com/pay/api:v1 --no-registry -o json"
)]
pub struct Verify {
    /// The images
    #[arg(value_name = "REF", required_unless_present = "manifests", value_parser = values::image)]
    pub images: Vec<Reference>,
    /// Check every image in Kubernetes manifests and compose files: a folder, a file, or - for stdin
    #[arg(long, value_name = "DIR|FILE|-", conflicts_with = "images")]
    pub manifests: Option<std::path::PathBuf>,
    /// Write the verified digest behind each tag in the manifests, if every image is verified
    #[arg(long, requires = "manifests")]
    pub pin: bool,
    /// With --pin: show what would be written
    #[arg(long, requires = "pin")]
    pub dry_run: bool,
    /// Also decide by policy: the file of the environment in which the images are to run
    #[arg(long, value_name = "FILE")]
    pub env: Option<std::path::PathBuf>,
    /// What decides.
    #[command(flatten)]
    pub deciding: Deciding,
    /// A signer who must have signed (may be given several times)
    #[arg(long, value_name = "NAME", value_parser = values::role)]
    pub signer: Vec<RoleName>,
    /// How many signers must have signed
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub min_signers: u32,
    /// Do not compare with what the registry serves
    #[arg(long)]
    pub no_registry: bool,
    /// Also fetch the manifest from the registry by the verified digest, and hash it
    #[arg(long, conflicts_with = "no_registry")]
    pub content: bool,
}

/// `trust resolve`
#[derive(Debug, Args)]
#[command(
    long_about = "Verifies one image and prints only NAME@sha256:…, for use in scripts. The registry is not asked. With --offline \
                  nobody is asked: the stored metadata decides as long as it is not expired.",
    after_help = "Examples:\n  \
        trust resolve registry.example.com/pay/api:v1\n  \
        trust resolve --offline registry.example.com/pay/api:v1\n  \
        trust resolve registry.example.com/pay/api:v1 --signer alice"
)]
pub struct Resolve {
    /// The image
    #[arg(value_name = "REF", value_parser = values::image)]
    pub image: Reference,
    /// A signer who must have signed (may be given several times)
    #[arg(long, value_name = "NAME", value_parser = values::role)]
    pub signer: Vec<RoleName>,
    /// How many signers must have signed
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub min_signers: u32,
}

/// `trust exec`
#[derive(Debug, Args)]
#[command(
    long_about = "Runs a container tool with each image reference verified and replaced by NAME@sha256:….\n\nImage references are \
                  found where the tool takes them: docker://REF for skopeo; the image of pull, run and create for docker, podman \
                  and nerdctl. What the command does not understand is refused, and if one image is not verified nothing runs. \
                  The exit code is that of the tool.",
    after_help = "Examples:\n  \
        trust exec -- skopeo copy docker://registry.example.com/pay/api:v1 dir:./api\n  \
        trust exec -- docker run --rm registry.example.com/pay/api:v1 --help\n  \
        trust exec --signer alice -- podman pull registry.example.com/pay/api:v1"
)]
pub struct Exec {
    /// A signer who must have signed (may be given several times)
    #[arg(long, value_name = "NAME", value_parser = values::role)]
    pub signer: Vec<RoleName>,
    /// How many signers must have signed
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub min_signers: u32,
    /// The tool and its arguments, after --
    #[arg(value_name = "CMD", required = true, last = true)]
    pub command: Vec<std::ffi::OsString>,
}

/// `trust inspect`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    trust inspect registry.example.com/pay\n  \
    trust inspect registry.example.com/pay/api:v1\n  \
    trust inspect registry.example.com/pay -o json")]
pub struct Inspect {
    /// Collections, or images with a tag or digest
    #[arg(value_name = "NAME[:TAG]", required = true, value_parser = values::subject)]
    pub subjects: Vec<Subject>,
}

/// `trust list`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    trust list\n  \
    trust list registry.example.com/pay\n  \
    trust list registry.example.com/pay -o jsonl")]
pub struct List {
    /// The collection (default: list the collections pinned here)
    #[arg(value_name = "COLLECTION", value_parser = values::collection)]
    pub collection: Option<CollectionName>,
    /// Also the entries by digest
    #[arg(long, requires = "collection")]
    pub digests: bool,
}

/// `trust log`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    trust log registry.example.com/pay\n  \
    trust log registry.example.com/pay --since 2026-11-01 -o jsonl\n  \
    trust log registry.example.com/pay --limit 5")]
pub struct Log {
    /// The collection
    #[arg(value_name = "COLLECTION", value_parser = values::collection)]
    pub collection: CollectionName,
    /// Only what came after this day or time
    #[arg(long, value_name = "TIME", value_parser = values::time)]
    pub since: Option<UtcTime>,
    /// At most so many entries
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub limit: u32,
}

/// `trust diff`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    trust diff registry.example.com/pay\n  \
    trust diff registry.example.com/pay --role alice --from 3 --to 5\n  \
    trust diff registry.example.com/pay --role targets --from 1")]
pub struct Diff {
    /// The collection
    #[arg(value_name = "COLLECTION", value_parser = values::collection)]
    pub collection: CollectionName,
    /// The role
    #[arg(long, value_name = "NAME", default_value = "targets", value_parser = values::role)]
    pub role: RoleName,
    /// The older version (default: the one before)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub from: Option<u64>,
    /// The newer version (default: the current one)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub to: Option<u64>,
}

/// `trust unsign`
#[derive(Debug, Args)]
#[command(
    long_about = "Removes my own entry for a tag, and says what the reference means afterwards: other signers' entries stay, and \
                  so does the entry of the digest unless --digest is given. To declare an image bad whoever signed it, use \
                  `trust revoke`.",
    after_help = "Examples:\n  \
        trust unsign registry.example.com/pay/api:v1\n  \
        trust unsign registry.example.com/pay/api:v1 --digest\n  \
        trust unsign registry.example.com/pay/api:v1 --as alice --yes"
)]
pub struct Unsign {
    /// The image
    #[arg(value_name = "REF", value_parser = values::image)]
    pub image: Reference,
    /// As this signer (default: the one whose key I have)
    #[arg(long = "as", value_name = "NAME", value_parser = values::role)]
    pub signer: Option<RoleName>,
    /// Also remove the entry of the digest that the tag names
    #[arg(long)]
    pub digest: bool,
    /// Keys and passphrases.
    #[command(flatten)]
    pub keys: KeyOptions,
    /// Changes.
    #[command(flatten)]
    pub change: Change,
}

/// `trust revoke`
#[derive(Debug, Args)]
#[command(
    long_about = "Declares a digest (NAME@sha256:…) or a tag (NAME:TAG) bad, whoever signed it. Every client refuses it with exit \
                  code 17 from its next refresh. A digest is revoked under every name of the collection.",
    after_help = "Examples:\n  \
        trust revoke registry.example.com/pay/api:v1 --reason \"leaks a password\"\n  \
        trust revoke registry.example.com/pay/api@sha256:1c8f0e8b2f5b0e1a7e43a2ad6c1f7f6a2f6d2a9f4b0c8d7e6f5a4b3c2d1e0f9a --reason CVE-2026-1\n  \
        trust revoke registry.example.com/pay/api:v1 --reason test --confirm registry.example.com/pay/api"
)]
pub struct Revoke {
    /// The image, with a digest or a tag
    #[arg(value_name = "REF", value_parser = values::image)]
    pub image: Reference,
    /// Why: it is published with the revocation
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Keys and passphrases.
    #[command(flatten)]
    pub keys: KeyOptions,
    /// Changes.
    #[command(flatten)]
    pub change: Change,
}
