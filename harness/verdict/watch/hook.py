"""An engine that does not start, an image that can't be pulled."""

from __future__ import annotations

import re
from typing import ClassVar, Final

from harness.facts import began_at
from harness.phases import Phase
from harness.timeline import Event
from harness.verdict.rules.clock import stays_refused, true_time
from harness.verdict.rules.registry import NO_TLS_SPOKEN
from harness.verdict.watch.ending import Ending, Rule, Sight, Streak

_BOOTKIT: Final = (
    "hook-bootkit tries the pull again after 0.5 s × 1.5 up to a minute (±50 %), gives up after "
    "15 min, and begins anew 5 s later: for ever"
)
_SURE: Final = re.compile(
    r"server gave HTTP response to HTTPS client|x509: (?!certificate has expired)"
    r"|manifest unknown|unauthorized|denied|NOT specified in /proc/cmdline"
)
"""What docker says of a registry that will say the same next time."""
_UNREACHABLE: Final = "network is unreachable"
_PLAIN_PORT: Final = "TLS on the plain HTTP port"
"""No refusal yet: docker asks an insecure registry so first, and then without TLS."""
_CLOCK: Final = "x509: certificate has expired or is not yet valid"
_SURE_TIMES: Final = 4
_TIMES: Final = 8
_SECONDS: Final = 30.0
_FEW: Final = 4
_FEW_SECONDS: Final = 85.0
"""Where each try takes long: docker asks a mute name server for half a minute."""
_CLOCK_SECONDS: Final = 100.0
"""Hook's ntpd asks again 64 s after the start, and may put a wrong clock right."""


class DockerDoesNotStart(Rule):
    """The engine ended right after each start."""

    name: ClassVar = "docker-does-not-start"
    source: ClassVar = "hook-docker starts the same engine with the same configuration every 10 s"
    _TIMES: Final = 3

    def __init__(self) -> None:
        self._failed = Streak()

    def feed(self, event: Event, sight: Sight) -> None:
        if event.name in ("guest.docker.started", "machine.reset"):
            self._failed.clear()
        elif _says(event, "docker did not start"):
            self._failed.add(event, sight.now)

    def ending(self, sight: Sight) -> Ending | None:
        if self._failed.count < self._TIMES:
            return None
        return Ending(
            rule=self.name,
            because=f"the docker engine was started {self._failed.count} times and ended each time",
            evidence=tuple(self._failed.events),
        )

    def forget(self, sight: Sight) -> None:
        self._failed.clear()


class ShellIsInit(Rule):
    """The kernel runs a shell in place of Hook, and nobody is there to type."""

    name: ClassVar = "shell-is-init"
    source: ClassVar = "a shell that is init (rdinit=, init=) waits for what is typed"
    needs_workflow: ClassVar = False
    _SECONDS: Final = 15.0
    """A shell may have been told a command, after ``--``, that goes on with Hook."""
    _SHELLS: Final = frozenset({"sh", "ash", "bash", "dash", "busybox"})

    def __init__(self) -> None:
        self._shell: tuple[Event, float] | None = None

    def feed(self, event: Event, sight: Sight) -> None:
        if event.name == "guest.init.started":
            shell = str(event.get("program")).rpartition("/")[2] in self._SHELLS
            self._shell = (event, sight.now) if shell else None
        elif event.name.startswith(("guest.", "machine.", "dhcp.", "console.")):
            self._shell = None

    def ending(self, sight: Sight) -> Ending | None:
        if self._shell is None or sight.now - self._shell[1] < self._SECONDS * sight.patience:
            return None
        event, _ = self._shell
        return Ending(
            rule=self.name,
            because=f"the kernel runs {event.get('program')} in place of Hook's first program, and"
            " waits for somebody to type",
            evidence=(event,),
            hang=True,
        )

    def forget(self, sight: Sight) -> None:
        if self._shell is not None:
            self._shell = (self._shell[0], sight.now)


