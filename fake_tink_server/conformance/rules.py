"""The rules, in one list; a rule's number is its place. ``WORKERS.md`` explains each."""

from __future__ import annotations

from typing import Final

from fake_tink_server.conformance import asking, running, trouble
from fake_tink_server.conformance.rule import ONLY_V1, Rule

RULES: Final = (
    # -- asking for work
    Rule(
        name="asks-with-its-id",
        must="asks the server for work under the id it was given",
        check=asking.asks_with_its_id,
    ),
    Rule(
        name="asks-again",
        must="asks again and again while there is no work",
        check=asking.asks_again,
    ),
    Rule(
        name="bounded-pace",
        must="does not spin: at most 20 calls a second and half a CPU while there is no work",
        check=asking.asks_at_a_bounded_pace,
    ),
    Rule(
        name="idles",
        must="does nothing, and stays alive, while there is no work",
        check=asking.idles,
    ),
    Rule(
        name="others-work",
        must="leaves another worker's tasks and workflows alone",
        check=asking.leaves_others_work_alone,
    ),
    Rule(
        name="own-actions-only",
        must="fetches the actions of workflows it was offered, and of no other",
        check=asking.fetches_only_what_it_was_offered,
        protocols=ONLY_V1,
    ),
    Rule(
        name="one-after-another",
        must="takes one workflow after another, one action at a time",
        check=asking.takes_one_workflow_after_another,
    ),
    # -- running actions
    Rule(
        name="in-order",
        must="runs actions in the order of the template, and reports RUNNING and SUCCESS for each",
        check=running.runs_in_order,
    ),
    Rule(
        name="running-first",
        must="reports RUNNING before the container starts, and the end after the container ended",
        check=running.says_running_before_it_runs,
        containers=True,
    ),
    Rule(
        name="names",
        must="names workflow, task, action and itself in every report",
        check=running.names_what_it_reports,
    ),
    Rule(
        name="failure",
        must="reports FAILED for an exit status that is not 0, and begins no later action",
        check=running.reports_a_failure,
        containers=True,
    ),
    Rule(
        name="after-failure",
        must="goes on with other workflows after one has failed",
        check=running.goes_on_after_a_failure,
        containers=True,
    ),
    Rule(
        name="timeout",
        must="reports TIMEOUT (or FAILED) when an action's time is over, and begins no later one",
        check=running.reports_a_timeout,
        containers=True,
    ),
    Rule(
        name="timeout-stops",
        must="ends the container of an action whose time is over",
        check=running.stops_what_timed_out,
        containers=True,
    ),
    Rule(
        name="removes",
        must="removes the containers it made",
        check=running.removes_its_containers,
        required=False,
        containers=True,
    ),
    # -- what a container is made of
    Rule(
        name="image",
        must="pulls the action's image before each run; v1: DOCKER_REGISTRY is put before its name",
        check=running.pulls_the_image,
        containers=True,
    ),
    Rule(
        name="credentials",
        must="shows REGISTRY_USERNAME and REGISTRY_PASSWORD when it pulls from DOCKER_REGISTRY",
        check=running.shows_credentials,
        containers=True,
    ),
    Rule(
        name="command",
        must="passes the command on, word by word",
        check=running.passes_the_command,
        containers=True,
    ),
    Rule(
        name="no-command",
        must="leaves the image its own command when the action has none",
        check=running.leaves_the_images_command,
        containers=True,
    ),
    Rule(
        name="environment",
        must="passes every environment variable on as it is",
        check=running.passes_the_environment,
        containers=True,
    ),
    Rule(
        name="volumes",
        must="mounts the volumes",
        check=running.passes_the_volumes,
        containers=True,
    ),
    Rule(
        name="pid",
        must="passes the PID namespace on, and sets none when none is given",
        check=running.passes_the_pid_namespace,
        containers=True,
    ),
    Rule(
        name="privileged",
        must="runs containers privileged: actions write disks",
        check=running.is_privileged,
        containers=True,
    ),
    Rule(
        name="workflow-mount",
        must="mounts one folder a workflow at /workflow, for its actions to share",
        check=running.mounts_workflow,
        protocols=ONLY_V1,
        containers=True,
    ),
    # -- when the engine refuses
    Rule(
        name="pull-failure",
        must="reports FAILED when an image can't be pulled, and makes no container",
        check=running.reports_a_failed_pull,
        containers=True,
    ),
    Rule(
        name="no-container",
        must="reports FAILED when a container can't be made or started",
        check=running.reports_a_container_that_cannot_be,
        containers=True,
    ),
    Rule(
        name="local-image",
        must="runs an image that is there when the registry is not",
        check=running.uses_a_local_image,
        required=False,
        containers=True,
    ),
    Rule(
        name="reason",
        must="says in the report's message why an action failed",
        check=running.says_why_it_failed,
        required=False,
        containers=True,
    ),
    Rule(
        name="output",
        must="prints what its actions print",
        check=running.shows_the_output,
        required=False,
        containers=True,
    ),
    # -- when the server refuses or is gone
    Rule(
        name="report-until-heard",
        must="reports an action's end until the server accepts it, and runs the action once",
        check=trouble.reports_until_heard,
    ),
    Rule(
        name="running-until-heard",
        must="does not run an action before the server has accepted RUNNING, and does not drop it",
        check=trouble.insists_on_running,
    ),
    Rule(
        name="refused-polls",
        must="goes on asking when the server answers UNAVAILABLE",
        check=trouble.survives_refused_polls,
    ),
    Rule(
        name="server-restart",
        must="survives a restart of the server in mid-action, and runs the action once",
        check=trouble.survives_a_restart_of_the_server,
    ),
    Rule(
        name="connection-reset",
        must="survives a reset of its connection in mid-action, and runs the action once",
        check=trouble.survives_a_reset,
    ),
    Rule(
        name="goaway",
        must="survives an HTTP/2 GOAWAY in mid-action, and runs the action once",
        check=trouble.survives_goaway,
    ),
    Rule(
        name="server-late",
        must="waits for a server that is not there yet",
        check=trouble.waits_for_the_server,
    ),
    Rule(
        name="reboot",
        must="takes up the action that ran when its machine went down",
        check=trouble.takes_up_after_a_reboot,
    ),
    Rule(
        name="tls",
        must="calls over TLS when TINKERBELL_TLS is true",
        check=trouble.speaks_tls,
    ),
    Rule(
        name="tls-verified",
        must="sends nothing to a server with a strange certificate, unless told so",
        check=trouble.distrusts_a_strange_certificate,
    ),
    # -- its own end
    Rule(
        name="sigterm",
        must="ends within 10 s of SIGTERM",
        check=asking.ends_on_sigterm,
    ),
    Rule(
        name="sigterm-in-action",
        must="ends within 20 s of SIGTERM while an action runs",
        check=asking.ends_on_sigterm_in_mid_action,
        required=False,
    ),
)


def find_rule(text: str) -> Rule | None:
    """Return the rule with the name or number ``text``; None when there is none."""
    for number, rule in enumerate(RULES, 1):
        if text in (rule.name, str(number)):
            return rule
    return None
