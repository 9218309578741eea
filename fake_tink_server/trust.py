"""TLS and faults of the command: from options to what a server takes."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.errors import Position, ScenarioError

if TYPE_CHECKING:
    from fake_tink_server.front import Issue
    from fake_tink_server.server import ServerTls
    from harness.certificates import Authority, Certificate, KeyKind, Kind
    from harness.faults.fault import Fault

PLACE: Final = "tink"
_ANY_AUTHORITY: Final = ("unknown-ca", "self-signed")
"""Wrong certificates that no authority has to sign."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """What the options say of TLS and faults."""

    tls: ServerTls | None
    issue: Issue
    faults: tuple[Fault, ...] = ()
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """How TLS and faults are asked for; None and empty: not."""

    bind: str = "127.0.0.1"
    tls_cert: Path | None = None
    """PEM: the certificate, then intermediate ones."""
    tls_key: Path | None = None
    tls: Path | None = None
    """Make a throwaway CA, and write its certificate there."""
    throwaway_ca: Path | None = None
    """The same, into a folder: ``ca.pem``, ``client.pem``, ``client.key``."""
    tls_names: tuple[str, ...] = ()
    """Names and addresses in a throwaway certificate, beside localhost and ``bind``."""
    client_ca: Path | None = None
    """Clients must show a certificate of this CA. Read after a throwaway CA was written."""
    faults: Path | None = None

    @property
    def ca_file(self) -> Path | None:
        """Where the certificate of the throwaway CA will be."""
        return self.throwaway_ca / "ca.pem" if self.throwaway_ca else self.tls


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that ``wish_of`` reads."""
    group = parser.add_argument_group("TLS")
    group.add_argument(
        "--throwaway-ca",
        metavar="DIR",
        type=Path,
        help="serve TLS with a certificate of a CA made now; "
        "ca.pem, client.pem and client.key are written into this folder",
    )
    group.add_argument(
        "--tls", metavar="CA.pem", type=Path, help="the same, and only the CA's certificate is kept"
    )
    group.add_argument(
        "--tls-name",
        metavar="NAME",
        action="append",
        default=[],
        help="a host name or address for that certificate, beside localhost, 127.0.0.1 and --bind; "
        "may be repeated",
    )
    group.add_argument("--tls-cert", metavar="PEM", type=Path, help="serve TLS with this chain")
    group.add_argument("--tls-key", metavar="PEM", type=Path, help="its private key")
    group.add_argument(
        "--client-ca",
        metavar="PEM",
        type=Path,
        help="mutual TLS: clients must show a certificate of this CA (DIR/ca.pem will do)",
    )


def wish_of(options: argparse.Namespace) -> Wish:
    """Return what the options ask for."""
    return Wish(
        bind=options.bind,
        tls_cert=options.tls_cert,
        tls_key=options.tls_key,
        tls=options.tls,
        throwaway_ca=options.throwaway_ca,
        tls_names=tuple(options.tls_name),
        client_ca=options.client_ca,
        faults=options.faults,
    )


def read(wish: Wish) -> Trust:
    """Return what was asked for. Raises ``ScenarioError`` and ``OSError``."""
    faults: tuple[Fault, ...] = ()
    seed = 0
    if wish.faults is not None:
        from harness.faults.model import load_faults

        faults, seed = load_faults(wish.faults, places=[PLACE])
    own = {"localhost", "127.0.0.1", wish.bind, *wish.tls_names}
    names = sorted(own - {"0.0.0.0", "::"})
    if wish.ca_file is not None:
        if wish.tls_cert is not None or wish.tls_key is not None:
            raise ScenarioError(
                "a throwaway CA and --tls-cert exclude each other", hint="choose one of them"
            )
        return _throwaway(wish, names, faults, seed)
    _check_certificates(faults)
    tls = _from_files(wish)
    if tls is None and wish.client_ca is not None:
        raise ScenarioError(
            "--client-ca needs TLS", hint="give --tls-cert and --tls-key, or --throwaway-ca"
        )
    return Trust(tls=tls, issue=_Issuer(names), faults=faults, seed=seed)


class _Issuer:
    """Issues certificates for the server's names; an authority is made when it is needed."""

    def __init__(self, names: list[str], authority: Authority | None = None) -> None:
        self._names = names
        self._authority = authority

    def __call__(self, kind: Kind, keys: KeyKind | None = None) -> Certificate:
        from harness.certificates import Authority

        if self._authority is None:
            self._authority = Authority()
        return self._authority.issue(*self._names, kind=kind, keys=keys)


def _throwaway(wish: Wish, names: list[str], faults: tuple[Fault, ...], seed: int) -> Trust:
    from fake_tink_server.server import ServerTls
    from harness.certificates import Authority

    authority = Authority()
    if wish.tls is not None:
        wish.tls.write_bytes(authority.certificate)
    folder = wish.throwaway_ca
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "ca.pem").write_bytes(authority.certificate)
        authority.issue_client("worker").write(folder, "client")
    own = authority.issue(*names)
    tls = ServerTls(certificate_chain=own.chain, private_key=own.key, client_ca=_client_ca(wish))
    return Trust(tls=tls, issue=_Issuer(names, authority), faults=faults, seed=seed)


def _from_files(wish: Wish) -> ServerTls | None:
    if wish.tls_cert is None and wish.tls_key is None:
        return None
    if wish.tls_cert is None or wish.tls_key is None:
        raise ScenarioError("--tls-cert and --tls-key belong together")
    from fake_tink_server.server import ServerTls

    return ServerTls(
        certificate_chain=_pem(wish.tls_cert),
        private_key=_pem(wish.tls_key),
        client_ca=_client_ca(wish),
    )


def _client_ca(wish: Wish) -> bytes | None:
    return None if wish.client_ca is None else _pem(wish.client_ca)


def _pem(path: Path) -> bytes:
    if not path.is_file():
        raise ScenarioError("there is no such file", at=Position(file=path))
    return path.read_bytes()


def _check_certificates(faults: Iterable[Fault]) -> None:
    """Refuse certificates that only a client's own authority could have signed."""
    for fault in faults:
        kind, keys = fault.parameters.get("kind"), fault.parameters.get("keys")
        what = ""
        if fault.deed == "certificate" and kind not in _ANY_AUTHORITY:
            what = f"a certificate that is {kind}"
        elif fault.deed == "handshake" and keys:
            what = f"a certificate with another key ({keys})"
        if what:
            raise ScenarioError(
                f"{fault.at}: only a throwaway CA can issue {what}",
                hint="serve with --throwaway-ca DIR",
            )
