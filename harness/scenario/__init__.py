"""What a user writes, and what becomes of it before anything starts.

==================  ==========================================================================
``models``          everything a scenario file can say, as pydantic models
``values``          how sizes, durations and MAC addresses are written
``loader``          a file and its base, read with positions
``resolve``         from a scenario to items: every default filled in, every reference checked
``item``            one boot with everything decided; plain dataclasses
``lock``            an item as ``scenario.lock.yaml``
``expectations``    what must be true at the end, held against the timeline
``schema``          the models as JSON Schema
``runner``          runs an item in a sealed process
==================  ==========================================================================
"""
