//! Commands about the dictionary of labels.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use trust_image::Reference;
use trust_tuf::CollectionName;

use super::globals::Change;
use super::keys::KeyOptions;
use super::values;

/// `trust labels …`
#[derive(Debug, Subcommand)]
pub enum LabelsCommand {
    /// Load the dictionary of a folder strictly, or say what it makes of the labels of images
    #[command(
        long_about = "Without --image: loads the dictionary of a folder (labels/NAME.json in it) strictly, with what is probably \
                      not meant.\n\nWith --image: fetches the labels of the image from its registry, as signing does, and says \
                      for each what the dictionary makes of it: where the value is fit, values that it does not have, with the \
                      allowed ones and whom to ask, required labels that are missing, keys that are nearly written like governed \
                      ones. By the dictionary in force in the policy collection, or by that of a folder. Exit code 20 where a gate \
                      would refuse the image.",
        after_help = "Examples:\n  \
            trust labels check ./policy\n  \
            trust labels check --image registry.example.com/hr/payroll:7\n  \
            trust labels check ./policy --image registry.example.com/hr/payroll:7 --image registry.example.com/hr/web:2\n  \
            trust labels check ./policy -o json"
    )]
    Check(LabelsCheck),
    /// Show the dictionary in force: labels, values, what they are fit for, owners
    #[command(after_help = "Examples:\n  \
        trust labels show\n  \
        trust labels show registry.example.com/policy\n  \
        trust labels show registry.example.com/policy -o json")]
    Show(LabelsShow),
    /// Sign and publish the dictionary of a folder; the rules in force stay
    #[command(
        long_about = "Publishes the dictionary of a folder (labels/NAME.json in it), all files at once. What is no longer in the \
                      folder is removed. The rules in force stay, and must load together with the new dictionary. Only the key of \
                      the role that holds the dictionary is needed: `_labels` where it is delegated, else `targets`.\n\n\
                      Where a label is no longer governed or required, or a value changes its meaning or leaves, --confirm \
                      COLLECTION is needed.",
        after_help = "Examples:\n  \
            trust labels publish ./policy --dry-run\n  \
            trust labels publish ./policy registry.example.com/policy --key data-protection\n  \
            trust labels publish ./policy registry.example.com/policy --confirm registry.example.com/policy"
    )]
    Publish(LabelsPublish),
}

/// `trust labels check`
#[derive(Debug, Args)]
pub struct LabelsCheck {
    /// The folder (default: the dictionary in force, with --image; else this folder)
    #[arg(value_name = "DIR")]
    pub folder: Option<PathBuf>,
    /// An image whose labels are looked at (may be given several times)
    #[arg(long, value_name = "REF", value_parser = values::image)]
    pub image: Vec<Reference>,
}

/// `trust labels show`
#[derive(Debug, Args)]
pub struct LabelsShow {
    /// The policy collection (default: the one of the configuration)
    #[arg(value_name = "COLLECTION", value_parser = values::collection)]
    pub collection: Option<CollectionName>,
}

/// `trust labels publish`
#[derive(Debug, Args)]
pub struct LabelsPublish {
    /// The folder
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// The policy collection (default: the one of the configuration)
    #[arg(value_name = "COLLECTION", value_parser = values::collection)]
    pub collection: Option<CollectionName>,
    /// Keys and passphrases.
    #[command(flatten)]
    pub keys: KeyOptions,
    /// Changes.
    #[command(flatten)]
    pub change: Change,
}
