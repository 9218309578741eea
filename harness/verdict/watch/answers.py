"""Servers that answer, and always so that nothing comes of it: NAKs, redirects, half a layer."""

from __future__ import annotations

from typing import ClassVar, Final

from harness.phases import Phase
from harness.timeline import Event
from harness.verdict.phases import megabytes
from harness.verdict.watch.ending import Ending, Rule, Sight, Streak


class AddressRefused(Rule):
    """Each REQUEST is answered with a NAK, and none with an ACK."""

    name: ClassVar = "address-refused"
    source: ClassVar = (
        "RFC 2131, 3.1: a client that gets a NAK begins anew with a DISCOVER, and is offered and"
        " refused the same; a server that was restarted has its leases back within seconds"
    )
    _TIMES: Final = 4
    _SECONDS: Final = 12.0

    def __init__(self) -> None:
        self._refused = Streak()

    def feed(self, event: Event, sight: Sight) -> None:
        if event.name in ("dhcp.ack.sent", "machine.reset"):
            self._refused.clear()
        elif event.name == "dhcp.nak.sent":
            self._refused.add(event, sight.now, event.get("stage"))

    def ending(self, sight: Sight) -> Ending | None:
        refused = self._refused
        if sight.ways > 1 or refused.count < self._TIMES:
            return None
        if refused.lasted(sight) < self._SECONDS * sight.patience:
            return None
        return Ending(
            rule=self.name,
            because=f"DHCP answered {refused.count} REQUESTs with NAK and none with ACK",
            evidence=tuple(refused.events),
        )

    def forget(self, sight: Sight) -> None:
        self._refused.clear()


class SentInCircles(Rule):
    """The same file is asked for again and again, and its client sent elsewhere each time."""

    name: ClassVar = "sent-in-circles"
    source: ClassVar = (
        "iPXE (http_redirect, net/tcp/httpcore.c) goes where it is sent as often as it is sent"
    )
    _TIMES: Final = 20

    def __init__(self) -> None:
        self._away = Streak()

    def feed(self, event: Event, sight: Sight) -> None:
        if event.name == "machine.reset":
            self._away.clear()
        elif event.name == "http.response.finished":
            if 300 <= event.get("status", 200) < 400:
                self._away.add(event, sight.now, event.get("path"))
            else:
                self._away.clear()

    def ending(self, sight: Sight) -> Ending | None:
        if sight.kernel or self._away.count < self._TIMES:
            return None
        return Ending(
            rule=self.name,
            because=(
                f"HTTP sent the machine elsewhere {self._away.count} times in a row for"
                f" {self._away.what}"
            ),
            evidence=tuple(self._away.events),
        )

    def forget(self, sight: Sight) -> None:
        self._away.clear()


class AnswerUnheard(Rule):
    """What a server sends is sent again and again, and the machine acknowledges nothing of it."""

    name: ClassVar = "answer-unheard"
    source: ClassVar = (
        "iPXE (net/tcp.c) and docker wait for ever on a connection; Linux sends again after 0.2 s,"
        " 0.4 s … up to 2 min, 15 times (tcp_retries2): eight times in the first minute"
    )
    _SECONDS: Final = 40.0

    def __init__(self) -> None:
        self._lost: dict[str, tuple[Event, float]] = {}
        """Service → what nobody acknowledged, and since when nothing else was heard there."""
        self._asked: dict[object, Phase] = {}
        """Who asked → in which phase. What a program left unread that has ended is no matter."""

    def feed(self, event: Event, sight: Sight) -> None:
        service, _, what = event.name.partition(".")
        if event.name in ("machine.reset", "link.lost", "link.blocked"):
            self._lost.clear()
        elif what == "answer.unheard":
            self._lost[service] = (event, sight.now)
        elif service in ("http", "registry"):
            self._lost.pop(service, None)
            if what == "request.received":
                self._asked[event.get("peer")] = sight.tracker.phase

    def ending(self, sight: Sight) -> Ending | None:
        for service, (event, since) in self._lost.items():
            phases = _PULL if service == "registry" else _BOOT
            silent = sight.now - since
            phase = sight.tracker.phase
            if phase not in phases or self._asked.get(event.get("peer")) is not phase:
                continue
            if silent >= self._SECONDS * sight.patience:
                return Ending(
                    rule=self.name,
                    because=(
                        f"{event.get('bytes')} octets of an answer were sent again and again, and"
                        f" for {silent:.0f} s the machine has acknowledged nothing of them"
                    ),
                    evidence=(event,),
                    hang=True,
                )
        return None

    def forget(self, sight: Sight) -> None:
        self._lost = {service: (event, sight.now) for service, (event, _) in self._lost.items()}


