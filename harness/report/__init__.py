"""What a person sees of a run: pure functions of its folder, and of events as they come.

================  ============================================================================
``text``          the terminal: live progress, how a run ended
``failure``       a failed run in words, as pytest shows it; ``junit`` as a CI wants it
``record``        a run read back from its folder
``html``          ``report.html``, with ``page.html.j2`` and ``page.css``
``contents``      its tables; ``dossier``: what was seen of a machine that hung
``lanes``         bars and marks of a boot; ``picture`` draws them as an inline SVG
``packets``       the packets that matter, found in one pass; ``decoding`` puts them into words
``touched``       which frames belong to an event; comments on those that a fault struck
``index``         one page about many runs; ``differences``: what tells two apart
``command``       ``hooklab report``
================  ============================================================================
"""
