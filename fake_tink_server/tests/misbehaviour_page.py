"""``python -m fake_tink_server.tests.misbehaviour_page``: write ``MISBEHAVIOUR.md`` anew."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from fake_tink_server.tests.real_table import PROGRAMS, Row, Seen, parts

PAGE: Final = Path(__file__).parent.parent / "MISBEHAVIOUR.md"

_INTRODUCTION: Final = """\
# What real workers do when Tinkerbell misbehaves

Made from `tests/real_misbehaviour.yaml` by `python -m fake_tink_server.tests.misbehaviour_page`.
Every row is a test: each deed is done to tink-worker v0.12.2, virtual-worker v0.12.2 and
tink-agent v0.25.0, as plain processes of this host, and what is written here is what they do.

A deed is written as in a scenario's `faults:`, or in the file that
`python -m fake_tink_server --faults FILE` takes; `hooklab faults tink` explains them. To see what a
worker of your own does, give it the same file; `WORKERS.md` says what it should do.

- **goes on**: in the end the workflow stands as if nothing had happened, and the program asks for
  work again. *runs again*: an action was run more often than the template says.
- **ends**: the process is gone. Hook starts no worker container twice: nothing happens any more.
- **waits**, **reports for ever**, **connects for ever**: nothing but an end of the connection, a
  change at the server, or a power cycle helps. No program has keepalives, or a deadline on a call.
- *prints* is a part of the line. tink-worker and virtual-worker put before it `failed to get
  workflow context`, `failed to get actions for workflow` or `failed to report action status`;
  tink-agent `error reading/retrieving action`, `error writing event`, `error reporting action,
  retrying` or `permanent error reporting action`.

What to take from it: a lost *acceptance* of SUCCESS hangs tink-worker for ever, which repeats a
report that the server refuses from then on, and does no harm to tink-agent. A server that forgets
the workflow's ids ends tink-agent with status 0. An empty list of actions ends tink-worker with a
panic. An answer that never comes hangs all of them. A report that is accepted and never heard runs
the action again: of FAILED and TIMEOUT, too.
"""


def page() -> str:
    """Return ``MISBEHAVIOUR.md``."""
    lines = [_INTRODUCTION]
    for part in parts():
        lines += [f"## {part.part}", ""]
        lines += ["| deed | program | outcome | reports | runs | connections | prints |"]
        lines += ["|---|---|---|---|---|---|---|"]
        for row in part.rows:
            lines += _rows(row)
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _rows(row: Row) -> Iterator[str]:
    deed = row.deed.replace("{}", " / ".join(row.each))
    if row.faults:
        written = row.faults if isinstance(row.faults, list | tuple) else [row.faults]
        deed += "".join(f"<br>`{_flow(one)}`" for one in written)
    if stage := _flow(row.stage.model_dump(exclude_unset=True)):
        deed += f"<br>{stage.strip('{}')}" if stage != "{}" else ""
    if row.note:
        deed += f"<br>*{row.note}*"
    groups: dict[Seen, list[str]] = {}
    for program in row.only:
        groups.setdefault(row.of(program), []).append(program)
    for seen, programs in groups.items():
        who = "all" if len(programs) == len(PROGRAMS) else ", ".join(programs)
        cells = (
            deed,
            who,
            _outcome(seen, row),
            seen.reports.replace(" x", " ×"),
            str(seen.runs),
            "" if seen.over is None else str(seen.over),
            f"`{seen.says}`" if seen.says else "",
        )
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
        deed = ""


def _outcome(seen: Seen, row: Row) -> str:
    stands = f"; the workflow is {seen.workflow}"
    if seen.then.startswith("ended"):
        return f"**ends**, status {seen.then.removeprefix('ended ')}{stands}"
    if seen.then != "asks":
        words = {"waits": "waits", "repeats": "reports for ever", "retries": "connects for ever"}
        return f"**{words[seen.then]}**{stands}"
    again = ", runs again" if seen.runs > row.stage.actions else ""
    return f"goes on{again}" + (stands if seen.workflow != "SUCCESS" else "")


def _flow(data: Any) -> str:
    """Return ``data`` as YAML on one line."""
    if isinstance(data, dict):
        return "{" + ", ".join(f"{key}: {_flow(value)}" for key, value in data.items()) + "}"
    if isinstance(data, list | tuple):
        return f"[{', '.join(_flow(one) for one in data)}]"
    return str(data).lower() if isinstance(data, bool) else str(data)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    sys.exit(0)
