"""Certificates of a throwaway authority: right ones, and ones wrong in a way that the field knows.

Made for one run; only a saved lab's authority is kept, for those that are resumed from it. A right
certificate is valid from yesterday on for a year, as one from a cluster is: a machine whose clock
is off refuses it, as it would there.
"""

from __future__ import annotations

import ipaddress
import os
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final, assert_never

from harness.errors import SetupFailed

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes

_DAY: Final = timedelta(days=1)
_VALID_FOR: Final = 365 * _DAY
_RSA_BITS: Final = 2048
_WRONG_NAME: Final = "somewhere-else.invalid"  # RFC 2606 §2: never a real name


class KeyKind(StrEnum):
    """What the keys are. No iPXE before 2026 accepts an EC certificate."""

    RSA = "rsa"
    ECDSA = "ecdsa"


class Kind(StrEnum):
    """A certificate, and what is wrong with it."""

    RIGHT = "right"
    UNKNOWN_CA = "unknown-ca"
    """Signed by an authority that nobody was told of."""
    SELF_SIGNED = "self-signed"
    EXPIRED = "expired"
    """Since yesterday."""
    NOT_YET_VALID = "not-yet-valid"
    """Until tomorrow."""
    WRONG_NAME = "wrong-name"
    """For another host."""
    NO_SAN = "no-san"
    """The host is named in the subject only, where no program has looked since 2020."""
    INCOMPLETE_CHAIN = "incomplete-chain"
    """Signed by an intermediate authority whose certificate the server doesn't send."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerCertificate:
    """Where the PEM files of one server are."""

    chain: Path
    key: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A certificate with its private key, as PEM."""

    chain: bytes
    """The certificate, then those of intermediate authorities."""
    key: bytes

    def write(self, folder: Path, name: str) -> ServerCertificate:
        """Write ``<name>.pem`` and ``<name>.key``, the latter for its owner only."""
        files = ServerCertificate(chain=folder / f"{name}.pem", key=folder / f"{name}.key")
        files.chain.write_bytes(self.chain)
        write_for_owner(files.key, self.key)
        return files


def write_for_owner(file: Path, content: bytes) -> None:
    """Write a new file that nobody but its owner may read."""
    file.touch(mode=0o600)
    file.write_bytes(content)


class Authority:
    """Issues certificates. Each takes some milliseconds (ECDSA) or 50 to 300 ms (RSA)."""

    def __init__(
        self,
        *,
        keys: KeyKind = KeyKind.RSA,
        now: datetime | None = None,
        saved: bytes | None = None,
    ) -> None:
        """Make an authority whose certificates count from ``now``.

        ``saved`` is what ``to_pem`` returned of the one that it shall be. Raises ``ValueError``
        when it is not.
        """
        self._keys = keys
        self._now = now or datetime.now(UTC)
        self._root = (
            _Signer.make("hooklab throwaway CA", keys, self._now)
            if saved is None
            else _Signer.from_pem(saved)
        )

    def to_pem(self) -> bytes:
        """Return its private key and certificate: who has them can sign what its clients trust."""
        return _key_pem(self._root.key) + self._root.pem

    @property
    def certificate(self) -> bytes:
        """The authority's own certificate, as PEM: what a client has to trust."""
        return self._root.pem

    def issue(
        self, *identities: str, kind: Kind = Kind.RIGHT, keys: KeyKind | None = None
    ) -> Certificate:
        """Return a certificate for the host names and addresses in ``identities``.

        ``keys`` says what its own key is; None: what the authority's is.

        Raises ``ValueError`` when there are none.
        """
        if not identities:
            raise ValueError("a certificate needs a name")
        valid_from, valid_for = self._now - _DAY, _VALID_FOR
        signer: _Signer | None = self._root
        names: Sequence[str] = identities
        subject = identities[0]
        match kind:
            case Kind.RIGHT:
                pass
            case Kind.UNKNOWN_CA:
                signer = _Signer.make("a CA that nobody knows", self._keys, self._now)
            case Kind.SELF_SIGNED:
                signer = None
            case Kind.EXPIRED:
                valid_from, valid_for = self._now - 30 * _DAY, 29 * _DAY
            case Kind.NOT_YET_VALID:
                valid_from = self._now + _DAY
            case Kind.WRONG_NAME:
                subject, names = _WRONG_NAME, (_WRONG_NAME,)
            case Kind.NO_SAN:
                names = ()
            case Kind.INCOMPLETE_CHAIN:
                signer = _Signer.make("hooklab intermediate", self._keys, self._now, self._root)
            case _:
                assert_never(kind)
        key = _generate(keys or self._keys)
        issued = _sign(subject, key, signer, names, valid_from, valid_for)
        return Certificate(chain=_pem(issued), key=_key_pem(key))

    def issue_client(self, name: str) -> Certificate:
        """Return a certificate that a client called ``name`` shows (mutual TLS)."""
        return self.issue(name)


