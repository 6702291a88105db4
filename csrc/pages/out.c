/* Paging out: cold pages go to swap by process_madvise(2) with MADV_PAGEOUT, and to no slower tier, as the kernel demotes
 * nothing for it. A zram takes the memory for what it compresses from the calling thread's nodes: so that is bound to the
 * slowest tier meanwhile. The kernel answers with bytes that it walked, even where it may not swap at all (a cgroup's
 * memory.swap.max): what became of each page is read from pagemap. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/mempolicy.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "policy.h"
#include "walk.h"

/* asm-generic, for older headers */
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_process_madvise
#define SYS_process_madvise 440
#endif
#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif
#define ENTRY_PRESENT (1ULL << 63)
#define ENTRY_SWAPPED (1ULL << 62)
#define MOST_RUNS 1024   /* UIO_MAXIOV */
#define MOST_FAILURES 64 /* runs of a batch that may be refused before the rest of it is given up */

struct out {
    int pidfd, pagemap, full;
    uint64_t sources, page, limit;
    struct pages_moves *moves;
    size_t n; /* the batch: neighbouring pages of one area are a run */
    struct iovec run[MOST_RUNS];
    int status[MOST_RUNS];
    uint64_t entry[PAGES_PER_HUGE];
};

/* --- choosing -------------------------------------------------------------------------------------------------------- */

static int follows(const struct out *out, const struct batch *batch, size_t i)
{
    const struct iovec *last = &out->run[out->n - 1];
    return batch->place[i] == batch->place[i - 1] && (char *)last->iov_base + last->iov_len == batch->address[i];
}

static void choose(struct out *out, const struct batch *batch)
{
    uint64_t room = out->limit / out->page - out->moves->asked;
    out->n = 0;
    for (size_t i = 0; i < batch->n && !out->full; i++) {
        out->moves->examined += batch->pages[i];
        int node = batch->node[i];
        if (node < 0 || node >= PAGES_MAX_NODES || !(out->sources >> node & 1) || batch->shared[i])
            continue;
        int same = out->n && follows(out, batch, i);
        out->full = batch->pages[i] > room || (!same && out->n == MOST_RUNS);
        if (out->full)
            break;
        if (!same)
            out->run[out->n++] = (struct iovec){batch->address[i], 0};
        out->run[out->n - 1].iov_len += batch->pages[i] * out->page;
        out->moves->asked += batch->pages[i];
        room -= batch->pages[i];
    }
}

/* --- paging out ------------------------------------------------------------------------------------------------------ */

/* Advises all runs. One that the kernel refuses (EINVAL: its area is locked) ends a call; the next begins after it.
 * Returns 0, or a negative errno that holds for all. */
static int advise(struct out *out)
{
    size_t at = 0, failures = 0;
    for (size_t i = 0; i < out->n; i++)
        out->status[i] = -EBUSY;
    while (at < out->n && failures < MOST_FAILURES) {
        long done = syscall(SYS_process_madvise, out->pidfd, out->run + at, out->n - at, MADV_PAGEOUT, 0);
        if (done < 0 && (errno == ESRCH || errno == EPERM || errno == ENOSYS))
            return -errno;
        if (done <= 0) {
            out->status[at++] = done ? -errno : -EBUSY;
            failures++;
        }
        for (; done > 0 && at < out->n && out->run[at].iov_len <= (size_t)done; at++) {
            done -= out->run[at].iov_len;
            out->status[at] = 0;
        }
        if (done > 0) { /* the run's first part only: what is left of it is told by pagemap */
            out->status[at++] = 0;
            failures++;
        }
    }
    return 0;
}

static void tell(struct pages_moves *moves, uint64_t entry, int status)
{
    if (entry & ENTRY_PRESENT && status == 0) {
        moves->bounced++;
    } else if (entry & ENTRY_PRESENT) {
        moves->refused++;
        *(status == -EBUSY ? &moves->busy : status == -EINVAL ? &moves->locked : &moves->other) += 1;
    } else if (entry & ENTRY_SWAPPED) {
        moves->landed++;
    } else {
        moves->refused++;
        moves->gone++;
    }
}

