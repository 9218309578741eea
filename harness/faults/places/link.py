"""Faults of the machine's link: its carrier, and the switch's port it is in."""

from __future__ import annotations

from typing import Final

from harness.faults.deeds import Block, Down
from harness.faults.moments import EVENT, FACTS, MOMENT, OCCASIONS
from harness.faults.vocabulary import Fact, Occasion, Place, Takes

UP: Final = "up"
DRIVERS: Final = ("firmware", "ipxe", "kernel", "carrier")
_EVENT: Final = "event: guest.docker.started"

PLACE: Final = Place(
    name="link",
    rank=2,
    meaning="the machine's link: its carrier, and the switch's port",
    occasions=(
        *OCCASIONS,
        Occasion(
            name=UP,
            meaning="the link comes up anew: at power-on and reset, when a boot program was "
            "fetched, when Linux starts, when the carrier returns",
        ),
    ),
    facts=(
        *FACTS,
        Fact(name="by", meaning="what brought it up", values=DRIVERS, occasions=(UP,)),
    ),
    deeds=(
        Takes(
            deed=Down,
            meaning="no carrier: the machine's NIC says that its cable is out",
            example=f"{{at: link, when: {{{_EVENT}}}, do: {{down: {{seconds: 5 s, times: 3}}}}}}",
            occasions=(MOMENT, UP, EVENT),
        ),
        Takes(
            deed=Block,
            meaning="a carrier, but no frame passes yet (spanning tree, LACP); needs frames in "
            "user space, see wire",
            example="{at: link, when: {by: [firmware, ipxe]}, do: {block: 30 s}}",
            occasions=(UP, MOMENT, EVENT),
        ),
    ),
)