@dataclass(frozen=True, slots=True)
class _Signer:
    certificate: x509.Certificate
    key: CertificateIssuerPrivateKeyTypes

    @property
    def pem(self) -> bytes:
        return _pem(self.certificate)

    @classmethod
    def make(
        cls, name: str, keys: KeyKind, now: datetime, parent: _Signer | None = None
    ) -> _Signer:
        key = _generate(keys)
        return cls(_sign(name, key, parent, None, now - _DAY, 2 * _VALID_FOR), key)

    @classmethod
    def from_pem(cls, pem: bytes) -> _Signer:
        """Raises ``ValueError``."""
        from cryptography import x509
        from cryptography.hazmat.primitives.asymmetric import ec, rsa
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        key = load_pem_private_key(pem, password=None)
        if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
            raise ValueError("the key is neither RSA nor EC")
        return cls(x509.load_pem_x509_certificate(pem), key)


def _generate(kind: KeyKind) -> CertificateIssuerPrivateKeyTypes:
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    if kind is KeyKind.ECDSA:
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(public_exponent=65537, key_size=_RSA_BITS)


def _sign(
    subject: str,
    key: CertificateIssuerPrivateKeyTypes,
    signer: _Signer | None,
    names: Sequence[str] | None,
    valid_from: datetime,
    valid_for: timedelta,
) -> x509.Certificate:
    """Return a certificate; ``signer`` None: signed with ``key``. ``names`` None: of an authority.

    RFC 5280 §4.2.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def named(text: str) -> x509.Name:
        # RFC 5280, Appendix A: a common name has no more than 64 characters
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])

    issuer_key = key if signer is None else signer.key
    authority = names is None
    builder = (
        x509.CertificateBuilder()
        .subject_name(named(subject))
        .issuer_name(named(subject) if signer is None else signer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(valid_from)
        .not_valid_after(valid_from + valid_for)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(_key_usage(authority=authority), critical=True)
    )
    if signer is not None:
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
            critical=False,
        )
    if names:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([_identity(name) for name in names]), critical=False
        )
    if not authority:
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=True,
        key_encipherment=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _identity(name: str) -> x509.GeneralName:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(certificate: x509.Certificate) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM)


def _key_pem(key: CertificateIssuerPrivateKeyTypes) -> bytes:
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def server_context(
    certificate: Certificate | ServerCertificate,
    *,
    alpn: Sequence[str] = (),
    client_ca: bytes | None = None,
) -> ssl.SSLContext:
    """Return a server's context. ``client_ca``, PEM: clients must show a certificate of it.

    Raises ``SetupFailed`` when something is not PEM, or key and certificate don't match.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        if isinstance(certificate, ServerCertificate):
            context.load_cert_chain(certificate.chain, certificate.key)
        else:
            # OpenSSL takes files only; one in memory leaves no key on a disk
            with _file(certificate.chain) as chain, _file(certificate.key) as key:
                context.load_cert_chain(chain, key)
        if client_ca is not None:
            context.load_verify_locations(cadata=client_ca.decode("ascii", errors="ignore"))
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        which = ""
        if isinstance(certificate, ServerCertificate):
            which = f" {certificate.chain} with the key {certificate.key}"
        raise SetupFailed(
            f"the certificate{which} can't be used: {error}",
            hint="certificate and key must be PEM, and belong together",
        ) from error
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


@contextmanager
def _file(content: bytes) -> Iterator[str]:
    descriptor = os.memfd_create("pem")
    try:
        os.write(descriptor, content)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
