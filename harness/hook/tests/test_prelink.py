"""Programs at a fixed address: the host's own, moved and run."""

from __future__ import annotations

import contextlib
import io
import os
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import BuildFailed, DecodeError
from harness.hook.elf import needs_of, undefined_names
from harness.hook.prelink import BASE, prelink, prelink_programs, prelinked
from harness.oci.layer import Entry, File
from harness.progress import PlainProgress

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


def found_in(program: bytes) -> set[bytes]:
    """Return what a dynamic linker finds in a program by its (System V) hash table."""
    size, count = struct.unpack_from("<HH", program, 0x3A)
    (table,) = struct.unpack_from("<Q", program, 0x28)
    rows = [struct.unpack_from("<4xI8xQQQ", program, table + size * n) for n in range(count)]
    symbols, strings = next((r[2], rows[n + 1][2]) for n, r in enumerate(rows) if r[0] == 11)
    _, hashes, _ = next((r[1], r[2], r[3]) for r in rows if r[0] == 0x6FFFFFF6)
    buckets, chains, number = struct.unpack_from("<III", program, hashes)
    assert buckets == 1
    names = set()
    while number:
        assert number < chains
        start = strings + struct.unpack_from("<I", program, symbols + 24 * number)[0]
        names.add(program[start : program.index(b"\0", start)])
        (number,) = struct.unpack_from("<I", program, hashes + 12 + 4 * number)
    return names


def test_names_that_a_library_looks_up_are_found() -> None:
    bash = Path("/bin/bash").read_bytes()
    assert b"rl_insert" not in found_in(prelinked(bash))
    found = found_in(prelinked(bash, looked_up={b"rl_insert", b"strlen", b"none"}))
    assert b"rl_insert" in found
    assert b"rl_delete" not in found


def test_a_program_that_can_have_no_address_is_taken_as_it_is(tmp_path: Path) -> None:
    libc = next(Path("/lib/x86_64-linux-gnu").glob("libc.so.6"))
    entries: dict[str, Entry] = {
        "/bin/sh": File(content=Path("/bin/sh").resolve(), mode=0o755),
        "/bin/new": File(content=libc, mode=0o755),  # has what only the processor decides
        "/lib/libc.so.6": File(content=libc),
    }
    told = io.StringIO()

    def programs(*paths: str) -> dict[str, Entry]:
        progress = PlainProgress(told)
        return prelink_programs("one", paths, entries, cache=tmp_path, progress=progress)

    assert list(programs("/bin/new", "/bin/sh")) == ["/bin/sh"]
    assert told.getvalue().startswith(
        "note: one: /bin/new gets no fixed address and starts more slowly: "
    )
    with pytest.raises(BuildFailed, match="one: prelink: no package brings /bin/none"):
        programs("/bin/none")


def test_what_a_program_looks_up() -> None:
    names = undefined_names(Path("/bin/bash").resolve())
    assert b"strlen" in names
    assert b"rl_insert" not in names


def test_a_relocation_of_another_kind_is_refused() -> None:
    program = bytearray(Path("/bin/sh").resolve().read_bytes())
    (table,) = struct.unpack_from("<Q", program, 0x28)
    size, count = struct.unpack_from("<HH", program, 0x3A)
    rows = [struct.unpack_from("<4xI16xQQ", program, table + size * n) for n in range(count)]
    at = next(offset for kind, offset, _ in rows if kind == 4)  # SHT_RELA: .rela.dyn
    struct.pack_into("<Q", program, at + 8, 10)  # R_X86_64_32
    with pytest.raises(DecodeError, match="relocation 10 is not known"):
        prelinked(bytes(program))


@given(st.integers(0, 3000), st.binary(min_size=1, max_size=64))
def test_damage_is_an_error_and_never_a_traceback(at: int, junk: bytes) -> None:
    program = bytearray(Path("/bin/sh").resolve().read_bytes())
    program[at : at + len(junk)] = junk
    with contextlib.suppress(DecodeError):
        prelinked(bytes(program))


def test_a_program_with_an_address_is_rid_of_its_names(tmp_path: Path) -> None:
    python = Path("/usr/bin/python3").resolve()
    if not python.is_file() or kind_of(python.read_bytes()) != 2:
        pytest.skip("this host has no large program that lies at a fixed address")
    slim = prelink(python, tmp_path)
    data = slim.read_bytes()
    assert len(data) == python.stat().st_size
    assert data.count(b"\0PyList_New\0") < python.read_bytes().count(b"\0PyList_New\0")
    assert kept_entry(data) == kept_entry(python.read_bytes())
    words = [str(slim), "-ISc", "print(6 * 7)"]
    assert subprocess.run(words, capture_output=True, check=True).stdout == b"42\n"


def kept_entry(program: bytes) -> int:
    return int(struct.unpack_from("<Q", program, 24)[0])
