"""Loads a repository with python-tuf and prints what it trusts.

Output, one line of JSON: {"versions": {"root": 1, ...}, "target": "HEX" or null}.
Exit 0: loaded. Anything else: refused; the last line of stderr says why.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
from urllib.parse import unquote, urlparse

from tuf.api.exceptions import DownloadHTTPError
from tuf.api.metadata import Metadata
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig
from tuf.ngclient.urllib3_fetcher import Urllib3Fetcher


class Fetcher(FetcherInterface):
    """Files by `file://`, everything else as python-tuf does it."""

    def __init__(self) -> None:
        self.http = Urllib3Fetcher()

    def _fetch(self, url):
        parts = urlparse(url)
        if parts.scheme != "file":
            return self.http._fetch(url)
        # A file name keeps its percent signs: role names are encoded on disk too.
        for path in (parts.path, unquote(parts.path)):
            if os.path.isfile(path):
                with open(path, "rb") as file:
                    return iter([file.read()])
        raise DownloadHTTPError("not found", 404)


def main() -> int:
    parser = argparse.ArgumentParser()
    for option in ("metadata", "targets", "root", "state", "target"):
        parser.add_argument("--" + option, required=True)
    args = parser.parse_args()
    config = UpdaterConfig(max_root_rotations=1024)
    with open(args.root, "rb") as file:
        bootstrap = file.read()
    updater = Updater(
        metadata_dir=args.state,
        metadata_base_url=args.metadata,
        target_base_url=args.targets,
        fetcher=Fetcher(),
        config=config,
        bootstrap=bootstrap,
    )
    updater.refresh()
    target = None
    info = updater.get_targetinfo(args.target)
    if info is not None:
        folder = tempfile.mkdtemp()
        try:
            path = updater.download_target(info, os.path.join(folder, "target"))
            with open(path, "rb") as file:
                target = file.read().hex()
        finally:
            shutil.rmtree(folder)
    versions = {}
    for role in ("root", "timestamp", "snapshot", "targets"):
        with open(os.path.join(args.state, role + ".json"), "rb") as file:
            versions[role] = Metadata.from_bytes(file.read()).signed.version
    json.dump({"versions": versions, "target": target}, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
