//! Names of delegated roles that would lie where another file lies.

use trust_tuf::error::{MetadataError, Reason};

use crate::simulator::{Delegate, World};

#[test]
fn a_delegated_role_that_is_called_like_a_root_file_is_refused() {
    for (name, taken) in [("7.root", true), (".root", true), ("root", true), ("a.root", false), ("7.roots", false)] {
        let mut w = World::stages();
        let key = w.repo.new_key();
        w.repo.delegate("targets", &Delegate::new(name, &key, &["*"]));
        w.repo.role("targets").bump();
        // Its own file may stay away: the one that delegates to it is what is judged.
        w.repo.publish();
        if taken {
            assert_eq!(w.refused(), ("targets".to_owned(), Reason::Metadata(MetadataError::RoleName(name.to_owned()))));
        } else {
            w.refreshed();
        }
    }
}
