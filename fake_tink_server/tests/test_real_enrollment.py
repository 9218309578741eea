"""The real tink-agent, which nobody knows: discovered, enrolled, and given its action."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

import fake_tink_server
from fake_tink_server.tests.real_workers import TINK_AGENT, setup_of
from fake_tink_server.tests.test_auto import RULES, TEMPLATE
from harness.process import minimal_environment
from harness.timeline import named

pytestmark = pytest.mark.service

NO_DISK = TEMPLATE.replace("{{ index .Hardware.Disks 0 }}", "none")  # the host may have none
ANYBODY = RULES.replace(
    '{"chassis": {"vendor": ["QEMU"]}}', '{"cpu": {"totalCores": [{"exists": true}]}}'
)


async def test_a_real_agent_is_enrolled(tmp_path: Path) -> None:
    program = (await setup_of(TINK_AGENT)).command[0]
    served = fake_tink_server.serve(template=NO_DISK, workflow=ANYBODY, discovery=True)
    async with served as server:
        agent = await asyncio.create_subprocess_exec(
            program,
            env=minimal_environment(
                {
                    **server.environment("agent-7"),
                    "AGENT_DOCKER_SOCKET": str(tmp_path / "none.sock"),
                    "AGENT_LOG_LEVEL": "1",
                }
            ),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            await server.reported("wipe", "RUNNING")
        finally:
            agent.kill()
            log, _ = await agent.communicate()
        assert list(server.workflows) == ["default/enrollment-agent-7"]
        assert list(server.hardware) == ["default/discovery-agent-7"]
        # what the agent logs of itself is Tinkerbell's own form of the attributes
        assert server.agents["agent-7"] == attributes_in(log)
    assert [e["rule_set"] for e in named(server.events, "tink.agent.enrolled")] == ["default/qemu"]


def attributes_in(log: bytes) -> dict[str, Any]:
    lines = [json.loads(line) for line in log.splitlines() if line.startswith(b"{")]
    [found] = [line["attributes"] for line in lines if "attributes" in line]
    assert isinstance(found, dict)
    return found
