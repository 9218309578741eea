"""Clients that are sent the wrong way: by a NAK, another server, a wrong URL or lease."""

from __future__ import annotations

from typing import Any

import pytest

from harness.scenario.tests.samples import MAC, Tape, good_boot
from harness.verdict.judge import judge
from harness.verdict.tests.playing import play

SCRIPT = f"/ipxe/script/{MAC}/auto.ipxe"
URL = f"http://192.168.77.1:7080{SCRIPT}"


def lab() -> Tape:
    tape = Tape()
    tape.add(0, "lab", "segment.created", bridge="lab0", kind="bridge", address="192.168.77.1/24")
    tape.add(0, "http", "service.started", service="http", address="0.0.0.0", port=7080,
             transport="tcp")  # fmt: skip
    tape.add(0, "registry", "service.started", service="registry", address="0.0.0.0", port=5000,
             transport="http")  # fmt: skip
    tape.add(1, "machine", "machine.powered_on", machine="m", mac=MAC)
    return tape


def dhcp(tape: Tape, t: float, kind: str, stage: str, **more: Any) -> None:
    tape.add(t, "dhcp", f"dhcp.{kind}", mac=MAC, stage=stage, **more)


def offered(tape: Tape, t: float, stage: str, *, asks: str, answer: str) -> None:
    here = {"address": "192.168.77.10", "file": "undionly.kpxe", "server": "192.168.77.1"}
    dhcp(tape, t, "discover.received", stage)
    dhcp(tape, t, "offer.sent", stage, **here)
    dhcp(tape, t + 1, "request.received", stage, requested="192.168.77.10", server=asks)
    dhcp(tape, t + 1, f"{answer}.sent", stage, **here)


def test_a_nak_is_no_ack() -> None:
    tape = lab()
    for t in (5, 9, 13, 17):
        offered(tape, t, "ipxe", asks="192.168.77.1", answer="nak")
    found = judge(tape.events)
    assert (found.failed_in, found.blame) == ("firmware-dhcp", "dhcp")
    assert found.because == "DHCP refused the firmware the address 192.168.77.10: NAK, 4 times"
    assert found.conclusive
    over = play(tape)
    assert over is not None
    assert over[1].rule == "address-refused"
    assert over[0] <= 19


def test_a_nak_before_an_ack_is_no_failure() -> None:
    tape = lab()
    for t in (5, 8, 11):
        offered(tape, t, "ipxe", asks="192.168.77.1", answer="nak")
    offered(tape, 14, "ipxe", asks="192.168.77.1", answer="ack")
    assert "NAK" not in judge(tape.events).because
    over = play(tape, until=60)
    assert over is None


def test_another_servers_offer_is_taken() -> None:
    tape = lab()
    offered(tape, 5, "ipxe", asks="192.168.77.66", answer="ack")
    found = judge(tape.events)
    assert (found.failed_in, found.blame) == ("firmware-dhcp", "dhcp")
    assert found.because == (
        "the firmware took the OFFER of another DHCP server, 192.168.77.66, instead of that of"
        " 192.168.77.1, once"
    )


def test_the_other_server_of_a_pair_is_not_another_one() -> None:
    tape = lab()
    dhcp(tape, 5, "discover.received", "ipxe")
    dhcp(tape, 5, "offer.sent", "ipxe", server="192.168.77.2", address="192.168.77.10")
    dhcp(tape, 5, "offer.sent", "ipxe", server="192.168.77.1", file="undionly.kpxe")
    dhcp(tape, 6, "request.received", "ipxe", server="192.168.77.2")
    dhcp(tape, 6, "ack.sent", "ipxe", server="192.168.77.2", address="192.168.77.10")
    assert "another" not in judge(tape.events).because


