"""What each phase looks like when it fails: small rules over the events, the surest first.

A rule returns a ``Finding`` only when the events prove it; what no rule proves is "not enough
evidence", said with what was seen last.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from harness.facts import is_artifact, is_boot_program, is_script, state_of
from harness.phases import Party, Phase
from harness.timeline import Event, named
from harness.verdict.phases import PhaseTracker, megabytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Who is to blame and why, with the events that prove it."""

    blame: Party
    because: str
    evidence: list[Event] = field(default_factory=list)
    hint: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What the rules look at."""

    events: Sequence[Event]
    tracker: PhaseTracker
    phase: Phase
    """Where the boot ended."""

    def seen(self, *names: str, stage: str | None = None) -> list[Event]:
        """Return the events with one of ``names``, of one DHCP stage when given."""
        found = named(self.events, *names)
        return [event for event in found if stage is None or event.get("stage") == stage]

    @property
    def here(self) -> list[Event]:
        """The events since the phase began."""
        span = self.tracker.span
        return [event for event in self.events if span is None or event.seq >= span.first_seq]

    def in_phase(self, *names: str) -> list[Event]:
        """Return the events with one of ``names`` since the phase began."""
        return named(self.here, *names)


Rule = Callable[[Case], Finding | None]


def find(case: Case) -> Finding:
    """Return the first finding of the rules for the phase the boot ended in."""
    for rule in (*_ANYWHERE, *_BY_PHASE.get(case.phase, ()), _console_error):
        finding = rule(case)
        if finding:
            return finding
    last = [event for event in case.events if not event.name.startswith(("lab.", "run."))][-3:]
    seen = f"; last seen: {last[-1].name}" if last else ""
    return Finding(
        blame=Party.UNKNOWN,
        because=f"not enough evidence for what went wrong in {case.phase.words}{seen}",
        evidence=last,
    )


# -- whatever the phase


def _panicked(case: Case) -> Finding | None:
    for event in case.seen("guest.panicked"):
        return Finding(
            blame=Party.KERNEL,
            because=f"the guest's kernel panicked: {event.get('line')}",
            evidence=[event],
        )
    return None


def _qemu_exited(case: Case) -> Finding | None:
    for event in case.seen("machine.exited"):
        if event.get("status"):
            lines = event.get("last_lines") or []
            tail = f": {lines[-1]}" if lines else ""
            return Finding(
                blame=Party.LAB,
                because=f"QEMU ended with status {event.get('status')}{tail}",
                evidence=[event],
            )
    return None


def _shut_down(case: Case) -> Finding | None:
    for event in case.seen("machine.shutdown"):
        if event.get("guest"):
            return Finding(
                blame=Party.HOOK if case.seen("guest.kernel.started") else Party.FIRMWARE,
                because=f"the machine switched itself off in {case.phase.words}",
                evidence=[event],
            )
    return None


def _console_error(case: Case) -> Finding | None:
    errors = case.in_phase("guest.error.seen")
    if not errors:
        return None
    return Finding(
        blame=Party.UNKNOWN,
        because=f"not enough evidence, but the console said: {_quoted(errors[-1].get('line'))}",
        evidence=errors[-5:],
    )


# -- DHCP, which three phases begin with


def _dhcp(case: Case, stages: tuple[str, ...], who: str, party: Party) -> Finding | None:
    """Judge a DHCP exchange of ``who``; None when it ended in an ACK."""

    def of(*names: str) -> list[Event]:
        return [event for event in case.seen(*names) if event.get("stage") in stages]

    if of("dhcp.ack.sent"):
        return None
    ignored = of("dhcp.ignored")
    asked = of("dhcp.discover.received", "dhcp.request.received")
    if ignored:
        return Finding(
            blame=Party.DHCP,
            because=f"DHCP did not answer {who}: {ignored[-1].get('reason')}",
            evidence=[*asked[-3:], *ignored[-3:]],
            hint="is there Hardware with this MAC, and does it allow DHCP and netboot?",
        )
    offers = of("dhcp.offer.sent")
    if offers and not of("dhcp.request.received"):
        return Finding(
            blame=Party.UNKNOWN,
            because=(
                f"{who} never took the OFFER ({_times(len(offers))} sent): not enough evidence"
                " whether it was lost or refused"
            ),
            evidence=[*asked[-3:], *offers[-3:]],
            hint="look for the OFFER in the capture",
        )
    if asked:
        return Finding(
            blame=Party.DHCP,
            because=f"{who} asked {_times(len(asked))} for an address and got no answer",
            evidence=asked[-5:],
        )
    return Finding(blame=party, because=f"{who} never asked for an address", evidence=case.here[:1])


# -- firmware


def _firmware_dhcp(case: Case) -> Finding | None:
    return _dhcp(case, ("firmware", "ipxe"), "the firmware", Party.FIRMWARE)


def _nothing_to_boot(case: Case) -> Finding | None:
    acks = [e for e in case.seen("dhcp.ack.sent") if e.get("stage") in ("firmware", "ipxe")]
    if not acks:
        return None
    file = str(acks[-1].get("file") or "")
    if not file or file.endswith("netboot-not-allowed"):
        return Finding(
            blame=Party.DHCP,
            because=f"DHCP gave the firmware an address but nothing to boot (file '{file}')",
            evidence=acks[-2:],
            hint="does its Hardware say allowPXE: true?",
        )
    return Finding(
        blame=Party.FIRMWARE,
        because=f"the firmware got {file} in its ACK, but never asked for it",
        evidence=acks[-2:],
    )


def _boot_program(case: Case) -> Finding | None:
    """Judge the download of the network boot program."""
    errors = [e for e in case.seen("tftp.error.sent") if is_boot_program(str(e.get("file")))]
    if errors:
        last = errors[-1]
        return Finding(
            blame=Party.TFTP,
            because=f"TFTP refused {last.get('file')}: {last.get('text')}",
            evidence=errors[-5:],
        )
    bad = _http_errors(case, lambda path: path.startswith("/ipxe/binary/"))
    if bad:
        return bad
    lost = case.seen("tftp.transfer.timed_out")
    if lost:
        return Finding(
            blame=Party.UNKNOWN,
            because=(
                f"the firmware went silent after {megabytes(lost[-1].get('bytes', 0))} of"
                f" {lost[-1].get('file')}: not enough evidence whether it or the network stopped"
            ),
            evidence=lost[-5:],
        )
    aborted = [e for e in case.seen("tftp.transfer.aborted") if e.get("bytes")]
    if aborted:
        return Finding(
            blame=Party.FIRMWARE,
            because=f"the firmware broke off {aborted[-1].get('file')}: {aborted[-1].get('text')}",
            evidence=aborted[-5:],
        )
    return None


# -- iPXE, kernel and initramfs


def _http_errors(case: Case, about: Callable[[str], bool]) -> Finding | None:
    bad = [
        event
        for event in case.seen("http.response.finished")
        if event.get("status", 200) >= 400 and about(str(event.get("path", "")))
    ]
    if not bad:
        return None
    last = bad[-1]
    times = f", {_times(len(bad))}" if len(bad) > 1 else ""
    return Finding(
        blame=Party.HTTP,
        because=f"HTTP answered {last.get('status')} for {last.get('path')}{times}",
        evidence=bad[-5:],
    )


def _ipxe(case: Case) -> Finding | None:
    script = _http_errors(case, is_script)
    if script:
        return script
    scripts = case.seen("http.script.served")
    if scripts:
        return Finding(
            blame=Party.IPXE,
            because="iPXE got its script, but asked for nothing that it names",
            evidence=scripts[-2:],
        )
    dhcp = _dhcp(case, ("tinkerbell",), "iPXE", Party.IPXE)
    if dhcp:
        return dhcp
    return Finding(
        blame=Party.IPXE,
        because="iPXE has an address, but never asked for its script",
        evidence=case.seen("dhcp.ack.sent", stage="tinkerbell")[-2:],
    )


def _artifacts(case: Case) -> Finding | None:
    bad = _http_errors(case, is_artifact)
    if bad:
        return bad
    aborted = [e for e in case.seen("http.response.aborted") if is_artifact(str(e.get("path")))]
    if aborted:
        last = aborted[-1]
        length = f" of {megabytes(last['length'])}" if last.get("length") else ""
        return Finding(
            blame=Party.UNKNOWN,
            because=(
                f"iPXE left after {megabytes(last.get('bytes', 0))}{length} of {last.get('path')}:"
                " not enough evidence why"
            ),
            evidence=aborted[-5:],
        )
    under_way = case.tracker.transfer
    if under_way and under_way.length_bytes:
        return Finding(
            blame=Party.NETWORK,
            because=(
                f"{under_way.name} was not through in time:"
                f" {megabytes(under_way.done_bytes)} of {megabytes(under_way.length_bytes)}"
            ),
            evidence=case.in_phase("http.transfer.progressed")[-3:],
        )
    done = [
        event
        for event in case.seen("http.response.finished")
        if is_artifact(str(event.get("path")))
    ]
    if done:
        return Finding(
            blame=Party.IPXE,
            because=f"iPXE got {done[-1].get('path')} and asked for nothing after it",
            evidence=done[-3:],
        )
    return None


# -- Hook


def _hook_boot(case: Case) -> Finding | None:
    if not case.seen("guest.kernel.started"):
        spoke = case.in_phase("console.line.seen")
        if case.seen("dhcp.discover.received", stage="guest"):
            return None
        said = f"; the console said last: {_quoted(spoke[-1].get('text'))}" if spoke else ""
        return Finding(
            blame=Party.KERNEL,
            because=f"kernel and initramfs were fetched, but no kernel spoke on a console{said}",
            evidence=[*case.here[:1], *spoke[-3:]],
            hint="is the kernel for this architecture, and is there a console= for ttyS0 or ttyS1?",
        )
    dhcp = _dhcp(case, ("guest",), "Hook", Party.HOOK)
    if dhcp:
        return dhcp
    last = case.in_phase("guest.service.started", "guest.init.started", "guest.error.seen")
    errors = case.in_phase("guest.error.seen")
    reason = f": {_quoted(errors[-1].get('line'))}" if errors else ""
    return Finding(
        blame=Party.HOOK,
        because=f"Hook has an address, but its docker engine never came up{reason}",
        evidence=last[-5:],
    )


# -- worker pull


def _registry_tls(case: Case) -> Finding | None:
    said = [
        event
        for event in case.seen("guest.error.seen")
        if "server gave HTTP response to HTTPS client" in str(event.get("line"))
    ]
    if said:
        return Finding(
            blame=Party.REGISTRY,
            because=f"the registry has no TLS and Hook was not told: {_quoted(said[-1]['line'])}",
            evidence=said[-5:],
            hint="add the registry to insecure_registries, or serve TLS",
        )
    failed = case.seen("registry.tls.failed")
    requests = case.seen("registry.request.received")
    # An engine with an insecure registry tries TLS first and then falls back: no failure.
    if failed and not (requests and requests[-1].seq > failed[-1].seq):
        return Finding(
            blame=Party.REGISTRY,
            because=f"no TLS connection to the registry came about: {failed[-1].get('reason')}",
            evidence=failed[-5:],
            hint="does Hook trust the registry's certificate, or list it in insecure_registries?",
        )
    return None


def _registry_answers(case: Case) -> Finding | None:
    refused = case.seen("registry.auth.refused")
    if refused:
        return Finding(
            blame=Party.REGISTRY,
            because=f"the registry refused the credentials for {refused[-1].get('path')}",
            evidence=refused[-5:],
            hint="compare registry_username and registry_password with the registry's",
        )
    failed = [e for e in case.seen("registry.request.failed") if e.get("status") != 401]
    if failed:
        last = failed[-1]
        return Finding(
            blame=Party.REGISTRY,
            because=(
                f"the registry answered {last.get('status')} {last.get('code') or ''}".rstrip()
                + f" for {last.get('path')}, {_times(len(failed))}"
            ),
            evidence=failed[-5:],
        )
    challenged = case.seen("registry.auth.challenged")
    if challenged and not case.seen("registry.manifest.served"):
        return Finding(
            blame=Party.HOOK,
            because="the registry asked for credentials and Hook came with none",
            evidence=challenged[-5:],
            hint="say registry_username and registry_password on the kernel command line",
        )
    return None


_UNREACHED: Final = re.compile(
    r"dial tcp [^\"\\]*?: (connect: [a-z ]+|i/o timeout)|lookup [^\"\\]*?: (no such host|[a-z ]+)"
)


def _registry_unreached(case: Case) -> Finding | None:
    """Judge what docker said about a registry that never heard of it."""
    if case.seen("registry.request.received", "registry.tls.failed"):
        return None
    said = [
        (event, found)
        for event in case.in_phase("guest.error.seen")
        if (found := _UNREACHED.search(str(event.get("line"))))
    ]
    if not said:
        return None
    text = said[-1][1][0]
    blame, hint = Party.NETWORK, "look for the SYN in the capture"
    if "network is unreachable" in text:
        blame, hint = Party.HOOK, "did Hook take its address and route? see dhcpcd on the console"
    elif "connection refused" in text:
        blame, hint = Party.REGISTRY, "does the registry listen where the kernel arguments say?"
    elif text.startswith("lookup"):
        blame, hint = Party.HOOK, "is the name in the lab's DNS, and did Hook take its name server?"
    return Finding(
        blame=blame,
        because=f"docker never reached the registry, {_times(len(said))}: {text}",
        evidence=[event for event, _ in said[-5:]],
        hint=hint,
    )


def _worker_silent(case: Case) -> Finding | None:
    if not case.seen("registry.request.received"):
        return Finding(
            blame=Party.HOOK,
            because="docker is up, but nobody asked the registry for the worker",
            evidence=case.seen("guest.docker.started", "guest.bootkit.started")[-2:],
            hint="are docker_registry or tink_worker_image on the kernel command line?",
        )
    blobs = case.seen("registry.manifest.served", "registry.blob.served")
    if blobs:
        return Finding(
            blame=Party.UNKNOWN,
            because=(
                "the worker's image was served, but no worker started and none called Tinkerbell:"
                " not enough evidence why"
            ),
            evidence=blobs[-5:],
        )
    return None


# -- workflow


def _tink_connection(case: Case) -> Finding | None:
    failed = case.seen("tink.connection.failed")
    if failed and not case.seen("tink.rpc.received"):
        return Finding(
            blame=Party.TINK,
            because=f"the worker's connection never became gRPC: {failed[-1].get('reason')}",
            evidence=failed[-5:],
            hint="does tinkerbell_tls on the kernel command line fit the server?",
        )
    return None


def _action_failed(case: Case) -> Finding | None:
    for event in case.seen("tink.action.reported"):
        state = state_of(event)
        if state not in ("FAILED", "TIMEOUT"):
            continue
        missing = case.in_phase("registry.request.failed")
        if missing and state == "FAILED":
            return Finding(
                blame=Party.REGISTRY,
                because=(
                    f"action '{event.get('action')}' failed, its image could not be pulled:"
                    f" {missing[-1].get('status')} for {missing[-1].get('path')}"
                ),
                evidence=[*missing[-3:], event],
            )
        what = "timed out" if state == "TIMEOUT" else "failed"
        message = f": {event.get('message')}" if event.get("message") else ""
        return Finding(
            blame=Party.ACTION,
            because=f"action '{event.get('action')}' {what}{message}",
            evidence=[event],
        )
    return None


def _no_work(case: Case) -> Finding | None:
    contexts = case.seen("tink.contexts.sent")
    if contexts and not any(event.get("workflows") for event in contexts):
        return Finding(
            blame=Party.TINK,
            because=f"there is no workflow for worker {contexts[-1].get('worker_id')}",
            evidence=contexts[-3:],
            hint="the template's worker must be the worker's id, byte by byte",
        )
    return None


def _workflow_stuck(case: Case) -> Finding | None:
    if not case.seen("tink.rpc.received"):
        return Finding(
            blame=Party.WORKER,
            because="the worker was started, but never called Tinkerbell",
            evidence=case.seen("guest.worker.started")[-1:],
            hint="is grpc_authority on the kernel command line, and can it be reached?",
        )
    reports = case.seen("tink.action.reported")
    running = [event for event in reports if state_of(event) == "RUNNING"]
    if reports and state_of(reports[-1]) == "RUNNING":
        last = reports[-1]
        return Finding(
            blame=Party.ACTION,
            because=f"action '{last.get('action')}' was still running when the run was given up",
            evidence=[last],
        )
    calls = case.seen("tink.rpc.received")
    after = f" after action '{running[-1].get('action')}'" if running else ""
    return Finding(
        blame=Party.WORKER,
        because=f"the worker did nothing more{after}".rstrip()
        + f"; its last call: {calls[-1].get('rpc')}",
        evidence=calls[-3:],
    )


_ANYWHERE: Final[tuple[Rule, ...]] = (_panicked, _qemu_exited, _shut_down)
_BY_PHASE: Final[dict[Phase, tuple[Rule, ...]]] = {
    Phase.FIRMWARE_DHCP: (_firmware_dhcp, _boot_program, _nothing_to_boot),
    Phase.NBP_DOWNLOAD: (_boot_program,),
    Phase.IPXE: (_ipxe,),
    Phase.KERNEL_INITRAMFS: (_artifacts,),
    Phase.HOOK_BOOT: (_hook_boot,),
    Phase.WORKER_PULL: (
        _registry_tls,
        _registry_answers,
        _registry_unreached,
        _worker_silent,
    ),
    Phase.WORKFLOW: (_tink_connection, _action_failed, _no_work, _workflow_stuck),
}


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def _quoted(line: object) -> str:
    text = str(line).strip()
    return f"“{text[:157]}…”" if len(text) > 158 else f"“{text}”"
