"""What a registry gives that is not what was asked for, or does not come: layers and manifests."""

from __future__ import annotations

import re
from typing import Final

from harness.phases import Party
from harness.timeline import Event
from harness.verdict.phases import megabytes
from harness.verdict.rules.case import Case, Finding, quoted, times
from harness.verdict.rules.http import mute_client, unheard, who_is_slow
from harness.verdict.rules.words import error_in


def breaks_off(case: Case) -> Finding | None:
    """F57: answers that the registry itself did not finish, and never did later."""
    cuts = case.in_phase("registry.response.cut")
    if not cuts:
        return None
    last = cuts[-1]
    digest = str(last.get("path", "")).rpartition("/")[2]
    whole = [
        event
        for event in case.seen("registry.blob.served", "registry.manifest.served")
        if event.seq > last.seq and digest in (event.get("digest"), event.get("reference"))
    ]
    if whole:
        return None
    return Finding(
        blame=Party.REGISTRY,
        because=(
            f"the registry broke off {last.get('path')} after {last.get('bytes')} of"
            f" {last.get('length')} octets, {times(len(cuts))}"
        ),
        evidence=cuts[-5:],
        hint="is what stands before the registry, or its storage, in order?",
    )


_DONE: Final = (
    "registry.manifest.served",
    "registry.blob.served",
    "registry.request.failed",
    "registry.request.redirected",
    "registry.request.aborted",
    "registry.response.cut",
    "registry.auth.challenged",
    "registry.auth.refused",
    "registry.token.issued",
)


def _under_way(case: Case) -> list[Event]:
    """Return the requests for layers and manifests that have no end."""
    ended = {event.get("id") for event in case.in_phase(*_DONE)}
    return [
        event
        for event in case.in_phase("registry.request.received")
        if event.get("id") not in ended and _OF_AN_IMAGE.search(str(event.get("path")))
    ]


_OF_AN_IMAGE: Final = re.compile(r"/(?:blobs|manifests)/")
_STILL_S: Final = 25.0
"""An answer that moved no octet for so long stands still; TCP asks again far sooner."""


def stands_still(case: Case) -> Finding | None:
    """A layer that stops in its middle, on a connection that stays open, or comes too slowly.

    Docker waits for ever: it has no time limit on a layer.
    """
    return None if case.seen("guest.worker.started") else waits(case)


def waits(case: Case) -> Finding | None:
    """Judge a layer or manifest, of whichever image, that docker still waits for."""
    for request in reversed(_under_way(case)):
        progress = [
            event
            for event in case.in_phase("registry.blob.progressed")
            if event.get("id") == request.get("id")
        ]
        last = [request, *progress][-1]
        length = last.get("length")
        part = megabytes(last.get("bytes", 0)) + (f" of {megabytes(length)}" if length else "")
        silent_s = case.events[-1].t - last.t
        if silent_s >= _STILL_S:
            return Finding(
                blame=Party.REGISTRY,
                because=(
                    f"the registry sent nothing more of {request.get('path')} for {silent_s:.0f} s,"
                    f" after {part}, on a connection that stays open"
                ),
                evidence=[request, *progress[-3:]],
                hint="is what stands before the registry, or its storage, in order?",
            )
        if length and len(progress) > 1:
            party, why = who_is_slow(progress, Party.REGISTRY)
            return Finding(
                blame=party,
                because=f"{request.get('path')} was not through in time: {part}; {why}",
                evidence=[request, *progress[-3:]],
            )
    return None


def unreadable(case: Case) -> Finding | None:
    """What the registry gave is no manifest, or none for this machine."""
    failed = case.said("image pull failure")
    if not failed or case.seen("guest.worker.started"):
        return None
    line = str(failed[-1].get("line"))
    text = error_in(line) or line
    why = NO_MANIFEST.search(text)
    if why is None:
        return None
    return Finding(
        blame=Party.REGISTRY,
        because=(
            "docker can't use what the registry gave it for the worker's manifest,"
            f" {times(len(failed))}: {why[0].strip()}"
        ),
        evidence=[*case.seen("registry.manifest.served")[-2:], *failed[-3:]],
        hint=(
            "push the worker's image for this machine's processor too"
            if "no matching manifest" in why[0]
            else "does a proxy, a portal or a cache answer in the registry's place?"
        ),
        conclusive=True,
    )


NO_MANIFEST: Final = re.compile(
    r"(?:no matching manifest for|missing signature key|unsupported manifest|mediaType|"
    r"invalid character|(?:error|failed) (?:un)?marshal|unexpected end of JSON"
    r"|manifest verification"
    r"|content type|Content-Type).*"
)
"""What docker says of a manifest that is none, or none for this machine."""


def layer_refused(case: Case) -> Finding | None:
    """F57: a layer came, and docker can't take it; bootkit only logs that."""
    errors = case.said("layer refused")
    if not errors or case.seen("guest.worker.started"):
        return None
    return Finding(
        blame=Party.REGISTRY,
        because=(
            f"docker got a layer of the worker's image that is not what it should be:"
            f" {quoted(errors[-1].get('line'))}"
        ),
        evidence=[*case.seen("registry.blob.served")[-2:], *errors[-3:]],
        hint="does the digest of what the registry stores fit its name?",
        conclusive="digest" in str(errors[-1].get("line")),
    )


def not_heard(case: Case) -> Finding | None:
    """Judge what the registry or the machine sent, and the other one never had."""
    if case.seen("guest.worker.started"):
        return None
    return unheard(case, "registry") or mute_client(case, "registry")
