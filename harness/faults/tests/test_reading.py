"""A fault as a person writes it; and every mistake, where it stands."""

from __future__ import annotations

import re
from pathlib import Path

import jsonschema
import pytest

from harness.documents import load
from harness.errors import ScenarioError
from harness.faults.fault import Fault
from harness.faults.model import load_faults
from harness.faults.schema import fault_schema


def read(text: str, tmp_path: Path) -> Fault:
    file = tmp_path / "faults.yaml"
    file.write_text(f"faults:\n  - {text}\n", encoding="utf-8")
    (fault,), _ = load_faults(file)
    return fault


def test_a_fault_is_plain_data_in_normal_form(tmp_path: Path) -> None:
    fault = read(
        "{at: dhcp, when: {message: offer, to: firmware, until: 20 s, nth: [2, 3]}, do: drop}",
        tmp_path,
    )
    assert fault.occasion == "reply"
    assert fault.facts == {"message": ["OFFER"], "to": ["firmware"]}
    assert (fault.until_s, fault.nth, fault.deed, fault.parameters) == (20.0, (2, 3), "drop", {})
    assert fault.at.endswith("faults.yaml:2:5")
    assert fault.text == (
        "at dhcp when {message: offer, to: firmware, until: 20 s, nth: [2, 3]} do drop"
    )


def test_the_occasion_follows_from_the_facts_or_is_said(tmp_path: Path) -> None:
    assert read("{at: dhcp, do: drop}", tmp_path).occasion == "reply"
    assert read("{at: dhcp, when: {from: guest}, do: drop}", tmp_path).occasion == "request"
    said = "{at: dhcp, when: {occasion: request, mac: 52-54-00-12-34-5A}, do: {delay: 250 ms}}"
    fault = read(said, tmp_path)
    assert (fault.occasion, fault.facts) == ("request", {"mac": ["52:54:00:12:34:5a"]})
    assert fault.parameters == {"seconds": 0.25}


@pytest.mark.parametrize(
    ("text", "occasion"),
    [
        ("{at: dhcp, when: {message: discover}, do: drop}", "request"),
        ("{at: dhcp, when: {message: [NAK, OFFER]}, do: drop}", "reply"),
        ("{at: dhcp, when: {message: [DISCOVER, REQUEST], stage: ipxe}, do: drop}", "request"),
        ("{at: tftp, when: {opcode: RRQ}, do: {remove: tsize}}", "request"),
        ("{at: tftp, when: {opcode: ERROR}, do: drop}", "reply"),
        ("{at: tftp, when: {opcode: '*A*'}, do: drop}", "reply"),
    ],
)
def test_the_occasion_follows_from_what_only_one_side_sends(
    text: str, occasion: str, tmp_path: Path
) -> None:
    assert read(text, tmp_path).occasion == occasion


def test_parameters_short_and_long(tmp_path: Path) -> None:
    assert read("{at: dhcp, do: {truncate: 1 KiB}}", tmp_path).parameters == {"octets": 1024}
    long = read("{at: dhcp, do: {delay: {seconds: 1 s, jitter: 2 s}}}", tmp_path)
    assert long.parameters == {"seconds": 1.0, "jitter": 2.0}
    fields = read("{at: dhcp, do: {replace: {router: 10.0.0.1, 43: 0a ff}}}", tmp_path)
    assert fields.parameters == {"fields": {"router": ["10.0.0.1"], "43": "0aff"}}
    assert read("{at: dhcp, do: {remove: router}}", tmp_path).parameters == {"fields": ["router"]}


