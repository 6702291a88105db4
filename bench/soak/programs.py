"""What the soak's jobs run: well-behaved programs and hostile ones. Each ends when it is killed, or by itself."""

from __future__ import annotations

HOLD = """
import sys, time
data = bytearray(int(sys.argv[1]) << 20)
for at in range(0, len(data), 4096): data[at] = 1
while True:
    data[::4096]
    time.sleep(0.02)
"""
SHORT = "data = bytearray(b'1' * (20 << 20))"
FORKS = """
import os, time
data = bytearray(b'1' * (10 << 20))
for number in range(PROCESSES):
    if os.fork() == 0:
        data[number * 4096] = 2
        time.sleep(600)
time.sleep(600)
"""
AREAS = """
import mmap, time
held = mmap.mmap(-1, 4096 * 2 * AREAS, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
held[::4096] = b'1' * (2 * AREAS)
import ctypes
libc, start = ctypes.CDLL(None, use_errno=True), ctypes.addressof(ctypes.c_char.from_buffer(held))
for area in range(AREAS):
    if libc.mprotect(ctypes.c_void_p(start + area * 8192), 4096, 1): break
time.sleep(600)
"""
MOVES_BACK = """
import ctypes, mmap, time
size = 60 << 20
held = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
held[::4096] = b'1' * (size // 4096)
libc, start = ctypes.CDLL(None), ctypes.addressof(ctypes.c_char.from_buffer(held))
n = size // 4096
pages, nodes, status = (ctypes.c_void_p * n)(), (ctypes.c_int * n)(), (ctypes.c_int * n)()
for number in range(n): pages[number] = start + number * 4096
while True:
    libc.syscall(279, 0, ctypes.c_ulong(n), pages, nodes, status, 2)
    time.sleep(0.5)
"""
DIES = "import os, signal\ndata = bytearray(b'1' * (30 << 20))\nos.kill(os.getpid(), signal.SIGSEGV)"


def script(program: str, *arguments: object) -> str:
    """A batch script that runs a Python program."""
    words = " ".join(map(str, arguments))
    return f"#!/bin/sh\nexec /usr/bin/python3 -I - {words} <<'END'\n{program}\nEND\n"


def repertoire(processes: int, areas: int) -> dict[str, tuple[str, int]]:
    """Name to (batch script, MiB of memory that the job asks for). `processes` and `areas`: how hostile."""
    return {
        "hold": (script(HOLD, 80), 120),
        "small": (script(HOLD, 30), 60),
        "short": (script(SHORT), 60),
        "dies": (script(DIES), 80),
        "forks": (script(FORKS.replace("PROCESSES", str(processes))), 900),
        "areas": (script(AREAS.replace("AREAS", str(areas))), 700),
        "moves back": (script(MOVES_BACK), 120),
    }
