"""Actions of the workflow that end badly: why, by what they and their worker say."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from harness.facts import is_metadata, state_of
from harness.phases import Party
from harness.timeline import Event
from harness.verdict.rules import arguments, dns, layers
from harness.verdict.rules.case import Case, Finding, quoted, repeated
from harness.verdict.rules.http import is_final
from harness.verdict.rules.link import CABLE_HINT, lost_between
from harness.verdict.rules.registry import broken_off, refusals
from harness.verdict.rules.words import cannot_call, errors, last_attempt, of_the_action


def action_failed(case: Case) -> Finding | None:
    """F53, F55, F69, F71, F72: an action that did not end well, and what its worker says of it."""
    for event in case.seen("tink.action.reported"):
        state = state_of(event)
        if state not in ("FAILED", "TIMEOUT"):
            continue
        action = event.get("action")
        began = [
            one
            for one in case.seen("tink.action.reported")
            if one.seq < event.seq and one.get("action") == action and state_of(one) == "RUNNING"
        ]
        since = began[-1].seq if began else case.here[0].seq
        told = [one for one in errors(case, after=since) if cannot_call(one[0]) is None]
        message = last_attempt(str(event.get("message") or ""))
        own = of_the_action(case, after=since)
        words = next((text for _, text in reversed(told) if "report" not in text), "") or message
        if own:
            words = str(own[-1].get("message")).strip()
        evidence = [event, *(one for one, _ in told[-2:]), *own[-2:]]
        missing = refusals(case, since, event.seq)
        if state == "TIMEOUT":
            return _timed_out(case, event, since, evidence)
        if missing:
            return Finding(
                blame=Party.REGISTRY,
                because=(
                    f"action '{action}' failed, its image could not be pulled:"
                    f" {missing[-1].get('status')} for {missing[-1].get('path')}"
                ),
                evidence=[*missing[-3:], event],
                hint=(
                    "tink-worker puts docker_registry in front of every image, tink-agent does not"
                ),
                conclusive=is_final(missing[-1].get("status")),
            )
        cut = layers.breaks_off(case) if "No such image" in words else None
        if cut:
            because = f"action '{action}' failed, its image could not be pulled: {cut.because}"
            return replace(cut, because=because, evidence=[*cut.evidence, event])
        if "No such image" in words:
            given_up = broken_off(case, after=since)
            if given_up:
                return Finding(
                    blame=Party.REGISTRY,
                    because=(
                        f"action '{action}' failed, docker gave up the pull of its image:"
                        f" {given_up[-1][1]}"
                    ),
                    evidence=[*(one for one, _ in given_up[-2:]), event],
                    hint="docker's answer to a pull is OK even when it breaks off in the middle",
                    conclusive="digest" in given_up[-1][1],
                )
        metadata = _metadata_failed(case, event, since)
        if metadata:
            return metadata
        said = f": {words}" if words else ""
        lost = lost_between(case, since, event.seq)
        if lost and (not words or _WAITED.search(words)):
            return Finding(
                blame=Party.LINK,
                because=(
                    f"action '{action}' failed, and meanwhile the machine's link lost its carrier"
                    f"{repeated(lost)}{said}"
                ),
                evidence=[*lost[-3:], event],
                hint=CABLE_HINT,
            )
        unknown = dns.name_in(case, words, evidence)
        if unknown:
            because = f"action '{action}' failed, and {unknown.because}"
            return replace(unknown, because=because)
        no_name = arguments.NO_REFERENCE.search(words) and arguments.no_image_name(case, evidence)
        misled = no_name or arguments.wrong_place(case, words, event)
        if misled:
            return replace(misled, because=f"action '{action}' failed: {misled.because}")
        ended = _ended_by_itself(case, event, since, words)
        for pattern, blame, hint in _REASONS:
            if pattern.search(words):
                return Finding(
                    blame=blame,
                    because=f"action '{action}' failed{said}",
                    evidence=evidence,
                    hint=hint,
                    conclusive=ended,
                )
        disk = case.said("disk error")
        if disk:
            return Finding(
                blame=Party.DISK,
                because=f"action '{action}' failed, and the disk does: {quoted(disk[0]['line'])}",
                evidence=[*disk[:3], event],
                conclusive=ended,
            )
        return Finding(
            blame=Party.ACTION,
            because=f"action '{action}' failed{said}",
            evidence=evidence,
            conclusive=ended,
        )
    return None


def _ended_by_itself(case: Case, event: Event, since: int, words: str) -> bool:
    """Whether an action's program ran, ended with a status, and speaks of nothing it waited for.

    tink-agent v0.25.0 (docker.go) tells of a status when it reports, tink-worker v0.12.2
    (worker.go) in its log, which may come a little later.
    """
    told = [
        str(one.get("message"))
        for one in case.seen("syslog.message.received")
        if one.seq > since and one.t <= event.t + _LATE_S
    ]
    texts = [words, str(event.get("message") or ""), *told]
    return not _WAITED.search(words) and any(_STATUS.search(text) for text in texts)


_STATUS: Final = re.compile(
    r"\bnon.?(?:0|zero) exit\b|\bexit(?:ed)?(?: with)?(?: status| code)? [1-9]"
    r'|"action container exited"'
)
_WAITED: Final = re.compile(
    r"time[ds]?[ -]?out|deadline|too long|[Tt]emporary failure|no such host|unreachable|no route"
    r"|connection (?:reset|refused|closed)|\bEOF\b",
    re.IGNORECASE,
)
_LATE_S: Final = 5.0


def _metadata_failed(case: Case, event: Event, since: int) -> Finding | None:
    """F80: an action that asked who its machine is, and was told an error."""
    bad = [
        one
        for one in case.seen("http.response.finished")
        if since < one.seq < event.seq
        and is_metadata(str(one.get("path")))
        and one.get("status", 200) >= 400
    ]
    if not bad:
        return None
    last = bad[-1]
    return Finding(
        blame=Party.HTTP,
        because=(
            f"action '{event.get('action')}' failed, and the metadata service had answered"
            f" {last.get('status')} for {last.get('path')}{repeated(bad)}"
        ),
        evidence=[*bad[-3:], event],
        hint=(
            "it knows machines by the address that a request comes from: is that in a Hardware, and"
            " is there a NAT between?"
        ),
        conclusive=is_final(last.get("status")),
    )


_REASONS: Final = (
    (
        re.compile(r"127\.0\.0\.1(?::\d+)?/embedded|127\.0\.0\.1/"),
        Party.HOOK,
        "the image is to be in Hook itself; was this Hook built with it? (F55)",
    ),
    (
        re.compile(f"(?:Error response from daemon|DOCKER PULL): .*{layers.NO_MANIFEST.pattern}"),
        Party.REGISTRY,
        "does the image fit this machine's processor, and does a proxy, a portal or a cache answer"
        " in the registry's place?",
    ),
    (
        re.compile(r"No such image"),
        Party.REGISTRY,
        "its pull broke off in the middle; docker says on the console why",
    ),
    (
        re.compile(r"/dev/\S+: no such (?:file or directory|device)"),
        Party.DISK,
        "names follow kind and order, links by-id need a serial number (F74); and was the kernel"
        " told to read the partition table again (F73)?",
    ),
    (
        re.compile(r"/dev/\S+: (?:input/output error|no space left on device)"),
        Party.DISK,
        "what does the kernel say of it on the console?",
    ),
    (
        re.compile(r"exec format error", re.IGNORECASE),
        Party.TEMPLATE,
        "is the image for this architecture, and its program a program? (F72)",
    ),
    (
        re.compile(r"no such file or directory.*|bind source path does not exist|invalid mount"),
        Party.TEMPLATE,
        "does each volume's source exist in Hook, and each program in the image? (F71)",
    ),
    (
        re.compile(r"lookup .*no such host|[Tt]emporary failure in name resolution"),
        Party.DNS,
        "which name server does the container see? (F71)",
    ),
    (
        re.compile(
            r"[Pp]ull.*(?:x509|HTTP response to HTTPS|unauthorized|denied|connection refused)"
        ),
        Party.REGISTRY,
        "docker pulls action images as it pulls the worker: see the registry's settings",
    ),
    (re.compile(r"pull.*(?:i/o timeout|no route)"), Party.LINK, "see the SYN in the capture"),
    (
        re.compile(r"[Pp]ull.*(?:connection reset by peer|\bEOF\b|(?:Get|Head) \\?\"https?://)"),
        Party.REGISTRY,
        "docker pulls action images as it pulls the worker: was the registry up all the time?",
    ),
)
"""What a worker's words tell of the culprit, the surest first."""


