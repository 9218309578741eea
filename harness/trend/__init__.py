"""``hooklab trend``: what each phase took over many runs, and where it became slower.

``records`` reads and filters the history or run folders, ``series`` orders them and finds shifts,
``table`` and ``page`` show them.
"""
