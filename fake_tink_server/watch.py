"""Takes edits of YAML files over while a server serves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from harness.errors import ScenarioError

if TYPE_CHECKING:
    from fake_tink_server.catalog import Catalog
    from fake_tink_server.sources import Sources, Stamp


class Watch:
    """Looks at the files every now and then: that works on every file system and editor."""

    def __init__(
        self,
        sources: Sources,
        taken: Stamp,
        *,
        take: Callable[[Catalog], None],
        refuse: Callable[[ScenarioError], None],
        interval_s: float = 0.25,
    ) -> None:
        """``taken`` is the stamp of what was read already.

        ``take`` is called with the edited objects and may raise ``ScenarioError``; ``refuse`` is
        told the mistake in files that can't be taken, once an edit.
        """
        self._sources = sources
        self._take = take
        self._refuse = refuse
        self._interval_s = interval_s
        self._taken = taken

    async def run(self) -> None:
        """Watch for ever."""
        earlier = self._taken
        while True:
            await asyncio.sleep(self._interval_s)
            stamp = self._sources.stamp()
            # an editor may write in several steps: only files that have come to rest are read
            if stamp != self._taken and stamp == earlier:
                self._taken = stamp
                self.look()
            earlier = stamp

    def look(self) -> None:
        """Read the files now."""
        try:
            self._take(self._sources.read())
        except ScenarioError as error:
            self._refuse(error)
