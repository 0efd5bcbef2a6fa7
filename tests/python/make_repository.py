"""Writes a repository with python-tuf: all key kinds, two delegations, a rotated root.

usage: make_repository.py FOLDER    (metadata/ and targets/ are made in it)
"""

import hashlib
import os
import sys
from datetime import datetime, timezone

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    SuccinctRoles,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.api.serialization.json import JSONSerializer

EXPIRES = datetime(2036, 1, 1, tzinfo=timezone.utc)


def main(folder: str) -> int:
    metadata = os.path.join(folder, "metadata")
    os.makedirs(metadata)

    def write(name: str, file: Metadata) -> bytes:
        # Indented: the bytes that are signed are not the bytes that are stored.
        data = file.to_bytes(JSONSerializer(compact=False))
        with open(os.path.join(metadata, name), "wb") as out:
            out.write(data)
        return data

    def target(role: Targets, path: str, content: bytes) -> None:
        role.targets[path] = TargetFile.from_data(path, content, ["sha256", "sha512"])
        directory, _, name = path.rpartition("/")
        for algorithm in ("sha256", "sha512"):
            digest = hashlib.new(algorithm, content).hexdigest()
            place = os.path.join(folder, "targets", directory, f"{digest}.{name}")
            os.makedirs(os.path.dirname(place), exist_ok=True)
            with open(place, "wb") as out:
                out.write(content)

    ed25519, ecdsa, rsa = (
        CryptoSigner.generate_ed25519(),
        CryptoSigner.generate_ecdsa(),
        CryptoSigner.generate_rsa(),
    )
    other = CryptoSigner.generate_ecdsa()
    signers = {"root": [ed25519, ecdsa], "timestamp": [ed25519], "snapshot": [ecdsa], "targets": [rsa]}

    root = Metadata(Root(version=1, expires=EXPIRES, consistent_snapshot=True))
    for name, keys in signers.items():
        for key in keys:
            root.signed.add_key(key.public_key, name)
        root.signed.roles[name].threshold = len(keys)
    for key in signers["root"]:
        root.sign(key, append=True)
    write("1.root.json", root)

    # Root 2: RSA takes the place of ECDSA.
    root.signed.version = 2
    root.signed.revoke_key(ecdsa.public_key.keyid, "root")
    root.signed.add_key(rsa.public_key, "root")
    root.signatures.clear()
    for key in (ed25519, ecdsa, rsa):
        root.sign(key, append=True)
    write("2.root.json", root)

    targets = Metadata(Targets(version=1, expires=EXPIRES))
    target(targets.signed, "v1", b"top")
    roles = {}
    keys = {key.public_key.keyid: key.public_key for key in (ecdsa, other, ed25519)}
    for name, signing, patterns, prefixes in (
        ("api", [ecdsa, other], ["api/*"], None),
        ("hashed", [ed25519], None, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "a", "b", "c", "d", "e", "f"]),
    ):
        ids = [key.public_key.keyid for key in signing]
        roles[name] = DelegatedRole(name, ids, len(ids), False, patterns, prefixes)
        role = Metadata(Targets(version=1, expires=EXPIRES))
        if name == "api":
            target(role.signed, "api/v1", "api, in UTF-8: é".encode())
            role.signed.targets["api/v1"].unrecognized_fields["custom"] = {"note": "ünï\ncode\u0001"}
        else:
            # Below it: bins.
            target(role.signed, "other", b"by hash")
            succinct = SuccinctRoles([other.public_key.keyid], 1, 2, "bin")
            role.signed.delegations = Delegations({other.public_key.keyid: other.public_key}, None, succinct)
            for bin_name in succinct.get_roles():
                contents = Targets(version=1, expires=EXPIRES)
                if succinct.get_role_for_target("binned") == bin_name:
                    target(contents, "binned", b"in a bin")
                contents = Metadata(contents)
                contents.sign(other)
                roles[bin_name] = contents
        for key in signing:
            role.sign(key, append=True)
        write(f"1.{name}.json", role)
    for name, contents in list(roles.items()):
        if isinstance(contents, Metadata):
            write(f"1.{name}.json", contents)
    delegated = {name: role for name, role in roles.items() if isinstance(role, DelegatedRole)}
    targets.signed.delegations = Delegations(keys, delegated)
    targets.sign(rsa)
    data = write("1.targets.json", targets)

    snapshot = Metadata(Snapshot(version=1, expires=EXPIRES))
    snapshot.signed.meta["targets.json"] = MetaFile.from_data(1, data, ["sha256"])
    for name in roles:
        snapshot.signed.meta[f"{name}.json"] = MetaFile(version=1)
    snapshot.sign(ecdsa)
    data = write("1.snapshot.json", snapshot)
    timestamp = Metadata(Timestamp(version=1, expires=EXPIRES))
    timestamp.signed.snapshot_meta = MetaFile.from_data(1, data, ["sha256", "sha512"])
    timestamp.sign(ed25519)
    write("timestamp.json", timestamp)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
