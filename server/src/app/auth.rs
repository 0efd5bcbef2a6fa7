//! Who may do what: tokens, scopes, and the one hook through which every route passes.
//!
//! A token is `trust_` and 64 hex digits (32 random bytes). The store holds only its SHA-256; the scope says for which
//! collections it allows which actions. A token never replaces a signature: it only says who may knock.

use std::fmt;

use subtle::ConstantTimeEq;
use trust_tuf::model::sha256;
use trust_tuf::{CollectionName, UtcTime};

use super::error::AppError;
use crate::store::TokenRow;

/// What a token may be allowed to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Read metadata, contents and the log.
    Read,
    /// Publish, and ask for online keys.
    Publish,
    /// Reserve collections.
    Admin,
}

impl Action {
    /// All, in the order of their names in scopes.
    pub const ALL: [Self; 3] = [Self::Read, Self::Publish, Self::Admin];

    /// Its name in scopes.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Publish => "publish",
            Self::Admin => "admin",
        }
    }
}

/// Why a scope cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("scope `{0}`: write PATTERN=read,publish,admin with a collection name, PREFIX/* or * as PATTERN")]
pub struct ScopeError(String);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Pattern {
    All,
    Below(String),
    One(String),
}

/// What a token allows: lines of `PATTERN=ACTION,ACTION`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scope(Vec<(Pattern, Vec<Action>)>);

impl Scope {
    /// Reads a scope. At most 64 lines.
    pub fn parse(text: &str) -> Result<Self, ScopeError> {
        let bad = || ScopeError(text.chars().filter(|c| !c.is_control()).take(200).collect());
        let mut lines = Vec::new();
        for line in text.lines() {
            let (pattern, actions) = line.split_once('=').ok_or_else(bad)?;
            let pattern = match pattern.strip_suffix("/*") {
                _ if pattern == "*" => Pattern::All,
                // A host alone is a prefix, although no collection's name.
                Some(prefix) if CollectionName::parse(&format!("{prefix}/x")).is_ok() => {
                    Pattern::Below(format!("{prefix}/"))
                }
                None if CollectionName::parse(pattern).is_ok() => Pattern::One(pattern.to_owned()),
                _ => return Err(bad()),
            };
            let actions = actions
                .split(',')
                .map(|name| Action::ALL.into_iter().find(|a| a.as_str() == name).ok_or_else(bad))
                .collect::<Result<Vec<_>, _>>()?;
            lines.push((pattern, actions));
        }
        if lines.is_empty() || lines.len() > 64 { Err(bad()) } else { Ok(Self(lines)) }
    }

    fn allows(&self, action: Action, collection: Option<&CollectionName>) -> bool {
        self.0.iter().any(|(pattern, actions)| {
            let matches = match (pattern, collection) {
                // Of no collection in particular: any line with the action will do.
                (Pattern::All, _) | (_, None) => true,
                (Pattern::Below(prefix), Some(name)) => name.as_str().starts_with(prefix.as_str()),
                (Pattern::One(one), Some(name)) => name.as_str() == one,
            };
            matches && actions.contains(&action)
        })
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (pattern, actions)) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            match pattern {
                Pattern::All => f.write_str("*")?,
                Pattern::Below(prefix) => write!(f, "{prefix}*")?,
                Pattern::One(name) => f.write_str(name)?,
            }
            let names: Vec<&str> = actions.iter().map(|a| a.as_str()).collect();
            write!(f, "={}", names.join(","))?;
        }
        Ok(())
    }
}

/// Who sends a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// Nobody said who.
    Anonymous,
    /// The holder of a token that is known, not expired and not revoked.
    Token {
        /// The token's name.
        name: String,
        /// What it allows.
        scope: Scope,
    },
}

impl Principal {
    /// The name for the log.
    pub fn name(&self) -> &str {
        match self {
            Self::Anonymous => "anonymous",
            Self::Token { name, .. } => name,
        }
    }
}

/// The rule by which requests are judged.
#[derive(Debug, Clone, Copy)]
pub struct AccessRules {
    /// Whether metadata and contents may be read without a token.
    pub anonymous_read: bool,
}

impl AccessRules {
    /// The one decision. `collection` is `None` for what concerns no collection in particular (listing). A valid token never
    /// gives less than none.
    pub fn authorise(
        &self,
        principal: &Principal,
        action: Action,
        collection: Option<&CollectionName>,
    ) -> Result<(), AppError> {
        match principal {
            _ if action == Action::Read && collection.is_some() && self.anonymous_read => Ok(()),
            Principal::Anonymous => Err(AppError::Unauthorized("this needs a token")),
            Principal::Token { scope, .. } if scope.allows(action, collection) => Ok(()),
            Principal::Token { .. } => Err(AppError::Forbidden { action: action.as_str() }),
        }
    }
}

