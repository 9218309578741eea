"""Every error the product raises on purpose, and who catches it.

::

    LabError
    ├── ScenarioError      bad input; the CLI exits 2, pytest fails collection
    ├── HostUnfit          the host lacks something; the CLI exits 3, pytest skips
    ├── BuildFailed        Hook, a tool or an image could not be built; exit 3
    ├── SetupFailed        the lab itself could not be set up; outcome ERROR
    ├── ServiceCrashed     a stand-in died; outcome ERROR
    ├── HostTooSlow        the lab did not get the CPU it wanted; outcome HOST TOO SLOW
    ├── Decided            no later event can save the run; outcome as the verdict says
    └── MachineLost        outcome FAILED
        ├── QemuExited
        ├── MonitorLost
        └── GuestPanic

``ExpectationFailed`` is an ``AssertionError``; ``wire`` raises ``DecodeError``.
A message says what happened; what was expected; where to look.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


class LabError(Exception):
    """Something went wrong that is not a bug of hooklab.

    ``str(error)`` is the whole message for a person; ``hint`` is what to do about it.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """A place in a file a user wrote. Line and column count from 1; line 0 is no file's."""

    file: Path
    line: int = 1
    column: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else str(self.file)


class ScenarioError(LabError):
    """Bad input: raised before anything starts. Caught by the CLI (exit 2) and by pytest."""

    def __init__(
        self, message: str, *, at: Position | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.at = at

    def __str__(self) -> str:
        where = f"{self.at}: " if self.at else ""
        hint = f"\n    {self.hint}" if self.hint else ""
        return f"{where}{self.message}{hint}"


class ScenarioErrors(ScenarioError):
    """Several mistakes of one document, all reported at once."""

    def __init__(self, errors: list[ScenarioError]) -> None:
        super().__init__("\n".join(str(error) for error in errors))
        self.errors = errors


class HostUnfit(LabError):
    """The host lacks something a lab needs. Caught by the CLI (exit 3) and by pytest (skip)."""


class BuildFailed(LabError):
    """A tool, an image or Hook could not be built. Caught by the CLI (exit 3)."""


class SetupFailed(LabError):
    """The lab could not be set up. Caught by the runner: outcome ERROR."""


class ServiceCrashed(LabError):
    """A stand-in died; every wait ends with this. Caught by the runner: outcome ERROR."""

    def __init__(self, service: str, cause: BaseException) -> None:
        super().__init__(f"service {service} crashed: {type(cause).__name__}: {cause}")
        self.service = service


class MachineLost(LabError):
    """The machine is gone; every wait ends with this. Caught by the runner."""


class QemuExited(MachineLost):
    """QEMU ended on its own. ``status`` is its exit status, negative for a signal."""

    def __init__(self, status: int, last_lines: list[str]) -> None:
        tail = "\n    ".join(last_lines[-5:])
        super().__init__(f"QEMU exited with status {status}" + (f":\n    {tail}" if tail else ""))
        self.status = status
        self.last_lines = last_lines


class MonitorLost(MachineLost):
    """QMP went away while QEMU still runs."""


class GuestPanic(MachineLost):
    """The guest's kernel panicked; ``line`` is what it printed."""

    def __init__(self, line: str) -> None:
        super().__init__(f"the guest's kernel panicked: {line}")
        self.line = line


class DeadlineExpired(LabError):
    """A wait ran out of time. ``waited_for`` says for what."""

    def __init__(self, waited_for: str, seconds: float) -> None:
        super().__init__(f"{waited_for} did not happen within {seconds:.0f} s")
        self.waited_for = waited_for
        self.seconds = seconds


class HostTooSlow(LabError):
    """A wait was stretched as far as it goes, and the host had still not granted its time.

    ``seconds`` is what the wait was given, on a quiet reference host; ``owed_s`` is how many of
    these the host did not grant in the ``took_s`` that it lasted. Caught by the runner: no failure
    of what was tested.
    """

    def __init__(self, waited_for: str, seconds: float, owed_s: float, took_s: float) -> None:
        super().__init__(
            f"the host is too slow: of {seconds:.0f} s for {waited_for} it granted"
            f" {seconds - owed_s:.0f} s in {took_s:.0f} s"
        )
        self.waited_for = waited_for
        self.seconds = seconds
        self.owed_s = owed_s
        self.took_s = took_s


class Decided(LabError):
    """No later event can change how a run ends; every wait ends with this.

    Caught by the runner, which judges what there is. ``hang`` is whether something stands still.
    """

    def __init__(self, message: str, *, hang: bool = False) -> None:
        super().__init__(message)
        self.hang = hang


class ExpectationFailed(AssertionError):
    """A scenario's expectation was not met. Caught by the runner: outcome FAILED."""


class DecodeError(ValueError):
    """Bytes that are not what they claim to be. Caught by the shell of the service that read them.

    ``offset`` is in octets from the start of the message; ``field`` is the RFC's name of what was
    being read; ``rfc`` cites the rule that was broken.
    """

    def __init__(self, message: str, *, offset: int = 0, field: str = "", rfc: str = "") -> None:
        super().__init__(message)
        self.offset = offset
        self.field = field
        self.rfc = rfc
