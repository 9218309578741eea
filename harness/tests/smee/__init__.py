"""The lab's stand-ins against the real smee v0.25.0: the same questions, the same answers.

* ``objects`` — the Hardware both are given.
* ``requests`` — DHCP requests from a seed.
* ``world`` — a network namespace with one of the two, asked by frames from a cable's other end.
* ``replies`` — what may differ, and what differs.

Both get their own namespace, so that addresses and ports are the same.
"""