def test_a_boot_file_of_any_name_is_one_when_dhcp_names_it() -> None:
    tape = lab()
    offered(tape, 5, "ipxe", asks="192.168.77.1", answer="ack")
    dhcp(tape, 7, "ack.sent", "ipxe", address="192.168.77.10", file="boot/loader.old")
    tape.add(8, "tftp", "tftp.request.received", id="t1", mac=MAC, file="boot/loader.old")
    tape.add(8, "tftp", "tftp.error.sent", id="t1", mac=MAC, file="boot/loader.old", code=1,
             text="file does not exist")  # fmt: skip
    found = judge(tape.events)
    assert (found.failed_in, found.blame) == ("nbp-download", "tftp")
    assert found.because == "TFTP refused boot/loader.old: file does not exist"


def in_ipxe(url: str) -> Tape:
    tape = lab()
    offered(tape, 5, "ipxe", asks="192.168.77.1", answer="ack")
    tape.add(8, "tftp", "tftp.request.received", id="t1", mac=MAC, file="undionly.kpxe")
    tape.add(9, "tftp", "tftp.transfer.finished", id="t1", mac=MAC, file="undionly.kpxe", bytes=90)
    dhcp(tape, 10, "discover.received", "tinkerbell")
    dhcp(tape, 10, "ack.sent", "tinkerbell", address="192.168.77.10", file=url)
    return tape


def test_a_script_at_a_port_where_nobody_listens() -> None:
    tape = in_ipxe(URL.replace("7080", "7081"))
    line = "http://192.168.77.1:7081/… Connection reset (https://ipxe.org/0f0a6095)"
    tape.add(12, "machine", "guest.error.seen", pattern="ipxe error", console="ttyS0", line=line)
    found = judge(tape.events)
    assert (found.failed_in, found.blame) == ("ipxe", "dhcp")
    assert "nobody listens at port 7081: HTTP is at port 7080" in found.because


def test_a_script_on_another_host_is_not_judged_by_this_hosts_ports() -> None:
    tape = in_ipxe("http://10.0.0.9:7081/auto.ipxe")
    assert "nobody listens" not in judge(tape.events).because


@pytest.mark.parametrize(
    ("host", "blame"),
    [("192.168.77.99", "dhcp"), ("192.168.77.1", "link"), ("10.0.0.9", "link"), ("s.lan", "link")],
)
def test_a_script_on_a_neighbour_that_nobody_is(host: str, blame: str) -> None:
    tape = in_ipxe(URL.replace("192.168.77.1", host))
    line = f"http://{host}:7080/auto.ipxe... Connection timed out (https://ipxe.org/4c0a6092)"
    tape.add(30, "machine", "guest.error.seen", pattern="ipxe error", console="ttyS0", line=line)
    found = judge(tape.events)
    assert (found.failed_in, found.blame) == ("ipxe", blame)
    assert ("nobody has that address: the web server is at 192.168.77.1" in found.because) == (
        blame == "dhcp"
    )


@pytest.mark.parametrize("name", ["http.malformed", "http.tls.failed"])
def test_https_to_a_port_of_plain_http(name: str) -> None:
    tape = in_ipxe(URL.replace("http:", "https:"))
    tape.add(12, "http", name, peer="192.168.77.10:4000", reason="TLS on the plain HTTP port")
    found = judge(tape.events)
    assert (found.failed_in, found.blame) == ("ipxe", "dhcp")
    assert found.because.endswith("as iPXE's script, and that port speaks plain HTTP")


def answer(tape: Tape, t: float, number: str, status: int, length: int = 0) -> None:
    common = {"id": number, "path": SCRIPT}
    tape.add(t, "http", "http.request.received", mac=MAC, peer="192.168.77.10:4000", **common)
    tape.add(t, "http", "http.response.started", status=status, length=length, **common)
    tape.add(t, "http", "http.response.finished", mac=MAC, status=status, bytes=length, **common)


def test_a_redirect_to_itself() -> None:
    tape = in_ipxe(URL)
    for number in range(25):
        answer(tape, 12 + number / 10, f"h{number}", 302)
    found = judge(tape.events)
    assert (found.failed_in, found.blame) == ("ipxe", "http")
    assert found.because.endswith(f"{SCRIPT} elsewhere (302), 25 times: it is sent in circles")
    over = play(tape)
    assert over is not None
    assert over[1].rule == "sent-in-circles"
    assert over[0] < 15


