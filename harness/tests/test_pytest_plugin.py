"""Scenarios as pytest items, with a runner that plays tapes instead of booting machines."""

from __future__ import annotations

import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest

from harness.host.durations import expected_durations, record_duration
from harness.scenario.tests.samples import HELLO, ROOT

pytest_plugins = ["pytester"]

CONFTEST = """
from pathlib import Path

from harness.errors import BuildFailed, HostUnfit
from harness.pytest_plugin import RUNNER
from harness.report.record import read_run
from harness.report.tests.folders import failed_boot, make_run
from harness.scenario.tests.samples import IMAGES, Tape, good_boot
from harness.tests.test_busy_host import busy, starved_boot

class Player:
    def known_images(self):
        return IMAGES

    def run(self, item, runs):
        with open("began", "a") as file:
            print(item.id, file=file)
        word = item.title.split()[0]
        if word == "Unfit":
            raise HostUnfit("no /dev/net/tun", hint="sudo modprobe tun")
        if word == "Unbuilt":
            raise BuildFailed("go is missing", hint="install go")
        if word == "Full":
            raise OSError(28, "No space left on device", str(runs))
        if word == "Buggy":
            raise ZeroDivisionError("a bug of ours")
        tape = failed_boot() if word == "Bad" else good_boot()
        if word == "Held":
            tape = busy(starved_boot(), 40, 60, lost=0.8)
        if item.python and item.python.function == "test_that_asserts":
            tape.add(70, "test", "expectation.failed", expectation="test_that_asserts (t.py:9:1)",
                     expected="lab.pulls() == 1", found="lab.pulls() is 2")
        tape.add(71, "run", "run.finished", outcome="ended")
        return read_run(make_run(Path(runs) / f"{item.name}-{item.variant}", tape, item))

def pytest_configure(config):
    config.stash[RUNNER] = Player()
"""


@pytest.fixture
def tests(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """Return a folder with hello in it, whose pytest has our plugin and a runner of tapes."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p harness.pytest_plugin -p pytest_asyncio.plugin")
    pytester.makeini("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function")
    pytester.makeconftest(CONFTEST)
    for file in (HELLO, ROOT / "fixtures" / "templates" / "hello.yaml"):
        target = pytester.path / file.relative_to(ROOT)
        target.parent.mkdir(parents=True)
        shutil.copy(file, target)
    return pytester


def scenario(tests: pytest.Pytester, name: str, title: str, more: str = "") -> Path:
    """Write ``scenarios/<name>.yaml``, hello on UEFI with another title."""
    file = tests.path / "scenarios" / f"{name}.yaml"
    file.write_text(f"scenario: {title}\nbase: hello.yaml\nmachine: {{firmware: uefi}}\n{more}")
    return file


def test_one_item_a_firmware(tests: pytest.Pytester) -> None:
    result = tests.runpytest("scenarios", "--collect-only", "-q")
    result.stdout.fnmatch_lines(
        ["scenarios/hello.yaml::hello?bios?", "scenarios/hello.yaml::hello?uefi?", "2 tests *"]
    )


def test_other_yaml_is_left_alone(tests: pytest.Pytester) -> None:
    (tests.path / "scenarios" / "values.yaml").write_text("a:\n  scenario: nested, so none\n")
    (tests.path / "scenarios" / "broken.yaml").write_text("]")
    tests.runpytest(".").assert_outcomes(passed=2)


def test_items_are_chosen_as_any_other(tests: pytest.Pytester) -> None:
    scenario(tests, "other", "Good too")
    tests.runpytest("scenarios", "-k", "uefi").assert_outcomes(passed=2, deselected=1)
    tests.runpytest("scenarios/hello.yaml::hello[bios]").assert_outcomes(passed=1)
    tests.runpytest("scenarios", "-m", "scenario").assert_outcomes(passed=3)


def test_run_folders_go_where_they_are_wanted(tests: pytest.Pytester) -> None:
    tests.runpytest("scenarios", "--runs", "elsewhere").assert_outcomes(passed=2)
    made = sorted(path.name for path in (tests.path / "elsewhere").iterdir())
    assert made == ["hello-bios", "hello-uefi", "session-0001.html"]


def test_a_run_folder_that_cannot_be_made_is_told_without_python(tests: pytest.Pytester) -> None:
    scenario(tests, "full", "Full disk")
    result = tests.runpytest("scenarios/full.yaml", "--runs", "runs")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*No space left on device*"])
    result.stdout.no_fnmatch_line("*Traceback*")
    result.stdout.no_fnmatch_line("*def run(*")


def test_a_failure_is_told_without_python(tests: pytest.Pytester) -> None:
    scenario(tests, "bad", "Bad luck")
    result = tests.runpytest("scenarios/bad.yaml", "--runs", "runs")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "* bad?uefi?: Bad luck *",
            "bad?uefi?: Bad luck",
            "failed in workflow: action 'write' failed: *",
            "    blame: action, proof: events 53",
            "*hello.yaml:12:5: actions: ?print, write, read, disk?",
            "    expected  print RUNNING SUCCESS, *",
            "    found     print RUNNING SUCCESS, write RUNNING FAILED",
            "    nearest events:",
            "        #*tink.action.reported*",
            "files: runs/bad-uefi/",
            "    timeline.jsonl",
            "FAILED scenarios/bad.yaml::bad?uefi?*",
        ]
    )
    text = result.stdout.str()
    for python in ("Traceback", "ScenarioFailed", "pytest_plugin.py", "def runtest"):
        assert python not in text


def test_last_failed(tests: pytest.Pytester) -> None:
    scenario(tests, "bad", "Bad luck")
    tests.runpytest("scenarios").assert_outcomes(passed=2, failed=1)
    tests.runpytest("scenarios", "--lf").assert_outcomes(failed=1)


def test_what_a_run_was_goes_into_junit_xml(tests: pytest.Pytester) -> None:
    tests.runpytest("scenarios", "-k", "uefi", "--runs", "runs", "--junitxml=out.xml")
    text = (tests.path / "out.xml").read_text()
    assert 'name="hello[uefi]"' in text
    assert '<property name="reached" value="done"' in text
    assert 'name="run_dir"' in text


def test_a_failure_s_sentence_is_the_message_everywhere(tests: pytest.Pytester) -> None:
    scenario(tests, "bad", "Bad luck")
    sentence = "failed in workflow: action 'write' failed: exit status 3 & <more> (blame: action)"
    result = tests.runpytest("scenarios/bad.yaml", "--runs", "runs", "--junitxml=out.xml")
    assert f"::bad[uefi] - {sentence[:20]}" in result.outlines[-2]
    [failure] = ElementTree.parse(tests.path / "out.xml").getroot().iter("failure")
    assert failure.get("message") == sentence
    assert "    nearest events:" in (failure.text or "")


@pytest.mark.parametrize("workers", [(), ("-p", "xdist.plugin", "-n", "2")])
def test_a_session_leaves_an_index(tests: pytest.Pytester, workers: tuple[str, ...]) -> None:
    scenario(tests, "bad", "Bad luck")
    result = tests.runpytest("scenarios", "--runs", "runs", *workers)
    told = "hooklab: 3 runs: 2 passed, 1 failed   runs/session-0001.html"
    result.stdout.fnmatch_lines([told])
    page = (tests.path / "runs" / "session-0001.html").read_text()
    for words in ("hello[bios]", "hello-uefi/report.html", "Action &#39;write&#39; failed"):
        assert words in page


def test_a_session_without_boots_leaves_none(tests: pytest.Pytester) -> None:
    (tests.path / "test_plain.py").write_text("def test_plain():\n    pass\n")
    result = tests.runpytest("test_plain.py", "--runs", "runs")
    result.stdout.no_fnmatch_line("hooklab: *")
    assert not (tests.path / "runs").exists()


def test_a_bad_scenario_is_a_collection_error_with_its_place(tests: pytest.Pytester) -> None:
    scenario(tests, "mine", "Mine", "machin: {}\n")
    result = tests.runpytest("scenarios/mine.yaml")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            "scenarios/mine.yaml:4:1: unknown key 'machin' in the document",
            "    did you mean 'machine'? known here: *",
        ]
    )
    assert "Traceback" not in result.stdout.str()
    assert "BadScenario" not in result.stdout.str()


def test_an_unfit_host_skips(tests: pytest.Pytester) -> None:
    scenario(tests, "unfit", "Unfit host")
    result = tests.runpytest("scenarios/unfit.yaml", "-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED*no /dev/net/tun (sudo modprobe tun)"])


def test_a_host_that_is_too_slow_skips_and_is_counted(tests: pytest.Pytester) -> None:
    scenario(tests, "held", "Held up")
    result = tests.runpytest("scenarios/held.yaml", "-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(
        [
            "*1 run: 1 host too slow*",
            "SKIPPED*host too slow: the host withheld the CPU in workflow*",
        ]
    )


def test_what_can_not_be_built_fails_with_its_hint(tests: pytest.Pytester) -> None:
    scenario(tests, "unbuilt", "Unbuilt")
    result = tests.runpytest("scenarios/unbuilt.yaml")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["go is missing", "    install go"])
    assert "Traceback" not in result.stdout.str()


def test_a_bug_of_ours_is_shown_as_one(tests: pytest.Pytester) -> None:
    scenario(tests, "buggy", "Buggy")
    result = tests.runpytest("scenarios/buggy.yaml")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*ZeroDivisionError: a bug of ours*"])


PYTHON = """
from harness.scenario.python import scenario

@scenario("hello.yaml", firmware="uefi")
async def test_that_holds(lab):
    raise RuntimeError("runs inside the seal, never here")

@scenario("hello.yaml", changes={"scenario": "Good", "machine": {"mac": "52:54:00:00:00:07"}})
async def test_that_asserts(lab):
    assert lab.pulls() == 1

async def test_of_asyncio():
    pass

def test_plain():
    pass
"""


def test_scenarios_in_python(tests: pytest.Pytester) -> None:
    (tests.path / "scenarios" / "test_mine.py").write_text(PYTHON)
    result = tests.runpytest("scenarios/test_mine.py", "-v", "--runs", "runs")
    result.assert_outcomes(passed=3, failed=2)
    result.stdout.fnmatch_lines(
        [
            "scenarios/test_mine.py::test_that_holds?uefi? PASSED*",
            "scenarios/test_mine.py::test_that_asserts?bios? FAILED*",
            "scenarios/test_mine.py::test_that_asserts?uefi? FAILED*",
            "scenarios/test_mine.py::test_of_asyncio PASSED*",
            "scenarios/test_mine.py::test_plain PASSED*",
            "t.py:9:1: test_that_asserts",
            "    expected  lab.pulls() == 1",
            "    found     lab.pulls() is 2",
        ]
    )
    lock = (tests.path / "runs" / "that_asserts-uefi" / "scenario.lock.yaml").read_text()
    assert 'mac: "52:54:00:00:00:07"' in lock
    assert "function: test_that_asserts" in lock


def test_a_mistake_in_a_python_scenario_points_at_the_function(tests: pytest.Pytester) -> None:
    text = PYTHON.replace('firmware="uefi"', 'firmware="efi"')
    (tests.path / "scenarios" / "test_mine.py").write_text(text)
    result = tests.runpytest("scenarios/test_mine.py")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*test_mine.py:4:1: machine.firmware: 'efi' is not known"])


def test_nightly_ones_are_left_out_and_counted(tests: pytest.Pytester) -> None:
    scenario(tests, "long", "Long boot", "nightly: true\n")
    left_out = tests.runpytest("scenarios")
    left_out.assert_outcomes(passed=2, deselected=1)
    tests.runpytest("scenarios", "--nightly").assert_outcomes(passed=3)


def began(tests: pytest.Pytester) -> list[str]:
    """Return the items and tests that were begun, in order."""
    return (tests.path / "began").read_text().split()


def test_a_worker_begins_with_the_longest_boot_and_leaves_the_rest_for_the_end(
    tests: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``other`` may begin at a checkpoint of ``hello[uefi]``: it comes last, longer or not."""
    monkeypatch.setenv("HOOKLAB_HISTORY", str(tests.path / "history"))
    for id_, seconds in (("other[uefi]", 20), ("hello[bios]", 10), ("hello[uefi]", 30)):
        record_duration(id_, seconds)
    scenario(tests, "other", "Good too")
    tests.makepyfile(
        """
        import pytest
        def note(name):
            with open("began", "a") as file:
                print(name, file=file)
        def test_small():
            note("small")
        @pytest.mark.boot
        def test_boots():
            note("boots")
        @pytest.mark.quiet
        def test_measures():
            note("measures")
        """
    )
    xdist = ("-p", "xdist.plugin", "-n", "1")
    tests.runpytest("--runs", "runs", *xdist, ".").assert_outcomes(passed=6)
    assert began(tests) == [
        "measures", "boots", "small", "hello[uefi]", "hello[bios]", "other[uefi]"
    ]  # fmt: skip
    known = expected_durations()
    assert [id_ for id_ in known if id_.endswith("::test_boots")]
    assert not [id_ for id_ in known if id_.endswith("::test_small")]


def test_without_workers_the_order_is_that_of_the_files(tests: pytest.Pytester) -> None:
    tests.runpytest("scenarios", "--runs", "runs").assert_outcomes(passed=2)
    assert began(tests) == ["hello[bios]", "hello[uefi]"]


def test_an_index_lists_boots_as_they_were_read(tests: pytest.Pytester) -> None:
    scenario(tests, "a", "Good too")
    tests.runpytest("scenarios", "--runs", "runs", "-p", "xdist.plugin", "-n", "2")
    page = (tests.path / "runs" / "session-0001.html").read_text()
    places = [page.index(f"{name}/report.html") for name in ("a-uefi", "hello-bios", "hello-uefi")]
    assert places == sorted(places)


def test_who_measures_is_alone(tests: pytest.Pytester) -> None:
    tests.makeconftest((ROOT / "conftest.py").read_text())
    tests.makepyfile(
        """
        import os, pytest, time
        from pathlib import Path

        @pytest.fixture(autouse=True)
        def others(request):
            folder = Path("running")
            folder.mkdir(exist_ok=True)
            mine = folder / str(os.getpid())
            mine.touch()
            until = time.monotonic() + 0.1
            seen = set()
            while time.monotonic() < until:
                seen |= {path.name for path in folder.iterdir()}
            yield seen - {mine.name}
            mine.unlink()

        @pytest.mark.parametrize("number", range(12))
        def test_loud(number, others):
            if others:
                Path("together").touch()

        @pytest.mark.quiet
        @pytest.mark.parametrize("number", range(4))
        def test_measures(number, others):
            assert not others
        """
    )
    xdist = ("-p", "xdist.plugin", "-n", "2")
    tests.runpytest("test_who_measures_is_alone.py", *xdist).assert_outcomes(passed=16)
    assert (tests.path / "together").exists()
