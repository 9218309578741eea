"""What a fault can do: one frozen dataclass a deed, plain values only.

A service asks ``strike`` and gets deeds; which of them mean something at its place, and what, is
said by the place (``harness.faults.places``). A deed's parameters are its fields. Their form, so
that YAML can be read and documented, is in each field's metadata: see ``parameter``.

To add a deed: write its class here and list it in ``DEEDS``.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, get_args

from harness.faults.forms import Form
from harness.parts import NicModel

if TYPE_CHECKING:
    from harness.handshake import Manner

_KEY: Final = "parameter"
_NEEDED: Final = "needed"
_MANY: Final = 1000
"""More than that of anything is a mistake in the scenario, not a test."""
_CODE: Final = (1 << 32) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """What a person can write about one field of a deed."""

    name: str
    form: Form
    meaning: str
    primary: bool
    """``delay: 3 s`` is short for ``delay: {seconds: 3 s}``."""
    needed: bool
    default: Any
    choices: tuple[str, ...]
    least: int | None
    most: int | None

    @property
    def range(self) -> str:
        """What a count or size may be, in words; empty: anything from 0 on."""
        if self.most is not None:
            return f"from {self.least or 0} to {self.most}"
        return "" if self.least is None else f"{self.least} or more"

    def holds(self, value: Any) -> bool:
        """Whether a value in its normal form is within the range."""
        few = self.least is not None and value < self.least
        return not few and (self.most is None or value <= self.most)


def parameter(
    form: Form,
    meaning: str,
    *,
    default: Any = _NEEDED,
    primary: bool = False,
    choices: tuple[str, ...] = (),
    least: int | None = None,
    most: int | None = None,
) -> Any:
    """Return a dataclass field that YAML may set. Without a ``default`` it must be said.

    ``least`` and ``most`` are the ends of the range that counts and sizes have.
    """
    metadata = {_KEY: (form, meaning, primary, choices, least, most)}
    if default == _NEEDED:
        return dataclasses.field(metadata=metadata)
    if isinstance(default, dict):
        return dataclasses.field(default_factory=dict, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


class Deed:
    """What is done to a moment a fault fires on."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop(Deed):
    """It is lost on the way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delay(Deed):
    """It is held back."""

    seconds: float = parameter("duration", "how long", primary=True)
    jitter: float = parameter("duration", "at most this much more, at random", default=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicate(Deed):
    """It comes more than once."""

    times: int = parameter("count", "how many more", default=1, primary=True, least=1, most=_MANY)
    seconds: float = parameter("duration", "time between two of them", default=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reorder(Deed):
    """It comes after those that follow it."""

    behind: int = parameter(
        "count", "how many overtake it", default=1, primary=True, least=1, most=_MANY
    )
    seconds: float = parameter("duration", "it comes then in any case", default=1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Corrupt(Deed):
    """Some of its octets are changed; which, and into what, follows from the seed."""

    octets: int = parameter("count", "how many octets", default=1, primary=True, least=1)
    at: int | None = parameter("size", "offset of the first; left out: anywhere", default=None)
    seed: int = 0
    """Filled in by the plan each time."""

    def apply(self, data: bytes) -> bytes:
        """Return ``data`` with as many of its octets changed as it has."""
        if not data:
            return data
        chance = random.Random(self.seed)
        spoilt = bytearray(data)
        first = None if self.at is None else min(self.at, len(data) - 1)
        for number in range(min(self.octets, len(data))):
            where = chance.randrange(len(data)) if first is None else first + number
            if where < len(spoilt):
                spoilt[where] ^= chance.randrange(1, 256)
        return bytes(spoilt)


@dataclass(frozen=True, slots=True, kw_only=True)
class Truncate(Deed):
    """What comes after so many octets is cut off."""

    octets: int = parameter("size", "how many are left", primary=True)

    def apply(self, data: bytes) -> bytes:
        """Return what is left of ``data``."""
        return data[: self.octets]


@dataclass(frozen=True, slots=True, kw_only=True)
class Replace(Deed):
    """Fields of it say something else; one that is not there is added."""

    fields: Mapping[str, Any] = parameter("fields", "field → value", primary=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Remove(Deed):
    """Fields of it are missing."""

    fields: tuple[str, ...] = parameter("names", "which fields", primary=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Status(Deed):
    """The answer is this refusal, in the protocol's own terms."""

    code: str | int = parameter("code", "number or name of the code", primary=True)
    message: str = parameter("text", "what it says besides", default="")
    headers: Mapping[str, str] = parameter("texts", "header → value (HTTP only)", default={})


@dataclass(frozen=True, slots=True, kw_only=True)
class Redirect(Deed):
    """The answer sends the client elsewhere."""

    to: str = parameter("text", "the Location", primary=True)
    code: int = parameter("count", "301, 302, 307 or 308", default=302, least=300, most=399)


