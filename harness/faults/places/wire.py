"""Faults of the cable between the machine and the lab: frames, whatever they carry."""

from __future__ import annotations

from typing import Final

from harness.faults.deeds import Corrupt, Delay, Drop, Duplicate, Reorder, Trickle, Truncate
from harness.faults.dialects.frame import ETHERTYPES, FLAGS, FROM_MACHINE, PROTOCOLS, TO_MACHINE
from harness.faults.vocabulary import Fact, Occasion, Place, Takes

PLACE: Final = Place(
    name="wire",
    rank=3,
    meaning="the cable between the machine and the lab: every frame, both ways",
    occasions=(Occasion(name="frame", meaning="a frame is on its way"),),
    facts=(
        Fact(name="direction", meaning="which way it goes", values=(TO_MACHINE, FROM_MACHINE)),
        Fact(name="length", meaning="octets of the frame, without its checksum", kind="number"),
        Fact(
            name="packet",
            meaning="octets of the IP packet, which is what an MTU limits",
            kind="number",
        ),
        Fact(name="payload", meaning="octets after the UDP or TCP header", kind="number"),
        Fact(
            name="ethertype",
            meaning=f"what it carries: {', '.join(ETHERTYPES.values())}, or such as 0x88cc",
        ),
        Fact(
            name="protocol",
            meaning=f"what the IP packet carries: {', '.join(PROTOCOLS.values())}, or its number",
        ),
        Fact(name="source", meaning="the sender's IP address; of ARP too"),
        Fact(name="destination", meaning="the receiver's IP address; of ARP too"),
        Fact(name="source port", meaning="of UDP and TCP; unknown after a first fragment",
             kind="number"),
        Fact(name="destination port", meaning="the same", kind="number"),
        Fact(name="port", meaning="one of both ports", kind="number"),
        Fact(name="flags", meaning="of TCP; one of them is enough", values=FLAGS),
        Fact(name="fragment", meaning="whether it is a fragment of an IP packet", kind="flag"),
        Fact(name="source mac", meaning="the frame's sender"),
        Fact(name="destination mac", meaning="the frame's receiver"),
        Fact(name="group", meaning="whether it is a broadcast or multicast", kind="flag"),
        Fact(name="vlan", meaning="the tag's VLAN, where it has one", kind="number"),
    ),
    deeds=(
        Takes(
            deed=Drop,
            meaning="lost: an MTU, a firewall, a bad cable (probability: 0.02)",
            example="{at: wire, when: {direction: to machine, packet: '> 1400'}, do: drop}",
        ),
        Takes(
            deed=Delay,
            meaning="arrives later; with one time for all they stay in order",
            example="{at: wire, when: {direction: to machine}, do: {delay: 50 ms}}",
        ),
        Takes(
            deed=Duplicate,
            meaning="arrives more than once",
            example="{at: wire, when: {protocol: tcp, probability: 0.05}, do: duplicate}",
        ),
        Takes(
            deed=Reorder,
            meaning="arrives after those that follow it the same way",
            example="{at: wire, when: {protocol: udp, every: 10}, do: {reorder: 2}}",
        ),
        Takes(
            deed=Corrupt,
            meaning="octets are changed and the frame's own checksum is right: a bad switch",
            example="{at: wire, when: {payload: '> 0', every: 50}, do: {corrupt: {at: 60}}}",
        ),
        Takes(
            deed=Truncate,
            meaning="the frame is cut off; its first 14 octets always arrive",
            example="{at: wire, when: {length: '> 1000', first: 5}, do: {truncate: 600}}",
        ),
        Takes(
            deed=Trickle,
            meaning="a slow line: frames wait for each other, and those due in over 1 s are lost",
            example="{at: wire, when: {direction: to machine}, do: {trickle: 1 MiB}}",
        ),
    ),
)  # fmt: skip
