//! What is common to commands that change a role's file: who I am, the next version, its signature.

use std::collections::BTreeMap;

use trust_reader::verdict::Problem;
use trust_tuf::draft::Draft;
use trust_tuf::{RoleName, Targets, Verified, limits};

use crate::app::App;
use crate::entries::Drafts;
use crate::fault;
use crate::keyring::{self, Keyring, Kind};
use crate::publish::{self, TARGETS_LIFE};
use crate::session::Session;

/// The role to sign as: the one that was named, else the one role that may list these paths and whose key I have.
pub fn choose_role(
    session: &Session,
    keyring: &mut Keyring<'_>,
    named: Option<&RoleName>,
    paths: &[String],
) -> Result<RoleName, Problem> {
    if let Some(name) = named {
        if session.keys_of(name).is_none() {
            let known: Vec<String> = session.signers().iter().map(RoleName::to_string).collect();
            return Err(fault::no_such_signer(name.as_str(), session.collection.as_str(), &known));
        }
        if let Some(path) = paths.iter().find(|path| !session.may_list(name, path)) {
            return Err(fault::outside_paths(name.as_str(), path));
        }
        return Ok(name.clone());
    }
    let (mut mine, mut elsewhere) = possible_roles(session, keyring, paths)?;
    if mine.len() > 1 && keyring.has_named() {
        // A key without its public half beside it could be anybody's: opened, it says whose it is.
        keyring.learn_named(Kind::Other)?;
        (mine, elsewhere) = possible_roles(session, keyring, paths)?;
    }
    // Whoever is also a signer of their own name signs under it: `targets` stands above all signers.
    if let [first, second] = mine.as_slice()
        && first.is_targets()
    {
        mine = vec![second.clone()];
    }
    match (mine.as_slice(), elsewhere.first()) {
        ([one], _) => Ok(one.clone()),
        ([], Some(role)) => {
            let path = paths.iter().find(|path| !session.may_list(role, path)).map(String::as_str);
            Err(fault::outside_paths(role.as_str(), path.unwrap_or_default()))
        }
        ([], None) => {
            let known: Vec<String> = session.signers().iter().map(RoleName::to_string).collect();
            Err(fault::no_role_for_my_keys(session.collection.as_str(), &known))
        }
        (several, _) => {
            let names: Vec<String> = several.iter().map(RoleName::to_string).collect();
            Err(fault::several_roles(&names))
        }
    }
}

/// The roles whose keys may be here: those that may list all these paths, and the others.
fn possible_roles(
    session: &Session,
    keyring: &mut Keyring<'_>,
    paths: &[String],
) -> Result<(Vec<RoleName>, Vec<RoleName>), Problem> {
    let (mut mine, mut elsewhere) = (Vec::new(), Vec::new());
    for role in session.signers() {
        let Some(keys) = session.keys_of(&role) else { continue };
        if role.as_str().starts_with('_') || !keyring.may_hold(&keys)? {
            continue;
        }
        if paths.iter().all(|path| session.may_list(&role, path)) { mine.push(role) } else { elsewhere.push(role) }
    }
    Ok((mine, elsewhere))
}

/// Signs the files of a signer (or of `targets`) with keys of this machine that the signer lists.
pub fn sign_files(
    session: &Session,
    keyring: &mut Keyring<'_>,
    signer: &RoleName,
    drafts: &Drafts,
    only_named: bool,
) -> Result<BTreeMap<RoleName, Vec<u8>>, Problem> {
    let keys = session.keys_of(signer).ok_or_else(|| fault::internal("a role without keys"))?;
    let mine = keyring.for_role(signer.as_str(), &keys, Kind::Other, only_named)?;
    let mut files = BTreeMap::new();
    for (name, draft) in drafts {
        let file = keyring::sign(draft, &mine)?;
        if u64::try_from(file.len()).is_ok_and(|n| n > limits::PUBLISH_BYTES) {
            return Err(fault::file_too_large(name.as_str(), signer.as_str(), &session.collection, file.len()));
        }
        files.insert(name.clone(), file);
    }
    Ok(files)
}

/// The next version of a role's file, with its new expiry.
pub fn next_version(app: &App, file: &Verified<Targets>) -> Result<Draft, Problem> {
    Draft::next(file.bytes(), publish::expires(app, TARGETS_LIFE)?).map_err(|e| fault::draft(&e))
}

/// Signs a role's file with keys of this machine that the role lists.
pub fn sign_as(
    session: &Session,
    keyring: &mut Keyring<'_>,
    role: &RoleName,
    draft: &Draft,
    only_named: bool,
) -> Result<Vec<u8>, Problem> {
    let keys = session.keys_of(role).ok_or_else(|| fault::internal("a role without keys"))?;
    let mine = keyring.for_role(role.as_str(), &keys, Kind::Other, only_named)?;
    keyring::sign(draft, &mine)
}
