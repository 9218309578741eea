"""The NICs and disks of a scenario's machine: addresses given out, the firmware's order decided."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

from harness.documents import KeyPath, suggest
from harness.machine.devices import BOOTABLE_NICS
from harness.scenario.item import DiskItem, IsoItem, NetworkItem, NicItem
from harness.scenario.loader import LoadedScenario
from harness.scenario.models.machine import Nic

_NIC, _ISO = "nic", "iso"
_EMBEDDED = "embedded"


def resolve_devices(
    loaded: LoadedScenario, network: NetworkItem
) -> tuple[tuple[NicItem, ...], tuple[DiskItem, ...], IsoItem | None]:
    """Return the machine's NICs and disks, and what is in its CD drive if it has one.

    Raises ``ScenarioError`` for an address that can't be, and for an order of devices that are
    not there or can't boot.
    """
    machine = loaded.scenario.machine
    order = _order(loaded)
    addresses = _addresses(loaded, network)
    nics = tuple(
        NicItem(
            mac=nic.mac,
            model=nic.model,
            network=nic.network,
            link=nic.link,
            place=order.get(nic.mac),
            address=addresses[nic.mac],
        )
        for nic in machine.cards
    )
    disks = tuple(
        DiskItem(
            name=disk.name,
            size_bytes=disk.size,
            serial=disk.serial,
            model=disk.kind,
            boots=disk.boots,
            place=order.get(disk.name),
        )
        for disk in machine.disks
    )
    return nics, disks, _iso(loaded, order.get(_ISO))


def _iso(loaded: LoadedScenario, place: int | None) -> IsoItem | None:
    scenario = loaded.scenario
    if scenario.iso is None:
        return None
    file = None
    if scenario.iso.source == _EMBEDDED:
        if place and "bios" in scenario.machine.firmware:
            raise loaded.error(
                "iso: like Tinkerbell's own, an ISO made here boots under UEFI only",
                ("iso",),
                key=True,
                hint="machine: {firmware: uefi}, or name an ISO of your own in iso.source",
            )
    else:
        file = loaded.path(("iso", "source"))
        if not file.is_file():
            raise loaded.error(f"iso.source: there is no file {file}", ("iso", "source"))
    return IsoItem(
        origin=_EMBEDDED if file is None else str(file.absolute()),
        file=file.absolute() if file else None,
        path=scenario.iso.path or f"/iso/{scenario.machine.mac}/hook.iso",
        static_ipam=scenario.iso.static_ipam,
        magic=scenario.iso.magic,
        place=place,
    )


def _order(loaded: LoadedScenario) -> dict[str, int]:
    """Return the place of each MAC address and disk that the firmware tries."""
    machine = loaded.scenario.machine
    cards = {nic.mac: nic for nic in machine.cards}
    disks = [disk.name for disk in machine.disks]
    if machine.boot is None:
        _check_boots(loaded, cards[machine.mac], ("machine", "nic" if machine.nic else "nics"))
        tried = (*([_ISO] if loaded.scenario.iso else []), machine.mac, *disks)
        return {name: place for place, name in enumerate(tried, 1)}
    order: dict[str, int] = {}
    for number, word in enumerate(machine.boot):
        at: KeyPath = ("machine", "boot", number)
        name = machine.mac if word == _NIC else word.lower().replace("-", ":")
        if name in cards:
            _check_boots(loaded, cards[name], at)
        elif word in disks or (word == _ISO and loaded.scenario.iso):
            name = word
        else:
            raise loaded.error(
                f"machine.boot: the machine has no {word!r}",
                at,
                hint="say by the key iso what is in its CD drive"
                if word == _ISO
                else suggest(word, (_NIC, *cards, *disks)),
            )
        if name in order:
            raise loaded.error(f"machine.boot: {name} is listed twice", at)
        order[name] = number + 1
    return order


def _check_boots(loaded: LoadedScenario, nic: Nic, at: KeyPath) -> None:
    if nic.model not in BOOTABLE_NICS:
        raise loaded.error(
            f"no firmware here can boot from a NIC of model {nic.model}",
            at,
            hint=f"these can: {', '.join(sorted(BOOTABLE_NICS))}; "
            "or say by machine.boot what the machine boots from",
        )


def _addresses(loaded: LoadedScenario, network: NetworkItem) -> dict[str, str]:
    """Return what DHCP gives each NIC; empty for those that no Hardware is to have."""
    machine = loaded.scenario.machine
    subnet = IPv4Network(network.subnet)
    taken = {network.server, network.addresses, network.machine}
    taken |= {str(nic.address) for nic in machine.cards if nic.address}
    free = (
        str(address)
        for address in map(IPv4Address, range(int(IPv4Address(network.machine)) + 1, 1 << 32))
        if str(address) not in taken
    )
    found: dict[str, str] = {}
    for number, nic in enumerate(machine.cards):
        if nic.address == "none":
            found[nic.mac] = ""
        elif nic.address is not None:
            found[nic.mac] = str(nic.address)
        elif nic.mac == machine.mac:
            found[nic.mac] = network.machine
        elif nic.network == "lab":
            found[nic.mac] = address = next(free)
            if IPv4Address(address) not in subnet or IPv4Address(address) == subnet[-1]:
                raise loaded.error(
                    f"{subnet} has no address left for {nic.mac}",
                    ("machine", "nics", number),
                    hint="say its address, or take a larger network.subnet",
                )
        else:
            found[nic.mac] = ""
    return found
