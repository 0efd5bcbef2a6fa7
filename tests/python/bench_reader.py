"""python-tuf as a contestant of the benchmark of readers (tests/src/bench/readers/worker.rs).

usage: bench_reader.py folder|http|http-kept cold|warm|changed FOLDER STATE BASE
       (empty in place of cold: does nothing, for what the interpreter takes)

Lines in: `run N`, `peak`, `version`. Lines out: `ready` once, then `WALL CPU` in nanoseconds for N operations together,
the peak of resident memory in bytes, the version, or `error: ...`. One operation is an update from the served files and
one look-up. Not measured: the interpreter's start and the imports, and what an operation begins with.

Each operation makes a new Updater, as its interface wants it (one is good for one refresh), in this process, which stays
up. `folder`: files come straight from the served folder by the smallest fetcher that python-tuf's interface allows. `http`:
its own HTTP client as it comes, from the address BASE. `http-kept`: the same client, kept from Updater to Updater with its
connections. The collector of garbage is as it comes.
"""

import os
import shutil
import sys
import time
from importlib.metadata import version
from urllib.parse import unquote

from tuf.api.exceptions import DownloadHTTPError
from tuf.ngclient import FetcherInterface, Updater
from tuf.ngclient.urllib3_fetcher import Urllib3Fetcher


class Folder(FetcherInterface):
    """Addresses are paths."""

    def _fetch(self, url):
        try:
            with open(unquote(url), "rb") as file:
                return iter([file.read()])
        except FileNotFoundError as error:
            raise DownloadHTTPError("not found", 404) from error


class Reader:
    def __init__(self, fetcher: str, moment: str, folder: str, state: str, base: str) -> None:
        self.moment = moment
        self.base = folder if fetcher == "folder" else base
        self.fetcher = {"folder": Folder(), "http": None, "http-kept": Urllib3Fetcher()}[fetcher]
        self.state = os.path.join(state, "state")
        self.older = os.path.join(state, "older")
        with open(os.path.join(folder, "pinned.json"), "rb") as file:
            self.root = file.read()
        with open(os.path.join(folder, "path"), encoding="utf-8") as file:
            self.path = file.read()
        os.makedirs(self.state)
        if moment == "empty":
            return
        if moment == "warm":
            self.read("after")
        elif moment == "changed":
            self.read("before")
            shutil.copytree(self.state, self.older, symlinks=True)

    def read(self, served: str) -> None:
        updater = Updater(
            metadata_dir=self.state,
            metadata_base_url=os.path.join(self.base, served),
            fetcher=self.fetcher,
            bootstrap=self.root,
        )
        updater.refresh()
        if updater.get_targetinfo(self.path) is None:
            raise RuntimeError("not found")

    def run(self, times: int) -> str:
        wall = cpu = 0
        if self.moment == "empty":
            return "0 0"
        for _ in range(times):
            if self.moment != "warm":
                shutil.rmtree(self.state)
                if self.moment == "cold":
                    os.mkdir(self.state)
                else:
                    shutil.copytree(self.older, self.state, symlinks=True)
            began, used = time.perf_counter_ns(), time.process_time_ns()
            self.read("after")
            cpu += time.process_time_ns() - used
            wall += time.perf_counter_ns() - began
        return f"{wall} {cpu}"


def peak() -> int:
    with open("/proc/self/status", encoding="ascii") as file:
        line = next(line for line in file if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def main(fetcher: str, moment: str, folder: str, state: str, base: str) -> int:
    try:
        reader = Reader(fetcher, moment, folder, state, base)
    except Exception as error:  # noqa: BLE001 (whatever it is, the other side must hear of it)
        print(f"error: {error!r}", flush=True)
        return 1
    print("ready", flush=True)
    for line in sys.stdin:
        words = line.split()
        try:
            if words[:1] == ["run"]:
                answer = reader.run(int(words[1]))
            elif words == ["version"]:
                answer = version("tuf")
            else:
                answer = peak()
        except Exception as error:  # noqa: BLE001 (as above)
            answer = f"error: {error!r}"
        print(answer, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
