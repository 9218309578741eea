"""Image recipes: what they may say, and the files and libraries that follow."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from harness.errors import BuildFailed, DecodeError
from harness.hook.elf import is_elf, needs_of
from harness.hook.rootfs import Trees, entries_of, read_recipe
from harness.oci.layer import Directory, File, Symlink

_SHELL = Path("/bin/sh").resolve()


def recipe_folder(tmp_path: Path, text: str) -> Path:
    folder = tmp_path / "images" / "thing"
    folder.mkdir(parents=True)
    (folder / "image.yaml").write_text(text)
    return folder


@pytest.fixture
def trees(tmp_path: Path) -> Trees:
    tree = tmp_path / "trees" / "tool"
    (tree / "usr" / "bin").mkdir(parents=True)
    (tree / "usr" / "bin" / "one").write_text("1")
    (tree / "usr" / "bin" / "two").symlink_to("one")
    busybox = tmp_path / "trees" / "busybox-static"
    (busybox / "bin").mkdir(parents=True)
    (busybox / "bin" / "busybox").write_text("static")
    return Trees({"tool": tree, "busybox-static": busybox})


def test_a_recipe_brings_what_it_says_and_its_own_files_come_last(
    tmp_path: Path, trees: Trees
) -> None:
    folder = recipe_folder(
        tmp_path,
        "packages: {tool: [/usr/bin/*]}\nbusybox: [ls]\nprograms: {/usr/bin/go: prog}\n"
        "links: {/sbin/x: /usr/bin/go}\nfolders: [/run]\ncommand: [/usr/bin/go, -v]\n",
    )
    (folder / "root" / "usr" / "bin").mkdir(parents=True)
    (folder / "root" / "usr" / "bin" / "one").write_text("ours")
    program = tmp_path / "prog"
    program.write_text("compiled")
    recipe = read_recipe(folder)
    entries = entries_of(recipe, trees, {"prog": program}, ["ls", "cat", "busybox"])
    assert recipe.debian_packages == {"tool", "busybox-static"}
    assert recipe.command == ("/usr/bin/go", "-v")
    assert entries["/usr/bin/two"] == Symlink(target="one")
    assert entries["/usr/bin/go"] == File(content=program, mode=0o755)
    assert entries["/bin/ls"] == Symlink(target="/bin/busybox")
    assert "/bin/cat" not in entries
    assert entries["/sbin/x"] == Symlink(target="/usr/bin/go")
    assert entries["/run"] == Directory()
    one = entries["/usr/bin/one"]
    assert isinstance(one, File)
    assert isinstance(one.content, Path)
    assert one.content.read_text() == "ours"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("package: {}", "unknown key 'package'"),
        ("packages: [", "can't be read"),
        ("packages: {tool: [/usr/bin/three]}", "tool has no file /usr/bin/three"),
        ("busybox: [emacs]", "busybox has no applet emacs"),
    ],
)
def test_a_mistake_in_a_recipe_is_named(tmp_path: Path, trees: Trees, text: str, says: str) -> None:
    folder = recipe_folder(tmp_path, text)
    with pytest.raises(BuildFailed, match=says):
        entries_of(read_recipe(folder), trees, {}, ["ls"])


@pytest.mark.skipif(shutil.which("ldd") is None or not is_elf(_SHELL), reason="no ldd here")
def test_needs_are_what_the_dynamic_linker_loads() -> None:
    needs = needs_of(_SHELL)
    told = subprocess.run(["ldd", _SHELL], capture_output=True, text=True, check=True).stdout
    assert needs.interpreter in told
    assert needs.libraries
    assert all(name in told for name in needs.libraries)


@pytest.mark.skipif(not is_elf(_SHELL), reason="no ELF shell here")
def test_libraries_follow_and_a_missing_one_is_named(tmp_path: Path) -> None:
    libraries = tmp_path / "libc" / "lib" / "x86_64-linux-gnu"
    libraries.mkdir(parents=True)
    needs = needs_of(_SHELL)
    program = {"/bin/sh": File(content=_SHELL, mode=0o755)}
    with pytest.raises(BuildFailed, match=r"sh needs .*which no package"):
        Trees({"libc": tmp_path / "libc"}).with_libraries(program)
    loader = Path(needs.interpreter).name
    for name in (*needs.libraries, loader):
        (libraries / name).write_bytes(b"not ELF: needs nothing more")
    found = Trees({"libc": tmp_path / "libc"}).with_libraries(program)
    assert f"/lib/x86_64-linux-gnu/{needs.libraries[0]}" in found
    assert found[needs.interpreter] == Symlink(target=f"/lib/x86_64-linux-gnu/{loader}")


@pytest.mark.skipif(not is_elf(_SHELL), reason="no ELF shell here")
def test_a_damaged_program_is_refused(tmp_path: Path) -> None:
    cut = tmp_path / "cut"
    cut.write_bytes(_SHELL.read_bytes()[:900])
    with pytest.raises(DecodeError):
        needs_of(cut)
