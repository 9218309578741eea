"""Faults of Tinkerbell's gRPC server: its connections, TLS, and single calls."""

from __future__ import annotations

from typing import Final

from harness.faults.deeds import (
    Certificate,
    Close,
    Cut,
    Delay,
    Drop,
    Duplicate,
    Goaway,
    Handshake,
    Lifetime,
    Reorder,
    Reset,
    Rollback,
    Silence,
    Speak,
    Stall,
    Status,
)
from harness.faults.vocabulary import Fact, Occasion, Place, Takes

_CALLS: Final = ("call", "answer")
_RPCS: Final = (
    "GetWorkflowContexts",
    "GetWorkflowActions",
    "GetAction",
    "ReportActionStatus",
)
_STATES: Final = ("PENDING", "RUNNING", "FAILED", "TIMEOUT", "SUCCESS")

PLACE: Final = Place(
    name="tink",
    rank=60,
    meaning="Tinkerbell's gRPC server",
    occasions=(
        Occasion(name="call", meaning="a call has come, and Tinkerbell has not heard of it yet"),
        Occasion(name="answer", meaning="Tinkerbell has heard it, the worker not its answer"),
        Occasion(name="connection", meaning="a TCP connection is accepted"),
    ),
    facts=(
        Fact(name="rpc", meaning="the method", values=_RPCS, occasions=_CALLS),
        Fact(
            name="protocol",
            meaning="v1: tink-worker; v2: tink-agent",
            values=("v1", "v2"),
            occasions=_CALLS,
        ),
        Fact(name="worker", meaning="id of the worker or agent, if said", occasions=_CALLS),
        Fact(name="workflow", meaning="id of the workflow, namespace/name", occasions=_CALLS),
        Fact(name="action", meaning="name of the action that is reported", occasions=_CALLS),
        Fact(name="state", meaning="what is reported of it", values=_STATES, occasions=_CALLS),
        Fact(name="peer", meaning="address:port of the client"),
        Fact(name="tls", meaning="whether the port has TLS", kind="flag"),
    ),
    deeds=(
        Takes(
            deed=Delay,
            meaning="call: Tinkerbell hears it later; answer: the worker does",
            example="{at: tink, when: {rpc: ReportActionStatus}, do: {delay: 5 s}}",
            occasions=_CALLS,
        ),
        Takes(
            deed=Status,
            meaning="call: refused and never heard; answer: heard, and the worker gets an error",
            example=(
                "{at: tink, when: {occasion: answer, rpc: ReportActionStatus, state: SUCCESS, "
                "nth: 1}, do: {status: {code: UNAVAILABLE, message: try later}}}"
            ),
            occasions=_CALLS,
        ),
        Takes(
            deed=Drop,
            meaning="Tinkerbell never hears it; the answer is OK, and empty: no work, no actions",
            example="{at: tink, when: {rpc: ReportActionStatus, state: SUCCESS}, do: drop}",
            occasions=("call",),
        ),
        Takes(
            deed=Duplicate,
            meaning="Tinkerbell hears it several times; the worker gets the first answer",
            example="{at: tink, when: {rpc: ReportActionStatus, nth: 1}, do: duplicate}",
            occasions=("call",),
        ),
        Takes(
            deed=Reorder,
            meaning="the worker is answered OK; Tinkerbell hears it after the reports that follow",
            example="{at: tink, when: {rpc: ReportActionStatus, state: RUNNING}, do: reorder}",
            occasions=("call",),
        ),
        Takes(
            deed=Rollback,
            meaning="workflows are as they were some reports ago, as after a restore",
            example="{at: tink, when: {rpc: GetWorkflowContexts, nth: 2}, do: {rollback: 2}}",
            occasions=("call",),
        ),
        Takes(
            deed=Stall,
            meaning="a call is never answered; a connection goes half-open after so many octets",
            example="{at: tink, when: {rpc: GetWorkflowActions}, do: stall}",
        ),
        Takes(
            deed=Cut,
            meaning="RST_STREAM ends the call; the connection stays",
            example="{at: tink, when: {rpc: GetWorkflowContexts, first: 3}, do: {cut: 11}}",
            occasions=_CALLS,
        ),
        Takes(
            deed=Goaway,
            meaning="GOAWAY on the connection; one with an error code is closed as well",
            example=(
                "{at: tink, when: {occasion: connection}, "
                "do: {goaway: {code: 11, debug: too_many_pings, seconds: 10 s}}}"
            ),
        ),
        Takes(
            deed=Reset,
            meaning="RST: of a call's connection; of a connection after so many octets",
            example="{at: tink, when: {occasion: connection, nth: 1}, do: reset}",
        ),
        Takes(
            deed=Close,
            meaning="FIN: of a call's connection; of a connection after so many octets",
            example="{at: tink, when: {occasion: connection, first: 2}, do: {close: 100}}",
        ),
        Takes(
            deed=Lifetime,
            meaning="every connection ends after a time",
            example="{at: tink, do: {lifetime: {seconds: 10 s, ends: reset}}}",
            occasions=("connection",),
        ),
        Takes(
            deed=Silence,
            meaning="nothing is answered from a moment on, and nothing is closed",
            example="{at: tink, do: {silence: settings}}",
            occasions=("connection",),
        ),
        Takes(
            deed=Certificate,
            meaning="another certificate is shown",
            example="{at: tink, when: {nth: 1}, do: {certificate: unknown-ca}}",
            occasions=("connection",),
        ),
        Takes(
            deed=Handshake,
            meaning="other TLS versions, another kind of key, smaller records or segments",
            example="{at: tink, do: {handshake: {at_least: TLSv1.3, segments: 50}}}",
            occasions=("connection",),
        ),
        Takes(
            deed=Speak,
            meaning="plaintext where TLS is expected, or the reverse",
            example="{at: tink, do: {speak: plaintext}}",
            occasions=("connection",),
        ),
    ),
)
