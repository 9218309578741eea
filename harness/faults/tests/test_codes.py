"""Codes by number and by name."""

from __future__ import annotations

import grpc
import pytest

from harness.faults.codes import grpc_status, http_status


def test_http() -> None:
    assert http_status("Service Unavailable") == http_status("503") == http_status(503) == 503
    assert http_status("418") == 418
    for wrong in ("nothing", "-1", ""):
        with pytest.raises(KeyError):
            http_status(wrong)
    for number in (99, "1000"):
        with pytest.raises(ValueError, match="three digits"):
            http_status(number)


def test_grpc() -> None:
    assert grpc_status("unavailable") is grpc_status(14) is grpc_status("14")
    for status in grpc.StatusCode:
        assert grpc_status(status.value[0]) is grpc_status(status.name) is status
    with pytest.raises(KeyError):
        grpc_status("NONSENSE")
    with pytest.raises(ValueError, match="a status is 0 to 16, found 17"):
        grpc_status(17)
