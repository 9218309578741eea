"""An event as a line for a person."""

from __future__ import annotations

from harness.timeline import Event


def lines_of(event: Event) -> list[str]:
    """Return what a person wants to read of an event, with its time; nothing for most events."""
    said = line_of(event)
    if said is None:
        return []
    first, *others = said.split("\n")
    return [
        f"{event.t:9.3f}  {printable(first)}",
        *(f"{'':9}  {printable(each)}" for each in others),
    ]


def printable(text: str) -> str:
    """Return ``text`` with what could move a terminal's cursor written as an escape."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def line_of(event: Event) -> str | None:
    """Return what a person wants to read of an event; None for what only a machine wants."""
    get = event.get
    match event.name:
        case "service.started":
            return f"listening on {get('address')}:{get('port')} ({get('transport')})"
        case "service.stopped":
            return "stopped"
        case "tink.connection.failed":
            return f"{get('peer')} never became gRPC: {get('reason')}"
        case "tink.rpc.finished" if get("code") != "OK":
            return f"{get('rpc')} answered {get('code')}: {get('details')}"
        case "fault.fired":
            return f"fault: {get('text')}"
        case "tink.state.lost":
            return f"{get('file')} can't be written any more: {get('reason')}"
    return _of_worker(event) or _of_objects(event)


def _of_worker(event: Event) -> str | None:
    get = event.get
    match event.name:
        case "tink.contexts.sent" if get("workflows"):
            return f"worker {get('worker_id')} is given {', '.join(get('workflows'))}"
        case "tink.action.sent":
            action = f"{get('task')}/{get('action')}"
            return f"agent {get('worker_id')} is given {action} of {get('workflow_id')}"
        case "tink.actions.sent":
            return f"actions of {get('workflow_id')} sent: {', '.join(get('actions'))}"
        case "tink.action.reported":
            refused = "" if get("accepted") else "  (refused)"
            said = f"  {get('message')}" if get("message") else ""
            return (
                f"{get('workflow_id')} {get('task')}/{get('action')} {_short(event)}{said}{refused}"
            )
        case "tink.agent.described":
            return f"agent {get('worker_id')} told of its machine"
        case "tink.agent.discovered":
            return f"agent {get('worker_id')} is new: Hardware {get('hardware')} made"
        case "tink.agent.enrolled":
            made = f"Workflow {get('workflow_id')} made from {get('template')}"
            return f"agent {get('worker_id')} matches {get('rule_set')}: {made}"
        case "tink.enrollment.failed":
            about = f"{get('workflow_id')}, made for agent {get('worker_id')}"
            return f"workflow {about} by {get('rule_set')}, can't be rendered:\n{get('reason')}"
    return None


def _of_objects(event: Event) -> str | None:
    get = event.get
    match event.name:
        case "tink.workflow.changed":
            before = str(get("before") or "new").removeprefix("STATE_")
            return f"workflow {get('workflow_id')}: {before} → {_short(event)}"
        case "tink.workflow.removed":
            return f"workflow {get('workflow_id')} removed"
        case "tink.bmc.wanted":
            return f"workflow {get('workflow_id')} waits for its BMC ({get('mode')})"
        case "tink.hardware.changed":
            allow = get("allow_pxe")
            said = "" if allow is None else f", allowPXE {str(allow).lower()}"
            return f"hardware {get('hardware')} {get('change')}{said}"
        case "tink.files.taken":
            kinds = {kind: get(kind) for kind in ("added", "changed", "removed")}
            said = "; ".join(f"{kind}: {', '.join(ids)}" for kind, ids in kinds.items() if ids)
            warnings = "".join(f"\nwarning: {each}" for each in get("warnings") or ())
            return f"files taken over ({said or 'no workflow comes out otherwise'}){warnings}"
        case "tink.files.refused":
            return f"files NOT taken over, all stays as it was:\n{get('reason')}"
    return None


def _short(event: Event) -> str:
    return str(event.get("state")).removeprefix("STATE_")
