"""The pull of the worker: TLS, credentials, what is missing, what never arrived."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final
from urllib.parse import urlsplit

from harness.phases import Party, Phase
from harness.timeline import Event
from harness.verdict.rules import arguments, clock, dns, layers, services
from harness.verdict.rules.address import no_address
from harness.verdict.rules.case import Case, Finding, Rule, argument, lines_with, quoted, times
from harness.verdict.rules.dhcp import lease_elsewhere, lease_lost
from harness.verdict.rules.hook import docker_ends
from harness.verdict.rules.http import is_final
from harness.verdict.rules.mute import registry_mute
from harness.verdict.rules.words import error_in

_PLAIN: Final = "server gave HTTP response to HTTPS client"  # Go net/http, transport.go
NO_TLS_SPOKEN: Final = "plain HTTP on the TLS port"
"""What docker could not say with TLS it tries to say without, at an insecure registry."""
_X509: Final = re.compile(r"x509: [^\"\\]+")
_X509_HINT: Final = (
    "Hook offers no way to add a CA: list the registry in insecure_registries, or give it a"
    " certificate of a public one; see the clock if the certificate itself is right"
)
_DATES_HINT: Final = (
    "no clock is to blame, by the true time its dates are wrong as well: renew the certificate, or"
    " list the registry in insecure_registries"
)


def _registry_tls(case: Case) -> Finding | None:
    """F50, F51: plain HTTP where TLS is expected, and certificates that docker refuses."""
    said = [event for event in case.seen("guest.error.seen") if _PLAIN in str(event.get("line"))]
    if said:
        return Finding(
            blame=Party.REGISTRY,
            because=f"the registry has no TLS and Hook was not told: http: {_PLAIN}",
            evidence=said[-5:],
            hint="add the registry to insecure_registries, or serve TLS",
            conclusive=not case.seen("registry.manifest.served"),
        )
    refused = [
        event for event in case.seen("guest.error.seen") if "x509: " in str(event.get("line"))
    ]
    if refused and not case.seen("registry.manifest.served"):
        line = str(refused[-1]["line"])
        why = _X509.search(line)
        return Finding(
            blame=Party.REGISTRY,
            because=f"docker refuses the registry's certificate: {why[0] if why else 'x509'}",
            evidence=[*case.seen("registry.tls.failed")[-2:], *refused[-3:]],
            hint=_DATES_HINT if clock.dates_are_wrong(case, refused[-1], line) else _X509_HINT,
            conclusive=True,
        )
    failed = case.seen("registry.tls.failed")
    requests = case.seen("registry.request.received")
    # An engine with an insecure registry tries TLS first and then falls back: no failure.
    if (
        failed
        and not (requests and requests[-1].seq > failed[-1].seq)
        and not _by_proxy(case, after=failed[0].seq)
    ):
        # Of an insecure registry that has TLS, each try without it is told as well.
        told = [one for one in failed if one.get("reason") != NO_TLS_SPOKEN] or failed
        return Finding(
            blame=Party.REGISTRY,
            because=f"no TLS connection to the registry came about: {told[-1].get('reason')}",
            evidence=told[-5:],
            hint="does Hook trust the registry's certificate, or list it in insecure_registries?",
        )
    return None


def _by_proxy(case: Case, *, after: int) -> list[Event]:
    """Return where docker says that it can't reach its proxy; without TLS, it asks there."""
    return [
        event
        for event in case.in_phase("guest.error.seen")
        if event.seq > after and "proxyconnect" in str(event.get("line"))
    ]


_REALM: Final = re.compile(
    r"(?P<url>https?://[^\"\\? ]+)\?[^\" ]*scope=[^\" ]*\": (?P<why>[^\"\\]+)"
)


