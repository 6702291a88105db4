"""A socket that answers at once and does nothing else: what a submission would take on this machine at that moment if
the service were free. `python bench/scale_echo.py SOCKET`, for bench/scale.py."""

from __future__ import annotations

import asyncio
import contextlib
import sys

from tierwise.lines import decode, encode


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(asyncio.IncompleteReadError):  # the end
        while True:
            question = decode(await reader.readuntil(b"\n\n"))
            writer.write(encode({"status": "ok", "nonce": question["nonce"]}))
            await writer.drain()
    writer.close()


async def serve(path: str) -> None:
    """Until killed."""
    async with await asyncio.start_unix_server(_answer, path) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
