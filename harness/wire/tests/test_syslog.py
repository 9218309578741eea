"""Syslog messages of the senders a lab has, and of none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.events import EVENTS
from harness.wire.commands import Note
from harness.wire.syslog import FACILITIES, SEVERITIES, SyslogServer, parse

PEER = ("192.168.77.10", 40000)


@pytest.mark.parametrize(
    ("datagram", "expected"),
    [
        # iPXE, with and without a host name
        (b"<6>ipxe: net0: 52:54", ("kern", "info", "", "ipxe", "", "net0: 52:54")),
        (b"<6>machine.lab ipxe: ok", ("kern", "info", "machine.lab", "ipxe", "", "ok")),
        # docker's syslog log driver
        (
            b"<30>2026-11-21T09:00:00Z hook tink-worker/abc[123]: {\"msg\":\"starting\"}\n",
            ("daemon", "info", "hook", "tink-worker/abc", "123", '{"msg":"starting"}'),
        ),
        # RFC 3164's own examples
        (
            b"<34>Oct 11 22:14:15 mymachine su: 'su root' failed for lonvick on /dev/pts/8",
            ("auth", "crit", "mymachine", "su", "", "'su root' failed for lonvick on /dev/pts/8"),
        ),
        (b"<0>Use the BFG!", ("kern", "emerg", "", "", "", "Use the BFG!")),
        # busybox syslogd -R and logger leave the host name out
        (b"<13>Nov  1 09:00:00 root: hello", ("user", "notice", "", "root", "", "hello")),
        (b"<13>Nov 21 09:00:00 only a text", ("user", "notice", "only", "", "", "a text")),
        # RFC 5424's own examples
        (
            "<34>1 2003-10-11T22:14:15.003Z example.com su - ID47 - \ufeff'su'".encode(),
            ("auth", "crit", "example.com", "su", "", "'su'"),
        ),
        (
            b'<165>1 2003-10-11T22:14:15Z h evntslog 77 ID47 [e@1 a="x\\"\\]y" b="z"][f@1] Text',
            ("local4", "notice", "h", "evntslog", "77", "Text"),
        ),
        (b"<165>1 - - - - - -", ("local4", "notice", "", "", "", "")),
    ],
)  # fmt: skip
def test_what_senders_send_is_understood(datagram: bytes, expected: tuple[str, ...]) -> None:
    found = parse(datagram)
    assert found
    read = (found.facility, found.severity, found.hostname, found.tag, found.pid, found.message)
    assert read == expected


@pytest.mark.parametrize(
    "datagram", [b"", b"no pri", b"<192>x", b"<>x", b"<1234>x", b"\xff\xfe<6>"]
)
def test_without_a_pri_it_is_malformed_but_kept(datagram: bytes) -> None:
    assert parse(datagram) is None
    [note] = SyslogServer().receive(datagram, PEER, 0.0)
    assert isinstance(note, Note)
    assert note.name == "syslog.malformed"
    assert note.fields["bytes"] == len(datagram)


@given(st.binary(max_size=500), st.integers(0, 191))
def test_nothing_raises_and_no_text_is_lost(text: bytes, pri: int) -> None:
    for datagram in (text, b"<%d>" % pri + text, b"<%d>1 " % pri + text):
        for note in SyslogServer().receive(datagram, PEER, 0.0):
            assert isinstance(note, Note)
            assert set(note.fields) <= set(EVENTS[note.name].fields)
    found = parse(b"<%d>" % pri + text)
    assert found
    assert found.facility == FACILITIES[pri // 8]
    assert found.severity == SEVERITIES[pri % 8]


def test_a_message_may_fill_a_datagram() -> None:
    found = parse(b"<6>docker: " + b"x" * 65_000)
    assert found
    assert len(found.message) == 65_000


def test_a_hostile_message_is_parsed_in_linear_time() -> None:
    assert parse(b"<6>1 - - - - - " + b'[a b="' * 10_000)
    assert parse(b"<6>" + b"a[" * 30_000)
