"""What a scenario says of the OCI registry."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

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

    @model_validator(mode="after")
    def _credentials_fit(self) -> Registry:
        if self.auth == "anonymous" and (self.username or self.password):
            raise ValueError("username and password need 'auth: basic' or 'auth: bearer'")
        return self
