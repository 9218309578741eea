"""Hook's ISO, patched for one machine on its way to it, as Tinkerbell's smee v0.25.0 does.

The ISO holds a kernel command line with a placeholder of 1024 characters. smee stands between a
machine and the server that has the ISO and writes the machine's own arguments over it.
"""

from __future__ import annotations

from typing import Final

from harness.wire.gohttp import base, parent
from harness.wire.ipxe import ScriptConfig
from harness.wire.netboot import Reservation, parse_mac

MAGIC: Final = (
    b"464vn90e7rbj08xbwdjejmdf4it17c5zfzjyfhthbh19eij201hjgit021bmpdb9ctrc87x2ymc8e7icu4ffi15x"
    b"1hah9iyaiz38ckyap8hwx2vt5rm44ixv4hau8iw718q5yd019um5dt2xpqqa2rjtdypzr5v1gun8un110hhwp8ce"
    b"x7pqrh2ivh0ynpm4zkkwc8wcn367zyethzy7q8hzudyeyzx3cgmxqbkh825gcak7kxzjbgjajwizryv7ec1xm2h0"
    b"hh7pz29qmvtgfjj1vphpgq1zcbiiehv52wrjy9yq473d9t1rvryy6929nk435hfx55du3ih05kn5tju3vijreru1"
    b"p6knc988d4gfdz28eragvryq5x8aibe5trxd0t6t7jwxkde34v6pj1khmp50k6qqj3nzgcfzabtgqkmeqhdedbvw"
    b"f3byfdma4nkv3rcxugaj2d0ru30pa2fqadjqrtjnv8bu52xzxv7irbhyvygygxu1nt5z4fh9w1vwbdcmagep26d2"
    b"98zknykf2e88kumt59ab7nq79d8amnhhvbexgh48e8qc61vq2e9qkihzt1twk1ijfgw70nwizai15iqyted2dt9g"
    b"fmf2gg7amzufre79hwqkddc1cd935ywacnkrnak6r7xzcz7zbmq3kt04u2hg1iuupid8rt4nyrju51e6uejb2ruu"
    b"36g9aibmz3hnmvazptu8x5tyxk820g2cdpxjdij766bt2n3djur7v623a2v44juyfgz80ekgfb9hkibpxh3zgknw"
    b"8a34t4jifhf116x15cei9hwch0fye3xyq0acuym8uhitu5evc4rag3ui0fny3qg4kju7zkfyy8hwh537urd5uixk"
    b"zwu5bdvafz4jmv7imypj543xg5em8jk8cgk7c4504xdd5e4e71ihaumt6u5u2t1w7um92fepzae8p0vq93wdrd17"
    b"56npu1pziiur1payc7kmdwyxg3hj5n4phxbc29x0tcddamjrwt260b0w"
)
"""The placeholder in Tinkerbell's own ISOs."""
BUFFER_BYTES: Final = 32 * 1024
"""smee reads and patches the ISO in pieces of at most this many octets."""
REDIRECTS: Final = 10
"""How many redirects of the ISO's server smee follows."""

_CONSOLES: Final = "console=ttyAMA0 console=ttyS0 console=tty0 console=tty1 console=ttyS1"


def mac_in(path: str) -> str | None:
    """Return the MAC in the path of an ISO: its last but one element."""
    return parse_mac(parent(path))


def is_iso(path: str) -> bool:
    """Tell whether ``path`` ends in ``.iso``; a slash behind it spoils that."""
    return not path.endswith("/") and base(path).endswith(".iso")


def ipam(reservation: Reservation) -> str:
    """Return ``ipam=…``, which spares Hook its DHCP: nine fields, the MAC with dashes."""
    return "ipam=" + ":".join(
        (
            reservation.mac.replace(":", "-"),
            reservation.vlan_id,
            reservation.address,
            reservation.netmask if reservation.address else "",
            reservation.gateway,
            reservation.hostname,
            ",".join(reservation.name_servers),
            reservation.domain,
            ",".join(reservation.time_servers),
        )
    )


def arguments(reservation: Reservation, config: ScriptConfig, *, static_ipam: bool) -> bytes:
    """Return what is written over the placeholder.

    Unlike in the iPXE script the worker's id is always the MAC, Hardware's own kernel parameters
    are not used, and ``tinkerbell_insecure_tls`` is not there.
    """
    facility = reservation.facility
    words = [f"facility={facility}"] if facility else []
    if "console=" not in facility:
        words.append(_CONSOLES)
    if reservation.vlan_id:
        words.append(f"vlan_id={reservation.vlan_id}")
    words += [
        f"hw_addr={reservation.mac}",
        f"syslog_host={config.syslog_host}",
        f"grpc_authority={config.grpc_authority}",
        f"tinkerbell_tls={'true' if config.tls else 'false'}",
        f"worker_id={reservation.mac}",
        *config.extra_kernel_args,
    ]
    if static_ipam:
        words.append(ipam(reservation))
    return " ".join(words).encode()


def patched(piece: bytes, patch: bytes, magic: bytes = MAGIC) -> bytes:
    """Return one piece of the ISO with its first placeholder overwritten.

    As smee does it: a second placeholder in the piece stays, and so does one that lies across two
    pieces (or across the ranges of two requests); arguments longer than the placeholder are
    written over what follows it, up to the end of the piece.
    """
    at = piece.find(magic)
    if at < 0:
        return piece
    room = bytearray(piece)
    room[at : at + len(magic)] = b" " * len(magic)
    fitting = patch[: len(piece) - at]
    room[at : at + len(fitting)] = fitting
    return bytes(room)


def synthetic(length: int, *, at: int, magic: bytes = MAGIC) -> bytes:
    """Return octets that are like an ISO as far as patching goes: ``magic`` stands at ``at``."""
    if not 0 <= at <= length - len(magic):
        raise ValueError(f"{len(magic)} octets at {at} do not fit into {length}")
    filling = bytes(range(1, 256)) * (length // 255 + 1)
    return filling[:at] + magic + filling[at : length - len(magic)]
