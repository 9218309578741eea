"""Programs at a fixed address: the host's own, moved and run."""

from __future__ import annotations

import contextlib
import os
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import DecodeError
from harness.hook.elf import needs_of
from harness.hook.prelink import BASE, prelink, prelinked

_PROGRAMS = ("/bin/bash", "/bin/sh", "/usr/bin/env", "/bin/ls", "/usr/bin/find", "/usr/bin/grep")


def kind_of(program: bytes) -> int:
    return int(struct.unpack_from("<H", program, 16)[0])


@pytest.fixture(params=_PROGRAMS)
def program(request: pytest.FixtureRequest) -> Path:
    path = Path(request.param).resolve()
    if kind_of(path.read_bytes()) != 3:
        pytest.skip(f"this host's {path.name} has a fixed address already")
    return path


def test_a_moved_program_does_what_it_did(program: Path, tmp_path: Path) -> None:
    moved = prelink(program, tmp_path)
    assert kind_of(moved.read_bytes()) == 2
    assert needs_of(moved) == needs_of(program)
    shell = program.name in ("bash", "dash")
    words = ["-c", "echo $((6 * 7)) | cat; exit 3"] if shell else ["--version"]

    def outcome(path: Path) -> tuple[int, bytes]:
        done = subprocess.run([path, *words], capture_output=True, check=False)
        assert not done.stderr
        return done.returncode, done.stdout

    assert outcome(moved) == outcome(program)


def test_it_lies_where_it_says_and_has_nothing_left_to_relocate(tmp_path: Path) -> None:
    moved = prelink(Path("/bin/sh").resolve(), tmp_path)
    text = 'while read -r line; do echo "$line"; done < /proc/self/maps'
    maps = subprocess.run([moved, "-c", text], capture_output=True, check=True).stdout.decode()
    first = next(line for line in maps.splitlines() if line.endswith(str(moved)))
    assert int(first.split("-")[0], 16) == BASE


def test_the_same_program_is_moved_once_and_one_with_an_address_not_at_all(tmp_path: Path) -> None:
    moved = prelink(Path("/bin/sh").resolve(), tmp_path)
    assert prelink(Path("/bin/sh").resolve(), tmp_path) == moved
    assert os.access(moved, os.X_OK)
    assert prelinked(moved.read_bytes()) == moved.read_bytes()


def test_other_files_are_refused() -> None:
    library = next(Path("/lib/x86_64-linux-gnu").glob("libc.so.6")).read_bytes()
    for wrong in (b"", b"#!/bin/sh\n", library):  # libc has addresses that the processor decides
        with pytest.raises(DecodeError):
            prelinked(wrong)


def test_names_that_nobody_looks_up_are_blanked(tmp_path: Path) -> None:
    bash = Path("/bin/bash")  # it exports thousands, for builtins that are loaded
    moved = prelink(bash, tmp_path).read_bytes()
    assert bash.read_bytes().count(b"rl_insert") > moved.count(b"rl_insert")
    assert len(moved) == bash.stat().st_size


@given(st.integers(0, 3000), st.binary(min_size=1, max_size=64))
def test_damage_is_an_error_and_never_a_traceback(at: int, junk: bytes) -> None:
    program = bytearray(Path("/bin/sh").resolve().read_bytes())
    program[at : at + len(junk)] = junk
    with contextlib.suppress(DecodeError):
        prelinked(bytes(program))
