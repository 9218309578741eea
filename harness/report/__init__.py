"""What a person sees of a run: pure functions of its folder, and of events as they come.

==================  ==========================================================================
``text``            the terminal: live progress, how a run ended
``failure``         a failed run in words, as pytest shows it
``record``          a run read back from its folder
``picture``         the boot as an inline SVG
``html``            ``report.html``, with ``page.html.j2``
``command``         ``hooklab report``
==================  ==========================================================================
"""
