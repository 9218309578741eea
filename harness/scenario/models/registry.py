"""What a scenario says of the OCI registries."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from harness.scenario.models.forms import Model


class Registry(Model):
    """The OCI registry Hook pulls from."""

    scheme: Literal["http", "https"] = "http"
    """``http`` can be read in the capture; ``https`` has a certificate of the lab's own CA."""
    auth: Literal["anonymous", "basic", "bearer"] = "anonymous"
    """How a client proves who it is."""
    username: str | None = None
    """For basic and bearer; default ``hook``."""
    password: str | None = None
    """For basic and bearer; default ``hook-password``. Fake credentials only."""
    certificate: Literal[
        "right",
        "unknown-ca",
        "self-signed",
        "expired",
        "not-yet-valid",
        "wrong-name",
        "no-san",
        "incomplete-chain",
    ] = "right"
    """What is wrong with its certificate. ``right`` is of the lab's CA, which Hook doesn't know."""
    prefix: Annotated[str, Field(pattern=r"^[a-z0-9]+([._/-][a-z0-9]+)*$")] | None = None
    """A path that all its repositories are below, as mirrors have it: ``mirror`` makes
    ``ADDRESS/mirror/tink-worker``, served as ``/v2/mirror/…`` and as ``/mirror/v2/…``."""
    realm: Annotated[str, Field(pattern=r"^https?://[^\s\"]+$")] | None = None
    """Where clients are sent for a token (bearer): a URL; left out: this registry's ``/token``."""
    push: bool = False
    """Whether images can be pushed to it; they are kept in the run's folder."""

    @model_validator(mode="after")
    def _fits(self) -> Registry:
        if self.auth == "anonymous" and (self.username or self.password):
            raise ValueError("username and password need 'auth: basic' or 'auth: bearer'")
        if self.realm and self.auth != "bearer":
            raise ValueError("a realm needs 'auth: bearer'")
        if self.certificate != "right" and self.scheme != "https":
            raise ValueError("a certificate needs 'scheme: https'")
        return self


class OtherRegistry(Registry):
    """One more registry, at a port of its own and with the same images."""

    port: Annotated[int, Field(ge=1024, le=65535)]
    """Where it listens."""
    images: list[str] | None = None
    """References of the images that it has; left out: all."""
