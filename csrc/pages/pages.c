/* Counting and moving. A move is asked for in large batches and believed only after its pages were looked for again:
 * the kernel stops a batch at the first migration that fails, returns a count and leaves the rest of the status
 * unwritten; for pinned pages it wrote none at all (seen in 6.12). */
#define _GNU_SOURCE
#include "pages.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/mempolicy.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "walk.h"

#define UNASKED INT_MIN
#define MOST_FAILURES 64 /* single pages of a batch that may fail before the rest of it is given up */
#define FLAG_HUGE (1ULL << 22) /* KPF_THP in /proc/kpageflags */

struct move {
    int pid, kpageflags;
    uint64_t sources, page, limit;
    uint64_t resume; /* the first page that the limit left out */
    const int *targets;
    int n_targets, target; /* the target node in use; n_targets: all are full */
    struct pages_moves *moves;
    /* one batch: the pages to move, and the addresses we ask for: one for a whole huge page */
    size_t n, asks;
    void *address[PAGES_BATCH], *ask[PAGES_BATCH];
    int now[PAGES_BATCH], node[PAGES_BATCH], status[PAGES_BATCH];
    size_t asked_by[PAGES_BATCH];
};

static int in_set(uint64_t set, int node)
{
    return node >= 0 && node < PAGES_MAX_NODES && (set >> node & 1);
}

/* --- counting ----------------------------------------------------------------------------------------------------- */

static int count_batch(struct batch *batch, void *context)
{
    uint64_t *bytes = context, page = sysconf(_SC_PAGESIZE);
    for (size_t i = 0; i < batch->n; i++)
        if (batch->node[i] >= 0 && batch->node[i] < PAGES_MAX_NODES)
            bytes[batch->node[i]] += page;
    return 0;
}

int pages_count(int pid, uint64_t bytes[PAGES_MAX_NODES])
{
    uint64_t cursor = 0;
    memset(bytes, 0, PAGES_MAX_NODES * sizeof *bytes);
    return walk_pages(pid, &cursor, count_batch, bytes);
}

/* --- choosing ------------------------------------------------------------------------------------------------------ */

/* Whether pages i … i + 511 of the batch are one transparent huge page: moved whole by its first address. */
static int is_huge(const struct move *move, const struct batch *batch, size_t i)
{
    uint64_t start = (uint64_t)(uintptr_t)batch->address[i], flags;
    if (start % (PAGES_PER_HUGE * move->page) || batch->n - i < PAGES_PER_HUGE || !batch->frame[i] ||
        batch->frame[i] % PAGES_PER_HUGE)
        return 0;
    for (size_t j = 1; j < PAGES_PER_HUGE; j++)
        if (batch->frame[i + j] != batch->frame[i] + j ||
            (uint64_t)(uintptr_t)batch->address[i + j] != start + j * move->page)
            return 0;
    return pread(move->kpageflags, &flags, sizeof flags, batch->frame[i] * sizeof flags) == sizeof flags &&
           flags & FLAG_HUGE;
}

static void choose(struct move *move, const struct batch *batch, uint64_t room)
{
    size_t i = 0;
    move->n = move->asks = 0;
    for (size_t step; i < batch->n && move->n < room; i += step) {
        step = 1;
        if (!in_set(move->sources, batch->node[i]))
            continue;
        if (is_huge(move, batch, i))
            step = PAGES_PER_HUGE;
        if (step > room - move->n) { /* too large for what may still be moved */
            if (move->n + move->moves->asked)
                break; /* the next call begins with it */
            continue;  /* the whole limit is less: look for small pages */
        }
        for (size_t j = 0; j < step; j++) {
            move->address[move->n] = batch->address[i + j];
            move->asked_by[move->n++] = move->asks;
        }
        move->ask[move->asks++] = batch->address[i];
    }
    move->resume = i < batch->n ? (uint64_t)(uintptr_t)batch->address[i] : 0;
}

/* --- moving -------------------------------------------------------------------------------------------------------- */

/* Asks for all of the batch. A failed migration ends a call, and what it left is asked for again in smaller pieces
 * until single pages are known to fail. Returns 0, or a negative errno that holds for all pages. */
static int ask(struct move *move)
{
    size_t piece = move->asks, failures = 0;
    for (size_t i = 0; i < move->asks; i++)
        move->status[i] = UNASKED;
    for (size_t at = 0; at < move->asks && move->target < move->n_targets;) {
        size_t n = piece < move->asks - at ? piece : move->asks - at;
        for (size_t i = 0; i < n; i++)
            move->node[i] = move->targets[move->target];
        long failed = syscall(SYS_move_pages, move->pid, n, move->ask + at, move->node, move->status + at, MPOL_MF_MOVE);
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

static void tell_refusal(struct move *move, int status)
{
    struct pages_moves *moves = move->moves;
    moves->refused++;
    if (status == UNASKED)
        status = move->target < move->n_targets ? -EBUSY : -ENOMEM;
    switch (-status) {
    case EACCES:
        moves->shared++;
        break;
    case EBUSY:
        moves->busy++;
        break;
    case ENOMEM:
        moves->no_memory++;
        break;
    case ENOENT:
    case EFAULT:
        moves->gone++;
        break;
    default:
        moves->other++;
    }
}

static void verify(struct move *move, uint64_t targets)
{
    for (size_t i = 0; i < move->n; i++) {
        int status = move->status[move->asked_by[i]];
        if (in_set(targets, move->now[i]))
            move->moves->landed++;
        else if (move->now[i] == -ENOENT || move->now[i] == -EFAULT)
            tell_refusal(move, -ENOENT);
        else if (status < 0)
            tell_refusal(move, status);
        else
            move->moves->bounced++;
    }
}

static int move_batch(struct batch *batch, void *context)
{
    struct move *move = context;
    uint64_t room = (move->limit - move->moves->asked * move->page) / move->page, targets = 0;
    move->moves->examined += batch->n;
    choose(move, batch, room);
    if (move->n) {
        move->moves->asked += move->n;
        int status = ask(move);
        int located = locate_pages(move->pid, move->n, move->address, move->now);
        for (int i = 0; i < move->n_targets; i++)
            targets |= 1ULL << move->targets[i];
        if (located) /* the process ended: nothing is anywhere any more */
            for (size_t i = 0; i < move->n; i++)
                move->now[i] = -ENOENT;
        verify(move, targets);
        if (status || located)
            return status ? status : located;
    }
    return move->target == move->n_targets || move->resume || (move->moves->asked + 1) * move->page > move->limit;
}

int pages_move(int pid, uint64_t sources, const int *targets, int n, uint64_t limit, uint64_t *cursor,
               struct pages_moves *moves)
{
    static __thread struct move move; /* 80 KB: too much for some threads' stacks */
    memset(moves, 0, sizeof *moves);
    for (int i = 0; i < n; i++)
        if (targets[i] < 0 || targets[i] >= PAGES_MAX_NODES || in_set(sources, targets[i]))
            return -EINVAL;
    if (n < 1 || pid < 1)
        return -EINVAL;
    move.pid = pid;
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
    move.kpageflags = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC); /* without it huge pages are asked page by page */
    int status = walk_pages(pid, cursor, move_batch, &move);
    if (move.kpageflags >= 0)
        close(move.kpageflags);
    if (move.resume)
        *cursor = move.resume;
    return status;
}

/* --- policies ------------------------------------------------------------------------------------------------------ */

int pages_try_policy(int mode, uint64_t nodes)
{
    unsigned long mask[PAGES_MAX_NODES / (8 * sizeof(unsigned long)) + 1] = {nodes};
    if (syscall(SYS_set_mempolicy, mode, mask, PAGES_MAX_NODES + 1) < 0)
        return -errno;
    return syscall(SYS_set_mempolicy, MPOL_DEFAULT, NULL, 0) < 0 ? -errno : 0;
}