def test_redirects_that_end_somewhere_are_none() -> None:
    tape = in_ipxe(URL)
    for number in range(3):
        answer(tape, 12 + number / 10, f"h{number}", 302)
    answer(tape, 13, "h3", 404)
    assert "404" in judge(tape.events).because


def test_a_page_that_is_longer_than_the_script() -> None:
    tape = in_ipxe(URL)
    tape.add(12, "http", "http.script.served", id="h1", mac=MAC, path=SCRIPT, script="#!ipxe\n")
    answer(tape, 12, "h1", 200, 8000)
    found = judge(tape.events)
    assert (found.failed_in, found.blame) == ("ipxe", "http")
    assert found.because == f"HTTP sent 8000 bytes in the place of {SCRIPT}, which has 7"


def pulling() -> Tape:
    tape = lab()
    dhcp(tape, 29, "discover.received", "guest")
    tape.add(30, "machine", "guest.kernel.started", version="6.1")
    line = "docker_registry=192.168.77.1:5001 tink_worker_image=192.168.77.1:5001/w:v1"
    tape.add(31, "machine", "guest.cmdline.seen", cmdline=line)
    return tape


def fails(tape: Tape, t: float, why: str) -> None:
    tape.add(t, "machine", "guest.error.seen", console="ttyS1", pattern="image pull failure",
             line=f"image pull failure Error response from daemon: {why}")  # fmt: skip


def test_a_registry_at_another_port() -> None:
    tape = pulling()
    tape.add(40, "machine", "guest.docker.started", console="ttyS1")
    fails(tape, 42, 'Get "https://192.168.77.1:5001/v2/": dial tcp 192.168.77.1:5001: connect:'
          " connection refused")  # fmt: skip
    found = judge(tape.events)
    assert (found.failed_in, found.blame) == ("worker-pull", "boot-script")
    assert found.because == (
        "Hook is told to pull from port 5001 (docker_registry, tink_worker_image), where nobody"
        " listens: the registry is at port 5000"
    )


def test_a_registry_that_is_named_without_its_port() -> None:
    tape = pulling()
    line = "docker_registry=192.168.77.1:5000 tink_worker_image=192.168.77.1/w:v1"
    tape.add(39, "machine", "guest.cmdline.seen", cmdline=line)
    tape.add(40, "machine", "guest.docker.started", console="ttyS1")
    fails(tape, 42, 'Get "https://192.168.77.1/v2/": dial tcp 192.168.77.1:443: connect:'
          " connection refused")  # fmt: skip
    found = judge(tape.events)
    assert (found.failed_in, found.blame) == ("worker-pull", "boot-script")
    assert "port 443 (tink_worker_image), where nobody listens" in found.because


@pytest.mark.parametrize(
    ("address", "netmask", "says"),
    [
        ("10.9.9.10", "255.255.255.0", "10.9.9.10, which is not in this network (192.168.77.0/24)"),
        ("192.168.77.10", "255.255.255.255", "netmask 255.255.255.255, which is not this network"),
        ("192.168.77.10", "255.255.255.0", ""),
    ],
)
def test_a_lease_of_another_network(address: str, netmask: str, says: str) -> None:
    tape = pulling()
    dhcp(tape, 35, "discover.received", "guest")
    dhcp(tape, 35, "ack.sent", "guest", address=address, netmask=netmask)
    tape.add(40, "machine", "guest.docker.started", console="ttyS1")
    fails(tape, 42, 'Get "https://192.168.77.1:5000/v2/": dial tcp 192.168.77.1:5000: connect: no'
          " route to host")  # fmt: skip
    found = judge(tape.events)
    assert found.failed_in == "worker-pull"
    assert (found.blame == "dhcp", says in found.because) == (bool(says), True)


