"""From a seed: machines with workflows, and what agents then say, right and wrong."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from typing import Any, Final

NOW: Final = 1_800_000_000
AGENTS: Final = ("52:54:00:00:00:0a", "52:54:00:00:00:0b", "agent-c")
STRANGERS: Final = ("", "52:54:00:00:00:0A", "nobody")
PENDING, RUNNING, FAILED, TIMEOUT, SUCCESS = range(1, 6)
UNSPECIFIED: Final = 0
NO_STATE: Final = 9
_EACH: Final = 8

API: Final = "tinkerbell.org/v1alpha1"


@dataclass(frozen=True, slots=True)
class Ref:
    """A task, or an action of it, by place: the two servers draw ids of their own."""

    workflow: str
    task: int
    action: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """GetAction."""

    agent: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Say:
    """ReportActionStatus. None: the field is absent; ``LAST``: what the agent was given last."""

    agent: str | None
    workflow: str | None = None
    task: Ref | str | None = None
    action: Ref | str | None = None
    last: bool = False
    """Whether it is about the action that the agent was given last."""
    name: str | None = None
    state: int | None = None
    started: float | None = None
    """Seconds after the conversation's beginning."""
    stopped: float | None = None
    duration: str | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Raw:
    """Bytes that are no message, or one of another make."""

    method: str
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Advance:
    """Time goes by."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BmcDone:
    """What the controller wants of a BMC is done."""


Step = Ask | Say | Raw | Advance | BmcDone


@dataclass(slots=True, kw_only=True)
class World:
    """Tinkerbell's objects, and what is said about them."""

    number: int
    cluster: int = 0
    """Which objects: several conversations are held over the same ones, which take long to read."""
    objects: list[dict[str, Any]] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    refs: list[Ref] = field(default_factory=list)
    """Every action."""


