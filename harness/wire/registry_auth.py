"""Who may pull: Basic, and the token protocol of Docker's registry.

Sources: distribution's ``docs/spec/auth/token.md`` and ``oauth.md``, RFC 7617, RFC 6750.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

_TOKEN_LIMIT: Final = 10_000


class AuthKind(StrEnum):
    """How a registry asks who its client is."""

    NONE = "none"
    BASIC = "basic"
    BEARER = "bearer"


@dataclass(frozen=True, slots=True)
class Access:
    """One thing a client wants to do, ``type:name:action``."""

    type: str
    name: str
    action: str

    def __str__(self) -> str:
        return f"{self.type}:{self.name}:{self.action}"

    @property
    def scope(self) -> str:
        """What a client must ask a token for: who pushes has to look what is there, too."""
        action = "pull,push" if self.action == "push" else self.action
        return f"{self.type}:{self.name}:{action}"

    def to_json(self) -> dict[str, str]:
        """Return it as the ``detail`` of an UNAUTHORIZED error shows it."""
        return {"Type": self.type, "Class": "", "Name": self.name, "Action": self.action}


@dataclass(frozen=True, slots=True, kw_only=True)
class Auth:
    """How a registry asks who its client is, and who is known."""

    kind: AuthKind = AuthKind.NONE
    users: Mapping[str, str] = field(default_factory=dict)
    """Password by name. Empty with ``BEARER``: everybody gets a token, as on Docker Hub."""
    token_lifetime_s: float = 300.0
    """Docker's client takes anything below 60 s for 60 s."""
    realm: str | None = None
    """URL of the token endpoint told to clients; None: ``token_path`` of this server."""
    token_path: str = "/token"
    service: str = "hooklab"

    def challenge(self, access: Access | None, *, origin: str, error: str | None) -> str:
        """Return the value of ``WWW-Authenticate``; ``origin`` is this server's scheme and host."""
        if self.kind is not AuthKind.BEARER:
            return f'Basic realm="{self.service}"'
        realm = self.realm or f"{origin}{self.token_path}"
        words = [f'realm="{realm}"', f'service="{self.service}"']
        if access:
            words.append(f'scope="{access.scope}"')
        if error:
            words.append(f'error="{error}"')
        return "Bearer " + ",".join(words)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A request without sufficient credentials. All None: it had none at all."""

    user: str | None = None
    error: str | None = None
    """RFC 6750 §3.1: ``invalid_token`` or ``insufficient_scope``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """A token that was given."""

    token: str
    scope: str
    """Space-separated; what was granted, which may be less than what was asked."""
    user: str | None
    lifetime_s: float

    def to_json(self) -> dict[str, Any]:
        """Return the token endpoint's answer.

        There is no ``issued_at``: a client then counts from when it asked, so that a guest whose
        clock is wrong still gets a token that works.
        """
        return {
            "token": self.token,
            "access_token": self.token,
            "expires_in": int(self.lifetime_s),
            "scope": self.scope,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Issued:
    scopes: frozenset[str]
    expires_at: float
    user: str | None


class TokenDesk:
    """Checks credentials, gives tokens, remembers which ones it gave."""

    def __init__(self, auth: Auth, new_token: Callable[[], str], *, writable: bool = False) -> None:
        self._auth = auth
        self._writable = writable
        self._new_token = new_token
        self._issued: dict[str, _Issued] = {}

    def check(self, header: str | None, access: Access | None, now: float) -> Refused | None:
        """Return why a request with this Authorization may not do ``access``; None: it may."""
        match self._auth.kind:
            case AuthKind.NONE:
                return None
            case AuthKind.BASIC:
                credentials = _basic(header)
                if credentials is None:
                    return Refused()
                return None if self._known(*credentials) else Refused(user=credentials[0])
            case AuthKind.BEARER:
                return self._check_token(header, access, now)

    def _check_token(self, header: str | None, access: Access | None, now: float) -> Refused | None:
        scheme, _, token = (header or "").partition(" ")
        if scheme.lower() != "bearer":
            return Refused()
        issued = self._issued.get(token.strip())
        if issued is None or issued.expires_at <= now:
            return Refused(user=issued.user if issued else None, error="invalid_token")
        if access and str(access) not in issued.scopes:
            return Refused(user=issued.user, error="insufficient_scope")
        return None

    def grant(self, header: str | None, scopes: Iterable[str], now: float) -> Granted | Refused:
        """Answer a GET of the token endpoint with this Authorization and these ``scope`` fields."""
        if header is None:
            return Refused() if self._auth.users else self._issue(scopes, None, now)
        credentials = _basic(header)
        if credentials is None:
            return Refused(user="")
        return self._for_user(credentials, scopes, now)

    def grant_form(self, fields: Iterable[tuple[str, str]], now: float) -> Granted | Refused:
        """Answer a POST of the token endpoint (``oauth.md``; ``grant_type=password`` only)."""
        form = dict(fields)
        user = form.get("username", "")
        if form.get("grant_type") != "password":
            return Refused(user=user)
        return self._for_user((user, form.get("password", "")), [form.get("scope", "")], now)

    def _for_user(
        self, credentials: tuple[str, str], scopes: Iterable[str], now: float
    ) -> Granted | Refused:
        if self._auth.users and not self._known(*credentials):
            return Refused(user=credentials[0])
        return self._issue(scopes, credentials[0], now)

    def _known(self, user: str, password: str) -> bool:
        return self._auth.users.get(user) == password

    def _issue(self, scopes: Iterable[str], user: str | None, now: float) -> Granted:
        asked = [word for scope in scopes for word in scope.split()]
        granted = sorted({str(access) for word in asked for access in self._allowed(word)})
        self._issued = {
            token: issued for token, issued in self._issued.items() if issued.expires_at > now
        }
        while len(self._issued) >= _TOKEN_LIMIT:
            del self._issued[next(iter(self._issued))]
        token = self._new_token()
        lifetime_s = self._auth.token_lifetime_s
        self._issued[token] = _Issued(
            scopes=frozenset(granted), expires_at=now + lifetime_s, user=user
        )
        return Granted(token=token, scope=" ".join(granted), user=user, lifetime_s=lifetime_s)

    def _allowed(self, word: str) -> list[Access]:
        """Return what of ``type:name:action,action`` is given to anybody known."""
        kind, _, rest = word.partition(":")
        name, _, asked = rest.rpartition(":")
        wanted = asked.split(",")
        if kind == "repository" and name:
            known = ("pull", "push") if self._writable else ("pull",)
            actions = [action for action in known if {action, "*"} & set(wanted)]
            return [Access(kind, name, action) for action in actions]
        if (kind, name) == ("registry", "catalog") and "*" in wanted:
            return [Access(kind, name, "*")]
        return []


def _basic(header: str | None) -> tuple[str, str] | None:
    """Return user and password of an Authorization header (RFC 7617 §2), None if it has none."""
    scheme, _, encoded = (header or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        text = base64.b64decode(encoded.strip(), validate=True).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return None
    user, colon, password = text.partition(":")
    return (user, password) if colon else None
