"""The pytest plugin: scenarios, in YAML and in Python, as test items.

``pytest scenarios/`` collects every YAML file with a top-level ``scenario:`` key as one item a
firmware (``hello.yaml::hello[uefi]``), and every function marked by
``harness.scenario.python.scenario``. A failure says what was expected, what happened, the nearest
events and where the files are; a Python frame it never shows.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import pytest

if TYPE_CHECKING:
    from _pytest._code.code import ExceptionChainRepr

    from harness.scenario.item import Item
    from harness.scenario.python import Declaration
    from harness.scenario.runner import RunResult
    from harness.zygote import Zygote

_BOOT_TEST: Final = "boot"
BOOT_MARKERS: Final = ("scenario", _BOOT_TEST)
"""On items that boot a machine: a scenario, and a test that does so by itself."""
_DURATIONS: Final = "hooklab_durations"
_EXPECTED: Final = pytest.StashKey[dict[str, float]]()
_YAML_ITEM: Final = re.compile(r"\.ya?ml::")
_SCENARIO_KEY: Final = re.compile(rb"^scenario[ \t]*:", re.MULTILINE)


class Runner(Protocol):
    """What boots an item: the real one seals a lab; the plugin's own tests bring another."""

    def known_images(self) -> Collection[str]:
        """Return the references of the images that the lab's registry can hold."""

    def run(self, item: Item, runs: Path) -> RunResult:
        """Boot ``item`` in a new folder below ``runs``."""


class SealedRunner:
    """Builds what is needed once, then runs each item in its own sealed process tree."""

    def __init__(self) -> None:
        self._zygote: Zygote | None = None

    def close(self) -> None:
        """End what was kept for the next item."""
        if self._zygote is not None:
            self._zygote.close()

    def known_images(self) -> Collection[str]:
        """Return the references of the images that hooklab builds."""
        from harness.hook.images import known_images

        return frozenset(known_images())

    def run(self, item: Item, runs: Path) -> RunResult:
        """Make ready what ``item`` needs and is not there yet, and boot it."""
        from harness.progress import PlainProgress
        from harness.scenario.prepare import prepare
        from harness.scenario.runner import run_item
        from harness.zygote import Zygote

        if self._zygote is None:
            self._zygote = Zygote()
        self._zygote.begin()
        start = self._zygote.start

        async def boot() -> RunResult:
            progress = PlainProgress()
            [ready] = await prepare([item], progress=progress, runs=runs)
            return await run_item(ready, runs=runs, on_wait=progress.say, start=start)

        return asyncio.run(boot())


RUNNER: Final = pytest.StashKey[Runner]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--runs``, ``--nightly`` and ``--start``."""
    from harness.paths import STARTS

    group = parser.getgroup("hooklab")
    group.addoption("--runs", type=Path, metavar="DIR", help="make run folders there (./runs)")
    group.addoption("--nightly", action="store_true", help="boot the nightly scenarios too")
    group.addoption(
        "--start", choices=STARTS, help="where runs begin, whatever their scenarios say of it"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Use the real runner unless a test put in another."""
    runner = SealedRunner()
    config.stash.setdefault(RUNNER, runner)
    config.add_cleanup(runner.close)
    if not hasattr(config, "workerinput"):  # a worker of xdist tells its results to the main one
        config.pluginmanager.register(_SessionIndex(), "hooklab session index")
    config.addinivalue_line("markers", "scenario: boots a machine from a scenario")
    config.addinivalue_line("markers", "nightly: left out without --nightly")


class _SessionIndex:
    """Writes one page about all boots of a session, and says where."""

    def __init__(self) -> None:
        self._runs: list[tuple[str, Path]] = []
        """The id of each item that booted, and its run folder, as they ended."""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note the run folder of a boot, from wherever it ran."""
        if report.when == "call":
            if _BOOT_TEST in report.keywords and report.passed:
                from harness.host.durations import record_duration

                record_duration(report.nodeid, report.duration)
            found = [value for name, value in report.user_properties if name == "run_dir"]
            self._runs += [(report.nodeid, Path(str(value))) for value in found]

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Write the index beside the run folders."""
        if not self._runs:
            return
        from harness.report.index import session_file, summary, write_index

        if terminalreporter.config.pluginmanager.hasplugin("dsession"):  # xdist: as they were read
            self._runs.sort(key=lambda run: (run[0].partition("::")[0].split("/"), run[0]))
        run_dirs = [run_dir for _, run_dir in self._runs]
        try:
            file = session_file(run_dirs[0].parent)
            rows = write_index(run_dirs, file)
        except OSError as error:
            terminalreporter.write_line(f"hooklab: no index of this session: {error}")
            return
        terminalreporter.write_line(f"hooklab: {summary(rows)}   {_near(file)}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out nightly scenarios, unless they are asked for; pytest says how many.

    In one of xdist's workers, put items into the order that ends soonest.
    """
    if not config.getoption("--nightly") and not any("::" in arg for arg in config.args):
        left_out = [item for item in items if item.get_closest_marker("nightly")]
        if left_out:
            config.hook.pytest_deselected(items=left_out)
            items[:] = [item for item in items if item not in left_out]
    expected = getattr(config, "workerinput", {}).get(_DURATIONS)
    if expected is not None:
        items[:] = _soonest(items, expected)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell each of xdist's workers what items are expected to take, the same to all."""
    from harness.host.durations import expected_durations

    if _EXPECTED not in node.config.stash:
        node.config.stash[_EXPECTED] = expected_durations()
    node.workerinput[_DURATIONS] = node.config.stash[_EXPECTED]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node: Any, ids: Sequence[str]) -> None:
    """Let xdist hand out boots one by one: in batches, one worker would get the longest."""
    session: Any = node.config.pluginmanager.getplugin("dsession")
    scheduler: Any = getattr(session, "sched", None)
    if getattr(scheduler, "maxschedchunk", 1) is None and any(
        _YAML_ITEM.search(id_) for id_ in ids
    ):
        scheduler.maxschedchunk = 1


def _soonest(items: list[pytest.Item], expected: Mapping[str, float]) -> list[pytest.Item]:
    """Return what needs quiet, one boot, what boots nothing, all other boots, the longest first.

    The first boot has Hook built on a new machine: the other workers have something to do
    meanwhile. Of boots that share a checkpoint, all but one come last.
    """
    from harness.checkpoint.order import makers_first
    from harness.host.durations import longest_first

    quiet = [item for item in items if item.get_closest_marker("quiet")]
    loud = [item for item in items if not item.get_closest_marker("quiet")]
    boots = longest_first([item for item in loud if _boots(item)], expected, id_of=_known_as)
    boots = makers_first(
        boots, item_of=lambda item: item.boot if isinstance(item, ScenarioTest) else None
    )
    return [*quiet, *boots[:1], *(item for item in loud if not _boots(item)), *boots[1:]]


def _boots(item: pytest.Item) -> bool:
    return any(item.get_closest_marker(name) for name in BOOT_MARKERS)


def _known_as(item: pytest.Item) -> str:
    return item.boot.id if isinstance(item, ScenarioTest) else item.nodeid


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect YAML files that have a top-level ``scenario:`` key."""
    if file_path.suffix not in (".yaml", ".yml") or not _is_scenario(file_path):
        return None
    collector: ScenarioFile = ScenarioFile.from_parent(parent, path=file_path)
    return collector


def pytest_pycollect_makeitem(
    collector: pytest.Module | pytest.Class, name: str, obj: object
) -> list[ScenarioTest] | None:
    """Collect functions marked by ``@scenario``, before anything else takes them for its own."""
    from harness.scenario.python import find_declaration

    declaration = find_declaration(obj)
    return None if declaration is None else list(_python_items(collector, name, declaration))


# such a function is no coroutine test of pytest-asyncio's: this hook comes first
pytest_pycollect_makeitem = pytest.hookimpl(tryfirst=True)(pytest_pycollect_makeitem)


def _is_scenario(file: Path) -> bool:
    try:
        with file.open("rb") as stream:
            return bool(_SCENARIO_KEY.search(stream.read(1 << 20)))
    except OSError:
        return False


class BadScenario(pytest.Collector.CollectError):
    """A mistake in a scenario: shown as it is, at collection."""


def _load(node: pytest.Collector, file: Path, **more: Any) -> list[Item]:
    from harness.errors import ScenarioError
    from harness.scenario.resolve import load_items

    known = node.config.stash[RUNNER].known_images()
    try:
        return load_items(_near(file), known_images=known, **more)
    except ScenarioError as error:
        raise BadScenario(str(error)) from None


def _near(file: Path) -> Path:
    """Return ``file`` relative to the current folder when it is below it, for short messages."""
    try:
        return file.relative_to(Path.cwd())
    except ValueError:
        return file


class ScenarioFile(pytest.File):
    """A scenario file."""

    def collect(self) -> Iterable[ScenarioTest]:
        """Return one test a firmware. Raises ``BadScenario``."""
        for item in _load(self, self.path):
            yield ScenarioTest.from_parent(self, name=item.id, boot=item)


def _python_items(
    collector: pytest.Module | pytest.Class, name: str, declaration: Declaration
) -> Iterator[ScenarioTest]:
    items = _load(
        collector,
        declaration.file,
        changes=declaration.changes,
        changed_by=declaration.at,
        python=declaration.python,
    )
    for item in items:
        yield ScenarioTest.from_parent(
            collector, name=f"{name}[{item.variant}]", boot=item, line=declaration.at.line
        )


class ScenarioFailed(Exception):
    """Carries a result that is not as the scenario says; never shown itself."""

    def __init__(self, result: RunResult) -> None:
        super().__init__(str(result.outcome))
        self.result = result


def _told(file: Path, line: int, sentence: str, text: str) -> ExceptionChainRepr:
    """Return a failure as pytest's reporters want it: JUnit XML and the summary get the sentence.

    It is made of pytest's own parts, because those travel from xdist's workers.
    """
    from _pytest._code.code import (
        ExceptionChainRepr,
        ReprEntryNative,
        ReprFileLocation,
        ReprTraceback,
    )

    entries = [ReprEntryNative([f"{one}\n" for one in text.splitlines()])]
    traceback = ReprTraceback(reprentries=entries, extraline=None, style="native")
    place = ReprFileLocation(path=str(_near(file)), lineno=line, message=sentence)
    return ExceptionChainRepr([(traceback, place, None)])


class ScenarioTest(pytest.Item):
    """One boot."""

    def __init__(
        self, *, name: str, parent: pytest.Collector, boot: Item, line: int = 1, **more: Any
    ) -> None:
        # given as text: made from the name, pytest 9.2's own would not take [uefi] for parameters,
        # and --lf would not know the item again (test_last_failed)
        super().__init__(name=name, parent=parent, nodeid=f"{parent.nodeid}::{name}", **more)
        self.boot = boot
        self._line = line
        self.add_marker("scenario")
        if boot.nightly:
            self.add_marker("nightly")

    def runtest(self) -> None:
        """Boot the machine; raise ``ScenarioFailed`` unless it ended as the scenario says."""
        from harness.errors import BuildFailed, HostUnfit
        from harness.paths import runs_root

        runs = self.config.getoption("--runs") or runs_root()
        try:
            start = self.config.getoption("--start")
            boot = replace(self.boot, start=start) if start else self.boot
            result = self.config.stash[RUNNER].run(boot, runs)
        except (HostUnfit, BuildFailed) as error:
            reason = error.message + (f" ({error.hint})" if error.hint else "")
            if isinstance(error, HostUnfit):
                pytest.skip(reason)
            raise
        self.user_properties += [
            ("run_dir", str(result.run_dir)),
            ("reached", result.verdict.reached.value),
            ("blame", result.verdict.blame.value if result.verdict.blame else ""),
            ("because", result.verdict.because),
        ]
        self.add_report_section("call", "run", f"{_near(result.run_dir)}")
        if result.outcome == "host too slow":
            pytest.skip(f"host too slow: {result.verdict.because}")
        if not result.passed:
            raise ScenarioFailed(result)

    def repr_failure(
        self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None
    ) -> str | Any:
        """Return what was expected, what happened, the nearest events, and the files."""
        from harness.errors import LabError
        from harness.report.failure import failure_sentence, failure_text

        error = excinfo.value
        if isinstance(error, ScenarioFailed):
            sentence = failure_sentence(error.result)
            return _told(self.path, self._line, sentence, failure_text(error.result))
        if isinstance(error, LabError):
            return str(error) + (f"\n    {error.hint}" if error.hint else "")
        if isinstance(error, OSError):  # the run folder can't be made, say
            return str(error)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Return where the scenario is written."""
        return self.path, self._line - 1, f"{self.name}: {self.boot.title}"
