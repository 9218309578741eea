"""The two generations of Tinkerbell that templates are rendered for, and what tells them apart.

==================== =============================== =======================================
what                 v0.12.2                         v0.25.0
==================== =============================== =======================================
``formatPartition``  knows ``/dev/nvme…``, ``sd``,   ``/dev/disk/…`` gets ``-partN``, a name
                     ``vd``, ``xvd``, ``hd``;        that ends in a digit ``pN``, any other
                     another name comes back as is   ``N``
own functions        no other                        ``netmaskToPrefixLength``, ``toYaml``,
                                                     ``fromYaml``
sprig                all of it                       without what gives another result each
                                                     time (``env``, ``now``, ``date``, …)
``.hardware``        absent                          the Hardware as YAML has it
``.references``      absent                          objects that the Hardware names
fields of            those of its own Hardware       more: see ``goview.ONLY_V0_25``
``.Hardware``
``namespaces``       passed over                     the container's namespaces
size                 any                             256 KiB
==================== =============================== =======================================
"""

from __future__ import annotations

from enum import StrEnum

from fake_tink_server.protocol import Protocol


class Release(StrEnum):
    """A release of Tinkerbell."""

    V0_12 = "v0.12.2"
    """github.com/tinkerbell/tink: tink-server and tink-worker."""
    V0_25 = "v0.25.0"
    """github.com/tinkerbell/tinkerbell: all in one, and tink-agent."""

    @property
    def protocol(self) -> Protocol:
        """What its workers speak."""
        return Protocol.V1 if self is Release.V0_12 else Protocol.V2

    @property
    def other(self) -> Release:
        """The one that this is not."""
        return Release.V0_25 if self is Release.V0_12 else Release.V0_12


NEWEST = Release.V0_25