def world_of(seed: int, number: int) -> World:
    """Return conversation ``number`` of ``seed``."""
    world = World(number=number, cluster=number // _EACH)
    rng = random.Random(f"{seed}/objects/{world.cluster}")
    plain = rng.random() < 0.6
    for place in range(rng.choice((1, 1, 1, 2, 3))):
        _add_workflow(rng, world, place, plain=plain)
    rng = random.Random(f"{seed}/steps/{number}")
    world.steps = [_step(rng, world) for _ in range(rng.randrange(8, 36))]
    return world


def object_of(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    """Return one of Tinkerbell's objects."""
    return {
        "apiVersion": API,
        "kind": kind,
        "metadata": {"name": name, "namespace": "default"},
        "spec": spec,
    }


def _add_workflow(rng: random.Random, world: World, place: int, *, plain: bool) -> None:
    name = f"w{place}"
    tasks = []
    for t in range(rng.choice((1, 1, 2, 3))):
        actions = [_action(rng, a) for a in range(rng.choice((1, 2, 2, 3, 3, 0)))]
        world.refs += [Ref(name, t, a) for a in range(len(actions))]
        # mostly one agent's work, as most templates are
        worker = "{{.device_1}}" if rng.random() < 0.7 else rng.choice(AGENTS)
        task: dict[str, Any] = {"name": f"t{t}", "worker": worker, "actions": actions}
        _maybe(rng, task, "volumes", ["/dev:/dev", "/a:/b"][: rng.randrange(3)])
        _maybe(rng, task, "environment", {"A": "1", "B": "x y", "C": ""})
        tasks.append(task)
    template = {
        "version": "0.1",
        "name": name,
        "global_timeout": rng.choice((0, -5, 20, 600, 600, 1800, 1800)),
        "tasks": tasks,
    }
    world.objects.append(object_of("Template", f"template-{name}", {"data": json.dumps(template)}))
    spec: dict[str, Any] = {
        "templateRef": f"template-{name}",
        "hardwareMap": {"device_1": rng.choice(AGENTS[:2])},
    }
    if not plain:
        spec["bootOptions"] = _boot(rng)
        if rng.random() < 0.15:
            spec["disabled"] = rng.random() < 0.7
    if rng.random() < 0.7:
        spec["hardwareRef"] = f"machine-{name}"
        world.objects.append(object_of("Hardware", f"machine-{name}", _hardware(rng, place)))
    world.objects.append(object_of("Workflow", name, spec))


def _maybe(rng: random.Random, item: dict[str, Any], key: str, value: Any) -> None:
    if rng.random() < 0.3:
        item[key] = value


def _action(rng: random.Random, place: int) -> dict[str, Any]:
    action: dict[str, Any] = {"name": f"a{place}", "image": rng.choice(("print:v1", "q.io/x/y"))}
    _maybe(rng, action, "timeout", rng.choice((0, 5, 90, 2**40)))
    _maybe(rng, action, "command", ["echo", "a b", ""][: rng.randrange(1, 4)])
    _maybe(rng, action, "volumes", ["/etc:/etc:ro"])
    _maybe(rng, action, "environment", {"B": "own", "a": "ä", "=": "="})
    _maybe(rng, action, "pid", "host")
    _maybe(rng, action, "namespaces", rng.choice(({"network": "host"}, {"pid": "p"}, {})))
    return action


def _boot(rng: random.Random) -> dict[str, Any]:
    boot: dict[str, Any] = {}
    if rng.random() < 0.4:
        boot["toggleAllowNetboot"] = True
    mode = rng.choice(("", "netboot", "iso", "isoboot", "customboot"))
    if mode:
        boot["bootMode"] = mode
    if mode in ("iso", "isoboot") and rng.random() < 0.8:
        boot["isoURL"] = "http://192.168.77.1/hook.iso"
    if mode == "customboot":
        actions = [{"powerAction": "on"}]
        boot["custombootConfig"] = {
            key: actions for key in ("preparingActions", "postActions") if rng.random() < 0.7
        }
    return boot


def _hardware(rng: random.Random, place: int) -> dict[str, Any]:
    interface: dict[str, Any] = {"dhcp": {"mac": f"52:54:00:00:01:{place:02x}"}}
    if rng.random() < 0.8:
        interface["netboot"] = {"allowPXE": rng.random() < 0.5}
    spec: dict[str, Any] = {"interfaces": [interface]}
    if rng.random() < 0.8:
        reference = {"apiGroup": "bmc.tinkerbell.org", "kind": "Machine", "name": "bmc"}
        spec["bmcRef"] = reference
    return spec


def _step(rng: random.Random, world: World) -> Step:
    agent: str | None = rng.choice(AGENTS[:2]) if rng.random() < 0.93 else rng.choice(AGENTS[2:])
    kind = rng.random()
    if kind < 0.36:
        if rng.random() < 0.06:
            agent = rng.choice((*STRANGERS, None))
        return Ask(agent=agent)
    if kind < 0.80:
        return _fair(rng, agent)
    if kind < 0.93:
        return _odd(rng, world, agent)
    if kind < 0.95:
        return _raw(rng)
    if kind < 0.98:
        return Advance(seconds=rng.choice((0.5, 1, 7, 30, 700, 2000)))
    return BmcDone()


def _fair(rng: random.Random, agent: str | None) -> Say:
    state = rng.choice((RUNNING, RUNNING, SUCCESS, SUCCESS, SUCCESS, SUCCESS, FAILED, TIMEOUT))
    if rng.random() < 0.7 and state in (FAILED, TIMEOUT):
        state = SUCCESS
    ended = state != RUNNING
    return Say(
        agent=agent,
        last=True,
        name="its name",
        state=state,
        started=rng.choice((0, 0, 0.25, 3, -100)),
        stopped=rng.choice((4, 5.75, 61)) if ended else None,
        duration="4s" if ended else "",
        message=rng.choice(("", "done", "exit status 1", "zwei\nZeilen ü")),
    )


def _odd(rng: random.Random, world: World, agent: str | None) -> Say:
    unknown = ("", "01ARZ3NDEKTSV4RRFFQ69G5FAV", None)
    ref = rng.choice(world.refs) if world.refs else Ref("w0", 0, 0)
    task: Ref | str | None = Ref(ref.workflow, ref.task)
    action: Ref | str | None = ref
    workflow: str | None = f"default/{ref.workflow}"
    wrong = rng.randrange(8)
    if wrong == 0:
        workflow = rng.choice(("", None, "default/none", "w0", "other/w0", "default/w0/x", "/"))
    elif wrong == 1:
        task = rng.choice(unknown)
    elif wrong == 2:
        action = rng.choice(unknown)
    elif wrong == 3:
        agent = rng.choice((*STRANGERS, None))
    elif wrong == 4 and world.refs:
        other = rng.choice(world.refs)
        task = Ref(other.workflow, other.task)
    state = rng.choice((UNSPECIFIED, PENDING, RUNNING, FAILED, TIMEOUT, SUCCESS, SUCCESS, None))
    if action is None and state is None:
        state = RUNNING  # without either it might as well be v1's message
    return Say(
        agent=agent,
        workflow=workflow,
        task=task,
        action=action,
        name=rng.choice(("a0", "", None)),
        state=NO_STATE if rng.random() < 0.03 else state,
        started=rng.choice((None, 0, 0.5, -3600, 5000)),
        stopped=rng.choice((None, 0, 2, 60.5)),
        duration=rng.choice((None, "", "1m2s")),
        message=rng.choice((None, "", "m")),
    )


def _raw(rng: random.Random) -> Raw:
    data = rng.choice(
        (
            b"",
            b"\x0a",
            b"\x0a\x03ab",
            b"\xff" * 11,
            b"\x0a\x02\xc3\x28",
            # unknown fields beside a known one
            b"\x0a\x01x\xa0\x06\x01\xaa\x06\x01y",
            # the agent's id twice: the last one counts
            b"\x0a\x01x\x0a\x11" + AGENTS[0].encode(),
        )
    )
    return Raw(method="GetAction", data=data)