def _registry_answers(case: Case) -> Finding | None:
    """F54, F55: what the registry refuses."""
    refused = case.seen("registry.auth.refused")
    served = case.seen("registry.manifest.served")
    if refused and not (served and served[-1].seq > refused[-1].seq):
        return Finding(
            blame=Party.REGISTRY,
            because=f"the registry refused the credentials for {refused[-1].get('path')}",
            evidence=refused[-5:],
            hint="compare registry_username and registry_password with the registry's",
            conclusive=True,
        )
    failed = refusals(case, 0, case.events[-1].seq)
    if failed:
        last = failed[-1]
        return Finding(
            blame=Party.REGISTRY,
            because=(
                f"the registry answered {last.get('status')} {last.get('code') or ''}".rstrip()
                + f" for {last.get('path')}, {times(len(failed))}"
            ),
            evidence=failed[-5:],
            conclusive=is_final(last.get("status")),
        )
    challenged = case.seen("registry.auth.challenged")
    realm = [
        (event, found)
        for event in case.in_phase("guest.error.seen")
        if challenged
        and event.seq > challenged[0].seq
        and (found := _REALM.search(str(event.get("line"))))
    ]
    if realm and not case.seen("registry.token.issued"):
        return Finding(
            blame=Party.REGISTRY,
            because=(
                "the registry sends its clients for a token to a place that docker can't reach,"
                f" {times(len(realm))}: {realm[-1][1]['url']}: {realm[-1][1]['why']}"
            ),
            evidence=[*challenged[-2:], *(event for event, _ in realm[-3:])],
            hint="does the realm in WWW-Authenticate name a host that the machine can reach?",
        )
    # what stands before the registry, or in its place, challenges as well
    challenged = challenged or [
        event for event in case.seen("registry.request.failed") if event.get("status") == 401
    ]
    if challenged and not case.seen("registry.manifest.served"):
        if argument(case, "registry_username") and argument(case, "registry_password"):
            return Finding(
                blame=Party.REGISTRY,
                because=(
                    f"the registry answered 401, {times(len(challenged))}, and docker, which has a"
                    " user name and a password, did not see how to use them"
                ),
                evidence=challenged[-5:],
                hint="has its answer a WWW-Authenticate that names a realm, also behind a proxy?",
            )
        return Finding(
            blame=Party.HOOK,
            because="the registry asked for credentials and Hook came with none",
            evidence=challenged[-5:],
            hint="say registry_username and registry_password on the kernel command line",
        )
    return None


def refusals(case: Case, since: int, until: int) -> list[Event]:
    """Return what was refused between two events, and not had after all: from another registry."""
    served = case.seen("registry.manifest.served", "registry.blob.served")
    return [
        one
        for one in case.seen("registry.request.failed")
        if since < one.seq <= until
        and one.get("status") != 401
        and not any(one.seq < had.seq <= until and _is_of(had, one) for had in served)
    ]


def _is_of(had: Event, refused: Event) -> bool:
    wanted = str(refused.get("path")).rpartition("/")[2]
    return wanted in (had.get("reference"), had.get("digest"))


_UNREACHED: Final = re.compile(
    r"dial tcp [^\"\\]*?: (connect: [a-z ]+|i/o timeout)|lookup [^\"\\]*?: (no such host|[a-z ]+)"
)


def _proxy_refuses(case: Case) -> Finding | None:
    """F43: a proxy that does not let docker through."""
    refused = case.in_phase("proxy.request.refused")
    passed = case.in_phase("proxy.request.passed")
    if not refused or (passed and passed[-1].seq > refused[-1].seq):
        return None
    last = refused[-1]
    told = [f"{key}={value}" for key in _PROXY_KEYS if (value := argument(case, key))]
    return Finding(
        blame=Party.BOOT_SCRIPT,
        because=(
            f"the proxy does not let docker through to {last.get('target')},"
            f" {times(len(refused))}: {last.get('reason')}"
        ),
        evidence=[*case.command_line, *refused[-3:]],
        hint=f"is the whole value there, with user and password? {' '.join(told)}".strip(),
        conclusive="credentials" in str(last.get("reason")),
    )


_PROXY_KEYS: Final = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


