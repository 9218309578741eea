"""Syslog messages: RFC 5424 where one is, else RFC 3164 as far as senders keep to it.

Nothing here raises: a log line is evidence, however it looks.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from harness.wire.commands import Address, Command, Note

SERVER_PORT: Final = 514
FACILITIES: Final = (
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "clock", "authpriv",
    "ftp", "ntp", "audit", "alert", "cron", "local0", "local1", "local2", "local3", "local4",
    "local5", "local6", "local7",
)  # fmt: skip
SEVERITIES: Final = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")

_PRI: Final = re.compile(r"<(\d{1,3})>")
_WHEN: Final = (
    r"(?:[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d"  # RFC 3164
    r"|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d))"  # docker's syslog driver
)
_TAG: Final = r"(?P<tag>[^\s:\[\]]{1,64})(?:\[(?P<pid>[^\]\s]*)\])?: ?"
_DATED: Final = re.compile(rf"(?P<when>{_WHEN}) (?:(?P<host>[^\s:\[\]]+) )?{_TAG}")
_DATED_BARE: Final = re.compile(rf"(?P<when>{_WHEN}) (?:(?P<host>[^\s:\[\]]+) )?")
_IPXE: Final = re.compile(r"(?:(?P<host>[^\s:\[\]]+) )?(?P<tag>ipxe)(?P<pid>): ")
_TAGGED: Final = re.compile(_TAG)
_MODERN: Final = re.compile(
    r"1 (?P<when>\S+) (?P<host>\S+) (?P<tag>\S+) (?P<pid>\S+) \S+ "
    r"(?:-|(?:\[[^\s\]=\"]+(?: [^\s\]=\"]+=\"(?:[^\"\\\]]|\\.)*\")*\])+)(?: |$)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SyslogMessage:
    """What could be read from a datagram. Missing parts are empty."""

    facility: str
    severity: str
    timestamp: str = ""
    hostname: str = ""
    tag: str = ""
    pid: str = ""
    message: str = ""


def text_of(datagram: bytes) -> str:
    """Return a datagram as text, without the line end or NUL some senders add."""
    return datagram.decode("utf-8", "replace").rstrip("\r\n\0")


def parse(datagram: bytes) -> SyslogMessage | None:
    """Return what ``datagram`` says, or None when it has no PRI (RFC 3164 §4.1.1)."""
    text = text_of(datagram)
    pri = _PRI.match(text)
    if pri is None or int(pri[1]) > 191:
        return None
    facility, severity = FACILITIES[int(pri[1]) // 8], SEVERITIES[int(pri[1]) % 8]
    rest = text[pri.end() :]
    for pattern in (_MODERN, _DATED, _DATED_BARE, _IPXE, _TAGGED):
        if found := pattern.match(rest):
            parts = {name: _known(value) for name, value in found.groupdict().items()}
            return SyslogMessage(
                facility=facility,
                severity=severity,
                timestamp=parts.get("when", ""),
                hostname=parts.get("host", ""),
                tag=parts.get("tag", ""),
                pid=parts.get("pid", ""),
                message=rest[found.end() :].removeprefix("\ufeff"),
            )
    return SyslogMessage(facility=facility, severity=severity, message=rest)


def _known(value: str | None) -> str:
    """Return a part's value; ``-`` is RFC 5424's way to leave one out."""
    return "" if value in (None, "-") else str(value)


class SyslogServer:
    """Turns datagrams into events; never answers."""

    def __init__(self, *, identify: Callable[[str], str | None] | None = None) -> None:
        self._identify = identify or (lambda _: None)

    def receive(self, datagram: bytes, peer: Address, now: float) -> list[Command]:
        """Note one message."""
        del now
        where = f"{peer[0]}:{peer[1]}"
        message = parse(datagram)
        if message is None:
            fields = {"peer": where, "message": text_of(datagram), "bytes": len(datagram)}
            return [Note(name="syslog.malformed", fields=fields)]
        return [
            Note(
                name="syslog.message.received",
                fields={
                    "mac": self._identify(peer[0]),
                    "peer": where,
                    "facility": message.facility,
                    "severity": message.severity,
                    "tag": message.tag or None,
                    "hostname": message.hostname or None,
                    "message": message.message,
                    "bytes": len(datagram),
                },
            )
        ]

    def timer(self, name: str, now: float) -> list[Command]:
        """Do nothing: this server sets no timers."""
        del name, now
        return []
