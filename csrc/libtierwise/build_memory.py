"""Builds `tierwise._memory` (cffi, API mode), the library inside the wheel: called by setup.py, from the repository's
root."""

import re
from pathlib import Path

from cffi import FFI

ROOM, LINES = "csrc/libtierwise", "csrc/spank"
NAMES = (
    *("alloc", "answer", "arena", "cache", "claims", "events", "fork"),
    *("hint", "mapping", "place", "region", "session", "where", "wire"),
)
HEADER = Path(__file__).with_name("tierwise.h") if "__file__" in globals() else Path(ROOM) / "tierwise.h"


def declarations(header: str) -> str:
    """What cffi reads of the public header: no comments, no C++, no include guard."""
    text = re.sub(r"/\*.*?\*/", "", header, flags=re.DOTALL)
    text = re.sub(r"#ifdef __cplusplus.*?#endif", "", text, flags=re.DOTALL)
    lines = [line for line in text.splitlines() if not re.match(r"#(ifndef|include|endif|define TIERWISE_H)", line)]
    return re.sub(r"(#define \w+ +\d+)u", r"\1", "\n".join(lines))


ffibuilder = FFI()
ffibuilder.cdef(declarations(HEADER.read_text()))
ffibuilder.set_source(
    "tierwise._memory",
    '#include "tierwise.h"',
    sources=[*(f"{ROOM}/{name}.c" for name in NAMES), f"{LINES}/lines.c"],
    depends=[*(f"{ROOM}/{name}.h" for name in ("tierwise", "internal", "claims", "wire")), f"{LINES}/mempolicy.h"],
    include_dirs=[ROOM, LINES],
    extra_compile_args=["-std=gnu11", "-O2", "-Wall", "-Wextra", "-pthread", "-fvisibility=hidden"],
    py_limited_api=True,
)

if __name__ == "__main__":
    ffibuilder.compile(verbose=True)
