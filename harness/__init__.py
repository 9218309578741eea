"""hooklab: a netboot test harness and emulation lab for Tinkerbell's Hook.

*scenario (YAML or Python, typed) -> sealed lab (one process tree) -> segment + services +
machines -> timeline (append-only events) -> verdict (how far, whose fault, why) -> report.*
Arrows point one way; nothing imports what stands above it.

==================  ==========================================================================
``wire``            sans-IO codecs and protocol state machines
``timeline``        frozen events on one clock, JSONL on disk as they happen
``seal``            the sealed process tree
``net``             the segment: bridge, taps, capture
``machine``         QEMU, its monitor, firmware, consoles, disks
``services``        asyncio shells around ``wire``
``oci``             images and image layouts, written reproducibly
``hook``            where a Hook comes from: built here, or a folder of the user's
``lab``             the composition root: the only module that constructs things
``scenario``        models, loader, runner, expectations
``verdict``         phases and blame, from the timeline alone
``report``          text and HTML, pure functions of a run folder
==================  ==========================================================================
"""

__version__ = "0.1.0"
