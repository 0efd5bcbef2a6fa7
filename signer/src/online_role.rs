//! The two roles that this process signs for. No other role can be expressed, so none can be asked for (rule S1).

use trust_tuf::RoleType;

/// Snapshot or timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OnlineRole {
    /// Names the current version of every targets file.
    Snapshot,
    /// Names the current snapshot.
    Timestamp,
}

impl OnlineRole {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Snapshot, Self::Timestamp];

    /// The role with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }

    /// `snapshot` or `timestamp`.
    pub const fn as_str(self) -> &'static str {
        self.role_type().as_str()
    }

    /// The same as a role of the specification.
    pub const fn role_type(self) -> RoleType {
        match self {
            Self::Snapshot => RoleType::Snapshot,
            Self::Timestamp => RoleType::Timestamp,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_offline_role_and_no_spelling_of_one_is_an_online_role() {
        for name in ["root", "targets", "alice", "", "Snapshot", "timestamp ", "1.snapshot", "mirrors"] {
            assert_eq!(OnlineRole::parse(name), None, "{name}");
        }
        for role in OnlineRole::ALL {
            assert_eq!(OnlineRole::parse(role.as_str()), Some(role));
        }
    }
}
