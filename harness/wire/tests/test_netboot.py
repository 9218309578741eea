"""smee's rules about netboot clients and boot files."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.wire import dhcp4
from harness.wire.dhcp4 import Code, Message, MessageType, Option
from harness.wire.netboot import (
    NO_SCRIPT,
    NOT_ALLOWED,
    MacFormat,
    NetbootConfig,
    Reservation,
    Stage,
    boot_file,
    classify,
    formatted_mac,
    netboot_refusal,
    parse_mac,
    without_trace,
)

MAC = "52:54:00:00:00:01"
PI_MAC = "dc:a6:32:00:00:01"
CONFIG = NetbootConfig(server="192.168.77.1")
ALLOWED = Reservation(mac=MAC, address="192.168.77.10", allow_pxe=True)
SCRIPT = f"http://192.168.77.1:7080/ipxe/script/{MAC}/auto.ipxe"
TRACE = "00-23b1e307bb35484f535a1f772c06910e-d887dc3912240434-01"


def request(
    *,
    mac: str = MAC,
    vendor: bytes | None = b"PXEClient:Arch:00007:UNDI:003001",
    user: bytes | None = None,
    arch: bytes | None = b"\x00\x07",
    interface: bytes | None = b"\x01\x03\x01",
    guid: bytes | None = bytes(17),
    kind: int = MessageType.DISCOVER,
) -> Message:
    values = {
        Code.MESSAGE_TYPE: bytes((kind,)),
        Code.VENDOR_CLASS: vendor,
        Code.USER_CLASS: user,
        Code.ARCHITECTURE: arch,
        Code.NETWORK_INTERFACE: interface,
        Code.MACHINE_IDENTIFIER: guid,
    }
    options = [Option(code, data) for code, data in values.items() if data is not None]
    return Message(chaddr=bytes.fromhex(mac.replace(":", "")), options=tuple(options))


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (request(), None),
        (request(kind=MessageType.REQUEST), None),
        (request(vendor=b"HTTPClient:Arch:00016"), None),
        (request(guid=None), None),
        (request(kind=MessageType.INFORM), "neither DISCOVER nor REQUEST"),
        (request(vendor=None), "no option 60"),
        (request(vendor=b"udhcp 1.35.0"), "option 60 is neither"),
        (request(arch=None), "no option 93"),
        (request(interface=None), "no option 94"),
        (request(guid=bytes(16)), "option 97"),
        (request(guid=b"\x01" + bytes(16)), "option 97"),
    ],
)
def test_who_is_a_netboot_client(message: Message, reason: str | None) -> None:
    found = netboot_refusal(message)
    assert (found is None) if reason is None else reason in (found or "")


@pytest.mark.parametrize(
    ("message", "stage"),
    [
        (request(), Stage.FIRMWARE),
        (request(vendor=b"HTTPClient"), Stage.FIRMWARE),
        (request(user=b"iPXE"), Stage.IPXE),
        (request(user=b"\x04iPXE"), Stage.FIRMWARE),  # RFC 3004's form: smee does not know it
        (request(user=b"Tinkerbell"), Stage.TINKERBELL),
        (request(vendor=b"dhcpcd-9.4.1"), Stage.GUEST),
        (request(vendor=None), Stage.GUEST),
    ],
)
def test_a_client_tells_its_stage(message: Message, stage: Stage) -> None:
    assert classify(message).stage is stage


@pytest.mark.parametrize(
    ("vendor", "user", "file", "next_server"),
    [
        (b"PXEClient", b"Tinkerbell", SCRIPT, "192.168.77.1"),
        (b"HTTPClient", b"Tinkerbell", SCRIPT, "192.168.77.1"),
        (b"HTTPClient", b"iPXE", f"http://192.168.77.1:7080/ipxe/binary/{MAC}/ipxe.efi", None),
        (b"HTTPClient", None, f"http://192.168.77.1:7080/ipxe/binary/{MAC}/ipxe.efi", None),
        (b"PXEClient", b"iPXE", f"tftp://192.168.77.1:69/{MAC}/ipxe.efi", None),
        (b"PXEClient", None, "ipxe.efi", None),
        (b"PXEClient", b"other", "ipxe.efi", None),
    ],
)
def test_the_boot_file_is_the_first_rule_that_matches(
    vendor: bytes, user: bytes | None, file: str, next_server: str | None
) -> None:
    boot = boot_file(classify(request(vendor=vendor, user=user)), ALLOWED, CONFIG)
    assert boot.file == file
    assert boot.next_server == (next_server or "192.168.77.1")


@pytest.mark.parametrize(
    ("values", "binary"),
    [
        ([0], "undionly.kpxe"),
        ([5], "undionly.kpxe"),
        ([20], "undionly.kpxe"),
        ([6], "ipxe.efi"),
        ([7], "ipxe.efi"),
        ([9], "ipxe.efi"),
        ([16], "ipxe.efi"),
        ([11], "snp-arm64.efi"),
        ([19], "snp-arm64.efi"),
        ([99, 7], "ipxe.efi"),
        ([12, 7], None),  # known, but without a binary: the first known one counts
        ([27], None),
        ([41], None),  # only a Pi's MAC makes 41
        ([255], None),
        ([], None),
    ],
)
def test_the_architecture_chooses_the_binary(values: list[int], binary: str | None) -> None:
    arch = b"".join(value.to_bytes(2, "big") for value in values)
    boot = boot_file(classify(request(arch=arch)), ALLOWED, CONFIG)
    assert boot.file == (binary or NOT_ALLOWED)
    assert (boot.vendor_specific is None) == (binary is None)


def test_an_odd_architecture_is_unknown() -> None:
    assert boot_file(classify(request(arch=b"\0\7\0")), ALLOWED, CONFIG).file == NOT_ALLOWED


def test_who_may_not_netboot_is_told_so() -> None:
    boot = boot_file(classify(request()), Reservation(mac=MAC, address="192.168.77.10"), CONFIG)
    assert (boot.file, boot.next_server, boot.vendor_specific) == (NOT_ALLOWED, "0.0.0.0", None)


def test_a_raspberry_pi_gets_its_menu_and_arm64() -> None:
    client = classify(request(mac=PI_MAC, arch=b"\0\0"))
    boot = boot_file(client, ALLOWED, CONFIG)
    assert boot.file == "snp-arm64.efi"
    assert boot.vendor_specific
    assert dhcp4.decode_suboptions(boot.vendor_specific) == [
        Option(6, b"\x08"),
        Option(9, b"\0\0\x11Raspberry Pi Boot"),
        Option(10, b"\0PXE"),
        Option(69, bytes(26)),
    ]


def test_a_trace_is_put_into_the_name_and_into_option_43() -> None:
    config = NetbootConfig(server="192.168.77.1", traceparent=TRACE)
    boot = boot_file(classify(request()), ALLOWED, config)
    assert boot.file == f"ipxe.efi-{TRACE}"
    assert without_trace(boot.file) == "ipxe.efi"
    assert boot.vendor_specific
    assert dhcp4.decode_suboptions(boot.vendor_specific)[-1] == Option(
        69, bytes.fromhex(TRACE.replace("-", ""))
    )


def test_hardware_overrides_script_and_binary() -> None:
    own = Reservation(
        mac=MAC, address="192.168.77.10", allow_pxe=True,
        ipxe_script_url="http://elsewhere/x.ipxe", ipxe_binary="snp-x86_64.efi",
    )  # fmt: skip
    assert boot_file(classify(request()), own, CONFIG).file == "snp-x86_64.efi"
    tinkerbell = classify(request(user=b"Tinkerbell"))
    assert boot_file(tinkerbell, own, CONFIG).file == "http://elsewhere/x.ipxe"


def test_a_named_http_server_leaves_siaddr_to_the_own_address() -> None:
    config = NetbootConfig(server="192.168.77.1", http="http://smee.lab:7080")
    boot = boot_file(classify(request(vendor=b"HTTPClient")), ALLOWED, config)
    assert boot.next_server == "192.168.77.1"
    assert boot.file == f"http://smee.lab:7080/ipxe/binary/{MAC}/ipxe.efi"


@pytest.mark.parametrize(
    ("how", "text"),
    [
        (MacFormat.COLON, "52:54:00:00:00:01"),
        (MacFormat.DASH, "52-54-00-00-00-01"),
        (MacFormat.DOT, "5254.0000.0001"),
        (MacFormat.NO_DELIMITER, "525400000001"),
        (MacFormat.EMPTY, ""),
    ],
)
def test_mac_formats(how: MacFormat, text: str) -> None:
    assert formatted_mac(MAC, how) == text
    if how in (MacFormat.COLON, MacFormat.DASH, MacFormat.DOT):
        assert parse_mac(text.upper()) == MAC


@given(st.text(max_size=30))
def test_only_macs_are_macs(text: str) -> None:
    found = parse_mac(text)
    assert found is None or len(found) == 17


def test_a_roms_own_ipxe_can_be_given_the_script_at_once() -> None:
    config = NetbootConfig(server="192.168.77.1", user_class="iPXE")
    rom = classify(request(user=b"iPXE"), config)
    assert rom.stage is Stage.IPXE
    assert boot_file(rom, ALLOWED, config).file == SCRIPT
    assert boot_file(classify(request(user=b"Tinkerbell"), config), ALLOWED, config).file == SCRIPT
    assert boot_file(classify(request(), config), ALLOWED, config).file == "ipxe.efi"


def test_a_script_url_without_the_mac() -> None:
    config = NetbootConfig(
        server="192.168.77.1", script_url="http://boot.lab/my.ipxe", inject_mac=False
    )
    tinkerbell = classify(request(user=b"Tinkerbell"))
    assert boot_file(tinkerbell, ALLOWED, config).file == "http://boot.lab/my.ipxe"
    assert NO_SCRIPT.startswith("/")
