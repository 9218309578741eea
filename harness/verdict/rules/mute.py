"""A registry that takes connections and gives no answer: only docker tells of it."""

from __future__ import annotations

import re
from typing import Final

from harness.phases import Party
from harness.verdict.rules.case import Case, Finding, times


def registry_mute(case: Case) -> Finding | None:
    """Judge what docker says of a registry that it reached, and that did not answer."""
    served = max((event.seq for event in case.seen("registry.manifest.served")), default=0)
    said = [
        (event, found)
        for event in case.in_phase("guest.error.seen")
        if event.seq > served and (found := _GOT_NOTHING.search(str(event.get("line"))))
    ]
    if not said:
        return None
    url, why = said[-1][1]["url"], said[-1][1]["why"]
    evidence = [event for event, _ in said[-3:]]
    if "waiting for connection" in why:
        return Finding(
            blame=Party.LINK,
            because=f"docker's connection to {url} never came about, {times(len(said))}: {why}",
            evidence=evidence,
            hint="look for the SYN in the capture: a firewall between them drops it",
        )
    return Finding(
        blame=Party.REGISTRY,
        because=(
            f"the registry takes docker's connection and does not answer, {times(len(said))}:"
            f" {url}: {why}"
        ),
        evidence=[*case.in_phase("registry.request.received")[-1:], *evidence],
        hint="is it overloaded, or is there a proxy before it whose registry is gone?",
    )


_GOT_NOTHING: Final = re.compile(
    r'Get \\*"(?P<url>https?://[^"\\]+)\\*": (?P<why>[^"\\]*(?:\(Client\.Timeout exceeded while'
    r" awaiting headers\)|TLS handshake timeout)|EOF)"
)
"""Go, net/http, transport.go and client.go."""
