"""Faults of the machine itself: its parts, its clock, its power."""

from __future__ import annotations

from typing import Final

from harness.faults.deeds import Broken, Clock, Memory, Nic, Pause, Power, Slow
from harness.faults.moments import EVENT, FACTS, MOMENT, OCCASIONS
from harness.faults.vocabulary import Occasion, Place, Takes

ASSEMBLY: Final = "assembly"
_WRITING: Final = "event: tink.action.reported, action: write, state: RUNNING"

PLACE: Final = Place(
    name="machine",
    rank=1,
    meaning="the machine: its parts, its clock, its power",
    occasions=(
        *OCCASIONS,
        Occasion(name=ASSEMBLY, meaning="the machine is put together", early=True, once=True),
    ),
    facts=FACTS,
    deeds=(
        Takes(
            deed=Power,
            meaning="power is cut, the reset button pressed, or power is gone for a while",
            example=f"{{at: machine, when: {{{_WRITING}}}, do: {{power: reset}}}}",
            occasions=(MOMENT, EVENT),
        ),
        Takes(
            deed=Pause,
            meaning="the CPU stands still: to the servers it is a machine that hangs",
            example="{at: machine, when: {phase: worker-pull}, do: {pause: 20 s}}",
            occasions=(MOMENT, EVENT),
        ),
        Takes(
            deed=Slow,
            meaning="a disk gets slow, from a moment on",
            example="{at: machine, do: {slow: 200 KiB}}",
            occasions=(MOMENT, EVENT),
        ),
        Takes(
            deed=Broken,
            meaning="a disk answers with errors",
            example="{at: machine, do: {broken: {what: write, at: 1 MiB}}}",
            occasions=(ASSEMBLY,),
        ),
        Takes(
            deed=Nic,
            meaning="no network card, or one that firmware or Hook has no driver for "
            "(`mac` says which, where there are several)",
            example="{at: machine, do: {nic: absent}}",
            occasions=(ASSEMBLY,),
        ),
        Takes(
            deed=Clock,
            meaning="a flat battery: the clock starts wrong, and runs on from there",
            example="{at: machine, do: {clock: '1970-01-01'}}",
            occasions=(ASSEMBLY,),
        ),
        Takes(
            deed=Memory,
            meaning="too little memory, or more",
            example="{at: machine, do: {memory: 512 MiB}}",
            occasions=(ASSEMBLY,),
        ),
    ),
)
