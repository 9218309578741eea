"""An agent's attributes as Tinkerbell keeps them: what rules match, and what is annotated."""

from __future__ import annotations

from typing import Any, Final

from google.protobuf.json_format import MessageToDict

from fake_tink_server.proto import agent_pb2 as pb

ANNOTATION: Final = "tinkerbell.org/agent-attributes"
MAX_ANNOTATION: Final = 64 * 1024
"""Octets of JSON; more are left out."""

_NAMES: Final = {
    "block": "blockDevices",
    "network": "networkInterfaces",
    "pci": "pciDevices",
    "gpu": "gpuDevices",
}
"""Where Tinkerbell's name for a part is not the message's own."""
_ORDER: Final = (
    *("cpu", "memory", "blockDevices", "networkInterfaces", "pciDevices", "gpuDevices"),
    *("chassis", "bios", "baseboard", "product"),
)
_ALWAYS: Final = ("cpu", "memory", "chassis", "bios", "baseboard", "product")
"""There even when the agent says nothing of them."""


def attributes_of(message: pb.AgentAttributes) -> dict[str, Any]:
    """Return the attributes with Tinkerbell's JSON names, in its order."""
    said = {_NAMES.get(name, name): value for name, value in MessageToDict(message).items()}
    return {name: said.get(name, {}) for name in _ORDER if name in said or name in _ALWAYS}