@dataclass(frozen=True, slots=True, kw_only=True)
class Close(Deed):
    """The connection is closed in order (FIN)."""

    at: int = parameter("size", "after this many octets", default=0, primary=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reset(Deed):
    """The connection is broken off (RST)."""

    at: int = parameter("size", "after this many octets", default=0, primary=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stall(Deed):
    """Nothing more comes, and the connection stays open."""

    at: int = parameter("size", "after this many octets", default=0, primary=True)
    seconds: float = parameter("duration", "how long; 0 is for ever", default=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trickle(Deed):
    """It comes slowly."""

    octets_per_s: int = parameter("size", "octets a second", primary=True, least=1)
    at: int = parameter("size", "from this octet on", default=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source(Deed):
    """It comes from another address or port than it should."""

    address: str = parameter("address", "IPv4 address; left out: the right one", default="")
    port: int = parameter(
        "count", "port; left out: the right one", default=0, primary=True, most=65535
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondServer(Deed):
    """Another server answers as well."""

    address: str = parameter("address", "the other server's IPv4 address", primary=True)
    first: bool = parameter("flag", "whether it is the faster one", default=True)
    fields: Mapping[str, Any] = parameter("fields", "what its answer says otherwise", default={})


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate(Deed):
    """The server shows another certificate."""

    kind: str = parameter(
        "choice",
        "what is wrong with it",
        primary=True,
        choices=(
            "unknown-ca",
            "expired",
            "not-yet-valid",
            "wrong-name",
            "self-signed",
            "no-san",
            "incomplete-chain",
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Goaway(Deed):
    """HTTP/2: the server asks the client to leave."""

    code: int = parameter("count", "RFC 9113 error code", default=0, primary=True, most=_CODE)
    last: int | None = parameter(
        "count",
        "last stream id; left out: calls under way are answered",
        default=None,
        most=_CODE >> 1,
    )
    debug: str = parameter("text", "debug data, such as too_many_pings", default="")
    seconds: float = parameter("duration", "age of the connection by then", default=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut(Deed):
    """HTTP/2: one stream is broken off (RST_STREAM)."""

    code: int = parameter("count", "RFC 9113 error code", default=8, primary=True, most=_CODE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifetime(Deed):
    """The connection ends after a time."""

    seconds: float = parameter("duration", "how long it lives", primary=True)
    ends: str = parameter(
        "choice",
        "how: reset RST, close FIN, stall goes silent and stays open",
        default="reset",
        choices=("reset", "close", "stall"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence(Deed):
    """Nothing is answered from a moment on, and nothing is closed."""

    since: str = parameter(
        "choice",
        "accept: TCP only; settings: HTTP/2 comes about",
        default="accept",
        primary=True,
        choices=("accept", "settings"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Speak(Deed):
    """Another protocol is spoken on the port."""

    what: str = parameter("choice", "what is spoken", primary=True, choices=("plaintext", "tls"))


_VERSIONS: Final = ("TLSv1.0", "TLSv1.1", "TLSv1.2", "TLSv1.3")


@dataclass(frozen=True, slots=True, kw_only=True)
class Handshake(Deed):
    """The server does its TLS handshake another way."""

    at_least: str = parameter("choice", "the oldest version", default="", choices=_VERSIONS)
    at_most: str = parameter("choice", "the newest version", default="", choices=_VERSIONS)
    keys: str = parameter("choice", "the certificate's key", default="", choices=("rsa", "ecdsa"))
    records: int = parameter(
        "size", "octets a record has at most (TLS 1.3: the ServerHello's); 0 is as usual", default=0
    )
    segments: int = parameter("size", "octets sent at a time; 0 is as usual", default=0)

    @property
    def manner(self) -> Manner:
        """What a server does then."""
        from harness.certificates import KeyKind
        from harness.handshake import Manner

        return Manner(
            least=self.at_least,
            most=self.at_most,
            keys=KeyKind(self.keys) if self.keys else None,
            records=self.records,
            segments=self.segments,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollback(Deed):
    """What was known is forgotten."""

    reports: int = parameter("count", "how many reports back", default=1, primary=True, least=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Down(Deed):
    """The link loses its carrier."""

    seconds: float = parameter("duration", "how long; 0 is for ever", default=0.0, primary=True)
    times: int = parameter(
        "count", "how often, one after the other", default=1, least=1, most=_MANY
    )
    up: float = parameter("duration", "time between two of them", default=1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block(Deed):
    """The carrier is there, but the switch's port forwards nothing yet (STP, LACP)."""

    seconds: float = parameter("duration", "how long; 0 is for ever", primary=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Power(Deed):
    """Somebody is at the machine's power button."""

    what: str = parameter(
        "choice",
        "cut: off for good; reset: as its button; cycle: off and on",
        primary=True,
        choices=("cut", "reset", "cycle"),
    )
    seconds: float = parameter("duration", "how long a cycle's machine is off", default=1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause(Deed):
    """Every CPU stands still, and then goes on as if nothing had been."""

    seconds: float = parameter("duration", "how long; 0 is for ever", primary=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Nic(Deed):
    """The network card is another one, or none."""

    model: str = parameter(
        "choice",
        "absent: none; else QEMU's name of it",
        primary=True,
        choices=("absent", *get_args(NicModel)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock(Deed):
    """The machine's clock says another time at power-on."""

    base: str = parameter("time", "which, in UTC: 1970-01-01, 2030-05-01T12:00:00", primary=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory(Deed):
    """The machine has another amount of memory."""

    size: int = parameter("size", "how much, such as 768 MiB; whole MiB", primary=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slow(Deed):
    """A disk is slow."""

    octets_per_s: int = parameter("size", "octets a second", primary=True)
    operations_per_s: int = parameter("count", "and operations a second; 0: any", default=0)
    disk: str = parameter("text", "the disk's name", default="vda")


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken(Deed):
    """A disk reports errors."""

    what: str = parameter(
        "choice",
        "which operations fail",
        primary=True,
        choices=("read", "write", "flush", "everything"),
    )
    at: int | None = parameter(
        "size", "only those that touch this octet; left out: all", default=None
    )
    error: str = parameter(
        "choice", "EIO: a medium error; ENOSPC: no room", default="EIO", choices=("EIO", "ENOSPC")
    )
    disk: str = parameter("text", "the disk's name", default="vda")


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments(Deed):
    """The kernel gets other arguments."""

    remove: tuple[str, ...] = parameter(
        "list", "keys, or key=value; `console*` takes all that fit", default=()
    )
    replace: Mapping[str, str] = parameter("texts", "key → its one value", default={})
    add: tuple[str, ...] = parameter("list", "words at the end", default=())


@dataclass(frozen=True, slots=True, kw_only=True)
class File(Deed):
    """A file is another one."""

    path: str = parameter("text", "from the root on; `*` takes every file that fits")
    text: str = parameter("text", "all that it says", default="")
    executable: bool = parameter("flag", "whether it is a program", default=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing(Deed):
    """Files are not there."""

    paths: tuple[str, ...] = parameter(
        "list", "from the root on; `*` takes every file that fits", primary=True
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Service(Deed):
    """A service ends."""

    name: str = parameter("text", "which: hook-docker, hook-bootkit, dhcpcd-once, …", primary=True)
    after: float = parameter("duration", "how long it runs before", default=0.0)
    code: int = parameter("count", "its exit status", default=1, most=255)


DEEDS: Final[Mapping[str, type[Deed]]] = {
    "drop": Drop,
    "delay": Delay,
    "duplicate": Duplicate,
    "reorder": Reorder,
    "corrupt": Corrupt,
    "truncate": Truncate,
    "replace": Replace,
    "remove": Remove,
    "status": Status,
    "redirect": Redirect,
    "close": Close,
    "reset": Reset,
    "stall": Stall,
    "trickle": Trickle,
    "source": Source,
    "second server": SecondServer,
    "certificate": Certificate,
    "handshake": Handshake,
    "goaway": Goaway,
    "cut": Cut,
    "lifetime": Lifetime,
    "silence": Silence,
    "speak": Speak,
    "rollback": Rollback,
    "down": Down,
    "block": Block,
    "power": Power,
    "pause": Pause,
    "nic": Nic,
    "clock": Clock,
    "memory": Memory,
    "slow": Slow,
    "broken": Broken,
    "arguments": Arguments,
    "file": File,
    "missing": Missing,
    "service": Service,
}
"""Every deed by the name it has in ``do:``."""


def parameters_of(deed: type[Deed]) -> tuple[Parameter, ...]:
    """Return what can be said about a deed, in order."""
    found = []
    for one in dataclasses.fields(deed):  # type: ignore[arg-type]
        if _KEY not in one.metadata:
            continue
        form, meaning, primary, choices, least, most = one.metadata[_KEY]
        absent = one.default is dataclasses.MISSING
        needed = absent and one.default_factory is dataclasses.MISSING
        found.append(
            Parameter(
                name=one.name,
                form=form,
                meaning=meaning,
                primary=primary,
                needed=needed,
                default=None if absent else one.default,
                choices=choices,
                least=least,
                most=most,
            )
        )
    return tuple(found)


def make_deed(name: str, parameters: Mapping[str, Any]) -> Deed:
    """Return the deed called ``name``; ``parameters`` are in normal form, lists as tuples."""
    given = {
        key: tuple(value) if isinstance(value, list) else value for key, value in parameters.items()
    }
    return DEEDS[name](**given)


def sentence(deed: type[Deed]) -> str:
    """Return what a deed does, in one sentence."""
    return (deed.__doc__ or "").split("\n", 1)[0]
