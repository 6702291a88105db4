"""Round trips to other nodes, by ICMP echo: no peer has to run anything of ours, or a port open."""

import asyncio
import contextlib
import ipaddress
import os
import socket
import struct
import time
from collections.abc import Mapping

TRIES = 3
PATIENCE = 1.0
"""Seconds for an answer; who doesn't answer has no latency, and nothing is said about it."""
_HEADER = struct.Struct("!BBHHH")  # type, code, checksum, identifier, sequence (RFC 792, RFC 4443)
_REQUEST_V4, _REPLY_V4, _REQUEST_V6, _REPLY_V6 = 8, 0, 128, 129


async def round_trips(addresses: Mapping[str, str]) -> dict[str, int]:
    """The shortest of TRIES round trips to each address in nanoseconds, by node; without those that don't answer."""
    found = await asyncio.gather(*(_shortest(address) for address in addresses.values()))
    return {node: took for node, took in zip(addresses, found, strict=True) if took is not None}


async def _shortest(address: str) -> int | None:
    times: list[int] = []
    with contextlib.suppress(OSError, ValueError, TimeoutError):
        where = ipaddress.ip_address(address)
        with _socket(where.version) as sock:
            for sequence in range(TRIES):
                async with asyncio.timeout(PATIENCE):
                    times.append(await _echo(sock, where, sequence))
    return min(times, default=None)


async def _echo(sock: socket.socket, where: ipaddress.IPv4Address | ipaddress.IPv6Address, sequence: int) -> int:
    """One round trip. Any reply with our identifier and mark is ours: the kernel gives a raw socket all there are."""
    loop = asyncio.get_running_loop()
    request, reply = (_REQUEST_V4, _REPLY_V4) if where.version == 4 else (_REQUEST_V6, _REPLY_V6)
    identifier, mark = os.getpid() & 0xFFFF, os.urandom(8)
    sent = time.perf_counter_ns()
    await loop.sock_sendto(sock, _packet(request, identifier, sequence, mark), (str(where), 0))
    while True:
        packet = await loop.sock_recv(sock, 256)
        raw_v4 = where.version == 4 and sock.type == socket.SOCK_RAW  # brings its IP header
        body = packet[(packet[0] & 0x0F) * 4 :] if raw_v4 else packet
        if len(body) >= _HEADER.size + 8 and body[0] == reply and body[_HEADER.size :][:8] == mark:
            return time.perf_counter_ns() - sent


def _socket(version: int) -> socket.socket:
    """A ping socket (icmp(7)), where net.ipv4.ping_group_range lets us; else a raw one, which takes CAP_NET_RAW."""
    family, protocol = (
        (socket.AF_INET, socket.IPPROTO_ICMP) if version == 4 else (socket.AF_INET6, socket.IPPROTO_ICMPV6)
    )
    try:
        sock = socket.socket(family, socket.SOCK_DGRAM, protocol)
    except PermissionError:
        sock = socket.socket(family, socket.SOCK_RAW, protocol)
    sock.setblocking(False)
    return sock


def _packet(kind: int, identifier: int, sequence: int, mark: bytes) -> bytes:
    bare = _HEADER.pack(kind, 0, 0, identifier, sequence) + mark
    return _HEADER.pack(kind, 0, _checksum(bare), identifier, sequence) + mark


def _checksum(data: bytes) -> int:
    """RFC 1071; for ICMPv6 the kernel puts in its own."""
    total = int(sum(struct.unpack(f"!{len(data) // 2}H", data)))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF
