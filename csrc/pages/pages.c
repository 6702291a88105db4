/* Moving. A move is asked for in large batches and believed only after pages were looked for again:
 * the kernel stops a batch at the first migration that fails, returns a count and leaves the rest of the status
 * unwritten; for pinned pages it wrote none at all (seen in 6.12). */
#define _GNU_SOURCE
#include "pages.h"

#include <errno.h>
#include <limits.h>
#include <linux/mempolicy.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "walk.h"

#define UNASKED INT_MIN
#define MOST_FAILURES 64 /* single units of a batch that may fail before the rest of it is given up */

struct move {
    int pid, family;
    uint64_t sources, page, limit;
    uint64_t resume; /* the first unit that the limit left out */
    const int *targets;
    int n_targets, target; /* the target node in use; n_targets: all are full */
    struct pages_moves *moves;
    size_t n; /* the batch: units to move */
    void *address[PAGES_BATCH], *asked[PAGES_BATCH];
    uint16_t pages[PAGES_BATCH];
    uint8_t shared[PAGES_BATCH];
    int now[PAGES_BATCH], node[PAGES_BATCH], status[PAGES_BATCH];
};

static int in_set(uint64_t set, int node)
{
    return node >= 0 && node < PAGES_MAX_NODES && (set >> node & 1);
}

/* --- choosing ------------------------------------------------------------------------------------------------------ */

static void choose(struct move *move, const struct batch *batch)
{
    uint64_t room = move->limit / move->page - move->moves->asked, chosen = 0;
    size_t i = 0;
    move->n = 0;
    for (; i < batch->n && chosen < room; i++) {
        if (!in_set(move->sources, batch->node[i]))
            continue;
        if (batch->pages[i] > room - chosen) { /* too large for what may still be moved */
            if (chosen + move->moves->asked)
                break; /* the next call begins with it */
            continue;  /* the whole limit is less: look for small pages */
        }
        move->address[move->n] = batch->address[i];
        move->shared[move->n] = batch->shared[i];
        move->pages[move->n++] = batch->pages[i];
        chosen += batch->pages[i];
    }
    move->resume = i < batch->n ? (uint64_t)(uintptr_t)batch->address[i] : 0;
    move->moves->asked += chosen;
}

/* --- moving -------------------------------------------------------------------------------------------------------- */

/* Asks for units `from` to `until`. A failed migration ends a call, and what it left is asked for again in smaller
 * pieces until single units are known to fail. Returns 0, or a negative errno that holds for all. */
static int ask(struct move *move, size_t from, size_t until, int flags)
{
    size_t piece = until - from, failures = 0;
    for (size_t at = from; at < until && move->target < move->n_targets;) {
        size_t n = piece < until - at ? piece : until - at;
        for (size_t i = 0; i < n; i++)
            move->node[i] = move->targets[move->target];
        long failed = syscall(SYS_move_pages, move->pid, n, move->address + at, move->node, move->status + at, flags);
        if (failed == 0) {
            at += n;
            piece = 2 * n;
        } else if (failed < 0 && errno == ENOMEM) {
            move->target++;
        } else if (failed < 0) {
            return -errno;
        } else if (n > 1) {
            piece = n > 8 ? n / 8 : 1;
        } else {
            move->status[at++] = -EBUSY;
            if (++failures == MOST_FAILURES)
                break;
        }
    }
    return 0;
}

/* Asks again for the runs of anonymous pages that were refused because others map them too: all of them are in the
 * family that may be moved together. */
static int ask_for_family(struct move *move)
{
    int status = 0;
    for (size_t i = 0, until; i < move->n && !status; i = until) {
        until = i + 1;
        if (move->status[i] != -EACCES || move->shared[i])
            continue;
        while (until < move->n && move->status[until] == -EACCES && !move->shared[until])
            until++;
        status = ask(move, i, until, MPOL_MF_MOVE_ALL);
    }
    return status == -EPERM ? 0 : status; /* without CAP_SYS_NICE they stay refused */
}

static void tell_refusal(struct move *move, int status, uint64_t pages)
{
    struct pages_moves *moves = move->moves;
    moves->refused += pages;
    if (status == UNASKED)
        status = move->target < move->n_targets ? -EBUSY : -ENOMEM;
    switch (-status) {
    case EACCES:
        moves->shared += pages;
        break;
    case EBUSY:
        moves->busy += pages;
        break;
    case ENOMEM:
        moves->no_memory += pages;
        break;
    case ENOENT:
    case EFAULT:
        moves->gone += pages;
        break;
    default:
        moves->other += pages;
    }
}