def still_pulled(case: Case, action: str, what: str = "waits") -> Finding | None:
    """Judge an action whose image docker still waits for."""
    waiting = layers.waits(case)
    if waiting is None:
        return None
    return replace(waiting, because=f"action '{action}' {what} for its image: {waiting.because}")


def _crawls(use: Event, took_s: float) -> bool:
    """Whether a disk kept an action waiting for most of the time that it took."""
    return _each_s(use) >= _CRAWLS_S and float(use.get("waited_s") or 0) >= took_s / 2


def _each_s(use: Event) -> float:
    return float(use.get("waited_s") or 0) / max(int(use.get("operations") or 0), 1)


def _pace(use: Event) -> str:
    moved = int(use.get("read_bytes") or 0) + int(use.get("written_bytes") or 0)
    return (
        f"disk {use.get('disk')} took {_each_s(use):.1f} s for each of its {use.get('operations')}"
        f" operations ({moved / 1e3:.0f} kB in all)"
    )


_CRAWLS_S: Final = 0.5
"""An operation of a disk that is well takes some 10 ms at most."""


def _timed_out(case: Case, event: Event, since: int, evidence: list[Event]) -> Finding:
    """F69: tink-agent's timeout counts the pull as well, tink-worker's does not."""
    pulled = [
        one
        for one in case.seen("registry.blob.served", "registry.blob.progressed")
        if since < one.seq < event.seq
    ]
    agent = bool(case.seen("tink.action.sent"))
    part = "; its image was still being pulled" if pulled and agent else ""
    began = next((one.t for one in case.events if one.seq == since), event.t)
    waiting = still_pulled(case, str(event.get("action")), "timed out, and waits")
    if waiting:
        return replace(waiting, evidence=[*waiting.evidence, event])
    crawls = [use for use in case.seen("disk.measured") if _crawls(use, event.t - began)]
    if crawls and not part:
        return Finding(
            blame=Party.DISK,
            because=f"action '{event.get('action')}' timed out, and {_pace(crawls[0])}",
            evidence=[*evidence, *crawls[:1]],
            hint="is the disk failing, or its time too short for a disk as slow?",
        )
    message = f": {event.get('message')}" if event.get("message") else ""
    return Finding(
        blame=Party.ACTION,
        because=f"action '{event.get('action')}' timed out{message}{part}",
        evidence=[*evidence, *(pulled[-1:] if agent else [])],
        hint="give it more time: its timeout"
        + (" has to last for pull and run, and 0 is none at all" if agent else " is for the run"),
    )
