"""What Go's server does around Tinkerbell's handlers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.wire.gohttp import base, client_address, mux_redirect, parent

TRUSTED = ["10.0.0.0/8", "fd00::/8"]


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/2009-04-04", "/2009-04-04/"),
        ("//metadata", "/metadata"),
        ("/a/../b/", "/b/"),
        ("/2009-04-04/./x", "/2009-04-04/x"),
    ],
)
def test_a_path_that_is_not_clean_is_redirected(path: str, target: str) -> None:
    answer = mux_redirect(path, "", "GET", ["/2009-04-04/"])
    assert answer
    assert (answer.status, answer.headers) == (307, (("Location", target),))
    assert answer.text == f'<a href="{target}">Temporary Redirect</a>.\n\n'
    posted = mux_redirect(path, "q=1", "POST", ["/2009-04-04/"])
    assert posted
    assert (posted.body, posted.headers) == (b"", (("Location", f"{target}?q=1"),))


@pytest.mark.parametrize("path", ["/", "/metadata", "/2009-04-04/", "/a/b/"])
def test_a_clean_path_is_not(path: str) -> None:
    assert mux_redirect(path, "", "GET", ["/2009-04-04/"]) is None


def test_names_as_go_has_them() -> None:
    assert (base("/a/b"), base("/a/b/"), base("/")) == ("b", "b", "/")
    assert (parent("/a/b"), parent("/a/b/"), parent("/a//b")) == ("a", "b", "a")


@pytest.mark.parametrize(
    ("peer", "header", "expected"),
    [
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", "192.0.2.1", "192.0.2.1"),
        ("192.0.2.9", "192.0.2.1", "192.0.2.9"),
        ("10.0.0.1", "192.0.2.2, 192.0.2.1", "192.0.2.1"),
        ("10.0.0.1", "192.0.2.1, 10.0.0.2", "192.0.2.1"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", "nonsense", "10.0.0.1"),
        ("10.0.0.1", "nonsense, 10.0.0.2", "10.0.0.2"),
    ],
)
def test_whom_a_request_is_from(peer: str, header: str | None, expected: str) -> None:
    assert client_address(peer, header, TRUSTED) == expected


def test_without_a_trusted_proxy_the_header_is_nothing() -> None:
    assert client_address("10.0.0.1", "192.0.2.1", []) == "10.0.0.1"


@given(st.text(), st.text())
def test_any_text_is_borne(peer: str, header: str) -> None:
    client_address(peer, header, TRUSTED)
    mux_redirect("/" + header, peer, "GET", ["/iso/"])
    base(header), parent(header)
