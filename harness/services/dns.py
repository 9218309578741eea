"""DNS: a fixed zone over UDP and TCP; nothing else exists."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from harness.errors import DecodeError
from harness.faults.dialects.dns import DnsDialect
from harness.faults.plan import Strike, no_strike
from harness.faults.tampering import nobody, tampered
from harness.services import Identify
from harness.services.dns_tcp import Conversation
from harness.services.tcp import tcp_socket
from harness.services.udp import UdpShell, crash, udp_socket
from harness.tasks import TaskKeeper
from harness.timeline import Timeline
from harness.wire.commands import Address, Command, Note, Send

if TYPE_CHECKING:
    import dns.message
    import dns.name

SERVER_PORT: Final = 53
_TTL_S: Final = 60


class DnsServer:
    """Answers from ``zone`` (name → IPv4 address). Needs no socket.

    A name of the zone has an A record and nothing else: AAAA is empty, not NXDOMAIN, or a
    resolver that asks for both would give up. A name above one of the zone's is empty as well.
    """

    def __init__(self, *, zone: Mapping[str, str]) -> None:
        import dns.name

        self._zone = {dns.name.from_text(name): address for name, address in zone.items()}
        self._questions = 0

    def receive(self, datagram: bytes, peer: Address, now: float) -> list[Command]:
        """Answer a UDP query."""
        del now
        answer, notes = self.answer(datagram, peer, "udp")
        return [notes[0], Send(data=answer, destination=peer), *notes[1:]]

    def timer(self, name: str, now: float) -> list[Command]:
        """Do nothing: this server sets no timers."""
        del name, now
        return []

    def answer(self, query: bytes, peer: Address, transport: str) -> tuple[bytes, list[Note]]:
        """Return the answer to ``query`` and what to note. Raises ``DecodeError``."""
        import dns.exception
        import dns.flags
        import dns.message
        import dns.opcode
        import dns.rcode
        import dns.rdatatype

        try:
            asked = dns.message.from_wire(query, ignore_trailing=True)
            if asked.flags & dns.flags.QR:
                raise DecodeError("an answer, not a question", offset=2, rfc="RFC 1035 §4.1.1")
            reply = dns.message.make_response(asked, recursion_available=True)
        except (dns.exception.DNSException, ValueError) as error:
            if isinstance(error, DecodeError):
                raise
            raise DecodeError(f"{type(error).__name__}: {error}", rfc="RFC 1035 §4") from error
        self._questions += 1
        reply.flags |= dns.flags.AA
        question = asked.question[0] if asked.question else None
        about = {
            "id": f"d{self._questions}",
            "peer": f"{peer[0]}:{peer[1]}",
            "name": question.name.to_text() if question is not None else "",
            "type": dns.rdatatype.to_text(question.rdtype) if question is not None else "",
        }
        reply.set_rcode(self._fill(asked, reply))
        answers = [str(rdata) for rrset in reply.answer for rdata in rrset]
        received = Note(name="dns.query.received", fields={**about, "transport": transport})
        sent = Note(
            name="dns.answer.sent",
            fields={**about, "rcode": dns.rcode.to_text(reply.rcode()), "answers": answers},
        )
        return reply.to_wire(), [received, sent]

    def _fill(self, asked: dns.message.Message, reply: dns.message.Message) -> dns.rcode.Rcode:
        import dns.opcode
        import dns.rcode
        import dns.rdataclass
        import dns.rdatatype
        import dns.rrset

        if asked.opcode() != dns.opcode.QUERY:
            return dns.rcode.NOTIMP
        if len(asked.question) != 1:
            return dns.rcode.FORMERR
        question = asked.question[0]
        if question.rdclass != dns.rdataclass.IN:
            return dns.rcode.REFUSED
        address = self._zone.get(question.name)
        if address is not None:
            if question.rdtype in (dns.rdatatype.A, dns.rdatatype.ANY):
                # The question's own spelling: resolvers randomise case and compare (0x20).
                record = dns.rrset.from_text(question.name, _TTL_S, "IN", "A", address)
                reply.answer.append(record)
            return dns.rcode.NOERROR
        if any(name.is_subdomain(question.name) for name in self._zone):
            return dns.rcode.NOERROR
        return dns.rcode.NXDOMAIN


class DnsService:
    """Serves ``zone`` on UDP and TCP."""

    name = "dns"

    def __init__(
        self,
        *,
        timeline: Timeline,
        tasks: TaskKeeper,
        zone: Mapping[str, str],
        bind: str = "0.0.0.0",
        port: int = SERVER_PORT,
        identify: Identify | None = None,
        strike: Strike | None = None,
    ) -> None:
        self._timeline = timeline
        self._tasks = tasks
        self._zone = zone
        self._bind = bind
        self._port = port
        self._identify = identify or nobody
        self._strike = strike
        self._shell: UdpShell | None = None
        self._tcp: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def port(self) -> int:
        """The port it listens on, the same for UDP and TCP."""
        return self._shell.port if self._shell else self._port

    async def start(self) -> None:
        """Listen. Raises ``SetupFailed``."""
        core = DnsServer(zone=self._zone)
        tcp = tcp_socket(service=self.name, bind=self._bind, port=self._port)
        try:
            port = int(tcp.getsockname()[1])
            udp = udp_socket(service=self.name, bind=self._bind, port=port)
        except BaseException:
            tcp.close()
            raise
        self._shell = UdpShell(
            service=self.name,
            core=tampered(core, self._strike, DnsDialect(self._identify)),
            sock=udp,
            timeline=self._timeline,
            tasks=self._tasks,
        )

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._serve_tcp(core, reader, writer)

        self._tcp = await asyncio.start_server(serve, sock=tcp)
        for transport in ("udp", "tcp"):
            self._timeline.record(
                self.name,
                "service.started",
                service=self.name,
                address=self._bind,
                port=port,
                transport=transport,
            )

    async def stop(self) -> None:
        """Stop listening and close every connection; may be called twice."""
        if self._tcp:
            self._tcp.close()
            for writer in tuple(self._writers):
                writer.transport.abort()
            await self._tcp.wait_closed()
            self._tcp = None
        if self._shell:
            self._shell.close()
            self._shell = None
            self._timeline.record(self.name, "service.stopped", service=self.name)

    async def _serve_tcp(
        self, core: DnsServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._writers.add(writer)
        try:
            address = writer.get_extra_info("peername")[0]
            talk = Conversation(
                reader=reader,
                writer=writer,
                core=tampered(_OverTcp(core), self._strike, DnsDialect(self._identify, "tcp")),
                timeline=self._timeline,
                source=self.name,
            )
            strike = self._strike or no_strike
            await talk.go_on(strike("connection", mac=self._identify(address), transport="tcp"))
        except (asyncio.IncompleteReadError, OSError):
            pass  # the client is done, silent, or out of reach
        except Exception as error:
            crash(self.name, error, timeline=self._timeline, tasks=self._tasks)
        finally:
            self._writers.discard(writer)
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()


class _OverTcp:
    """The same server, asked over TCP."""

    def __init__(self, server: DnsServer) -> None:
        self._server = server

    def receive(self, datagram: bytes, peer: Address, now: float) -> list[Command]:
        """Answer a query."""
        del now
        answer, notes = self._server.answer(datagram, peer, "tcp")
        return [notes[0], Send(data=answer, destination=peer), *notes[1:]]

    def timer(self, name: str, now: float) -> list[Command]:
        """Do nothing: this server sets no timers."""
        return self._server.timer(name, now)
