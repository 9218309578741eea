"""What the tests of the zygote have it start: it tells what it is, and stays until it may go."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path

from harness.seal import PRIVATE_DIR, life_line_ended, settle_in

CONSTANT_OF_THE_PROCESS = os.getpid()
"""Where this was imported."""


def main(argv: list[str]) -> int:
    """Do what the last word says: ``tell``, ``stay`` or ``abort``."""
    settle_in()
    *words, mode = argv[1:]
    print(json.dumps(facts(words)), flush=True)
    if mode == "stay":
        deaf = "import signal as s; [s.signal(n, s.SIG_IGN) for n in (1, 2, 15)]; s.pause()"
        subprocess.Popen([sys.executable, "-c", deaf])
        print("asked" if asyncio.run(life_line_ended()) else "left alone", flush=True)
    if mode == "abort":
        os.kill(os.getpid(), signal.SIGTERM)
    return 7


def facts(words: list[str]) -> dict[str, object]:
    """Return what is the same for a program that was executed and one that was forked."""
    status = dict(
        line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines()
    )
    names = ("Uid", "Gid", "CapEff", "CapBnd", "SigIgn", "SigCgt", "SigBlk", "NStgid", "Umask")
    descriptors = {}
    for link in sorted(Path("/proc/self/fd").iterdir(), key=lambda path: int(path.name)):
        try:
            descriptors[link.name] = str(link.readlink()).partition(":")[0]
        except OSError:
            continue  # the one by which the folder is read
    mounts = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return {
        "status": {name: status[name] for name in names},
        "environment": dict(os.environ),
        "descriptors": descriptors,
        "folder": str(Path.cwd()),
        "mounts": [[fields[4], fields[5], *fields[6:]][:4] for fields in mounts],
        "spaces": {
            name: str(Path(f"/proc/self/ns/{name}").readlink())
            for name in ("net", "pid", "mnt", "user")
        },
        "session": os.getsid(0),
        "parent": os.getppid(),
        "limits": resource.getrlimit(resource.RLIMIT_NOFILE),
        "threads": threading.active_count(),
        "words": [os.read(int(word), 100).decode() for word in words],
        "private": sorted(path.name for path in PRIVATE_DIR.iterdir()),
        "streams": [
            (stream.encoding, stream.errors, stream.line_buffering)
            for stream in (sys.stdin, sys.stdout, sys.stderr)
        ],
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv))
