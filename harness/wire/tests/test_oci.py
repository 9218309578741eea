"""Digests, references and descriptors."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import DecodeError
from harness.wire.oci import (
    Descriptor,
    Digest,
    Platform,
    Reference,
    canonical_json,
    decode_descriptors,
    decode_object,
)

EMPTY = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
A = "a" * 64


def test_a_digest_is_what_sha256sum_prints() -> None:
    assert str(Digest.of(b"")) == EMPTY
    assert Digest.parse(EMPTY) == Digest.of(b"")
    assert Digest.of(b"").blob_path == "blobs/sha256/" + EMPTY.removeprefix("sha256:")


@pytest.mark.parametrize(
    "text",
    ["", "sha256", "sha256:", "sha256:abc", f"sha256:{A.upper()}", f"sha256:{A}0", f"sha256:{A}\n",
     f"SHA256:{A}", f":{A}", "sha256:../../etc/passwd"],
)  # fmt: skip
def test_what_is_no_digest(text: str) -> None:
    with pytest.raises(DecodeError):
        Digest.parse(text)


# From the tables of distribution/reference (reference_test.go, normalize_test.go).
@pytest.mark.parametrize(
    ("text", "domain", "repository", "tag", "full"),
    [
        ("test", None, "test", None, "docker.io/library/test:latest"),
        ("test:v1", None, "test", "v1", "docker.io/library/test:v1"),
        ("lab/init", None, "lab/init", None, "docker.io/lab/init:latest"),
        ("docker.io/lab/init:1", "docker.io", "lab/init", "1", "docker.io/lab/init:1"),
        ("localhost/x", "localhost", "x", None, "localhost/x:latest"),
        ("localhost:5000/x:y", "localhost:5000", "x", "y", "localhost:5000/x:y"),
        ("192.168.77.1:5000/a/b:c", "192.168.77.1:5000", "a/b", "c", "192.168.77.1:5000/a/b:c"),
        ("[fd00::1]:5000/x", "[fd00::1]:5000", "x", None, "[fd00::1]:5000/x:latest"),
        ("quay.io/a/b__c--d.e", "quay.io", "a/b__c--d.e", None, "quay.io/a/b__c--d.e:latest"),
        ("REG/x", "REG", "x", None, "REG/x:latest"),
        (f"x@sha256:{A}", None, "x", None, f"docker.io/library/x@sha256:{A}"),
        (f"r:1/x:2@sha256:{A}", "r:1", "x", "2", f"r:1/x:2@sha256:{A}"),
        ("index.docker.io/x", "index.docker.io", "x", None, "docker.io/library/x:latest"),
    ],
)
def test_references(
    text: str, domain: str | None, repository: str, tag: str | None, full: str
) -> None:
    reference = Reference.parse(text)
    assert (reference.domain, reference.repository, reference.tag) == (domain, repository, tag)
    assert str(reference) == text
    assert str(reference.normalized()) == full


@pytest.mark.parametrize(
    "text",
    ["", ":tag", "/x", "x/", "a//b", "Upper", "a/B", "a:", "a:b:c", "a@b", "a@", "-a", "a-", "a__",
     "a/./b", "../x", "a...b", "a b", "host:port/x", "-host.x/y", "x:" + "t" * 129, "é", "x\n",
     "https://quay.io/x", "a/" * 200 + "b"],
)  # fmt: skip
def test_what_is_no_reference(text: str) -> None:
    with pytest.raises(DecodeError):
        Reference.parse(text)


@given(st.text(max_size=80))
def test_any_text_is_a_reference_or_a_decode_error(text: str) -> None:
    try:
        reference = Reference.parse(text)
    except DecodeError:
        return
    assert Reference.parse(str(reference)) == reference
    again = reference.normalized()
    assert Reference.parse(str(again)) == again == again.normalized()


@given(
    st.builds(
        Descriptor,
        media_type=st.text(max_size=20),
        digest=st.binary(max_size=4).map(Digest.of),
        size=st.integers(min_value=0, max_value=2**60),
        platform=st.none()
        | st.builds(
            Platform,
            architecture=st.sampled_from(["amd64", "arm64"]),
            variant=st.sampled_from([None, "v8"]),
        ),
        annotations=st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2),
    )
)
def test_descriptors_survive_a_round_trip(descriptor: Descriptor) -> None:
    data = decode_object(canonical_json({"manifests": [descriptor.to_json()]}), "index")
    assert decode_descriptors(data, "manifests") == [descriptor]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["digest", "size", "mediaType", "platform", "annotations", "x"]), inner
        )
    ),
    max_leaves=8,
)


@given(JSON)
def test_any_json_is_a_descriptor_or_a_decode_error(value: object) -> None:
    with contextlib.suppress(DecodeError):
        Descriptor.from_json(value)


@given(st.binary(max_size=40))
def test_any_bytes_are_an_object_or_a_decode_error(data: bytes) -> None:
    with contextlib.suppress(DecodeError):
        assert isinstance(decode_object(data, "x"), dict)


def test_canonical_json_has_one_form() -> None:
    assert canonical_json({"b": 1, "a": ["é"]}) == '{"a":["é"],"b":1}'.encode()