impl Principal {
    /// Whether a list may name this collection to them: by their own scope only. That everybody may read what they know the
    /// name of does not show the names to everybody.
    pub fn may_list(&self, collection: &CollectionName) -> bool {
        match self {
            Self::Anonymous => false,
            Self::Token { scope, .. } => scope.allows(Action::Read, Some(collection)),
        }
    }
}

/// A new token: its text, which is shown once, and its SHA-256, which is stored.
pub fn new_token() -> Result<(String, [u8; 32]), AppError> {
    let mut secret = [0_u8; 32];
    getrandom::fill(&mut secret).map_err(|_| AppError::Internal)?;
    let text = format!("trust_{}", hex::encode(secret));
    let sum = sha256(text.as_bytes());
    Ok((text, sum))
}

/// The SHA-256 under which a presented token would be stored; `None` if it does not look like one.
pub fn token_sum(text: &str) -> Option<[u8; 32]> {
    let digits = text.strip_prefix("trust_")?;
    (digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit())).then(|| sha256(text.as_bytes()))
}

/// Who holds this token at this time. The comparison takes the same time wherever the two differ.
pub fn holder(presented: [u8; 32], row: Option<TokenRow>, now: UtcTime) -> Result<Principal, AppError> {
    const BAD: AppError = AppError::Unauthorized("the token is not valid");
    let row = row.filter(|row| bool::from(row.sha256.ct_eq(&presented))).ok_or(BAD)?;
    if row.revoked.is_some() || row.expires.is_some_and(|expires| expires <= now.unix()) {
        return Err(BAD);
    }
    let scope = Scope::parse(&row.scope).map_err(|_| BAD)?;
    Ok(Principal::Token { name: row.name, scope })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> CollectionName {
        CollectionName::parse(text).unwrap()
    }

    #[test]
    fn malformed_scopes_are_refused() {
        for text in [
            "",
            "r/a",
            "r/a=",
            "r/a=write",
            "r/a=read,",
            "=read",
            "**=read",
            "r/a*=read",
            "R/a=read",
            "*/*=read",
            "r/../*=read",
            "r/a=read\n\nr/b=read",
            "/*=read",
            "r=read",
        ] {
            assert!(Scope::parse(text).is_err(), "{text}");
        }
        assert!(Scope::parse(&"*=read\n".repeat(65)).is_err());
        for text in ["*=read", "r/a=publish,read", "r/*=admin", "r/a/*=read\nr/b=publish"] {
            assert_eq!(Scope::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_prefix_ends_at_a_component_and_does_not_hold_itself() {
        let scope = Scope::parse("r/pay/*=publish").unwrap();
        assert!(scope.allows(Action::Publish, Some(&name("r/pay/api"))));
        for (action, other) in [
            (Action::Publish, "r/pay"),
            (Action::Publish, "r/payroll"),
            (Action::Publish, "q/pay/api"),
            (Action::Read, "r/pay/api"),
        ] {
            assert!(!scope.allows(action, Some(&name(other))), "{other}");
        }
    }

    #[test]
    fn expired_revoked_unknown_and_other_tokens_are_nobody() {
        let now = UtcTime::from_unix(1_000).unwrap();
        let (text, sum) = new_token().unwrap();
        assert_eq!(token_sum(&text), Some(sum));
        for bad in [
            "",
            "trust_",
            "trust_xyz",
            text.trim_start_matches('t'),
            &format!("{text}0"),
            &text.replace("trust_", "other_"),
        ] {
            assert_eq!(token_sum(bad), None);
        }
        let row = TokenRow {
            name: "ci".to_owned(),
            sha256: sum,
            scope: "*=read".to_owned(),
            created: 0,
            expires: Some(1_001),
            revoked: None,
        };
        assert!(holder(sum, Some(row.clone()), now).is_ok());
        assert!(holder(sum, None, now).is_err());
        assert!(holder([0; 32], Some(row.clone()), now).is_err());
        assert!(holder(sum, Some(TokenRow { expires: Some(1_000), ..row.clone() }), now).is_err());
        assert!(holder(sum, Some(TokenRow { revoked: Some(5), ..row.clone() }), now).is_err());
        assert!(holder(sum, Some(TokenRow { scope: "garbage".to_owned(), ..row }), now).is_err());
    }
}