def _registry_unreached(case: Case) -> Finding | None:
    """F37, F39, F43, F48: what docker said about a registry that never heard of it."""
    asked = case.seen("registry.request.received")
    failed = case.seen("registry.tls.failed")
    if asked or (failed and not _by_proxy(case, after=failed[0].seq)):
        return None
    said = [
        (event, found)
        for event in case.in_phase("guest.error.seen")
        if event.get("pattern") != "clock not set"
        and (found := _UNREACHED.search(str(event.get("line"))))
    ]
    if not said:
        return None
    text = said[-1][1][0]
    if "proxyconnect" in str(said[-1][0].get("line")):
        return Finding(
            blame=Party.BOOT_SCRIPT,
            because=f"docker can't reach the proxy it was told to use, {times(len(said))}: {text}",
            evidence=[*case.command_line, *(event for event, _ in said[-3:])],
            hint="HTTP_PROXY, HTTPS_PROXY and NO_PROXY, in capitals, on the kernel command line",
        )
    elsewhere = lease_elsewhere(case) or dns.led_astray(case, said[-1][0])
    if elsewhere:
        return replace(
            elsewhere, evidence=[*elsewhere.evidence, *(event for event, _ in said[-2:])]
        )
    blame, hint = Party.LINK, "look for the SYN in the capture"
    static = argument(case, "ipam")
    mute = no_address(case) if static is None else None
    if mute:
        return replace(mute, evidence=[*mute.evidence, *(event for event, _ in said[-2:])])
    misled = arguments.wrong_place(case, str(said[-1][0].get("line")), said[-1][0])
    if misled:
        return misled
    if "no route to host" in text and static and not case.seen("dhcp.ack.sent", stage="guest"):
        blame = Party.GUEST_NETWORK  # nobody answers its ARP requests: it asks from elsewhere
        hint = f"ipam={static} on the kernel command line: is that this network's?"
    elif "network is unreachable" in text:
        blame = Party.GUEST_NETWORK
        hint = "did Hook take its address and route? see dhcpcd on the console"
    elif "connection refused" in text:
        blame, hint = Party.REGISTRY, "does the registry listen where the kernel arguments say?"
    elif "reset by peer" in text:
        blame, hint = (
            Party.REGISTRY,
            "does a proxy or firewall before the registry end connections?",
        )
    elif text.startswith("lookup"):
        blame, hint = Party.DNS, "is the name in the lab's DNS, and did Hook take its name server?"
    return Finding(
        blame=blame,
        because=f"docker never reached the registry, {times(len(said))}: {text}",
        evidence=[event for event, _ in said[-5:]],
        hint=hint,
    )


def _no_name(case: Case) -> Finding | None:
    """Docker takes the worker's image for no name at all."""
    said = lines_with(arguments.NO_REFERENCE, case.in_phase("guest.error.seen"))
    return arguments.no_image_name(case, said[-2:]) if said else None


def _sent_elsewhere(case: Case) -> Finding | None:
    """A registry whose blobs are in a storage of its own, where the machine can't go."""
    redirected = case.in_phase("registry.request.redirected")
    if not redirected or case.seen("guest.worker.started"):
        return None
    last = redirected[-1]
    wanted = str(last.get("path")).rpartition("/")[2]
    had = [one for one in case.seen("registry.blob.served") if one.get("digest") == wanted]
    told = broken_off(case, after=redirected[0].seq)
    if had or not told:
        return None
    return Finding(
        blame=Party.REGISTRY,
        because=(
            f"the registry sends docker to {last.get('location')} ({last.get('status')}),"
            f" {times(len(redirected))}, and docker gets nothing there: {told[-1][1]}"
        ),
        evidence=[*redirected[-3:], *(event for event, _ in told[-2:])],
        hint="can the machine reach the storage that the registry names, and resolve its name?",
    )


def _sent_to_no_name(case: Case) -> Finding | None:
    """A storage whose name nobody here resolves: it is the registry that has it there."""
    redirected = case.in_phase("registry.request.redirected")
    unknown = dns.name_unresolved(case)
    if not redirected or unknown is None:
        return None
    last = redirected[-1]
    host = urlsplit(str(last.get("location"))).hostname
    if not host or host not in unknown.because:
        return None
    return replace(
        unknown,
        blame=Party.REGISTRY,
        because=f"the registry sends docker to {last.get('location')}, and {unknown.because}",
        evidence=[*redirected[-2:], *unknown.evidence],
        hint="docker must resolve the name of the storage that the registry names, and reach it",
    )


def broken_off(case: Case, *, after: int) -> list[tuple[Event, str]]:
    """Return why docker gave up pulls in their middle; Hook says of these that they went well."""
    return [
        (event, found["why"].strip())
        for event in case.said("pull broken off", "layer refused")
        if event.seq > after and (found := _BROKEN_OFF.search(str(event.get("line"))))
    ]