@pytest.mark.parametrize(
    ("text", "column", "message", "hint"),
    [
        ("{at: dchp, do: drop}", 10, "there is no place 'dchp'", "did you mean 'dhcp'?"),
        ("{at: dhcp, do: drp}", 20, "there is no deed 'drp'", "did you mean 'drop'?"),
        ("{at: dhcp, do: certificate}", 20, "dhcp can't do 'certificate'", "known here: drop"),
        ("{at: dhcp}", 5, "'do' is missing", "known here: at, when, do"),
        ("{at: dhcp, if: 1, do: drop}", 16, "unknown key 'if'", "known here: at"),
        ("{at: dhcp, when: {mesage: ACK}, do: drop}", 23, "dhcp has no fact 'mesage'", "'message'"),
        ("{at: link, do: {down: {times: 0}}}", 35, "expected from 1 to 1000, found 0", None),
        ("{at: dns, do: {duplicate: 100000000}}", 31, "from 1 to 1000, found 100000000", None),
        ("{at: wire, do: {trickle: 0}}", 30, "octets_per_s: expected 1 or more, found 0", None),
        ("{at: ntp, do: {source: 70000}}", 28, "port: expected from 0 to 65535", None),
        (
            "{at: tftp, when: {opcode: RRQ}, do: {status: 2}}",
            31,
            "opcode RRQ comes in a request, and 'status' is done to a reply",
            "DATA, ERROR, OACK",
        ),
        (
            "{at: dhcp, when: {message: [DISCOVER, ACK]}, do: drop}",
            32,
            "DISCOVER a request, ACK a reply: no moment is both",
            "make it two faults",
        ),
        (
            "{at: dhcp, when: {message: ACK, from: guest}, do: drop}",
            37,
            "'from' is not known at a reply",
            "request",
        ),
        ("{at: dhcp, when: {message: OFER}, do: drop}", 32, "'OFER' is not known", "'OFFER'"),
        ("{at: dhcp, when: {until: 20}, do: drop}", 30, "expected a duration", None),
        ("{at: dhcp, when: {probability: 2}, do: drop}", 36, "up to 1, found 2", None),
        ("{at: dhcp, when: {phase: dhcp}, do: drop}", 30, "'dhcp' is not known", "firmware-dhcp"),
        ("{at: dhcp, when: {nth: 0}, do: drop}", 28, "a whole number from 1", None),
        ("{at: dhcp, do: delay}", 20, "'delay' needs 'seconds'", None),
        ("{at: dhcp, do: {delay: soon}}", 28, "expected a duration", None),
        ("{at: dhcp, do: {delay: {second: 1 s}}}", 29, "no parameter 'second'", "'seconds'"),
        ("{at: dhcp, do: {replace: {fil: x}}}", 31, "dhcp has no field 'fil'", "'file'"),
        (
            "{at: dhcp, do: {replace: {next server: 10.0.0.9}}}",
            31,
            "dhcp has no field 'next server'",
            "did you mean 'siaddr'?",
        ),
        ("{at: dhcp, do: {replace: {gateway: 1.2.3.4}}}", 31, "'gateway'", "mean 'router'?"),
        ("{at: tink, do: certificate}", 20, "needs 'kind'", "one of unknown-ca, expired"),
        ("{at: dhcp, do: {replace: {siaddr: x}}}", 39, "expected an IPv4 address", None),
        ("{at: dhcp, do: {drop: {x: 1}}}", 21, "takes no parameters", None),
        (
            "{at: dhcp, when: {from: guest}, do: {source: 68}}",
            23,
            "not known at a reply",
            None,
        ),
        ("{at: dhcp, do: {drop: null, delay: 1 s}}", 20, "expected one deed", "a fault of its own"),
        ("drop", 5, "expected a mapping with at, when and do", None),
    ],
)
def test_a_mistake_is_told_at_its_place(
    text: str, column: int, message: str, hint: str | None, tmp_path: Path
) -> None:
    with pytest.raises(ScenarioError) as raised:
        read(text, tmp_path)
    error = raised.value
    assert message in error.message
    assert error.at is not None
    assert (error.at.line, error.at.column) == (2, column)
    if hint:
        assert hint in (error.hint or "")
    # What goes with what is more than a schema can say.
    if not any(words in message for words in ("not known at", "comes in a", "moment is both")):
        data = load(text).data
        assert not jsonschema.Draft202012Validator(fault_schema()).is_valid(data)


def test_several_mistakes_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError) as raised:
        read("{at: dhcp, when: {mesage: ACK, nth: x}, do: drip}", tmp_path)
    assert str(raised.value).count("faults.yaml:2:") == 3


def test_a_file_may_be_a_bare_list(tmp_path: Path) -> None:
    file = tmp_path / "faults.yaml"
    file.write_text("- {at: dhcp, do: drop}\n- {at: dhcp, do: {delay: 1 s}}\n", encoding="utf-8")
    faults, seed = load_faults(file)
    assert [fault.deed for fault in faults] == ["drop", "delay"]
    assert seed == 0
    assert faults[1].at.endswith(":2:3")


