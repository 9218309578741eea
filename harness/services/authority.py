"""The lab's own certificate authority: throwaway, made for one run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerCertificate:
    """Where the PEM files of one server are."""

    chain: Path
    key: Path


class Authority:
    """Issues certificates for the lab's servers. Making one takes 50 to 300 ms (RSA)."""

    def __init__(self, folder: Path) -> None:
        """Make a CA and write its certificate to ``<folder>/ca.pem``."""
        import trustme

        # RSA: no iPXE before 2026 accepts an EC certificate.
        self._type = trustme.KeyType.RSA
        self._ca = trustme.CA(organization_name="hooklab", key_type=self._type)
        self._folder = folder
        self.certificate = folder / "ca.pem"
        self._ca.cert_pem.write_to_path(str(self.certificate))

    def issue(self, name: str, *identities: str) -> ServerCertificate:
        """Return a certificate for the host names and addresses in ``identities``."""
        leaf = self._ca.issue_cert(*identities, key_type=self._type)
        chain, key = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        for number, blob in enumerate(leaf.cert_chain_pems):
            blob.write_to_path(str(chain), append=number > 0)
        leaf.private_key_pem.write_to_path(str(key))
        return ServerCertificate(chain=chain, key=key)