static void tell(struct move *move, uint64_t targets, int now, int status, uint64_t pages)
{
    if (in_set(targets, now))
        move->moves->landed += pages;
    else if (now == -ENOENT || now == -EFAULT)
        tell_refusal(move, -ENOENT, pages);
    else if (status < 0)
        tell_refusal(move, status, pages);
    else
        move->moves->bounced += pages;
}

/* A huge page that the kernel didn't move as one may have been split, and moved in parts: each part is looked for. */
static void tell_parts(struct move *move, uint64_t targets, size_t unit)
{
    void *address[PAGES_PER_HUGE];
    int now[PAGES_PER_HUGE];
    size_t pages = move->pages[unit];
    for (size_t i = 0; i < pages; i++)
        address[i] = (char *)move->address[unit] + i * move->page;
    int located = locate_pages(move->pid, pages, address, now);
    for (size_t i = 0; i < pages; i++)
        tell(move, targets, located ? -ENOENT : now[i], move->status[unit], 1);
}

/* Looks again for the units that the kernel didn't say have landed, and for a sample of those it did; for all of them
 * if one of the sample is elsewhere. What isn't looked for is where the kernel said. */
static int look_again(struct move *move, uint64_t targets)
{
    size_t n = 0, unit[PAGES_BATCH];
    int lied = 0;
    for (size_t i = 0; i < move->n; i++) {
        move->now[i] = move->status[i];
        if (move->status[i] < 0 || sampled(move->address[i], move->pages[i])) {
            move->asked[n] = move->address[i];
            unit[n++] = i;
        }
    }
    int status = locate_pages(move->pid, n, move->asked, move->node);
    for (size_t i = 0; i < n && !status; i++) {
        move->now[unit[i]] = move->node[i];
        lied |= move->status[unit[i]] >= 0 && !in_set(targets, move->node[i]);
    }
    return lied && !status ? locate_pages(move->pid, move->n, move->address, move->now) : status;
}

static void verify(struct move *move, uint64_t targets, int ended)
{
    for (size_t i = 0; i < move->n; i++) {
        int now = ended ? -ENOENT : move->now[i];
        if (move->pages[i] > 1 && !(move->status[i] >= 0 && in_set(targets, now)))
            tell_parts(move, targets, i);
        else
            tell(move, targets, now, move->status[i], move->pages[i]);
    }
}

static int move_batch(struct batch *batch, void *context)
{
    struct move *move = context;
    uint64_t targets = 0;
    for (int i = 0; i < move->n_targets; i++)
        targets |= 1ULL << move->targets[i];
    for (size_t i = 0; i < batch->n; i++)
        move->moves->examined += batch->pages[i];
    choose(move, batch);
    if (move->n) {
        for (size_t i = 0; i < move->n; i++)
            move->status[i] = UNASKED;
        int status = ask(move, 0, move->n, MPOL_MF_MOVE);
        if (!status && move->family)
            status = ask_for_family(move);
        int located = look_again(move, targets);
        verify(move, targets, located != 0); /* the process ended: nothing is anywhere any more */
        if (status || located)
            return status ? status : located;
    }
    return move->target == move->n_targets || move->resume || (move->moves->asked + 1) * move->page > move->limit;
}

static int move_places(int pid, const struct places *places, uint64_t sources, const int *targets, int n,
                       uint64_t limit, int family, uint64_t *cursor, struct pages_moves *moves)
{
    static __thread struct move move; /* 70 KB: too much for some threads' stacks */
    memset(moves, 0, sizeof *moves);
    for (int i = 0; i < n; i++)
        if (targets[i] < 0 || targets[i] >= PAGES_MAX_NODES || in_set(sources, targets[i]))
            return -EINVAL;
    if (n < 1 || pid < 1)
        return -EINVAL;
    move.pid = pid;
    move.family = family;
    move.sources = sources;
    move.targets = targets;
    move.n_targets = n;
    move.target = 0;
    move.resume = 0;
    move.limit = limit;
    move.page = sysconf(_SC_PAGESIZE);
    move.moves = moves;
    if (limit < move.page)
        return 0;
    int status = walk_pages(pid, places, cursor, move_batch, &move);
    if (move.resume)
        *cursor = move.resume;
    return status;
}

int pages_move(int pid, uint64_t sources, const int *targets, int n, uint64_t limit, int family, uint64_t *cursor,
               struct pages_moves *moves)
{
    return move_places(pid, NULL, sources, targets, n, limit, family, cursor, moves);
}

int pages_move_ranges(int pid, const uint64_t *starts, const uint64_t *ends, size_t n_ranges, uint64_t sources,
                      const int *targets, int n, uint64_t limit, int family, uint64_t *cursor,
                      struct pages_moves *moves)
{
    struct places places = {starts, ends, n_ranges};
    *cursor = 0;
    return move_places(pid, &places, sources, targets, n, limit, family, cursor, moves);
}
