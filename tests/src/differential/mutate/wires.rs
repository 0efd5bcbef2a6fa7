//! What a mirror does.

use super::{Scene, Served, file_name, nominal};
use crate::simulator::Fault;

pub(super) const ALL: &[(&str, Served)] = &[
    ("file-404", |_, scene, role| fault(scene, role, Fault::Status(404))),
    ("file-403", |_, scene, role| fault(scene, role, Fault::Status(403))),
    ("file-500", |_, scene, role| fault(scene, role, Fault::Status(500))),
    ("file-reset", |_, scene, role| fault(scene, role, Fault::Reset)),
    ("file-cut", |dice, scene, role| {
        served(scene, role).is_some_and(|mut bytes| {
            bytes.truncate(dice.below(bytes.len()));
            fault(scene, role, Fault::Bytes(bytes))
        })
    }),
    ("file-grown", |dice, scene, role| {
        served(scene, role).is_some_and(|mut bytes| {
            bytes.extend(dice.pick(&["\n", " ", "x", "{}"]).bytes());
            fault(scene, role, Fault::Bytes(bytes))
        })
    }),
    ("file-flip", |dice, scene, role| {
        served(scene, role).is_some_and(|mut bytes| {
            let at = dice.below(bytes.len());
            bytes[at] ^= 1 << dice.below(7);
            fault(scene, role, Fault::Bytes(bytes))
        })
    }),
    ("file-old", |_, scene, role| {
        let consistent = file_name(scene, role) != format!("{role}.json");
        let before = nominal(scene, role).saturating_sub(1);
        let name = file_name(scene, role).replacen(&nominal(scene, role).to_string(), &before.to_string(), 1);
        let old = scene.repo.wire.file(&name).filter(|_| consistent && before > 0);
        old.is_some_and(|bytes| fault(scene, role, Fault::Bytes(bytes)))
    }),
    ("file-other", |dice, scene, role| {
        let others: Vec<String> = scene.repo.roles.keys().filter(|r| *r != role).cloned().collect();
        let other = dice.pick(&others).clone();
        served(scene, &other).is_some_and(|bytes| fault(scene, role, Fault::Bytes(bytes)))
    }),
    ("next-root-500", |_, scene, _| next_root(scene, Fault::Status(500))),
    ("next-root-403", |_, scene, _| next_root(scene, Fault::Status(403))),
    ("next-root-reset", |_, scene, _| next_root(scene, Fault::Reset)),
    ("next-root-junk", |_, scene, _| next_root(scene, Fault::Bytes(b"{}".to_vec()))),
    ("next-root-same", |_, scene, _| {
        let bytes = scene.repo.pinned.clone();
        next_root(scene, Fault::Bytes(bytes))
    }),
];

fn served(scene: &Scene, role: &str) -> Option<Vec<u8>> {
    scene.repo.wire.file(&file_name(scene, role)).filter(|bytes| !bytes.is_empty())
}

fn fault(scene: &Scene, role: &str, fault: Fault) -> bool {
    scene.repo.wire.fault(&file_name(scene, role), fault);
    true
}

fn next_root(scene: &Scene, fault: Fault) -> bool {
    scene.repo.wire.fault(&format!("{}.root.json", nominal(scene, "root") + 1), fault);
    true
}