def test_a_caller_that_serves_some_places_refuses_the_others(tmp_path: Path) -> None:
    file = tmp_path / "faults.yaml"
    file.write_text("seed: 4\nfaults:\n- {at: dhcp, do: drop}\n", encoding="utf-8")
    with pytest.raises(ScenarioError, match="there is no dhcp here") as raised:
        load_faults(file, places=["tink"])
    assert raised.value.at is not None
    assert (raised.value.at.line, raised.value.at.column) == (3, 8)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{at: tftp, do: {status: no such thing}}", "tftp knows no 'NO_SUCH_THING'"),
        ("{at: dns, do: {status: SERVFAILED}}", "no response code 'SERVFAILED'"),
        ("{at: dhcp, do: {replace: {message type: OFFERED}}}", "dhcp knows no 'OFFERED'"),
        (f"{{at: dhcp, do: {{replace: {{file: {'x' * 129}}}}}}}", "dhcp can't say that"),
        ("{at: ntp, do: {replace: {stratum: 256}}}", "ntp can't say that"),
        ("{at: registry, do: {status: Unavailble}}", "registry knows no 'Unavailble'"),
        ("{at: http, do: {status: 42}}", "three digits"),
        ("{at: tink, do: {status: BUSY}}", "tink knows no 'BUSY'"),
    ],
)
def test_what_no_message_can_hold_is_refused_before_the_lab_starts(
    text: str, reason: str, tmp_path: Path
) -> None:
    with pytest.raises(ScenarioError) as caught:
        read(text, tmp_path)
    assert reason in str(caught.value)
    assert "faults.yaml:2:" in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "{at: tftp, do: {status: access violation}}",
        "{at: dns, do: {status: servfail}}",
        "{at: dhcp, do: {replace: {message type: NAK, option 43: 0a}}}",
        "{at: http, do: {status: Service Unavailable}}",
        "{at: tink, do: {status: unavailable}}",
    ],
)
def test_what_a_message_can_hold_is_not(text: str, tmp_path: Path) -> None:
    assert read(text, tmp_path).deed in ("status", "replace")


@pytest.mark.parametrize(
    ("text", "occasion", "once"),
    [
        ("{at: link, do: {down: 20 s}}", "moment", True),
        ("{at: link, when: {after: 5 s, mac: '52:54:00:12:34:56'}, do: down}", "moment", True),
        ("{at: link, when: {by: ipxe, after: 5 s}, do: down}", "up", False),
        ("{at: link, do: {block: 30 s}}", "up", False),
        ("{at: link, when: {phase: worker-pull}, do: {block: 30 s}}", "moment", True),
        ("{at: link, when: {event: guest.docker.started}, do: down}", "event", False),
        ("{at: link, when: {occasion: up, after: 5 s}, do: down}", "up", False),
    ],
)
def test_which_moment_of_a_link_is_meant(
    text: str, occasion: str, once: bool, tmp_path: Path
) -> None:
    fault = read(text, tmp_path)
    assert (fault.occasion, fault.once) == (occasion, once)


def test_an_event_that_does_not_exist_is_refused_with_the_nearest_names(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"'guest\.docker\.startd' is not known") as caught:
        read("{at: link, when: {event: guest.docker.startd}, do: down}", tmp_path)
    assert "did you mean guest.docker.started" in str(caught.value.hint)
    with pytest.raises(ScenarioError, match="'first' counts nothing: a moment of link comes once"):
        read("{at: link, when: {after: 1 s, first: 2}, do: down}", tmp_path)


@pytest.mark.parametrize(
    ("text", "parameters"),
    [
        ("{at: machine, do: {clock: 1970-01-01}}", {"base": "1970-01-01T00:00:00"}),
        ("{at: machine, do: {clock: '2030-05-01 12:00Z'}}", {"base": "2030-05-01T12:00:00"}),
        ("{at: machine, do: {memory: 512 MiB}}", {"size": 512 << 20}),
        ("{at: machine, do: {power: {what: reset}}}", {"what": "reset"}),
    ],
)
def test_what_can_be_wrong_with_a_machine(
    text: str, parameters: dict[str, object], tmp_path: Path
) -> None:
    assert read(text, tmp_path).parameters == parameters


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{at: machine, do: {clock: 1969-12-31}}", "expected a time from 1970 on"),
        ("{at: machine, do: {clock: soon}}", "expected a time from 1970 on"),
        ("{at: machine, do: {memory: 1 MB}}", "memory is whole MiB, at least 64 MiB"),
        ("{at: machine, do: {slow: 0}}", "a disk that does nothing at all is no slow one"),
        ("{at: machine, do: {nic: e100}}", "'e100' is not known"),
        (
            "{at: machine, when: {after: 5 s}, do: {nic: absent}}",
            "'after' says nothing here: the machine is put together, before power-on",
        ),
    ],
)
def test_what_no_machine_can_be(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=re.escape(message)):
        read(text, tmp_path)
