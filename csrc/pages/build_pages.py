"""Builds `tierwise_node._pages` (cffi, API mode): called by setup.py, from the repository's root."""

from cffi import FFI

ROOM = "csrc/pages"

ffibuilder = FFI()
ffibuilder.cdef(
    """
    #define PAGES_MAX_NODES 64
    struct pages_moves {
        uint64_t asked, landed, refused, bounced;
        uint64_t shared, busy, no_memory, gone, locked, other, examined;
    };
    int pages_count(int pid, uint64_t *bytes);
    long pages_movable(int pid, uint64_t *starts, uint64_t *ends, size_t room);
    int pages_clean(int pid);
    int pages_written(int pid, const uint64_t *starts, const uint64_t *ends, size_t n, uint64_t *present,
                      uint64_t *written);
    int pages_locate(int pid, const uint64_t *starts, const uint64_t *ends, size_t n, int nodes, uint64_t *bytes);
    int pages_move(int pid, uint64_t sources, const int *targets, int n, uint64_t limit, int family, uint64_t *cursor,
                   struct pages_moves *moves);
    int pages_move_ranges(int pid, const uint64_t *starts, const uint64_t *ends, size_t n_ranges, uint64_t sources,
                          const int *targets, int n, uint64_t limit, int family, uint64_t *cursor,
                          struct pages_moves *moves);
    int pages_out(int pid, const uint64_t *starts, const uint64_t *ends, size_t n, uint64_t sources, uint64_t limit,
                  struct pages_moves *moves);
    int pages_probe(int node, int budget_ms, uint64_t *latency_ps, uint64_t *bandwidth);
    int pages_try_policy(int mode, uint64_t nodes);
    int pages_live_on(uint64_t nodes, uint64_t others);
    """
)
ffibuilder.set_source(
    "tierwise_node._pages",
    '#include "pages.h"',
    sources=[f"{ROOM}/{name}.c" for name in ("maps", "walk", "count", "pages", "out", "policy", "written", "probe")],
    depends=[f"{ROOM}/pages.h", f"{ROOM}/policy.h", f"{ROOM}/walk.h"],
    include_dirs=[ROOM],
    extra_compile_args=["-std=c11", "-O2", "-Wall", "-Wextra"],
    py_limited_api=True,
)

if __name__ == "__main__":
    ffibuilder.compile(verbose=True)