_BOOT: Final = (Phase.NBP_DOWNLOAD, Phase.IPXE, Phase.KERNEL_INITRAMFS)
_PULL: Final = (Phase.WORKER_PULL,)


class LayerStandsStill(Rule):
    """A layer of the worker has stopped in its middle, and docker waits for the rest."""

    name: ClassVar = "layer-stands-still"
    source: ClassVar = (
        "docker (distribution/pull_v2.go) has no time limit on a layer, and begins anew only when"
        " the connection breaks"
    )
    _SECONDS: Final = 90.0
    _MOVES: Final = ("registry.", "guest.worker.", "tink.", "machine.reset")

    def __init__(self) -> None:
        self._open: dict[object, Event] = {}
        self._since = 0.0

    def feed(self, event: Event, sight: Sight) -> None:
        if not event.name.startswith(self._MOVES):
            return
        self._since = sight.now
        key = (event.source, event.get("id"))
        if event.name == "registry.request.received":
            if "/blobs/" in str(event.get("path")) and event.get("method") == "GET":
                self._open[key] = event
        elif event.name == "registry.blob.progressed":
            if key in self._open:
                self._open[key] = event
        elif event.name.startswith("registry."):
            self._open.pop(key, None)
        else:
            self._open.clear()

    def ending(self, sight: Sight) -> Ending | None:
        if sight.tracker.phase is not Phase.WORKER_PULL or not self._open:
            return None
        silent = sight.now - self._since
        if silent < self._SECONDS * sight.patience:
            return None
        event = next(reversed(self._open.values()))
        return Ending(
            rule=self.name,
            because=(
                f"a layer of the worker's image stands still for {silent:.0f} s, at"
                f" {megabytes(event.get('bytes', 0))}"
            ),
            evidence=(event,),
            hang=True,
        )

    def forget(self, sight: Sight) -> None:
        self._since = sight.now


class LeaseLost(Rule):
    """Hook had an address and asks for one again, and is heard of in no other way."""

    name: ClassVar = "lease-lost"
    source: ClassVar = (
        "dhcpcd drops an address when its lease ends and asks anew after 3, 7, 17, 32 and then 64 s"
        " (RFC 2131, 4.1): for ever"
    )
    needs_workflow: ClassVar = False
    _TIMES: Final = 4
    _SECONDS: Final = 30.0
    _FROM_HOOK: Final = ("registry.", "tink.rpc.", "syslog.message.", "http.request.")

    def __init__(self) -> None:
        self._leased: set[object] = set()
        self._asked = Streak()

    def feed(self, event: Event, sight: Sight) -> None:
        mac = event.get("mac")
        if event.name == "machine.reset":
            self._leased.clear()
            self._asked.clear()
        elif event.name.startswith(self._FROM_HOOK):
            self._asked.clear()
        elif event.get("stage") != "guest":
            return
        elif event.name == "dhcp.ack.sent":
            self._leased.add(mac)
            self._asked.clear()
        elif event.name == "dhcp.discover.received" and mac in self._leased:
            self._asked.add(event, sight.now, mac)

    def ending(self, sight: Sight) -> Ending | None:
        asked = self._asked
        if asked.count < self._TIMES or asked.lasted(sight) < self._SECONDS * sight.patience:
            return None
        return Ending(
            rule=self.name,
            because=(
                f"Hook has no address any more: it asked {asked.count} times for one, and was heard"
                " of in no other way"
            ),
            evidence=tuple(asked.events),
        )

    def forget(self, sight: Sight) -> None:
        self._asked.clear()