def test_the_lease_of_another_nic_is_no_matter() -> None:
    tape = pulling()
    dhcp(tape, 35, "ack.sent", "guest", address="192.168.77.10", netmask="255.255.255.0")
    tape.add(36, "dhcp", "dhcp.ack.sent", mac="00:00:5e:00:53:01", stage="guest",
             address="169.254.3.1", netmask="255.255.255.0")  # fmt: skip
    tape.add(40, "machine", "guest.docker.started", console="ttyS1")
    fails(tape, 42, 'Get "https://192.168.77.1:5000/v2/": dial tcp 192.168.77.1:5000: connect: no'
          " route to host")  # fmt: skip
    assert judge(tape.events).blame != "dhcp"


def named(tape: Tape, t: float, rcode: str, *answers: str) -> None:
    name = "registry.tinkerbell.lab."
    common = {"peer": "192.168.77.10:5353", "name": name, "type": "A"}
    tape.add(t, "dns", "dns.query.received", **common)
    tape.add(t, "dns", "dns.answer.sent", rcode=rcode, answers=list(answers), **common)


LOOKUP = "dial tcp: lookup registry.tinkerbell.lab on 192.168.77.1:53: "


def test_a_name_of_where_nobody_is() -> None:
    tape = pulling()
    tape.add(40, "machine", "guest.docker.started", console="ttyS1")
    named(tape, 41, "NOERROR", "192.168.77.250")
    fails(tape, 42, "dial tcp 192.168.77.250:5000: connect: no route to host")
    found = judge(tape.events)
    assert (found.failed_in, found.blame) == ("worker-pull", "dns")
    assert "says that registry.tinkerbell.lab is 192.168.77.250, once" in found.because


def test_a_name_without_an_address() -> None:
    tape = pulling()
    tape.add(40, "machine", "guest.docker.started", console="ttyS1")
    named(tape, 41, "NOERROR")
    fails(tape, 42, LOOKUP + "no such host")
    named(tape, 43, "NOERROR")
    found = judge(tape.events)
    assert found.blame == "dns"
    assert found.because == (
        "the name server knows registry.tinkerbell.lab and no address of it, twice"
    )


def test_answers_that_do_not_arrive() -> None:
    tape = pulling()
    tape.add(40, "machine", "guest.docker.started", console="ttyS1")
    named(tape, 41, "NOERROR", "192.168.77.1")
    fails(tape, 42, LOOKUP + "i/o timeout")
    found = judge(tape.events)
    assert found.blame == "link"
    assert "answered for registry.tinkerbell.lab, once, and Hook says that nothing" in found.because


@pytest.mark.parametrize(
    ("took_s", "blame", "says"),
    [(0.01, "link", "answered for registry.tinkerbell.lab, 4 times"), (7, "dns", "up to 7.0 s")],
)
def test_answers_that_come_to_nobody_or_late(took_s: float, blame: str, says: str) -> None:
    tape = pulling()
    tape.add(40, "machine", "guest.docker.started", console="ttyS1")
    common = {"peer": "192.168.77.10:5353", "name": "registry.tinkerbell.lab."}
    for n, t in enumerate((41, 49)):  # both kinds at once, as Go does, and no address of IPv6
        for kind in ("A", "AAAA"):
            tape.add(t, "dns", "dns.query.received", id=f"{n}{kind}", type=kind, **common)
        for kind, answers in (("A", ["192.168.77.1"]), ("AAAA", [])):
            tape.add(t + took_s, "dns", "dns.answer.sent", id=f"{n}{kind}", type=kind,
                     rcode="NOERROR", answers=answers, **common)  # fmt: skip
    fails(tape, 57, LOOKUP + r"read udp 10.0.0.2:1-\u003e10.0.0.1:53: i/o timeout")
    found = judge(tape.events)
    assert (found.failed_in, found.blame) == ("worker-pull", blame)
    assert says in found.because
    assert "u003e" not in found.because


