"""Boot files that come whole and are of no use, and lengths that are no file's."""

from __future__ import annotations

import pytest

from harness.scenario.tests.samples import MAC, Tape, good_boot
from harness.verdict.judge import judge

PATH = f"/ipxe/binary/{MAC}/ipxe.efi"


def sent(transport: str) -> Tape:
    if transport == "tftp":
        return good_boot().until("tftp.transfer.finished")
    tape = good_boot().until("dhcp.ack.sent", stage="firmware")
    tape.add(7, "http", "http.request.received", id=1, mac=MAC, method="GET", path=PATH)
    tape.add(7.5, "http", "http.response.finished", id=1, mac=MAC, path=PATH, status=200,
             bytes=1_061_376)  # fmt: skip
    return tape


def ends(tape: Tape, reason: str) -> Tape:
    tape.add(9, "machine", "firmware.boot.failed", way="UEFI PXEv4", reason=reason, console="ttyS0")
    tape.add(10, "machine", "firmware.prompt.offered", prompt="UiApp", console="ttyS0")
    return tape


@pytest.mark.parametrize("transport", ["tftp", "http"])
@pytest.mark.parametrize("reason", ["Unsupported", "Load Error", "Not Found", "Time out"])
def test_a_program_that_the_firmware_does_not_take(transport: str, reason: str) -> None:
    found = judge(ends(sent(transport), reason).events)
    if reason in ("Unsupported", "Load Error"):
        assert found.blame == transport
        assert found.because == (
            f"the firmware was sent ipxe.efi, and it does not start: “{reason}”"
        )
    else:
        assert "does not start" not in found.because


def test_a_program_that_can_not_unpack_itself() -> None:
    tape = sent("tftp")
    tape.add(8, "machine", "console.line.seen", console="ttyS0", partial=True,
             text="Installation failed - cannot continu")  # fmt: skip
    tape.add(9, "machine", "machine.cpu.halted", machine="m", at="000008de")
    found = judge(tape.events)
    assert (found.failed_in, found.blame) == ("ipxe", "tftp")
    assert "Installation failed" in found.because


def test_a_program_that_was_heard_did_start() -> None:
    tape = good_boot().until("dhcp.ack.sent", stage="tinkerbell")
    assert "does not start" not in judge(ends(tape, "Unsupported").events).because


@pytest.mark.parametrize(
    ("promised", "what"),
    [
        (
            9_000_000,
            "HTTP promised 9.0 MB of /vmlinuz-x86_64, twice, and sent the 8.0 MB that it has",
        ),
        (1_000, "HTTP sent 1000 bytes as the whole of /vmlinuz-x86_64, which has 8000000"),
    ],
)
def test_a_length_that_is_a_lie(promised: int, what: str) -> None:
    tape = good_boot().until("http.script.served")
    t = tape.events[-1].t
    path = "/vmlinuz-x86_64"
    for n in range(2):
        about = {"id": f"k{n}", "path": path, "length": promised}
        tape.add(t + 1, "http", "http.request.received", id=f"k{n}", mac=MAC, path=path)
        tape.add(t + 1, "http", "http.response.started", **about, status=200, file_bytes=8_000_000)
        tape.add(t + 2, "http", "http.response.cut", **about, mac=MAC, how="close",
                 bytes=8_000_000)  # fmt: skip
    found = judge(tape.events)
    assert (found.blame, found.because) == ("http", what)
