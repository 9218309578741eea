"""The command, as a person uses it."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from fake_tink_server.cli import main
from fake_tink_server.tests.command import command
from fake_tink_server.tests.test_server import Client
from harness.events import EVENTS
from harness.timeline import read_timeline

ROOT = Path(__file__).parents[2]
FILES = [
    "--hardware", "fixtures/hardware/lab-machine.yaml",
    "--template", "fixtures/templates/hello.yaml",
    "--workflow", "fixtures/workflows/hello.yaml",
]  # fmt: skip
MAC = "52:54:00:12:34:56"


@pytest.fixture
async def start() -> AsyncIterator[
    Callable[..., Awaitable[tuple[asyncio.subprocess.Process, int]]]
]:
    running: list[asyncio.subprocess.Process] = []

    async def begin(*arguments: str) -> tuple[asyncio.subprocess.Process, int]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "fake_tink_server", *FILES, "--port", "0", *arguments),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        running.append(process)
        assert process.stdout is not None
        line = (await process.stdout.readline()).decode()
        assert "listening on 127.0.0.1:" in line, (await process.communicate())[1].decode()
        return process, int(line.partition("127.0.0.1:")[2].split()[0])

    yield begin
    for process in running:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it_well(start: Any, number: signal.Signals) -> None:
    process, _ = await start()
    process.send_signal(number)
    out, err = await process.communicate()
    assert (process.returncode, err) == (0, b"")
    assert out.decode().splitlines()[-1].endswith("stopped")


@pytest.mark.parametrize(("end", "status"), [("STATE_SUCCESS", 0), ("STATE_FAILED", 1)])
async def test_until_done(start: Any, tmp_path: Path, end: str, status: int) -> None:
    events = tmp_path / "events.jsonl"
    process, port = await start("--until-done", "--events", str(events))
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        client = Client(channel)
        for context in await client.contexts(MAC):
            for action in (await client.actions(context.workflow_id)).action_list:
                given = {"task_name": action.task_name, "worker_id": MAC}
                await client.report("STATE_RUNNING", action.name, **given)
                await client.report(end, action.name, message="as told", **given)
                if end != "STATE_SUCCESS":
                    break
    out, err = await process.communicate()
    assert (process.returncode, err) == (status, b"")
    text = out.decode()
    assert f"worker {MAC} is given default/hello" in text
    assert f"hello/print {end.removeprefix('STATE_')}  as told" in text
    recorded = read_timeline(events)
    assert recorded[-1].name == "service.stopped"
    for event in recorded:
        assert event.fields.keys() <= set(EVENTS[event.name].fields)


async def test_throwaway_tls(start: Any, tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    process, port = await start("--tls", str(ca))
    told = [(await process.stdout.readline()).decode() for _ in range(2)]
    assert told[1].strip() == f"the CA's certificate is {ca}"
    credentials = grpc.ssl_channel_credentials(ca.read_bytes())
    async with grpc.aio.secure_channel(f"localhost:{port}", credentials) as channel:
        assert len(await Client(channel).contexts(MAC)) == 1


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    status = main(arguments)
    return status, capsys.readouterr().err


def test_bad_input_has_a_place_and_no_traceback(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    assert run(capsys) == (
        2,
        "there is no Workflow to serve\n    give one with --workflow FILE, "
        "or --worker ID to have one made; see --help\n",
    )
    status, said = run(capsys, "--workflow", str(tmp_path / "none.yaml"))
    assert (status, said) == (2, f"{tmp_path}/none.yaml:1:1: there is no such file\n")
    status, said = run(capsys, *FILES[2:])
    assert status == 2
    assert said.startswith("fixtures/workflows/hello.yaml:9:16: there is no hardware 'lab-machine'")
    status, said = run(capsys, *FILES, "--tls-cert", "x.pem")
    assert (status, said) == (2, "--tls-cert and --tls-key belong together\n")
    status, said = run(capsys, *FILES, "--tls-cert", "x.pem", "--tls-key", "y.pem")
    assert (status, said) == (2, "x.pem:1:1: there is no such file\n")
    status, said = run(capsys, *FILES, "--events", str(tmp_path / "no" / "such"))
    assert status == 2
    assert "No such file or directory" in said


def test_a_certificate_that_is_none(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pem = tmp_path / "x.pem"
    pem.write_text("not PEM")
    files = [str(ROOT / item) if item.startswith("fix") else item for item in FILES]
    status, said = run(capsys, *files, "--port", "0", "--tls-cert", str(pem), "--tls-key", str(pem))
    assert status == 3
    assert "the certificate can't be used" in said


async def test_a_terminal_without_arrows() -> None:
    async with command(*FILES, environment={"PYTHONIOENCODING": "latin-1"}) as served:
        assert "\\u2192 PENDING" in await served.until("PENDING")


async def test_a_taken_port(start: Any) -> None:
    _, port = await start()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "fake_tink_server", *FILES, "--port", str(port)),
        cwd=ROOT,
        stderr=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
    )
    _, err = await process.communicate()
    assert process.returncode == 3
    assert "is the port taken" in err.decode()
    assert "Traceback" not in err.decode()


def test_warnings_do_not_stop_it(tmp_path: Path) -> None:
    text = (ROOT / "fixtures/templates/hello.yaml").read_text()
    template = tmp_path / "t.yaml"
    template.write_text(text.replace("global_timeout: 900", "global_timeout: 0"))
    from fake_tink_server.catalog import Catalog

    catalog = Catalog()
    catalog.add(template)
    catalog.add(ROOT / FILES[1])
    catalog.add(ROOT / FILES[5])
    [job] = catalog.jobs()
    assert [w.at.line for w in job.warnings if w.at] == [8]
    assert json.dumps(str(job.warnings[0])).count("STATE_TIMEOUT") == 1


FAULTS = """
- {at: tink, when: {occasion: connection, nth: 1}, do: {certificate: expired}}
- {at: tink, when: {rpc: GetWorkflowContexts, nth: 1}, do: {status: UNAVAILABLE}}
"""


async def test_faults_and_mutual_tls(start: Any, tmp_path: Path) -> None:
    (tmp_path / "faults.yaml").write_text(FAULTS)
    process, port = await start(
        "--faults", str(tmp_path / "faults.yaml"),
        "--throwaway-ca", str(tmp_path / "ca"), "--client-ca", str(tmp_path / "ca/ca.pem"),
    )  # fmt: skip
    ca, key, chain = (
        (tmp_path / "ca" / name).read_bytes() for name in ("ca.pem", "client.key", "client.pem")
    )
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
    credentials = grpc.ssl_channel_credentials(ca, key, chain)
    said = []
    for _ in range(3):
        async with grpc.aio.secure_channel(f"localhost:{port}", credentials, options) as channel:
            try:
                said.append(str(len(await Client(channel).contexts(MAC))))
            except grpc.aio.AioRpcError as error:
                said.append(error.details() or error.code().name)
    assert "CERTIFICATE_VERIFY_FAILED" in said[0]
    assert said[2] == "1"
    process.send_signal(signal.SIGTERM)
    out, err = await process.communicate()
    assert (process.returncode, err) == (0, b"")
    assert out.decode().count("  fault: at tink when ") == 2
    assert "never became gRPC" in out.decode()


async def test_a_fault_that_never_fired_is_told(start: Any, tmp_path: Path) -> None:
    (tmp_path / "faults.yaml").write_text("[{at: tink, when: {worker: nobody}, do: drop}]")
    process, _ = await start("--faults", str(tmp_path / "faults.yaml"))
    process.send_signal(signal.SIGTERM)
    _, err = await process.communicate()
    assert b"never fired" in err


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[{at: tink, do: dorp}]", ":1:17: "),
        ("[{at: dhcp, do: drop}]", "there is no dhcp here"),
        ("[{at: tink, do: {certificate: expired}}]", "only a throwaway CA can issue"),
        ("[{at: tink, do: {handshake: {keys: rsa}}}]", "only a throwaway CA can issue"),
    ],
)
def test_bad_faults_have_a_place(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str, complaint: str
) -> None:
    (tmp_path / "faults.yaml").write_text(text)
    files = [str(ROOT / item) if item.startswith("fix") else item for item in FILES]
    status, said = run(capsys, *files, "--faults", str(tmp_path / "faults.yaml"))
    assert status == 2
    assert complaint in said
    assert str(tmp_path / "faults.yaml:1:") in said
