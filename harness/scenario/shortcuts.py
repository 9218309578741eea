"""What a boot may skip: named, each to be switched by itself, and never what a scenario tests.

``profile: fast`` takes them all, ``faithful`` only the one that answers as a network does whose
router speaks IPv6. One that would take away what a fault strikes, or what a setting is about, is
left out with a word of it; when the scenario asks for it by name, that is a mistake in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from harness.scenario.loader import LoadedScenario
from harness.scenario.models.scenario import ShortcutName


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortcut:
    """One wait or detour that a boot is spared."""

    name: ShortcutName
    what: str
    """How it is done, in a line."""
    saves: str
    profiles: tuple[Literal["faithful", "fast"], ...] = ("fast",)
    """Which profiles have it."""
    places: frozenset[str] = frozenset()
    """A fault at one of these strikes what it skips or changes."""


SHORTCUTS: Final = (
    Shortcut(
        name="answered routers",
        what="Router Solicitations are answered: no prefix, lifetime 0",
        saves="13 s of a NIC's iPXE of 2019 (BIOS)",
        profiles=("faithful", "fast"),
    ),
    Shortcut(
        name="no proxy wait",
        what="DHCP option 175.176: iPXE waits for no ProxyDHCP offer",
        saves="3 s each time that iPXE asks",
        places=frozenset({"dhcp", "wire"}),
    ),
    Shortcut(
        name="script at once",
        what="a NIC's own iPXE gets the script, not Tinkerbell's iPXE first",
        saves="30 s of a BIOS boot: the second iPXE, its prompt, and downloads by UNDI",
        places=frozenset({"dhcp", "tftp", "wire"}),
    ),
    Shortcut(
        name="large blocks",
        what="TFTP blocks of up to 65464 octets",
        saves="1 s of a UEFI boot",
        places=frozenset({"tftp", "wire"}),
    ),
    Shortcut(
        name="agent answered",
        what="a tink-agent without work is answered at once, not after a minute",
        saves="up to a minute at the end",
        places=frozenset({"tink"}),
    ),
)


def resolve_shortcuts(loaded: LoadedScenario) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of the shortcuts that are taken, and a line for each that had to go.

    Raises ``ScenarioError`` for one that is asked for by name and can't be had.
    """
    scenario = loaded.scenario
    taken, dropped = [], []
    for shortcut in SHORTCUTS:
        asked = scenario.shortcuts.get(shortcut.name)
        wanted = scenario.profile in shortcut.profiles if asked is None else asked
        if not wanted:
            continue
        against = next(_against(loaded, shortcut), None)
        if against is None:
            taken.append(shortcut.name)
        elif asked:
            raise loaded.error(
                f"shortcuts: {shortcut.name!r} can't be taken: {against}",
                ("shortcuts", shortcut.name),
                hint=f"it is {shortcut.what}; leave it out",
            )
        else:
            dropped.append(f"shortcut {shortcut.name!r} is left out: {against}")
    return tuple(taken), tuple(dropped)


def _against(loaded: LoadedScenario, shortcut: Shortcut) -> Iterator[str]:
    scenario = loaded.scenario
    if scenario.stack == "smee" and shortcut.name not in ("answered routers", "agent answered"):
        yield "the real smee serves"
    if shortcut.name == "no proxy wait" and scenario.dhcp.mode != "reservation":
        yield "a proxy is what this scenario boots by"
    if shortcut.name == "script at once" and scenario.http.scheme == "https":
        yield "what Tinkerbell's iPXE trusts is not what a NIC's own does"
    for fault in scenario.faults:
        if fault.place in shortcut.places:
            yield f"a fault is at {fault.place}"


def page() -> str:
    """Return ``SHORTCUTS.md``."""
    rows = "\n".join(
        f"| `{one.name}` | {', '.join(one.profiles)} | {one.what} | {one.saves} "
        f"| {', '.join(sorted(one.places)) or '-'} |"
        for one in SHORTCUTS
    )
    return _PAGE.format(rows=rows)


_PAGE: Final = """\
# Shortcuts

What a boot may skip. `profile: fast` takes all of them, `faithful` (the default) the first. Each is
switched by itself, whatever the profile says:

```yaml
profile: fast
shortcuts: {{script at once: false}}
```

| shortcut | profiles | how | saves | left out when a fault is at |
|---|---|---|---|---|
{rows}

None may take away what a scenario tests: one that would is left out, and the run says so; asked for
by name it is a mistake in the scenario. `no proxy wait` is left out too where a proxy is what the
machine boots by, `script at once` where the script comes by HTTPS, which Tinkerbell's iPXE trusts
by its own rules. `stack: smee` has none but the first and the last. A run that takes more or less
than `faithful` names its shortcuts, and its `scenario.lock.yaml` lists them.

HTTP is served without copies, and kernel and initramfs are what they always are, in both profiles.
"""
