/* Measures what firmware is silent about: latency by a chain of dependent loads in random order, bandwidth by
 * reading a buffer from end to end. One CPU, one thread: right for ranking tiers, low as an absolute bandwidth. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "pages.h"
#include "walk.h"

#define BUFFER (64UL << 20) /* more than the last-level cache of most machines, and touched in 15 ms or so */
#define LINE 64
#define LINES (BUFFER / LINE)
#define STRIDE_LINES (LINE / sizeof(uint64_t))
#define HOP 104729UL /* a prime, so coprime with the power of two LINES: one cycle over all lines, pages far apart */

volatile uint64_t pages_probe_sink; /* external, so that the loads are not optimised away */

static uint64_t now_ns(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec * 1000000000ULL + at.tv_nsec;
}

static void link_lines(uint64_t *buffer)
{
    /* x -> 5x + HOP (mod 2^20) is one cycle (Hull and Dobell) without a constant distance for a prefetcher */
    for (uint64_t i = 0; i < LINES; i++)
        buffer[i * STRIDE_LINES] = (5 * i + HOP) % LINES * STRIDE_LINES;
}

static uint64_t chase(const volatile uint64_t *buffer, uint64_t until)
{
    uint64_t begun = now_ns(), hops = 0, at = 0, end;
    do {
        for (int i = 0; i < 4096; i++)
            at = buffer[at];
        hops += 4096;
        end = now_ns();
    } while (end < until);
    return (end - begun) * 1000 / hops;
}

static uint64_t stream(const uint64_t *buffer, uint64_t until)
{
    uint64_t begun = now_ns(), bytes = 0, sum = 0, end, at = 0;
    do {
        for (uint64_t i = 0; i < (1UL << 20) / sizeof *buffer; i += 4)
            sum += buffer[at + i] + buffer[at + i + 1] + buffer[at + i + 2] + buffer[at + i + 3];
        at = (at + (1UL << 20) / sizeof *buffer) % (BUFFER / sizeof *buffer);
        bytes += 1UL << 20;
        end = now_ns();
    } while (end < until);
    pages_probe_sink = sum;
    return (uint64_t)((double)bytes * 1e9 / (double)(end - begun));
}

static int on_node(uint64_t *buffer, int node)
{
    void *ends[2] = {buffer, (char *)buffer + BUFFER - LINE};
    int found[2];
    int status = locate_pages(0, 2, ends, found);
    if (status)
        return status;
    return found[0] == node && found[1] == node ? 0 : -EXDEV;
}

int pages_probe(int node, int budget_ms, uint64_t *latency_ps, uint64_t *bandwidth)
{
    unsigned long mask[PAGES_MAX_NODES / (8 * sizeof(unsigned long)) + 1] = {0};
    if (node < 0 || node >= PAGES_MAX_NODES)
        return -EINVAL;
    mask[0] = 1UL << node;
    uint64_t *buffer = mmap(NULL, BUFFER, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (buffer == MAP_FAILED)
        return -errno;
    int status = 0;
    /* PREFERRED, not BIND: on a full node BIND calls the OOM killer */
    if (syscall(SYS_mbind, buffer, BUFFER, MPOL_PREFERRED, mask, PAGES_MAX_NODES + 1, 0) < 0)
        status = -errno;
    if (!status) {
        madvise(buffer, BUFFER, MADV_HUGEPAGE); /* measure memory, not page walks; may be switched off */
        link_lines(buffer);
        status = on_node(buffer, node);
    }
    if (!status) {
        uint64_t half = budget_ms * 500000ULL;
        *latency_ps = chase(buffer, now_ns() + half);
        *bandwidth = stream(buffer, now_ns() + half);
    }
    munmap(buffer, BUFFER);
    return status;
}
