"""The kernel arguments an operator of Tinkerbell gives for a Hook, beside what smee writes itself.

smee's auto.ipxe carries facility, syslog_host, grpc_authority, tinkerbell_tls, worker_id, hw_addr
and two consoles; the registry and the worker's image are always "extra kernel args".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from harness.documents import suggest
from harness.scenario.item import NetworkItem, RegistryItem, TinkItem
from harness.scenario.loader import LoadedScenario

_PLACEHOLDER: Final = re.compile(r"{{\s*(.*?)\s*}}")

WRITTEN_BY_SMEE: Final = (
    "facility",
    "syslog_host",
    "grpc_authority",
    "tinkerbell_tls",
    "tinkerbell_insecure_tls",
    "worker_id",
    "hw_addr",
)


def default_kernel_args(registry: RegistryItem, worker_image: str) -> dict[str, str]:
    """Return the extra kernel arguments that make Hook pull ``worker_image`` from ``registry``.

    ``insecure_registries`` is what a user of plain HTTP and of a private CA alike must say: Hook
    offers no way to add a CA. The second console makes ttyS0 speak too, beside smee's ttyS1.
    """
    args = {
        "docker_registry": registry.location,
        "tink_worker_image": f"{registry.location}/{worker_image}",
        "insecure_registries": registry.address,
    }
    if registry.username is not None:
        args["registry_username"] = registry.username
        args["registry_password"] = registry.password or ""
    args["console"] = "ttyS0,115200"
    return args


def resolve_kernel_args(
    loaded: LoadedScenario,
    *,
    worker_image: str,
    network: NetworkItem,
    registry: RegistryItem,
    registries: Sequence[RegistryItem] = (),
    tink: TinkItem,
) -> tuple[str, ...]:
    """Return the defaults with the scenario's ``kernel args`` laid over, as ``key=value`` words.

    Raises ``ScenarioError`` for a placeholder that is not known, and for a null that takes
    nothing away.
    """
    values = {
        "registry.address": registry.address,
        **{f"registries.{one.name}.address": one.address for one in registries},
        "server.address": network.server,
        "tink.address": tink.address,
        "machine.mac": loaded.scenario.machine.mac,
    }
    args = default_kernel_args(registry, worker_image)
    args["insecure_registries"] = ",".join(one.address for one in (registry, *registries))
    for key, value in loaded.scenario.kernel_args.items():
        if value is not None:
            args[key] = _filled_in(loaded, key, value, values)
        elif key in args:
            del args[key]
        else:
            why = (
                "smee writes it always" if key in WRITTEN_BY_SMEE else "it is not there by default"
            )
            raise loaded.error(
                f"kernel args: {key!r} can't be taken away: {why}",
                ("kernel args", key),
                key=True,
                hint=f"there by default: {', '.join(args)}",
            )
    return tuple(f"{key}={value}" if value else key for key, value in args.items())


def _filled_in(loaded: LoadedScenario, key: str, value: str, values: Mapping[str, str]) -> str:
    def fill(match: re.Match[str]) -> str:
        if match[1] not in values:
            raise loaded.error(
                f"kernel args: there is no {{{{ {match[1]} }}}}",
                ("kernel args", key),
                hint=suggest(match[1], values),
            )
        return values[match[1]]

    return _PLACEHOLDER.sub(fill, value)
