"""``python -m harness.dev.verdicts``: write ``harness/verdict/VERDICTS.md`` anew from the code."""

from __future__ import annotations

import sys

from harness.verdict.page import PAGE, page


def main() -> int:
    """Write the page; return an exit status."""
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
