"""TLS in front of a server that has none: the wheel's Valkey is built without. Certificates are made for the test."""

import asyncio
import datetime as dt
import ipaddress
import socket
import ssl
import threading
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from horae.local.ports import LOOPBACK

HANDSHAKE = b"\x16"
CHUNK = 65536


@dataclass(frozen=True, kw_only=True)
class Certificates:
    """Files (PEM): an authority, a server's certificate for 127.0.0.1, one for another host, one of a client."""

    authority: Path
    server: Path
    stranger: Path
    client: Path
    client_key: Path

    def context(self, certificate: Path | None = None, ask_client: bool = False) -> ssl.SSLContext:
        """Of a server."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate or self.server)
        if ask_client:
            context.load_verify_locations(self.authority)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


def make_certificates(folder: Path) -> Certificates:
    folder.mkdir(parents=True, exist_ok=True)
    authority_key, authority = _certificate("authority", None, None)
    _write(folder / "authority.pem", authority)
    for name, host in (("server", LOOPBACK), ("stranger", "192.0.2.1"), ("client", None)):
        key, certificate = _certificate(name, (authority_key, authority), host)
        _write(folder / f"{name}.pem", certificate, *([key] if host else []))
        _write(folder / f"{name}.key", key)
    return Certificates(
        authority=folder / "authority.pem",
        server=folder / "server.pem",
        stranger=folder / "stranger.pem",
        client=folder / "client.pem",
        client_key=folder / "client.key",
    )


Key = ec.EllipticCurvePrivateKey


def _certificate(
    name: str, issuer: tuple[Key, x509.Certificate] | None, host: str | None
) -> tuple[Key, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer, signed_by = (issuer[0], issuer[1].subject) if issuer else (key, subject)
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(signed_by)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    if issuer is None:
        usage = {name: name in ("key_cert_sign", "crl_sign") for name in USAGES}
        builder = builder.add_extension(x509.KeyUsage(**usage), critical=True)
    if host:
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))])
        builder = builder.add_extension(names, critical=False)
    return key, builder.sign(signer, hashes.SHA256())


USAGES = (
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
    *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
)


def _write(path: Path, *parts: x509.Certificate | Key) -> None:
    pem = serialization.Encoding.PEM
    path.write_bytes(
        b"".join(
            part.public_bytes(pem)
            if isinstance(part, x509.Certificate)
            else part.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
            for part in parts
        )
    )


class TlsDoor:
    """A port of 127.0.0.1 that leads to another, over TLS or, for servers that talk to one another, without."""

    def __init__(self, to: int, context: ssl.SSLContext) -> None:
        self._to, self._context = to, context
        self._socket = socket.create_server((LOOPBACK, 0))
        self.port: int = self._socket.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=f"tls door to {to}", daemon=True)

    def __enter__(self) -> "TlsDoor":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._main.cancel)
        self._thread.join()

    def _run(self) -> None:
        self._main = self._loop.create_task(self._serve())
        with suppress(asyncio.CancelledError):
            self._loop.run_until_complete(self._main)
        self._loop.run_until_complete(asyncio.sleep(0.05))  # what is closing has closed
        self._loop.close()
        self._socket.close()

    async def _serve(self) -> None:
        self._socket.setblocking(False)
        async with asyncio.TaskGroup() as group:
            while True:
                arrived, _ = await self._loop.sock_accept(self._socket)
                group.create_task(self._lead(arrived))

    async def _lead(self, arrived: socket.socket) -> None:
        await self._readable(arrived)
        with suppress(OSError):
            tls = arrived.recv(1, socket.MSG_PEEK) == HANDSHAKE
            reader = asyncio.StreamReader(loop=self._loop)
            protocol = asyncio.StreamReaderProtocol(reader, loop=self._loop)
            transport, _ = await self._loop.connect_accepted_socket(
                lambda: protocol, arrived, ssl=self._context if tls else None
            )
            writer = asyncio.StreamWriter(transport, protocol, reader, self._loop)
            try:
                inner_reader, inner_writer = await asyncio.open_connection(LOOPBACK, self._to)
                await _both(_pump(reader, inner_writer), _pump(inner_reader, writer))
                inner_writer.close()
            finally:
                writer.close()

    async def _readable(self, arrived: socket.socket) -> None:
        there = asyncio.Event()
        self._loop.add_reader(arrived, there.set)
        try:
            await there.wait()
        finally:
            self._loop.remove_reader(arrived)


async def _both(*pumps: Coroutine[Any, Any, None]) -> None:
    """Until one of them ends."""
    tasks = [asyncio.ensure_future(pump) for pump in pumps]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()