/* Reads what became of each page; a process that has ended has none any more. */
static void verify(struct out *out)
{
    for (size_t i = 0; i < out->n; i++) {
        uint64_t first = (uint64_t)(uintptr_t)out->run[i].iov_base / out->page, left = out->run[i].iov_len / out->page;
        while (left) {
            size_t want = left < PAGES_PER_HUGE ? left : PAGES_PER_HUGE;
            ssize_t got = pread(out->pagemap, out->entry, want * sizeof *out->entry, first * sizeof *out->entry);
            size_t known = got > 0 ? (size_t)got / sizeof *out->entry : 0;
            for (size_t j = 0; j < want; j++)
                tell(out->moves, j < known ? out->entry[j] : 0, out->status[i]);
            first += want;
            left -= want;
        }
    }
}

static int out_batch(struct batch *batch, void *context)
{
    struct out *out = context;
    choose(out, batch);
    int status = advise(out);
    verify(out);
    return status ? status : out->full || (out->moves->asked + 1) * out->page > out->limit;
}

/* --- the areas ------------------------------------------------------------------------------------------------------- */

/* What of `n` ranges lies in private areas, area by area: one area may be locked and its neighbour not. The caller frees
 * it; NULL with errno set. */
static uint64_t *cut_at_areas(int pid, const uint64_t *starts, const uint64_t *ends, size_t n, struct places *places)
{
    size_t areas = 0, found = 0;
    struct pages_range *area = movable_ranges(pid, &areas);
    uint64_t *cut = area ? calloc(2 * (areas + n + 1), sizeof *cut) : NULL;
    for (size_t i = 0; cut && i < n; i++)
        for (size_t j = first_after(area, areas, starts[i]); j < areas && area[j].start < ends[i] && found < areas + n; j++) {
            uint64_t start = starts[i] > area[j].start ? starts[i] : area[j].start;
            uint64_t end = ends[i] < area[j].end ? ends[i] : area[j].end;
            if (start < end && !area[j].shared) {
                cut[found] = start;
                cut[areas + n + found++] = end;
            }
        }
    *places = (struct places){cut, cut ? cut + areas + n : NULL, found};
    free(area);
    return cut;
}

static int out_places(struct out *out, int pid, const struct places *places)
{
    char path[32];
    uint64_t cursor = 0;
    snprintf(path, sizeof path, "/proc/%d/pagemap", pid);
    out->pagemap = open(path, O_RDONLY | O_CLOEXEC);
    if (out->pagemap < 0)
        return errno == ENOENT ? -ESRCH : -errno;
    struct policy bound = {MPOL_BIND, {out->sources}}, before = {0, {0}};
    int status = policy_get(&before);
    if (!status)
        status = policy_set(&bound);
    if (!status) {
        status = walk_pages(pid, places, &cursor, out_batch, out);
        policy_set(&before);
    }
    close(out->pagemap);
    return status;
}

int pages_out(int pid, const uint64_t *starts, const uint64_t *ends, size_t n, uint64_t sources, uint64_t limit,
              struct pages_moves *moves)
{
    static __thread struct out out; /* 30 KB: too much for some threads' stacks */
    struct places places;
    memset(moves, 0, sizeof *moves);
    out.page = sysconf(_SC_PAGESIZE);
    out.sources = sources;
    out.limit = limit;
    out.moves = moves;
    out.full = 0;
    if (pid < 1 || !sources)
        return -EINVAL;
    if (limit < out.page)
        return 0;
    out.pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (out.pidfd < 0)
        return -errno;
    uint64_t *cut = cut_at_areas(pid, starts, ends, n, &places);
    int status = cut ? out_places(&out, pid, &places) : errno == ENOENT ? -ESRCH : -errno;
    free(cut);
    close(out.pidfd);
    return status;
}
