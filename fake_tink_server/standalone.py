"""A server of one's own: objects in, a listening server with everything around it out.

``serve(...)`` is what test suites call, and what the command line is made of.
"""

from __future__ import annotations

import asyncio
import copy
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from fake_tink_server.permissions import Permissions
from fake_tink_server.settings import Settings
from fake_tink_server.sources import Sources
from harness.clock import Deadline
from harness.errors import ScenarioError
from harness.tasks import TaskKeeper
from harness.timeline import Event, Timeline

if TYPE_CHECKING:
    from types import TracebackType

    from fake_tink_server.auto import Auto
    from fake_tink_server.catalog import Catalog
    from fake_tink_server.server import TinkServer
    from fake_tink_server.trust import Trust, Wish
    from fake_tink_server.workflow import Workflow
    from harness.faults.plan import FaultPlan

T = TypeVar("T")

PATIENCE: Final = timedelta(seconds=60)
"""How long a wait lasts when nothing else is said."""

_NOT_STARTED: Final = "the server was not started: async with serve(...) as server"


class Server:
    """Serves Tinkerbell's workflows to workers, and says what they did.

    ``async with serve(...) as server`` listens; leaving closes every connection.
    """

    def __init__(
        self,
        sources: Sources,
        settings: Settings | None = None,
        *,
        wish: Wish | None = None,
        timeline: Timeline | None = None,
        watch: bool = False,
    ) -> None:
        """Read ``sources``. With ``watch`` edits of their files are taken over while it serves.

        Raises ``ScenarioError`` at the mistake's place.
        """
        self._sources = sources
        self._settings = settings or Settings()
        self._wish = wish
        self._watches = watch
        self.timeline = Timeline(None) if timeline is None else timeline  # an empty one is false
        self.warnings: list[ScenarioError] = []
        """What Tinkerbell accepts and then does something unexpected with."""
        self._stamp = sources.stamp()
        self._catalog = sources.read()
        self._jobs = self._render(self._catalog)
        self._auto = self._make_auto()
        self._permissions = Permissions(self._catalog, self._record)
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._trust: Trust | None = None
        self._plan: FaultPlan | None = None
        self._tasks: TaskKeeper | None = None
        self._server: TinkServer | None = None
        self._port = self._settings.port

    # -- life

    async def start(self) -> None:
        """Listen. Raises ``SetupFailed`` when the port can't be had, ``ScenarioError``, …"""
        self._tasks = TaskKeeper()
        try:
            self._listen()
            await self._serving.start()
        except BaseException:
            await self.stop()
            raise
        self._port = self._serving.port
        if self._watches:
            from fake_tink_server.watch import Watch

            watch = Watch(self._sources, self._stamp, take=self.take, refuse=self._refuse)
            self._tasks.spawn(watch.run(), name="watch")

    async def stop(self) -> None:
        """Close every connection. Idempotent."""
        tasks, self._tasks = self._tasks, None
        if tasks is not None:
            await tasks.close()
        if self._server is not None:
            await self._server.stop()
        folder, self._folder = self._folder, None
        if folder is not None:
            folder.cleanup()
        self.timeline.close()

    async def restart(self, *, keep_state: bool = True) -> None:
        """Close every connection and listen on the same port again.

        Without ``keep_state`` all work is new, as if every Workflow had been deleted and applied.
        """
        before = self._serving
        kept = before.engine.snapshot() if keep_state else ()
        await before.stop()
        self._server = self._make_server()
        self._server.engine.restore(kept)
        await self._server.start()

    async def __aenter__(self) -> Server:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    # -- what a worker needs to know

    @property
    def port(self) -> int:
        """The port it listens on; 0 before it does."""
        return self._port

    @property
    def authority(self) -> str:
        """``address:port``, what workers call TINKERBELL_GRPC_AUTHORITY."""
        bind = self._settings.bind
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(bind, bind)
        return f"{f'[{host}]' if ':' in host and '[' not in host else host}:{self._port}"

    @property
    def ca_file(self) -> Path | None:
        """The certificate of the throwaway CA, while it serves. None without one."""
        return self._wish.ca_file if self._wish else None

    @property
    def client_files(self) -> tuple[Path, Path] | None:
        """Chain and key that a client can show the throwaway CA's server (mutual TLS)."""
        folder = self._wish.throwaway_ca if self._wish else None
        return (folder / "client.pem", folder / "client.key") if folder else None

    def environment(self, worker: str | None = None) -> dict[str, str]:
        """Return the variables that Hook gives the worker called ``worker``.

        Without a name it is the one worker there is. With a throwaway CA ``SSL_CERT_FILE`` is
        among them, which programs in Go take their CAs from. Raises ``ValueError``.
        """
        if worker is None:
            known = list(dict.fromkeys(name for w in self.workflows.values() for name in w.workers))
            if len(known) != 1:
                raise ValueError(f"which worker? known here: {', '.join(known) or 'none'}")
            worker = known[0]
        tls = self._trust is not None and self._trust.tls is not None
        found = {
            "ID": worker,
            "WORKER_ID": worker,
            "TINKERBELL_GRPC_AUTHORITY": self.authority,
            "TINKERBELL_TLS": "true" if tls else "false",
            "TINKERBELL_INSECURE_TLS": "false",
        }
        if self.ca_file is not None:
            found["SSL_CERT_FILE"] = str(self.ca_file)
        return found

    # -- what happened

    @property
    def workflows(self) -> Mapping[str, Workflow]:
        """Every workflow as it is now, by ``namespace/name``."""
        return self._serving.engine.workflows if self._server else self._jobs

    @property
    def events(self) -> list[Event]:
        """Everything that happened, in order; names and fields as in ``harness.events``."""
        return self.timeline.events

    @property
    def agents(self) -> Mapping[str, Mapping[str, object]]:
        """What each v2 agent said of the machine it runs on, by the agent's id."""
        return self._serving.attributes

    @property
    def hardware(self) -> Mapping[str, bool | None]:
        """``allowPXE`` of every Hardware as it is now, by ``namespace/name``; None: not set."""
        return {"/".join(key): self._permissions.of(key) for key in self._catalog.hardware}

    @property
    def has_work(self) -> bool:
        """Whether there is a workflow, or there may be one for an agent to come."""
        return bool(self.workflows or self._catalog.rule_sets or self._settings.discovery)

    def workflow(self, name: str | None = None) -> Workflow:
        """Return the workflow called ``[namespace/]name``; None: the only one.

        Raises ``KeyError``.
        """
        known = self.workflows
        if name is None:
            if len(known) != 1:
                raise KeyError(f"which workflow? known here: {', '.join(known) or 'none'}")
            return next(iter(known.values()))
        return known[name if "/" in name else f"default/{name}"]

    def state(self, name: str | None = None) -> str:
        """Return a workflow's state: ``PENDING``, ``RUNNING``, ``SUCCESS``, … Raises as above."""
        return self.workflow(name).state.short

    def history(self, action: str, *, workflow: str | None = None) -> list[str]:
        """Return the states that workers reported of ``action``, in order, without refused ones."""
        return [
            _state_of(event)
            for event in self.events
            if event.name == "tink.action.reported"
            and event["accepted"]
            and event["action"] == action
            and (workflow is None or event["workflow_id"] == self.workflow(workflow).id)
        ]

    async def finished(self, *, within: timedelta = PATIENCE) -> dict[str, str]:
        """Return every workflow's state once all of them have ended: ``{"default/w": "SUCCESS"}``.

        There has to be one. Raises ``DeadlineExpired``.
        """
        return await self._race(self._finished(), within, "the end of every workflow")

    async def all_ended(self) -> None:
        """Return once every workflow has ended, and there is one. Has no deadline."""
        await self._finished()

    @property
    def failure(self) -> asyncio.Future[None]:
        """Gets the exception when something of the server dies while it serves."""
        if self._tasks is None:
            raise RuntimeError(_NOT_STARTED)
        return self._tasks.failure

    async def reported(
        self, action: str, state: str = "SUCCESS", *, within: timedelta = PATIENCE
    ) -> Event:
        """Return the report that ``action`` is ``RUNNING``, ``SUCCESS``, ``FAILED`` or ``TIMEOUT``.

        One that came before counts. Raises ``DeadlineExpired``.
        """
        return await self.seen(
            lambda event: (
                event.name == "tink.action.reported"
                and event["accepted"]
                and event["action"] == action
                and _state_of(event) == state
            ),
            what=f"{action} {state}",
            within=within,
        )

    async def seen(
        self, wanted: Callable[[Event], bool], *, what: str, within: timedelta = PATIENCE
    ) -> Event:
        """Return the first event that is ``wanted``, if need be one to come.

        Raises ``DeadlineExpired``, which names ``what``.
        """
        return await self._race(self.timeline.wait_for(wanted), within, what)

    def finish_faults(self) -> list[str]:
        """Return a sentence for each fault that never happened."""
        return self._plan.finish() if self._plan else []

    # -- changes

    def apply(self, yaml: str | Path) -> None:
        """Take objects over, as ``kubectl apply`` does: new ones, and ones that are there already.

        A Workflow that comes out otherwise than before begins anew. ``yaml`` is a path, or text.
        Raises ``ScenarioError``; then nothing changed.
        """
        from fake_tink_server.catalog import Catalog

        given = Catalog()
        given.add(yaml, file=None if isinstance(yaml, Path) else Path("<text>"))
        self.take(self._catalog.overlaid(given))

    def delete(self, name: str) -> None:
        """Serve a workflow no more. Raises ``KeyError``."""
        workflow = self.workflow(name)
        self._catalog.workflows.pop((workflow.namespace, workflow.name), None)
        self._jobs.pop(workflow.id, None)
        self._serving.remove(workflow.id)

    def take(self, catalog: Catalog) -> None:
        """Serve the objects of ``catalog`` instead of those before.

        Raises ``ScenarioError``; then nothing changed.
        """
        from fake_tink_server.edits import differences

        warnings, self.warnings = self.warnings, []
        try:
            jobs = self._render(catalog)
            self._auto.use(catalog)
        except ScenarioError:
            self.warnings = warnings
            raise
        asleep = {"/".join(key) for key, each in catalog.workflows.items()
                  if each.object.spec.disabled}  # fmt: skip
        found = differences(self._jobs, jobs, self._serving.engine.workflows, asleep=asleep)
        self._jobs = jobs
        self._permissions.take(catalog)
        self._catalog = catalog
        for workflow_id in found.removed:
            self._serving.remove(workflow_id)
        for workflow_id in (*found.changed, *found.added):
            self._serving.apply(copy.deepcopy(jobs[workflow_id]))
        self._record(
            "tink.files.taken",
            added=found.added,
            changed=found.changed,
            removed=found.removed,
            warnings=[str(warning) for warning in self.warnings] or None,
        )

    # -- inside

    @property
    def _serving(self) -> TinkServer:
        if self._server is None:
            raise RuntimeError(_NOT_STARTED)
        return self._server

    async def _finished(self) -> dict[str, str]:
        """Look at the timeline, not at one server: it may be restarted meanwhile."""
        from fake_tink_server.workflow import TERMINAL

        while True:
            known = self._serving.engine.workflows
            if known and all(each.state in TERMINAL for each in known.values()):
                return {each.id: each.state.short for each in known.values()}
            await self.timeline.wait_for(
                lambda event: event.name in ("tink.workflow.changed", "tink.workflow.removed"),
                since=self.timeline.last_seq,
            )

    async def _race(self, work: Awaitable[T], within: timedelta, what: str) -> T:
        if self._tasks is None:
            raise RuntimeError(_NOT_STARTED)
        return await self._tasks.race(work, Deadline.after(within), waiting_for=what)

    def _make_auto(self) -> Auto:
        from fake_tink_server.auto import Auto

        return Auto(
            self._catalog,
            discovery=self._settings.discovery,
            namespace=self._settings.discovery_namespace,
            enroll_discovered=self._settings.enroll_discovered,
        )

    def _render(self, catalog: Catalog) -> dict[str, Workflow]:
        from fake_tink_server.release import Release

        wanted = self._settings.release
        jobs = catalog.jobs(release=Release(wanted) if wanted else None)
        self.warnings += [warning for job in jobs for warning in job.warnings]
        return {job.run.id: job.run for job in jobs}

    def _refuse(self, error: ScenarioError) -> None:
        self._record("tink.files.refused", reason=str(error))

    def _fail(self, error: BaseException) -> None:
        if self._tasks is not None:
            self._tasks.fail(error)

    def _record(self, name: str, /, **fields: Any) -> None:
        self.timeline.record("tink", name, **fields)

    def _listen(self) -> None:
        """Make what a start needs, certificates first."""
        from fake_tink_server import trust
        from harness.faults.plan import FaultPlan

        wish = self._wish or trust.Wish(bind=self._settings.bind)
        self._folder = tempfile.TemporaryDirectory(prefix="fake-tink-server-")
        folder = Path(self._folder.name)
        if self._settings.throwaway_ca or self._settings.mutual_tls:
            ca = folder / "ca.pem" if self._settings.mutual_tls else None
            wish = replace(wish, throwaway_ca=folder, client_ca=ca)
        if self._settings.faults:
            import json

            wish = replace(wish, faults=folder / "faults.yaml")
            text = json.dumps(list(self._settings.faults), indent=1)
            (folder / "faults.yaml").write_text(text, encoding="utf-8")
        self._wish = wish
        self._trust = trust.read(wish)
        self._plan = FaultPlan(
            self._trust.faults,
            record=partial(self.timeline.record, "faults"),
            now=self.timeline.clock.now,
            seed=self._trust.seed,
        )
        self._server = self._make_server()
        self._plan.begin()

    def _make_server(self) -> TinkServer:
        from fake_tink_server.desk import Profile
        from fake_tink_server.engine import Engine
        from fake_tink_server.server import TinkServer
        from fake_tink_server.trust import PLACE

        assert self._trust is not None
        assert self._plan is not None
        profile = Profile(self._settings.profile)
        # as the real server, which looks through an agent's workflows in random order
        seed = 0 if profile is Profile.FAITHFUL else None
        return TinkServer(
            engine=Engine(map(copy.deepcopy, self._jobs.values()), seed=seed, auto=self._auto),
            record=self._record,
            bind=self._settings.bind,
            port=self._port,
            tls=self._trust.tls,
            issue=self._trust.issue,
            profile=profile,
            state_file=self._settings.state_file,
            bmc=self._settings.bmc,
            allow_pxe=self._permissions.toggle,
            strike=self._plan.at(PLACE),
            image_prefix=self._settings.image_prefix,
            fail=self._fail,
        )


def _state_of(event: Event) -> str:
    return str(event["state"]).removeprefix("STATE_")
