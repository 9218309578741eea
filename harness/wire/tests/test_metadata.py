"""The metadata service: who asks is told who it is. Compared with the real one elsewhere."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from harness.wire.metadata import EC2, FOLDERS, LEAVES, Instance, MetadataServer

HERE = Instance(addresses=("10.0.0.1", "10.0.0.2"), id="i-1", hostname="one", tags=("a", "b"))
THERE = Instance(addresses=("10.0.0.9",), id="i-2", hostname="two", user_data="#!/bin/sh\n")
SERVER = MetadataServer([HERE, THERE], by_id=True)


def get(path: str, caller: str = "10.0.0.1", server: MetadataServer = SERVER) -> tuple[int, str]:
    answer = server.answer("GET", path, caller)
    return answer.status, answer.text


def test_the_caller_is_known_by_any_of_its_addresses() -> None:
    for caller in HERE.addresses:
        assert get(f"{EC2}meta-data/hostname", caller) == (200, "one")
    assert get(f"{EC2}user-data/", "10.0.0.9") == (200, "#!/bin/sh\n")
    assert get(f"{EC2}user-data", "10.0.0.3") == (404, "")


def test_folders_list_their_children_to_everybody() -> None:
    assert get(EC2, "1.1.1.1") == (200, "meta-data/\nuser-data")
    status, text = get(f"{EC2}meta-data/operating-system", "1.1.1.1")
    assert text.split("\n") == ["distro", "image_tag", "license_activation/", "slug", "version"]
    assert status == 200
    assert set(FOLDERS) == {
        "",
        "meta-data",
        "meta-data/operating-system",
        "meta-data/operating-system/license_activation",
    }


def test_an_instance_can_be_named_where_that_is_allowed() -> None:
    path = "/tootles/instanceID/i-2/2009-04-04/meta-data/hostname"
    assert get(path, "1.1.1.1") == (200, "two")
    closed = MetadataServer([HERE, THERE])
    assert not closed.owns(path)
    assert get(path, "1.1.1.1", closed)[0] == 404


def test_metadata_is_json_of_storage_only() -> None:
    status, text = get("/metadata")
    assert status == 200
    assert json.loads(text) == {
        "metadata": {"instance": {"storage": {"disks": None, "filesystems": None}}}
    }
    assert get("/metadata", "1.1.1.1") == (404, "")


@given(st.text(), st.sampled_from(["GET", "HEAD", "POST"]), st.sampled_from(list(LEAVES)))
def test_any_path_has_an_answer(text: str, method: str, leaf: str) -> None:
    for path in (EC2 + text, "/tootles/" + text, f"/tootles/instanceID/{text}/2009-04-04/{leaf}"):
        assert SERVER.answer(method, path, text).status in (200, 404)
