"""Faults as data: at a place, when a moment is like this, do that.

* ``vocabulary`` and ``places`` — what can be said: one module a place.
* ``deeds``, ``forms`` — what can be done, and how its parameters are written.
* ``reading``, ``model``, ``schema`` — from YAML to a ``Fault``, with every mistake at its place.
* ``fault``, ``matching``, ``plan`` — which faults fire on a moment; which never did.
* ``tampering``, ``dialects`` — what the deeds do to datagrams: between a UDP core and its shell.
* ``page``, ``command`` — ``FAULTS.md`` and ``hooklab faults``, made from the vocabulary.

Everything here is sans-IO. A service takes ``strike: Strike | None``, calls it with the occasion
and the facts of each moment, and does the deeds it gets; it knows nothing else of faults. A verdict
never sees a fault, nor the ``fault.…`` events.
"""
