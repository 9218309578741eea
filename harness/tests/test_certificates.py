"""Certificates, judged by openssl's own program and by handshakes."""

from __future__ import annotations

import ssl
import stat
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from harness.certificates import Authority, Certificate, KeyKind, Kind, server_context
from harness.errors import SetupFailed

NAMES = ("tink.lab", "192.0.2.1", "2001:db8::1")


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority(keys=KeyKind.ECDSA)


def verify(folder: Path, authority: Authority, certificate: Certificate, name: str) -> str:
    """Return what ``openssl verify`` says of a server's certificate; "OK" when it is right."""
    (folder / "ca.pem").write_bytes(authority.certificate)
    files = certificate.write(folder, "leaf")
    checked = "-verify_ip" if name[0].isdigit() else "-verify_hostname"
    done = subprocess.run(
        ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", "ca.pem",
         checked, name, files.chain.name],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode == 0:
        return "OK"
    return next(line for line in done.stderr.splitlines() if "lookup:" in line).split("lookup: ")[1]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("keys", list(KeyKind))
def test_a_right_one(keys: KeyKind, name: str, tmp_path: Path) -> None:
    authority = Authority(keys=keys)
    assert verify(tmp_path, authority, authority.issue(*NAMES), name) == "OK"
    files = authority.issue(*NAMES).write(tmp_path, "other")
    assert stat.S_IMODE(files.key.stat().st_mode) == 0o600


@pytest.mark.parametrize("keys", list(KeyKind))
def test_an_authority_that_was_saved_signs_what_its_clients_trust(
    keys: KeyKind, tmp_path: Path
) -> None:
    first = Authority(keys=keys)
    second = Authority(keys=keys, saved=first.to_pem())
    assert second.certificate == first.certificate
    assert verify(tmp_path, first, second.issue("tink.lab"), "tink.lab") == "OK"
    with pytest.raises(ValueError, match="private key"):
        Authority(saved=first.certificate)


@pytest.mark.parametrize(
    ("kind", "complaint"),
    [
        (Kind.UNKNOWN_CA, "unable to get local issuer certificate"),
        (Kind.SELF_SIGNED, "self-signed certificate"),
        (Kind.EXPIRED, "certificate has expired"),
        (Kind.NOT_YET_VALID, "certificate is not yet valid"),
        (Kind.WRONG_NAME, "hostname mismatch"),
        (Kind.INCOMPLETE_CHAIN, "unable to get local issuer certificate"),
    ],
)
def test_a_wrong_one(kind: Kind, complaint: str, authority: Authority, tmp_path: Path) -> None:
    said = verify(tmp_path, authority, authority.issue("tink.lab", kind=kind), "tink.lab")
    # OpenSSL 3.6 goes on: "or the system clock is incorrect"
    assert said.removesuffix(" or the system clock is incorrect") == complaint


def test_a_name_in_the_subject_only(authority: Authority, tmp_path: Path) -> None:
    # openssl looks there, Go and browsers don't
    from cryptography import x509

    certificate = authority.issue("tink.lab", kind=Kind.NO_SAN)
    assert verify(tmp_path, authority, certificate, "tink.lab") == "OK"
    read = x509.load_pem_x509_certificate(certificate.chain)
    with pytest.raises(x509.ExtensionNotFound):
        read.extensions.get_extension_for_class(x509.SubjectAlternativeName)


def test_a_machine_whose_clock_is_off_refuses(tmp_path: Path) -> None:
    late = Authority(keys=KeyKind.ECDSA, now=datetime.now(UTC) + timedelta(days=400))
    assert "not yet valid" in verify(tmp_path, late, late.issue("tink.lab"), "tink.lab")


def test_a_name_longer_than_a_subject_may_be(authority: Authority, tmp_path: Path) -> None:
    name = ".".join(["long" * 10] * 3)
    assert verify(tmp_path, authority, authority.issue(name), name) == "OK"
    with pytest.raises(ValueError, match="needs a name"):
        authority.issue()


def shake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> ssl.SSLObject:
    """Let both talk in memory; return the server's side."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        client.wrap_bio(to_client, to_server, server_hostname=name),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(4):
        for side in sides:
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    sides[0].write(b"x")  # TLS 1.3: a client learns of a refusal after its own handshake
    assert sides[1].read() == b"x"
    return sides[1]


def test_handshakes(authority: Authority, tmp_path: Path) -> None:
    client = ssl.create_default_context(cadata=authority.certificate.decode())
    client.set_alpn_protocols(["h2"])
    right = server_context(authority.issue("tink.lab"), alpn=["h2"])
    assert shake(right, client, "tink.lab").selected_alpn_protocol() == "h2"
    wrong = server_context(authority.issue("tink.lab", kind=Kind.UNKNOWN_CA))
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(wrong, client, "tink.lab")


def test_mutual_tls(authority: Authority, tmp_path: Path) -> None:
    client = ssl.create_default_context(cadata=authority.certificate.decode())
    server = server_context(authority.issue("tink.lab"), client_ca=authority.certificate)
    with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
        shake(server, client, "tink.lab")
    shown = authority.issue_client("worker-1").write(tmp_path, "client")
    client.load_cert_chain(shown.chain, shown.key)
    seen = shake(server, client, "tink.lab").getpeercert()
    assert seen is not None
    assert (("commonName", "worker-1"),) in seen["subject"]


def test_what_is_no_pem_is_said(authority: Authority) -> None:
    one, other = authority.issue("a"), authority.issue("b")
    for bad in (
        Certificate(chain=b"nonsense", key=one.key),
        Certificate(chain=one.chain, key=other.key),
    ):
        with pytest.raises(SetupFailed, match="certificate can't be used"):
            server_context(bad)
    with pytest.raises(SetupFailed):
        server_context(one, client_ca=b"nonsense")
