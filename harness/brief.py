"""What the outer process hands to the sealed one: an item, and what its YAML means.

Tinkerbell's objects are read and rendered outside, where a mistake is told before anything
starts; the sealed process gets plain values and so needs neither pydantic nor a YAML parser,
which together take longer to import than the lab to come up.
"""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from fake_tink_server.workflow import Workflow
from harness.scenario.item import Item
from harness.wire.metadata import Instance
from harness.wire.netboot import Reservation

Hold = Literal["never", "failure", "always"]
"""When a lab is kept alive after its run, until somebody lets it go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPace:
    """What a lab knows of the speed of its host."""

    cpu_ratio: float
    """How many times longer a fixed piece of work takes here than on the reference host."""
    disk_mb_s: float
    """What the disk of the run folders writes, in 10^6 octets a second."""
    factor: float
    """What every deadline is multiplied with; at least 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Brief:
    """Everything a lab is made from."""

    item: Item
    reservations: tuple[Reservation, ...]
    workflows: tuple[Workflow, ...]
    hardware: tuple[Mapping[str, Any], ...] = ()
    """The Hardware objects as they stand in YAML, for the real smee."""
    instances: tuple[Instance, ...] = ()
    """What the metadata service tells each machine of itself."""
    origin_s: float
    """CLOCK_MONOTONIC seconds at which the run began."""
    hold: Hold = "never"
    host: HostPace | None = None
    """How fast this host is; None when nobody has looked."""
    budgets: Mapping[str, Any] = field(default_factory=dict)
    """What each phase usually takes here, as ``run.budgeted`` carries it."""
    checkpoints: Path | None = None
    """Where checkpoints are kept; None: none is used or made."""


def brief_of(item: Item, *, origin_s: float, hold: Hold = "never") -> Brief:
    """Return the brief of ``item``. Raises ``ScenarioError`` for objects that don't fit."""
    from fake_tink_server.catalog import Catalog
    from fake_tink_server.release import Release
    from harness.instances import instance_of
    from harness.reservations import reservations_of

    catalog = Catalog()
    release = Release(item.tink.release) if item.tink.release else None
    for text in (item.hardware_yaml, item.template_yaml, item.workflow_yaml):
        if text:
            catalog.add(text, file=item.source)
    return Brief(
        item=item,
        reservations=tuple(
            reservation
            for loaded in catalog.hardware.values()
            for reservation in reservations_of(loaded.object)
        ),
        hardware=tuple(
            json.loads(json.dumps(loaded.document.data, default=str))
            for loaded in catalog.hardware.values()
        ),
        instances=tuple(instance_of(loaded.object) for loaded in catalog.hardware.values()),
        workflows=tuple(job.run for job in catalog.jobs(release=release)),
        origin_s=origin_s,
        hold=hold,
    )


def write_brief(brief: Brief) -> int:
    """Return a file descriptor of an anonymous file that holds ``brief``; the caller closes it."""
    fd = os.memfd_create("brief")
    try:
        with os.fdopen(fd, "wb", closefd=False) as file:
            pickle.dump(brief, file)
        os.lseek(fd, 0, os.SEEK_SET)
    except BaseException:
        os.close(fd)
        raise
    return fd


def read_brief(fd: int) -> Brief:
    """Return the brief in ``fd`` and close it. The bytes come from the process that made us."""
    with os.fdopen(fd, "rb") as file:
        brief = pickle.load(file)
    assert isinstance(brief, Brief)
    return brief
