"""Where this host has Debian packages from, and what of that the embedded Hook is built with.

Hook is made of one release's packages, whatever the host is: a lab on Debian 13 boots the same
Hook as one on Debian 12. Mirror, keys and credentials are the host's; a host that is no Debian
names a mirror in ``HOOKLAB_DEBIAN_MIRROR``.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from harness.errors import HostUnfit

RELEASE: Final = "bookworm"
"""The release that Hook is built from: Debian 12."""
MIRROR_VARIABLE: Final = "HOOKLAB_DEBIAN_MIRROR"

_RELEASES: Final = frozenset(
    {"bullseye", "bookworm", "trixie", "forky", "duke", "sid"}
    | {"oldoldstable", "oldstable", "stable", "testing", "unstable"}
)
"""What a suite of Debian's begins with: a mirror of theirs has all that are supported."""
_PARTS: Final = frozenset({"", "updates", "security"})
"""Of a release: backports and proposed updates are for who asks for them."""
_KEYRINGS: Final = ("debian-archive-keyring.pgp", "debian-archive-keyring.gpg")
_ONE_LINE: Final = re.compile(
    r"^(?P<before>deb\s+(?:\[[^]]*\]\s+)?(?P<uri>\S+)\s+)"
    r"(?P<suite>\S+)(?P<after>\s+(?P<components>.+))$"
)
_SUITES_FIELD: Final = re.compile(
    r"^(?P<before>suites:[ \t]*)(?P<suites>.*(?:\n[ \t].*)*)$", re.IGNORECASE | re.MULTILINE
)


def debian_sources(
    etc: Path = Path("/etc/apt"), *, keyrings: Path = Path("/usr/share/keyrings")
) -> dict[str, str]:
    """Return the host's Debian sources, as files for a sources.list.d of ours.

    Other people's archives are left out when there are Debian's: they only cost time. When none
    looks like Debian's (a mirror under another name) all are kept. Whatever release the host
    follows, ours is asked for. Raises ``HostUnfit`` when a mirror is named and Debian's keys are
    not here.
    """
    if mirror := os.environ.get(MIRROR_VARIABLE):
        return {"mirror.sources": _stanza_of(mirror, keyrings)}
    stanzas, lines = _host_sources(etc)
    debian = [stanza for stanza in stanzas if _is_debian_stanza(stanza)]
    debian_lines = [line for line in lines if _is_debian_line(line)]
    if debian or debian_lines:
        stanzas, lines = debian, debian_lines
    stanzas = [told for stanza in stanzas if (told := _of_our_release(stanza))]
    lines = [told for line in lines if (told := _line_of_our_release(line))]
    files = {}
    if stanzas:
        files["host.sources"] = "\n\n".join(stanzas) + "\n"
    if lines:
        files["host.list"] = "\n".join(dict.fromkeys(lines)) + "\n"
    return files


def names_our_release(sources: dict[str, str]) -> bool:
    """Whether ``sources`` name our release: those of a mirror with suites of its own need not."""
    return any(RELEASE in text for text in sources.values())


def hint_for(sources: dict[str, str]) -> str:
    """Return what to do when ``sources`` did not serve what was asked of them."""
    if names_our_release(sources):
        return f"an archive with Debian's {RELEASE} must be reachable for the first build"
    return (
        f"the embedded Hook is built from packages of Debian's {RELEASE}, which this host's apt "
        f"has no archive of: name one, {MIRROR_VARIABLE}=http://…/debian (its keys are in the "
        "package debian-archive-keyring)"
    )


def _stanza_of(mirror: str, keyrings: Path) -> str:
    for name in _KEYRINGS:
        if (keyrings / name).is_file():
            break
    else:
        raise HostUnfit(
            f"{MIRROR_VARIABLE} names an archive of Debian's, whose keys are not in {keyrings}",
            hint="apt-get install debian-archive-keyring",
        )
    return (
        f"Types: deb\nURIs: {mirror}\nSuites: {RELEASE} {RELEASE}-updates\nComponents: main\n"
        f"Signed-By: {keyrings / name}\n"
    )


def _host_sources(etc: Path) -> tuple[list[str], list[str]]:
    stanzas: list[str] = []
    lines: list[str] = []
    folder = etc / "sources.list.d"
    # What this user may not read is none of theirs: a company's credentials stand in some.
    for path in filter(_readable, sorted(folder.glob("*.sources"))):
        for stanza in re.split(r"\n\s*\n", path.read_text()):
            kept = [line for line in stanza.splitlines() if not line.startswith("#")]
            if any(line.strip() for line in kept):
                stanzas.append("\n".join(kept).strip("\n"))
    for path in filter(_readable, (etc / "sources.list", *sorted(folder.glob("*.list")))):
        found = (line.strip() for line in path.read_text().splitlines())
        lines += [line for line in found if re.match(r"deb\s", line)]
    return stanzas, lines


def _readable(path: Path) -> bool:
    return path.is_file() and os.access(path, os.R_OK)


def _of_our_release(stanza: str) -> str | None:
    """Return ``stanza`` with the suites of our release; None when nothing of it is left."""
    match = _SUITES_FIELD.search(stanza)
    if match is None:
        return stanza
    ours = [told for suite in match["suites"].split() if (told := _suite_of_our_release(suite))]
    if match["suites"].strip() and not ours:
        return None
    suites = " ".join(dict.fromkeys(ours))
    return stanza[: match.start()] + match["before"] + suites + stanza[match.end() :]


def _line_of_our_release(line: str) -> str | None:
    match = _ONE_LINE.match(line)
    if match is None:  # a flat archive: it has no suite
        return line
    suite = _suite_of_our_release(match["suite"])
    return match["before"] + suite + match["after"] if suite else None


def _suite_of_our_release(suite: str) -> str | None:
    """Return ``trixie-updates`` as ``bookworm-updates``; what is no suite of Debian's as it is.

    None for what a build takes nothing from, as backports.
    """
    release, _, part = suite.partition("-")
    if release not in _RELEASES:
        return suite
    if part not in _PARTS:
        return None
    return f"{RELEASE}-{part}" if part else RELEASE


def _is_debian_stanza(stanza: str) -> bool:
    fields: dict[str, str] = {}
    name = ""
    for line in stanza.splitlines():
        if line[:1].isspace():
            fields[name] += " " + line.strip()
        else:
            name, _, value = line.partition(":")
            name = name.strip().lower()
            fields[name] = value.strip()
    if fields.get("enabled", "yes").lower() in ("no", "false"):
        return False
    if "deb" not in fields.get("types", "").split():
        return False
    uris = fields.get("uris", "").split()
    return "main" in fields.get("components", "").split() and any(map(_is_debian_uri, uris))


def _is_debian_line(line: str) -> bool:
    match = _ONE_LINE.match(line)
    return (
        match is not None and "main" in match["components"].split() and _is_debian_uri(match["uri"])
    )


def _is_debian_uri(uri: str) -> bool:
    return any(part.startswith("debian") for part in uri.split("/")[3:])