_BROKEN_OFF: Final = re.compile(r"Not continuing with pull after error: (?P<why>[^\"\\]+)")


def _reason(line: str) -> str:
    """Return what is left of a line of bootkit's when all is gone that it says of each failure."""
    parts = (error_in(line) or line).split(": ")
    while len(parts) > 1 and _LAYERS.search(parts[0]):
        parts.pop(0)
    return ": ".join(parts)


_LAYERS: Final = re.compile(
    r"tink-worker container failed$|tink-worker failed$|from daemon$|^failed to create|^OCI runtime"
    r"|^runc create failed$|^unable to start container process$|^error during container init$"
)
"""Docker, its shim, runc and its init each put words of their own before what went wrong."""


_ENGINE_LACKS: Final = re.compile(
    r"failed to start shim|unable to retrieve OCI runtime|fork/exec \S*(?:runc|shim)\S*:"
    r'|exec: \\?"(?:runc|containerd-shim[\w-]*)\\?": executable file not found'
)
"""containerd, runtime/v2; of an image's program it says "OCI runtime create failed"."""
_NO_IMAGE: Final = "No such image"
_NOT_RUN: Final = re.compile(
    r"exec format error|exec: [^:\\]*: (?:no such file or directory|permission denied"
    r"|executable file not found in \$PATH)"
)


def _worker_ends(case: Case) -> Finding | None:
    """F57: bootkit can't create the worker's container."""
    errors = case.said("worker did not start")
    if not errors:
        return None
    line = str(errors[-1].get("line"))
    if _NO_IMAGE in line:
        told = broken_off(case, after=0)
        return Finding(
            blame=Party.REGISTRY,
            because=(
                f"docker gave up the pull of the worker's image, {times(len(told))}: {told[-1][1]}"
                if told
                else "the pull of the worker's image seemed to go well, but docker has no image"
            ),
            evidence=[
                *case.seen("registry.blob.served")[-2:],
                *(event for event, _ in told[-2:]),
                *errors[-3:],
            ],
            hint="Hook hides errors in mid-pull: see “image pull logs” on the console",
        )
    if _ENGINE_LACKS.search(line):
        return Finding(
            blame=Party.DOCKER,
            because=(
                f"docker can't run any container, {times(len(errors))}: {quoted(_reason(line))}"
            ),
            evidence=errors[-3:],
            hint="does Hook's image have all of the engine: containerd, its shim, runc?",
        )
    why = _NOT_RUN.search(line)
    return Finding(
        blame=Party.WORKER,
        because=(
            f"docker has the worker's image and can't run it, {times(len(errors))}:"
            f" {why[0] if why else quoted(_reason(line))}"
        ),
        evidence=[*case.seen("registry.manifest.served")[-1:], *errors[-3:]],
        hint=(
            "is the image for this machine's processor, and its entrypoint a program?"
            if why
            else "what does docker say of it on the console?"
        ),
        conclusive=bool(why),
    )


def _worker_silent(case: Case) -> Finding | None:
    """F28, F57: nobody asks for the worker, or nothing comes of its image."""
    ends = _worker_ends(case)
    if ends:
        return ends
    if not case.seen("registry.request.received"):
        if case.seen("guest.cmdline.seen") and not any(
            argument(case, key) for key in ("docker_registry", "tink_worker_image")
        ):
            return Finding(
                blame=Party.BOOT_SCRIPT,
                because=(
                    "the kernel command line names neither docker_registry nor tink_worker_image:"
                    " Hook does not know what to pull"
                ),
                evidence=[
                    *case.command_line,
                    *case.in_phase("guest.error.seen")[-2:],
                ],
                hint="smee never writes them: say them as extra kernel arguments",
            )
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


RULES: Final[dict[Phase, tuple[Rule, ...]]] = {
    Phase.WORKER_PULL: (
        lease_lost,
        services.engine_ended,
        docker_ends,
        _no_name,
        clock.clock_wrong,
        _registry_tls,
        _sent_to_no_name,
        dns.name_unresolved,
        _registry_answers,
        _proxy_refuses,
        _registry_unreached,
        _sent_elsewhere,
        layers.breaks_off,
        layers.not_heard,
        layers.stands_still,
        layers.layer_refused,
        layers.unreadable,
        registry_mute,
        services.bootkit_ended,
        _worker_silent,
    ),
}
