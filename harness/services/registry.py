"""The registry: container images for the docker engine in the machine, from image layouts.

What is answered is decided in ``harness.wire.registry``; here are sockets, files and events.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.certificates import ServerCertificate
from harness.faults.codes import http_status
from harness.faults.deeds import Deed
from harness.faults.plan import Strike, no_strike
from harness.oci.content import Content, Mount, load_content
from harness.services import Identify
from harness.services.answer import Answer, FilePart, status_among, treat
from harness.services.door import Contexts
from harness.services.exchange import Exchange, printable
from harness.services.registry_store import PushStore
from harness.services.web_service import WebService
from harness.tasks import TaskKeeper
from harness.timeline import Timeline
from harness.wire.commands import Note
from harness.wire.registry import Registry
from harness.wire.registry_auth import Auth
from harness.wire.registry_messages import BlobRange, Request, Response
from harness.wire.registry_push import PushLimits

if TYPE_CHECKING:
    from aiohttp import web

    from harness.services.delivery import Delivery

PORT: Final = 5000
_FORM_LIMIT: Final = 1 << 16


class RegistryService(WebService):
    """Serves the images of some layouts. ``repositories`` says what there is, once started."""

    family = "registry"

    def __init__(
        self,
        *,
        timeline: Timeline,
        tasks: TaskKeeper,
        layouts: Sequence[Path | Mount],
        bind: str = "0.0.0.0",
        port: int = PORT,
        tls: tuple[Path, Path] | None = None,
        auth: Auth | None = None,
        identify: Identify | None = None,
        contexts: Contexts | None = None,
        strike: Strike | None = None,
        name: str = "registry",
        prefix: str = "",
        push_to: Path | None = None,
        limits: PushLimits | None = None,
    ) -> None:
        """Serve ``layouts``; ``tls`` is certificate chain and key (PEM), None for plain HTTP.

        ``prefix``: ``/prefix/v2/name`` is another way to say ``/v2/prefix/name``. ``push_to`` is
        where pushed content goes; None: nothing can be pushed.
        ``contexts`` makes the wrong certificates that a fault may have it show.
        """
        super().__init__(
            name=name,
            timeline=timeline,
            tasks=tasks,
            bind=bind,
            port=port,
            certificate=ServerCertificate(chain=tls[0], key=tls[1]) if tls else None,
            contexts=contexts,
            strike=strike,
            identify=identify,
        )
        self._prefix = prefix
        self._store = PushStore(push_to) if push_to else None
        self._limits = (limits or PushLimits()) if push_to else None
        self._mounts = [
            layout if isinstance(layout, Mount) else Mount(layout=layout) for layout in layouts
        ]
        self._auth = auth or Auth()
        self._content = Content(repositories={}, blobs={})
        self._core = Registry(repositories={}, new_token=_new_token)

    @property
    def scheme(self) -> str:
        """``http`` or ``https``."""
        return "https" if self._certificate else "http"

    @property
    def repositories(self) -> dict[str, list[str]]:
        """The tags of each repository."""
        return {name: sorted(found.tags) for name, found in self._core.repositories.items()}

    async def start(self) -> None:
        """Read the layouts and listen. Raises ``SetupFailed``."""
        self._content = load_content(self._mounts)
        self._core = Registry(
            repositories=self._content.repositories,
            auth=self._auth,
            new_token=_new_token,
            push=self._limits,
            prefix=self._prefix,
        )
        await super().start()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.numbered += 1
        exchange = _Exchange(
            id=f"r{self.numbered}",
            mac=self._mac(request.remote or ""),
            request=request,
            timeline=self._timeline,
            source=self.name,
        )

        async def answer_it(delivery: Delivery) -> web.StreamResponse:
            asked = await self._stored(
                request, await _describe(request, self.scheme, self._timeline.clock.now())
            )
            response = self._core.respond(asked)
            if self._store:
                self._store.drop(self._core.forgotten_uploads())
            if response.keep and self._store:
                path = self._store.keep(response.keep)
                if path and response.keep.digest:
                    self._content.blobs[response.keep.digest] = path
            deeds = self._struck(asked, response, exchange)
            if refusal := status_among(deeds):
                number = http_status(refusal.code)
                response = self._core.refuse(asked, number, refusal.message)
            with self._opened(response) as answer:
                how = None
                if deeds:
                    answer, how = treat(answer, deeds)
                exchange.decided(response, answer)
                sent = await delivery.send(answer, how)
            exchange.served(response, answer, delivery.sent)
            return sent

        return await self._answered(exchange, answer_it)

    async def _stored(self, request: web.BaseRequest, asked: Request) -> Request:
        """Store the body of a push, and return the request with what is there now."""
        intake = self._core.intake(asked) if self._store else None
        if intake is None or self._store is None:
            return asked
        stored, body = await self._store.take(intake, request.content.iter_any())
        return replace(asked, stored=stored, body=body)

    def _struck(self, asked: Request, response: Response, exchange: _Exchange) -> tuple[Deed, ...]:
        if self._strike is no_strike:
            return ()
        return self._strike(
            "request",
            mac=exchange.mac,
            method=asked.method,
            path=asked.path,
            agent=asked.headers.get("user-agent"),
            range=asked.headers.get("range"),
            status=response.status,
            **self._core.subject(asked),
        )

    @contextmanager
    def _opened(self, response: Response) -> Iterator[Answer]:
        """Return the answer of a decision, with the file it takes open."""
        body = response.body
        if isinstance(body, bytes):
            yield Answer(status=response.status, headers=response.headers, body=body)
            return
        with self._content.blobs[body.digest].open("rb") as stream:
            part = FilePart(stream=stream, start=body.start, length=body.length)
            yield Answer(status=response.status, headers=response.headers, body=part)


class _Exchange(Exchange):
    """The events of one request and its answer."""

    _digest = ""

    def received(self) -> None:
        head = self.head()
        del head["range"]
        self.record("registry.request.received", **head)

    def decided(self, response: Response, answer: Answer) -> None:
        """Record what was decided, before it is sent."""
        if isinstance(response.body, BlobRange):
            self._digest = str(response.body.digest)
        for note in response.notes:
            self._note(note)
        if answer.status == response.status or answer.status < 300:
            return
        about = {
            "mac": self.mac,
            "method": self.request.method,
            "path": self.path,
            "status": answer.status,
        }
        if answer.status >= 400:
            self.record("registry.request.failed", **about)
        else:
            to = answer.header("Location")
            self.record("registry.request.redirected", **about, location=to)

    def progressed(self, sent: int, length: int, waiting: int) -> None:
        if self._digest:
            about = {"bytes": sent, "length": length, "waiting": waiting}
            self.record("registry.blob.progressed", digest=self._digest, **about)

    def served(self, response: Response, answer: Answer, sent: int) -> None:
        """Record that the answer is out."""
        if response.served and answer.status == response.status:
            self._note(response.served, bytes=sent)

    def cut(self, how: str, delivery: Delivery) -> None:
        self.record("registry.response.cut", how=how, **self._so_far(delivery))

    def aborted(self, delivery: Delivery) -> None:
        self.record("registry.request.aborted", **self._so_far(delivery))

    def _so_far(self, delivery: Delivery) -> dict[str, object]:
        return {
            "mac": self.mac,
            "method": self.request.method,
            "path": self.path,
            "bytes": delivery.sent,
            "length": delivery.promised,
        }

    def _note(self, note: Note, **more: object) -> None:
        with_mac = (
            {} if note.name.startswith(("registry.auth", "registry.token")) else {"mac": self.mac}
        )
        self.record(note.name, **with_mac, **note.fields, **more)


async def _describe(request: web.BaseRequest, scheme: str, now: float) -> Request:
    headers: dict[str, str] = {}
    for name, value in request.headers.items():
        key, text = name.lower(), printable(value)
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    body = b""
    if request.method == "POST" and "/blobs/uploads/" not in request.path:
        while len(body) < _FORM_LIMIT and (chunk := await request.content.readany()):
            body += chunk
    return Request(
        method=request.method,
        target=printable(request.raw_path),
        headers=headers,
        body=body[:_FORM_LIMIT],
        now=now,
        scheme=scheme,
    )


def _new_token() -> str:
    return secrets.token_urlsafe(24)