class NobodyPulls(Rule):
    """Docker is up, and the service that pulls the worker never said a word."""

    name: ClassVar = "nobody-pulls"
    source: ClassVar = "hook-bootkit says that it begins before it does anything (H main.go)"
    _SECONDS: Final = 15.0

    def __init__(self) -> None:
        self._began = False
        self._docker: tuple[Event, float] | None = None
        self._heard = False

    def feed(self, event: Event, sight: Sight) -> None:
        if event.name == "machine.reset":
            self._began, self._docker, self._heard = False, None, False
        elif event.name == "guest.service.started" and event.get("service") == "hook-bootkit":
            self._began = True
        elif event.name == "guest.docker.started":
            self._docker = self._docker or (event, sight.now)
        elif event.name.startswith(
            ("guest.bootkit.", "guest.worker.", "registry.", "tink.rpc.")
        ) or (event.name == "guest.error.seen" and "bootkit" in str(event.get("line"))):
            self._heard = True

    def ending(self, sight: Sight) -> Ending | None:
        if not self._began or self._docker is None or self._heard:
            return None
        event, since = self._docker
        if sight.now - since < self._SECONDS * sight.patience:
            return None
        return Ending(
            rule=self.name,
            because=(
                "docker is up, and hook-bootkit, which has to pull the worker, was started and"
                " said nothing"
            ),
            evidence=(event,),
            hang=True,
        )

    def forget(self, sight: Sight) -> None:
        if self._docker is not None:
            self._docker = (self._docker[0], sight.now)


class ServiceEnded(Rule):
    """What runs the containers is gone, or what pulls the worker before it did so."""

    name: ClassVar = "service-ended"
    source: ClassVar = "LinuxKit starts a service once; nothing starts it again (pkg/init)"
    _SECONDS: Final = 8.0
    """A machine that shuts down ends its services too, and then is reset or off."""

    def __init__(self) -> None:
        self._ended: tuple[Event, float] | None = None
        self._worker = False

    def feed(self, event: Event, sight: Sight) -> None:
        if event.name in ("guest.kernel.started", "machine.reset", "machine.shutdown"):
            self._ended, self._worker = None, False
        elif event.name == "guest.worker.started":
            self._worker = True
        elif event.name == "guest.service.ended" and self._needed(str(event.get("service"))):
            self._ended = self._ended or (event, sight.now)

    def _needed(self, service: str) -> bool:
        return "docker" in service or ("bootkit" in service and not self._worker)

    def ending(self, sight: Sight) -> Ending | None:
        if self._ended is None or sight.now - self._ended[1] < self._SECONDS * sight.patience:
            return None
        event, _ = self._ended
        return Ending(
            rule=self.name,
            because=f"{event.get('service')} {event.get('reason')}, and nothing starts it again",
            evidence=(event,),
        )

    def forget(self, sight: Sight) -> None:
        if self._ended is not None:
            self._ended = (self._ended[0], sight.now)