def test_a_name_that_is_answered_again_is_not_to_blame() -> None:
    tape = pulling()
    tape.add(40, "machine", "guest.docker.started", console="ttyS1")
    named(tape, 41, "SERVFAIL")
    fails(tape, 42, LOOKUP + "server misbehaving")
    named(tape, 43, "NOERROR", "192.168.77.1")
    assert "SERVFAIL" not in judge(tape.events).because


def test_a_worker_that_is_not_told_who_it_is() -> None:
    tape = lab()
    tape.add(30, "machine", "guest.cmdline.seen", cmdline="grpc_authority=192.168.77.1:42113")
    tape.add(40, "machine", "guest.worker.started", console="ttyS1")
    found = judge(tape.events)
    assert (found.failed_in, found.blame) == ("workflow", "boot-script")
    assert "has no worker_id" in found.because


def test_a_machine_that_is_reset_again_and_again() -> None:
    tape = pulling()
    for t in (40, 80, 120, 160):
        tape.add(t, "machine", "guest.docker.started", console="ttyS1")
        tape.add(t + 1, "machine", "machine.reset", machine="m", reason="host", guest=False)
    found = judge(tape.events)
    assert (found.failed_in, found.blame) == ("worker-pull", "machine")
    assert "reset from outside, 4 times" in found.because
    over = play(tape)
    assert over is not None
    assert over[1].rule == "goes-in-circles"
    assert over[0] <= 162


def test_a_boot_that_was_reset_once_is_judged_by_what_came_then() -> None:
    tape = good_boot().until("guest.docker.started")
    tape.add(36, "machine", "machine.reset", machine="m", reason="host", guest=False)
    assert "reset from outside" not in judge(tape.events).because


def test_an_answer_that_nobody_acknowledges() -> None:
    tape = in_ipxe(URL)
    where = "192.168.77.10:4000"
    tape.add(12, "http", "http.script.served", id="h1", mac=MAC, path=SCRIPT, script="#!ipxe\n")
    answer(tape, 12, "h1", 200, 7)
    tape.add(19, "http", "http.answer.unheard", peer=where, bytes=207, times=6)
    for second in range(20, 100):  # iPXE's dots
        tape.add(second, "machine", "console.line.seen", console="ttyS0", text="." * second)
    over = play(tape)
    assert over is not None
    assert over[1].rule == "answer-unheard"
    assert over[0] <= 60
    found = judge(tape.events)
    assert (found.failed_in, found.blame) == ("ipxe", "link")
    assert f"what HTTP sends of {SCRIPT} does not arrive: 207 octets" in found.because


def test_an_answer_that_was_acknowledged_late() -> None:
    tape = in_ipxe(URL)
    where = "192.168.77.10:4000"
    tape.add(12, "http", "http.script.served", id="h1", mac=MAC, path=SCRIPT, script="#!ipxe\n")
    answer(tape, 12, "h1", 200, 7)
    tape.add(19, "http", "http.answer.unheard", peer=where, bytes=207, times=6)
    tape.add(24, "http", "http.answer.heard", peer=where)
    assert judge(tape.events).blame == "ipxe"
    over = play(tape)
    assert over is not None
    assert over[1].rule == "silence"


@pytest.mark.parametrize(
    ("servers", "blame"), [(None, "dhcp"), (["192.168.77.1"], "guest-network")]
)
def test_a_lease_without_a_name_server(servers: list[str] | None, blame: str) -> None:
    tape = pulling()
    dhcp(tape, 35, "ack.sent", "guest", address="192.168.77.10", netmask="255.255.255.0",
         name_servers=servers)  # fmt: skip
    tape.add(40, "machine", "guest.docker.started", console="ttyS1")
    fails(tape, 42, "dial tcp: lookup registry.tinkerbell.lab on [::1]:53: read udp"
          " [::1]:4000->[::1]:53: read: connection refused")  # fmt: skip
    found = judge(tape.events)
    assert (found.failed_in, found.blame) == ("worker-pull", blame)
    assert "registry.tinkerbell.lab" in found.because
