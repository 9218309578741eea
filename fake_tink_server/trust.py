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
    from harness.certificates import Authority, Certificate, Kind
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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that ``read`` reads."""
    parser.add_argument("--tls-cert", metavar="PEM", type=Path, help="serve TLS with this chain")
    parser.add_argument("--tls-key", metavar="PEM", type=Path, help="its private key")
    parser.add_argument(
        "--tls",
        metavar="CA.pem",
        type=Path,
        help="serve TLS with a certificate of a throwaway CA, and write the CA's to this file",
    )
    parser.add_argument(
        "--throwaway-ca",
        metavar="DIR",
        type=Path,
        help="the same, and write ca.pem, client.pem and client.key into this folder",
    )
    parser.add_argument(
        "--client-ca",
        metavar="PEM",
        type=Path,
        help="mutual TLS: clients must show a certificate of this CA (DIR/ca.pem will do)",
    )
    parser.add_argument(
        "--faults",
        metavar="FILE",
        type=Path,
        help="misbehave as the `faults:` list in this YAML file says; `at: tink` only",
    )


def read(options: argparse.Namespace) -> Trust:
    """Return what the options say. Raises ``ScenarioError`` and ``OSError``."""
    faults: tuple[Fault, ...] = ()
    seed = 0
    if options.faults is not None:
        from harness.faults.model import load_faults

        faults, seed = load_faults(options.faults, places=[PLACE])
    names = sorted({"localhost", "127.0.0.1", options.bind} - {"0.0.0.0", "::"})
    if options.tls is not None or options.throwaway_ca is not None:
        return _throwaway(options, names, faults, seed)
    _check_certificates(faults)
    tls = _from_files(options)
    if tls is None and options.client_ca is not None:
        raise ScenarioError(
            "--client-ca needs TLS", hint="give --tls-cert and --tls-key, or --throwaway-ca"
        )
    return Trust(tls=tls, issue=_Issuer(names), faults=faults, seed=seed)


class _Issuer:
    """Issues certificates for the server's names; an authority is made when it is needed."""

    def __init__(self, names: list[str], authority: Authority | None = None) -> None:
        self._names = names
        self._authority = authority

    def __call__(self, kind: Kind) -> Certificate:
        from harness.certificates import Authority

        if self._authority is None:
            self._authority = Authority()
        return self._authority.issue(*self._names, kind=kind)


def _throwaway(
    options: argparse.Namespace, names: list[str], faults: tuple[Fault, ...], seed: int
) -> Trust:
    from fake_tink_server.server import ServerTls
    from harness.certificates import Authority

    authority = Authority()
    if options.tls is not None:
        options.tls.write_bytes(authority.certificate)
    folder = options.throwaway_ca
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "ca.pem").write_bytes(authority.certificate)
        authority.issue_client("worker").write(folder, "client")
    own = authority.issue(*names)
    tls = ServerTls(certificate_chain=own.chain, private_key=own.key, client_ca=_client_ca(options))
    return Trust(tls=tls, issue=_Issuer(names, authority), faults=faults, seed=seed)


def _from_files(options: argparse.Namespace) -> ServerTls | None:
    if options.tls_cert is None and options.tls_key is None:
        return None
    if options.tls_cert is None or options.tls_key is None:
        raise ScenarioError("--tls-cert and --tls-key belong together")
    from fake_tink_server.server import ServerTls

    return ServerTls(
        certificate_chain=_pem(options.tls_cert),
        private_key=_pem(options.tls_key),
        client_ca=_client_ca(options),
    )


def _client_ca(options: argparse.Namespace) -> bytes | None:
    return None if options.client_ca is None else _pem(options.client_ca)


def _pem(path: Path) -> bytes:
    if not path.is_file():
        raise ScenarioError("there is no such file", at=Position(file=path))
    return path.read_bytes()


def _check_certificates(faults: Iterable[Fault]) -> None:
    """Refuse certificates that only a client's own authority could have signed."""
    for fault in faults:
        kind = fault.parameters.get("kind")
        if fault.deed == "certificate" and kind not in _ANY_AUTHORITY:
            raise ScenarioError(
                f"{fault.at}: only a throwaway CA can issue a certificate that is {kind}",
                hint="serve with --throwaway-ca DIR",
            )