class PullRefused(Rule):
    """The registry refuses each pull of the worker in the same way, as it always will."""

    name: ClassVar = "pull-refused"
    source: ClassVar = _BOOTKIT

    def __init__(self) -> None:
        self._refused = Streak()
        self._clock = Streak()
        self._lapsed = False
        """Whether the certificate is no good by the true time either."""
        self._no_nic = False
        """Whether dhcpcd found no interface at all: docker says the same of it each time."""
        self._began = ""

    def feed(self, event: Event, sight: Sight) -> None:
        self._began = began_at([event]) or self._began
        if _began_well(event):
            self.forget(sight)
        elif event.name == "registry.request.received":
            if str(self._refused.what).startswith("TLS"):
                self._refused.clear()
        elif event.name == "registry.tls.failed":
            self._shaken(event, sight, str(event.get("reason")))
        elif event.name == "registry.request.failed" and event.get("status") in (403, 404):
            self._refused.add(event, sight.now, f"{event.get('status')} for {event.get('path')}")
        elif event.name == "proxy.request.refused" and "credentials" in str(event.get("reason")):
            self._refused.add(event, sight.now, f"by the proxy: {event.get('reason')}")
        elif event.name == "registry.auth.refused":
            self._refused.add(event, sight.now, "wrong credentials")
        elif _says(event, "image pull failure", "certificate refused", "worker did not start"):
            line = str(event.get("line"))
            if _CLOCK in line:
                self._dated(event, sight, line)
            elif found := _SURE.search(line):
                self._said(event, sight, found[0])
            elif self._no_nic and _UNREACHABLE in line:
                self._said(event, sight, _UNREACHABLE)
        elif _says(event, "no address") and "no valid interfaces" in str(event.get("line")):
            self._no_nic = True
        elif event.name.startswith("dhcp.") and event.get("stage") == "guest":
            self._no_nic = False

    def _shaken(self, event: Event, sight: Sight, reason: str) -> None:
        """Count a handshake that failed, unless docker only tried what it always tries."""
        what, before = f"TLS: {reason}", str(self._refused.what)
        fell_back = reason == NO_TLS_SPOKEN and before.startswith("TLS: ") and before != what
        if _PLAIN_PORT not in reason and not (fell_back and self._refused.count):
            self._refused.add(event, sight.now, what)

    def _dated(self, event: Event, sight: Sight, line: str) -> None:
        """Count a certificate that is refused for its dates: the clock may be what is wrong."""
        self._lapsed = self._lapsed or stays_refused(line, true_time(self._began, event))
        if self._lapsed:
            self._clock.clear()
            self._said(event, sight, _CLOCK)
        else:
            self._clock.add(event, sight.now, _CLOCK)

    def _said(self, event: Event, sight: Sight, text: str) -> None:
        """Count what the wire does not show; what it shows was counted there."""
        wire = str(self._refused.what)
        if not self._refused.count or wire.startswith("said:"):
            self._refused.add(event, sight.now, f"said: {text}")

    def ending(self, sight: Sight) -> Ending | None:
        refused = max(self._refused, self._clock, key=lambda streak: streak.count)
        if sight.tracker.phase is not Phase.WORKER_PULL or refused.count < _SURE_TIMES:
            return None
        if self._clock.count and self._clock.lasted(sight) < _CLOCK_SECONDS * sight.patience:
            return None
        return Ending(
            rule=self.name,
            because=(
                f"the worker's image was refused {refused.count} times in the same way"
                f" ({str(refused.what).removeprefix('said: ')})"
            ),
            evidence=tuple(refused.events),
        )

    def forget(self, sight: Sight) -> None:
        self._refused.clear()
        self._clock.clear()
        self._lapsed = False


class PullFails(Rule):
    """Each pull of the worker fails, for longer than whatever it needs takes to come up."""

    name: ClassVar = "pull-fails"
    source: ClassVar = _BOOTKIT

    def __init__(self) -> None:
        self._failed = Streak()
        self._cuts = Streak()
        self._starts = Streak()

    def feed(self, event: Event, sight: Sight) -> None:
        if event.name in ("guest.worker.started", "tink.rpc.received", "machine.reset"):
            self.forget(sight)
        elif event.name == "registry.blob.served":
            self._failed.clear()
            self._cuts.clear()
        elif event.name == "registry.response.cut":
            self._cuts.add(event, sight.now)
        elif _says(event, "image pull failure") and _CLOCK not in str(event.get("line")):
            self._failed.add(event, sight.now)
        elif _says(event, "worker did not start"):
            self._starts.add(event, sight.now)

    def ending(self, sight: Sight) -> Ending | None:
        long = _SECONDS * sight.patience
        failed, cuts, starts = self._failed, self._cuts, self._starts
        if failed.count >= _TIMES and failed.lasted(sight) >= long:
            return self._say(failed, f"the pull of the worker's image failed {failed.count} times")
        if failed.count >= _FEW and failed.lasted(sight) >= _FEW_SECONDS * sight.patience:
            return self._say(
                failed,
                f"each pull of the worker's image failed for {failed.lasted(sight):.0f} s,"
                f" {failed.count} in all",
            )
        if cuts.count >= 2 * _TIMES and cuts.lasted(sight) >= long:
            path = cuts.events[-1].get("path")
            return self._say(
                cuts, f"the registry broke off {cuts.count} answers, the last for {path}"
            )
        if starts.count >= 2 and starts.lasted(sight) >= long:
            return self._say(starts, f"Hook failed to start the worker {starts.count} times")
        return None

    def _say(self, streak: Streak, because: str) -> Ending:
        return Ending(rule=self.name, because=because, evidence=tuple(streak.events))

    def forget(self, sight: Sight) -> None:
        for streak in (self._failed, self._cuts, self._starts):
            streak.clear()


def _says(event: Event, *patterns: str) -> bool:
    return event.name == "guest.error.seen" and event.get("pattern") in patterns


def _began_well(event: Event) -> bool:
    return event.name in (
        "registry.manifest.served",
        "registry.blob.served",
        "guest.worker.started",
        "tink.rpc.received",
        "machine.reset",
    )
