"""The vocabulary of the timeline: every event's name, meaning and fields.

A name is dotted and in the past tense. ``seconds`` and ``bytes`` carry their unit in the field's
name. ``mac`` is always lower case with colons; ``peer`` is ``address:port``; ``id`` ties the
events of one request, transfer or connection together within a source.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, slots=True)
class EventKind:
    """What one event name means. ``fields`` lists the fields it may carry."""

    meaning: str
    fields: tuple[str, ...] = ()
    names: frozenset[str] = field(init=False, repr=False, compare=False)
    """``fields`` to look one up in."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", frozenset(self.fields))


def _kind(meaning: str, fields: str = "") -> EventKind:
    return EventKind(meaning, tuple(fields.split()))


_DHCP = "mac xid stage"  # stage: firmware | ipxe | tinkerbell | guest
_DHCP_REPLY = f"{_DHCP} address file next_server server netmask routers name_servers destination"

EVENTS: Final[Mapping[str, EventKind]] = {
    # -- the run and the lab
    "run.started": _kind("A run began", "scenario item run_dir wall version"),
    "run.finished": _kind("A run ended", "outcome"),
    "expectations.met": _kind("All that a run without a workflow waits for was seen"),
    "run.awaits.disk": _kind("After its workflow the run waits for the first boot from disk"),
    "run.interrupted": _kind("The run was stopped before its end", "reason"),
    "run.paused": _kind("The run is over, and its lab is kept alive", "outcome reason"),
    "run.released": _kind("A lab that was kept alive may end"),
    "run.decided": _kind(
        "No later event can save the run; it need not go on", "rule because evidence hang"
    ),
    "dossier.begun": _kind("Nothing moves any more; the lab is looked at", "reason"),
    "dossier.taken": _kind("What was seen is in the run folder", "items duration_s"),
    # -- the computer that the lab runs on
    "host.calibrated": _kind(
        "How fast this host is, and what that makes of the scenario's deadline",
        "accel cpu_ratio disk_mb_s factor deadline_s latest_s",
    ),
    "host.stalled": _kind(
        "In the last seconds the lab wanted CPU time that it did not get",
        "duration_s stalled_s ran_s waited_s machine_ran_s machine_waited_s by",
    ),
    "host.too_slow": _kind(
        "A wait was stretched as far as it goes, to duration_s; its time was still not granted",
        "waited_for given_s granted_s duration_s",
    ),
    "run.budgeted": _kind("What each phase usually takes here, by start", "phases"),
    "lab.started": _kind("Segment and services are up", "duration_s"),
    "lab.stopped": _kind("Everything of the lab is gone", "duration_s"),
    "lab.failed": _kind("The lab can't go on", "error kind"),
    # -- checkpoints
    "checkpoint.awaited": _kind("Another run builds the checkpoint that this one needs", "point"),
    "checkpoint.saved": _kind(
        "The lab was saved at a point, and goes on",
        "point key duration_s memory_bytes bytes files",
    ),
    "checkpoint.refused": _kind("No checkpoint was made, or used", "point key reason"),
    "lab.resumed": _kind(
        "The lab was resumed from a checkpoint: what comes before happened in another run",
        "point key saved_s duration_s built_by saved_at bytes wall",
    ),
    "segment.created": _kind("Bridge and ports exist", "bridge kind address"),
    "service.started": _kind("A stand-in listens", "service address port transport"),
    "service.stopped": _kind("A stand-in was stopped", "service"),
    "service.crashed": _kind("A stand-in died of a bug or of its socket", "service error"),
    "service.send.failed": _kind(
        "The kernel refused to send a datagram", "service destination error"
    ),
    "capture.started": _kind("Frames are being captured", "file interface"),
    "capture.stopped": _kind("The capture file is complete", "frames dropped bytes"),
    # -- the machine
    "machine.powered_on": _kind(
        "The CPU was let go", "machine mac nics firmware accel cpus memory_mib pid"
    ),
    "machine.medium.inserted": _kind(
        "The BMC has an ISO for the CD drive", "machine url bytes requests duration_s placeholder"
    ),
    "machine.medium.refused": _kind(
        "The BMC got no ISO: the CD drive is empty", "machine url reason"
    ),
    "machine.cpu.halted": _kind(
        "The processors halted and hear no interrupt: only a reset wakes them", "machine at"
    ),
    "machine.reset": _kind("The machine reset itself", "machine reason guest"),
    "machine.shutdown": _kind("The guest powered the machine off", "machine reason guest"),
    "machine.power.lost": _kind("The machine has no power any more, for good", "machine"),
    "machine.exited": _kind(  # its processors' seconds: busy, and wanting a host that was busy
        "QEMU ended", "machine status last_lines busy_s delayed_s"
    ),
    "qmp.event.seen": _kind("The monitor reported something", "event data"),
    "console.line.seen": _kind("A console printed a line", "console line text partial"),
    "firmware.boot.tried": _kind("The firmware began to try a way to boot", "way console"),
    "firmware.boot.failed": _kind("A way to boot came to nothing", "way reason console"),
    "firmware.gave_up": _kind("The firmware found nothing to boot", "line console"),
    "firmware.prompt.offered": _kind(
        "A boot menu, or a firmware's shell, waits for somebody to type", "prompt console"
    ),
    "guest.kernel.started": _kind("Linux printed its banner", "version console"),
    "guest.cmdline.seen": _kind("Linux printed its command line", "cmdline"),
    "guest.init.started": _kind(
        "The first program of the root file system runs", "program console"
    ),
    "guest.service.started": _kind("Hook's init started a service", "service"),
    "guest.service.ended": _kind("A service of Hook ended for good", "service reason"),
    "guest.docker.started": _kind("dockerd answers", "console"),
    "guest.bootkit.started": _kind("hook-bootkit began", "console"),
    "guest.worker.started": _kind("The worker's container was created", "console"),
    "guest.disk.booted": _kind("The system on a disk booted", "disk console"),
    "guest.login.offered": _kind("A getty waits for a login", "console"),
    "guest.panicked": _kind("The kernel gave up", "line console"),
    "guest.error.seen": _kind(
        "A console printed a known failure; again: times", "line console pattern times"
    ),
    "disk.measured": _kind(  # waited_s: the time that its operations took, all added up
        "What the guest did with a disk", "disk operations failed read_bytes written_bytes waited_s"
    ),
    "disk.checked": _kind(
        "A disk was compared from outside", "disk at_bytes expected found matched"
    ),
    # -- the switch's port that the machine's cable is in
    "link.lost": _kind("The port has no carrier any more", "mac"),
    "link.restored": _kind("The port has its carrier again", "mac duration_s"),
    "link.blocked": _kind("The port has a carrier and forwards nothing yet", "mac"),
    "link.forwarding": _kind("The port forwards again", "mac duration_s lost_frames"),
    # -- DHCP
    "dhcp.discover.received": _kind("DISCOVER", f"{_DHCP} vendor_class user_class arch giaddr"),
    "dhcp.request.received": _kind(
        "REQUEST; server: whose OFFER it takes",
        f"{_DHCP} vendor_class user_class arch requested server giaddr",
    ),
    "dhcp.offer.sent": _kind("OFFER", _DHCP_REPLY),
    "dhcp.ack.sent": _kind("ACK", _DHCP_REPLY),
    "dhcp.nak.sent": _kind("NAK", _DHCP_REPLY),
    "dhcp.release.received": _kind("RELEASE", f"{_DHCP} address"),
    "dhcp.decline.received": _kind("DECLINE", f"{_DHCP} address message"),
    "dhcp.inform.received": _kind("INFORM", f"{_DHCP} address"),
    "dhcp.ignored": _kind("A request got no answer, on purpose", f"{_DHCP} message reason"),
    "dhcp.malformed": _kind("Bytes on port 67 that are no DHCP", "peer reason bytes"),
    # -- TFTP
    "tftp.request.received": _kind("RRQ or WRQ", "id mac peer file opcode options"),
    "tftp.oack.sent": _kind("Options were accepted", "id options"),
    "tftp.transfer.progressed": _kind(
        "Some blocks later, or no ACK for so long that the next was sent again; resends: how often"
        " that was; server_s: for how long in all the server kept the client waiting",
        "id file bytes length resends server_s",
    ),
    "tftp.transfer.finished": _kind(
        "The last block was acknowledged", "id mac file bytes duration_s"
    ),
    "tftp.transfer.aborted": _kind("The client sent ERROR", "id file code text bytes"),
    "tftp.transfer.timed_out": _kind("The client went silent", "id mac file bytes resends"),
    "tftp.error.sent": _kind("The server sent ERROR", "id mac peer file code text"),
    "tftp.malformed": _kind("Bytes on a TFTP port that are no TFTP", "peer reason bytes"),
    # -- HTTP
    "http.request.received": _kind("A request's head", "id mac peer method path range agent"),
    "http.response.started": _kind("A response's head", "id path status length file_bytes"),
    "http.transfer.progressed": _kind(
        "Some bytes later; waiting: not yet acknowledged", "id path bytes length waiting"
    ),
    "http.response.finished": _kind(
        "The whole body was sent", "id mac path status bytes duration_s"
    ),
    "http.response.aborted": _kind("The client left early", "id mac path bytes length"),
    "http.response.cut": _kind(
        "The server ended the connection in mid-answer", "id mac path bytes length how"
    ),
    "http.answer.unheard": _kind(
        "Octets of an answer were sent so many times, and nothing of them was acknowledged",
        "peer bytes times",
    ),
    "http.answer.heard": _kind("It was acknowledged after all", "peer"),
    "http.connection.mute": _kind(
        "A client connected, and not an octet came of it for so long", "peer waited_s"
    ),
    "http.malformed": _kind("Bytes on the HTTP port that are no HTTP", "peer reason"),
    "http.tls.failed": _kind("No TLS connection came about", "peer reason"),
    "http.script.served": _kind("An iPXE script was rendered", "id mac path script"),
    "http.script.refused": _kind(
        "There is no iPXE script for who asks", "id mac path caller reason"
    ),
    # -- the real smee, where it stands in for the lab's own servers
    "smee.line.logged": _kind("smee said something in its log", "level message details"),
    # -- router advertisements, DNS, NTP, syslog
    "radv.solicitation.received": _kind("Router Solicitation", "mac peer"),
    "radv.advertisement.sent": _kind("Router Advertisement", "destination"),
    "radv.malformed": _kind("A Router Solicitation that breaks RFC 4861", "reason bytes"),
    "dns.query.received": _kind("A question", "id peer name type transport"),
    "dns.answer.sent": _kind("An answer", "id peer name type rcode answers"),
    "dns.malformed": _kind("Bytes on port 53 that are no DNS", "peer reason bytes"),
    "ntp.request.received": _kind("A client asked the time", "mac peer version mode"),
    "ntp.answer.sent": _kind("The time was told", "peer stratum"),
    "ntp.malformed": _kind("Bytes on port 123 that are no NTP", "peer reason bytes"),
    "syslog.message.received": _kind(
        "A log message", "mac peer facility severity tag hostname message bytes"
    ),
    "syslog.malformed": _kind("Bytes on port 514 without a PRI", "peer message bytes"),
    # -- a forward proxy
    "proxy.request.passed": _kind("A client was let through", "id mac peer method target user"),
    "proxy.request.refused": _kind("A client was not", "id mac peer method target reason"),
    # -- registry
    "registry.request.received": _kind("Any request", "id mac peer method path agent"),
    "registry.auth.challenged": _kind("401 with a challenge", "id path scheme"),
    "registry.token.issued": _kind("A bearer token was given", "id scope user"),
    "registry.auth.refused": _kind("Wrong credentials", "id path user"),
    "registry.manifest.served": _kind(
        "A manifest or index", "id mac method repository reference digest media_type bytes"
    ),
    "registry.blob.progressed": _kind(
        "Some bytes later; waiting: not yet acknowledged", "id digest bytes length waiting"
    ),
    "registry.blob.served": _kind(
        "A blob, whole or a range", "id mac method repository digest bytes length range"
    ),
    "registry.blob.pushed": _kind(
        "A blob was uploaded, and is as its digest says", "id mac repository digest bytes"
    ),
    "registry.manifest.pushed": _kind(
        "A manifest or index was uploaded",
        "id mac repository reference digest media_type bytes",
    ),
    "registry.content.deleted": _kind(
        "A tag, manifest or blob was taken away", "id mac repository reference"
    ),
    "registry.request.aborted": _kind("The client left early", "id mac method path bytes length"),
    "registry.response.cut": _kind(
        "The server ended the connection in mid-answer", "id mac method path bytes length how"
    ),
    "registry.request.failed": _kind("An error answer", "id mac method path status code"),
    "registry.request.redirected": _kind(
        "The client was sent elsewhere", "id mac method path status location"
    ),
    "registry.answer.unheard": _kind(
        "Octets of an answer were sent so many times, and nothing of them was acknowledged",
        "peer bytes times",
    ),
    "registry.answer.heard": _kind("It was acknowledged after all", "peer"),
    "registry.connection.mute": _kind(
        "A client connected, and not an octet came of it for so long", "peer waited_s"
    ),
    "registry.malformed": _kind("Bytes on the registry's port that are no HTTP", "peer reason"),
    "registry.tls.failed": _kind("A TLS handshake on the registry's port failed", "peer reason"),
    # -- Tinkerbell's gRPC server
    "tink.connection.accepted": _kind("A TCP connection came about", "id peer"),
    "tink.connection.opened": _kind("It became gRPC", "id peer transport client"),
    "tink.connection.closed": _kind(
        "It ended", "id peer reason duration_s received_bytes sent_bytes"
    ),
    "tink.connection.failed": _kind("A connection that never became gRPC", "id peer reason"),
    "tink.call.ignored": _kind(
        "A call came on a connection on which nothing is answered", "id peer stream"
    ),
    "tink.rpc.received": _kind("A call", "id rpc protocol worker_id workflow_id peer"),
    "tink.rpc.finished": _kind("A call was answered", "id rpc code details tries duration_s"),
    "tink.contexts.sent": _kind("GetWorkflowContexts streamed", "id worker_id workflows"),
    "tink.actions.sent": _kind("GetWorkflowActions answered", "id workflow_id actions timeouts_s"),
    "tink.action.sent": _kind(
        "GetAction answered", "id worker_id workflow_id task action timeout_s"
    ),
    "tink.agent.described": _kind("An agent told of its machine", "worker_id attributes"),
    "tink.agent.discovered": _kind("A Hardware was made for an agent", "worker_id hardware"),
    "tink.agent.enrolled": _kind(
        "A Workflow was made for an agent", "worker_id workflow_id template rule_set"
    ),
    "tink.enrollment.failed": _kind(
        "A Workflow was made for an agent, and its Template can't be rendered",
        "worker_id workflow_id rule_set reason",
    ),
    "tink.state.lost": _kind("The state file can't be written any more", "file reason"),
    "tink.bmc.wanted": _kind("The controller waits for the BMC", "workflow_id mode post"),
    "tink.action.reported": _kind(
        "A worker reported an action's state",
        "id workflow_id worker_id task action state seconds message accepted",
    ),
    "tink.workflow.changed": _kind("A workflow's state changed", "workflow_id state before"),
    "tink.workflow.removed": _kind("A workflow was deleted", "workflow_id state"),
    "tink.hardware.changed": _kind(  # change: added | edited | removed | toggled
        "A Hardware is another than before", "hardware change allow_pxe"
    ),
    "tink.files.taken": _kind(
        "Edited YAML files were taken over", "added changed removed warnings"
    ),
    "tink.files.refused": _kind("Edited YAML files have a mistake: all stays as it was", "reason"),
    # -- the docker engine's stand-in, which runs nothing (fake_tink_server's conformance kit)
    "docker.call.answered": _kind("A call of the docker API", "method path status"),
    "docker.image.pulled": _kind("A worker pulled an image", "image user password registry error"),
    "docker.container.created": _kind(
        "A container was made, or refused",
        "container image command entrypoint environment binds privileged pid network error",
    ),
    "docker.container.started": _kind("A container started", "container image"),
    "docker.container.ended": _kind("A container ended", "container image code"),
    "docker.container.stopped": _kind("A stop or kill was asked for", "container signal"),
    "docker.container.removed": _kind("A container was removed", "container force"),
    # -- faults; a verdict does not see these
    "fault.fired": _kind(
        "A declared fault did what it says", "fault place occasion deed text where mac facts"
    ),
    "fault.counted": _kind(
        "A fault fired more often than there are events of it",
        "fault place deed text where times",
    ),
    "fault.unfired": _kind(
        "The run ended before a declared fault fired",
        "fault place occasion deed text where nearest",
    ),
    # -- judgement
    "expectation.met": _kind("An expectation holds", "expectation detail"),
    "expectation.failed": _kind("An expectation does not hold", "expectation expected found"),
}
