"""The places where faults can be: each module defines one ``PLACE``, found by its being here."""
