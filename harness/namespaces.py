"""The namespaces of a lab: whether this host has them, and how a process gets into new ones.

util-linux's ``unshare`` makes them for a program that is executed, ``enter_namespaces`` for a
process that was forked.

Needs no privileges where user namespaces are allowed. Real root does without a user namespace,
because a mapped root could not read files of other owners (a checkout run with sudo).
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Final

from harness.errors import HostUnfit, SetupFailed
from harness.process import command_line

_CAP_SYS_ADMIN: Final = 21
_NAMESPACES: Final = ("--net", "--pid", "--mount", "--fork", "--mount-proc", "--kill-child")
_CLONE_NEWNS: Final = 0x00020000
_CLONE_NEWUSER: Final = 0x10000000
_CLONE_NEWPID: Final = 0x20000000
_CLONE_NEWNET: Final = 0x40000000
MS_NOSUID_NODEV: Final = 2 | 4
_MS_NOEXEC: Final = 8
_MS_REC: Final = 1 << 14
_MS_PRIVATE: Final = 1 << 18
_PR_SET_PDEATHSIG: Final = 1
_PROC: Final = Path("/proc")
_SOMEWHERE: Final = "/dev/shm"


def namespace_options() -> list[str]:
    """Return the options of ``unshare`` that make a lab's namespaces for this user."""
    return [*_NAMESPACES] if is_real_root() else ["--user", "--map-root-user", *_NAMESPACES]


def own_namespaces() -> list[str]:
    """Return the words before a program's that give it a lab's namespaces, and no more.

    For measurements, whose programs are no labs: without life line, tmpfs and init, but they and
    all that they start die with ``unshare``.
    """
    return ["unshare", *namespace_options()]


def is_real_root() -> bool:
    """Whether this process is root without a user namespace's help: it may make namespaces."""
    if os.geteuid() != 0:
        return False
    status = Path("/proc/self/status").read_text()
    effective = next(line for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(int(effective.split()[1], 16) >> _CAP_SYS_ADMIN & 1)


# -- what the host must offer


def probe_namespaces() -> str | None:
    """Return why this user can't make a lab's namespaces, or None when it works. Takes 10 ms."""
    for program in ("unshare", "setpriv"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    argv = ["unshare", *namespace_options(), "mount", "-t", "tmpfs", "tmpfs", _SOMEWHERE]
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode == 0:
        return None
    return done.stderr.strip() or f"{command_line(argv)} exited with status {done.returncode}"


def check() -> None:
    """Raise ``HostUnfit`` unless a sealed process tree can be made here."""
    if reason := probe_namespaces():
        raise HostUnfit(f"a lab's namespaces can't be made: {reason}", hint=_hint(reason))


def _hint(reason: str) -> str:
    if "not installed" in reason:
        return "install util-linux"
    advice = [
        f"set {name} to {wanted}: sudo sysctl -w {name}={wanted}"
        for name, bad, wanted in (
            ("kernel.unprivileged_userns_clone", "0", "1"),
            ("user.max_user_namespaces", "0", "16384"),
            ("kernel.apparmor_restrict_unprivileged_userns", "1", "0"),
        )
        if _sysctl(name) == bad
    ]
    if not advice:
        advice = [
            "in a container, start it with --security-opt seccomp=unconfined "
            "--security-opt systempaths=unconfined (or --privileged)"
        ]
    return "; ".join(advice) + "; or run hooklab as root"


def _sysctl(name: str) -> str | None:
    try:
        return Path("/proc/sys", *name.split(".")).read_text().strip()
    except OSError:
        return None


# -- what ``unshare`` does


def enter_namespaces() -> None:
    """Enter the namespaces of ``namespace_options``; the next process forked is PID 1 in them.

    This process must have one thread. Raises ``SetupFailed``.
    """
    flags = _CLONE_NEWNS | _CLONE_NEWNET | _CLONE_NEWPID
    root, user, group = is_real_root(), os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flags if root else flags | _CLONE_NEWUSER) != 0:
        raise SetupFailed(f"a lab's namespaces can't be made: {os.strerror(ctypes.get_errno())}")
    if not root:
        Path("/proc/self/setgroups").write_text("deny")  # user_namespaces(7): before gid_map
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    mount(None, Path("/"), flags=_MS_REC | _MS_PRIVATE)


def mount_proc() -> None:
    """Mount a proc for this PID namespace, whose PID 1 this is. Raises ``SetupFailed``."""
    mount(None, _PROC, flags=_MS_REC | _MS_PRIVATE)
    mount("proc", _PROC, flags=MS_NOSUID_NODEV | _MS_NOEXEC)


def die_with(parent: int) -> None:
    """Be killed when the process ``parent``, which forked this one, ends; now, if it has."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() not in (parent, 0):  # 0: it is in another PID namespace
        os._exit(1)


def mount(kind: str | None, folder: Path, *options: str, flags: int) -> None:
    """Mount a file system with the first of ``options`` that the kernel knows.

    Without a ``kind`` change the flags of what is mounted. Raises ``SetupFailed``.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    for each in options or ("",):
        words = (b"hooklab", os.fsencode(folder), kind.encode() if kind else None)
        if libc.mount(*words, ctypes.c_ulong(flags), each.encode()) == 0:
            return
    reason = os.strerror(ctypes.get_errno())
    raise SetupFailed(f"{kind or 'nothing'} can't be mounted on {folder}: {reason}")
