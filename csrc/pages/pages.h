/* The page engine: finds a process's movable pages on some NUMA nodes and moves them to others, verified.
 *
 * Every function returns 0 or a negative errno; what became of the pages is in the result. A process that ends
 * meanwhile is -ESRCH with a result that holds for what was done before.
 */
#ifndef TIERWISE_PAGES_H
#define TIERWISE_PAGES_H

#include <stddef.h>
#include <stdint.h>

#define PAGES_MAX_NODES 64 /* node ids below this; a set of nodes is a bit mask */
#define PAGES_BATCH 2048   /* pages per move_pages(2) call */

/* A verified move, in base pages: asked = landed + refused + bounced. A page is refused when the kernel said so (why
 * is counted below it) and bounced when the kernel took it and it is not on a target node afterwards: a sixteenth is
 * looked for again, and all of a batch when one of these is elsewhere. */
struct pages_moves {
    uint64_t asked, landed, refused, bounced;
    uint64_t shared;    /* EACCES: others map the page too, and are not of the family */
    uint64_t busy;      /* EBUSY, or a migration that failed: pinned, under I/O */
    uint64_t no_memory; /* ENOMEM: no target node has room */
    uint64_t gone;      /* ENOENT, EFAULT: unmapped meanwhile */
    uint64_t locked;    /* EINVAL of a paging out: mlocked */
    uint64_t other;
    uint64_t examined; /* present pages looked at */
};

/* Memory ranges whose pages may be moved: private anonymous memory and shared memory, not files. */
struct pages_range {
    uint64_t start, end;
    int shared; /* shmem: every present page counts; else only its anonymous pages */
};

/* The movable ranges of a process in `text`, which is the content of /proc/PID/maps. Returns how many were found,
 * of which at most `room` are stored. */
size_t pages_parse_maps(const char *text, struct pages_range *ranges, size_t room);

/* The movable ranges of `pid`. Returns how many it has, of which at most `room` are stored; or a negative errno. */
long pages_movable(int pid, uint64_t *starts, uint64_t *ends, size_t room);

/* Bytes per node (`bytes[node]`) of the movable pages of `pid`. */
int pages_count(int pid, uint64_t bytes[PAGES_MAX_NODES]);

/* The same for each of `n` ranges of addresses: `bytes[range * nodes + node]`, for nodes below `nodes`. */
int pages_locate(int pid, const uint64_t *starts, const uint64_t *ends, size_t n, int nodes, uint64_t *bytes);

/* How many pages are present in each of `n` ranges, and how many of these were written since pages_clean. */
int pages_written(int pid, const uint64_t *starts, const uint64_t *ends, size_t n, uint64_t *present,
                  uint64_t *written);

/* Begins to watch for writes: takes the soft-dirty bit off all pages of `pid`. */
int pages_clean(int pid);

/* Moves at most `limit` bytes of `pid` from the nodes of `sources` to the `n` nodes of `targets`, of which the next is
 * taken when one is full. Begins at address `*cursor` and leaves there where to go on: 0 when the end was reached.
 * A transparent huge page is moved whole, or left for the next call when it is more than what is left of the limit.
 * `family`: whoever maps an anonymous page of this process too may have it moved with it (MPOL_MF_MOVE_ALL). */
int pages_move(int pid, uint64_t sources, const int *targets, int n, uint64_t limit, int family, uint64_t *cursor,
               struct pages_moves *moves);

/* The same for the pages within `n_ranges` ranges only, in their order; `*cursor` is only told. */
int pages_move_ranges(int pid, const uint64_t *starts, const uint64_t *ends, size_t n_ranges, uint64_t sources,
                      const int *targets, int n, uint64_t limit, int family, uint64_t *cursor,
                      struct pages_moves *moves);

/* Pages out at most `limit` bytes of the private anonymous pages of `pid` within `n` ranges, in their order, that lie on
 * the nodes of `sources`: on these the swap, a zram, finds memory for them. landed: it is swapped out. bounced: the kernel
 * took it and left it, as others map the page too or nothing of its cgroup may be swapped (memory.swap.max). -ENOSYS: the
 * kernel has no process_madvise(2) (5.10); -EPERM: without CAP_SYS_NICE and the right to ptrace. */
int pages_out(int pid, const uint64_t *starts, const uint64_t *ends, size_t n, uint64_t sources, uint64_t limit,
              struct pages_moves *moves);

/* Measures memory of one node from this CPU within about `budget_ms`: idle read latency in picoseconds and read
 * bandwidth of one thread in bytes per second. -EXDEV: the kernel gave memory of another node. */
int pages_probe(int node, int budget_ms, uint64_t *latency_ps, uint64_t *bandwidth);

/* Whether the kernel takes a memory policy (set_mempolicy(2) mode with flags) over `nodes`: tried on the calling
 * thread, which has its own policy again afterwards. */
int pages_try_policy(int mode, uint64_t nodes);

/* Has the memory of this process on `nodes`: what the calling thread, and threads that it starts, take from now on, as far
 * as there is room, and what the process has on `others` (page by page: what can't be moved stays). -EALREADY: the thread
 * has a memory policy, which stays. */
int pages_live_on(uint64_t nodes, uint64_t others);

#endif
