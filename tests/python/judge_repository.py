"""Judges repositories with python-tuf: one client and one update for each line of JSON on stdin, one line back.

A line is {"client": N, "root": HEX, "now": TIME, "files": {NAME: HEX or a status, 0 for a lost connection}, "paths": [...]}
or {"end": N}. The answer is {"kept": {role: version}, "found": [null, {"length", "hashes"} or {"error"}, ...]}, or with
"error" in place of "found" if the update was refused.
"""

import json
import os
import shutil
import sys
import tempfile
from datetime import datetime, timezone
from urllib.parse import urlparse

from tuf.api.exceptions import DownloadError, DownloadHTTPError
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig


class Files(FetcherInterface):
    """What one line serves."""

    def __init__(self, files: dict) -> None:
        self.files = files

    def _fetch(self, url):
        name = urlparse(url).path.removeprefix("/metadata/")
        file = self.files.get(name, 404)
        if isinstance(file, str):
            return iter([bytes.fromhex(file)])
        if file == 0:
            raise DownloadError("connection lost")
        raise DownloadHTTPError("status", file)


def kept(folder: str) -> dict:
    versions = {}
    for role in ("root", "timestamp", "snapshot", "targets"):
        try:
            with open(os.path.join(folder, role + ".json"), "rb") as file:
                versions[role] = json.load(file)["signed"]["version"]
        except (OSError, ValueError, KeyError, TypeError):
            versions[role] = 0
    return versions


def judge(folder: str, line: dict) -> dict:
    try:
        updater = Updater(
            metadata_dir=folder,
            metadata_base_url="http://repository.example/metadata/",
            fetcher=Files(line["files"]),
            config=UpdaterConfig(max_root_rotations=1024),
            bootstrap=bytes.fromhex(line["root"]),
        )
        now = datetime.strptime(line["now"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
        updater._trusted_set.reference_time = now
        updater.refresh()
    except Exception as error:
        return {"kept": kept(folder), "error": f"{type(error).__name__}: {error}: {error.__cause__}"}
    found = []
    for path in line["paths"]:
        try:
            info = updater.get_targetinfo(path)
            found.append(None if info is None else {"length": info.length, "hashes": info.hashes})
        except Exception as error:
            found.append({"error": f"{type(error).__name__}: {error}: {error.__cause__}"})
    return {"kept": kept(folder), "found": found}


def main() -> int:
    base = tempfile.mkdtemp(dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
    try:
        for text in sys.stdin:
            line = json.loads(text)
            folder = os.path.join(base, str(line.get("client", line.get("end"))))
            if "end" in line:
                shutil.rmtree(folder, ignore_errors=True)
                answer = {}
            else:
                os.makedirs(folder, exist_ok=True)
                answer = judge(folder, line)
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()
    finally:
        shutil.rmtree(base, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
