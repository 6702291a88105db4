/* Tests of the page engine against this very process and a child of it. Real moves need several nodes: on one node
 * those tests say so and the lab's guest runs them. */
#define _GNU_SOURCE
#include <assert.h>
#include <errno.h>
#include <linux/mempolicy.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "policy.h"

#define MIB (1UL << 20)

static uint64_t total(const uint64_t *bytes)
{
    uint64_t sum = 0;
    for (int i = 0; i < PAGES_MAX_NODES; i++)
        sum += bytes[i];
    return sum;
}

static void test_maps(void)
{
    static const char text[] =
        "55d0c0000000-55d0c0001000 r--p 00000000 fe:00 1234                       /usr/bin/thing with blanks\n"
        "7f0000000000-7f0000200000 rw-p 00000000 00:00 0 \n"
        "7f0000400000-7f0000600000 rw-s 00000000 00:01 42                         /dev/zero (deleted)\n"
        "7f0000600000-7f0000700000 rw-s 00000000 fe:00 42                         /home/user/data.bin\n"
        "7f0000700000-7f0000800000 rw-s 00000000 00:1a 42                         /dev/shm/region\n"
        "7f0000800000-7f0000a00000 rw-p 00000000 00:0f 7                          /anon_hugepage (deleted)\n"
        "7ffd00000000-7ffd00002000 r-xp 00000000 00:00 0                          [vdso]\n"
        "junk that the kernel would never write\n"
        "7ffe00000000-7ffe00021000 rw-p 00000000 00:00 0                          [stack]";
    struct pages_range ranges[8];
    assert(pages_parse_maps(text, ranges, 8) == 5);
    assert(ranges[0].start == 0x55d0c0000000 && !ranges[0].shared);
    assert(ranges[1].start == 0x7f0000000000 && ranges[1].end == 0x7f0000200000 && !ranges[1].shared);
    assert(ranges[2].shared && ranges[3].shared && ranges[3].start == 0x7f0000700000);
    assert(ranges[4].end == 0x7ffe00021000);
    assert(pages_parse_maps(text, ranges, 1) == 5);
    assert(pages_parse_maps("", NULL, 0) == 0);
}

static char *touched(size_t size, int flags)
{
    char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);
    assert(memory != MAP_FAILED);
    memset(memory, 1, size);
    return memory;
}

static void test_count(void)
{
    uint64_t before[PAGES_MAX_NODES], after[PAGES_MAX_NODES];
    assert(pages_count(getpid(), before) == 0);
    char *private = touched(32 * MIB, MAP_PRIVATE), *shared = touched(16 * MIB, MAP_SHARED);
    void *hole = mmap(NULL, 1UL << 40, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert(pages_count(getpid(), after) == 0);
    uint64_t grown = total(after) - total(before);
    assert(grown >= 48 * MIB && grown < 50 * MIB);
    munmap(private, 32 * MIB);
    munmap(shared, 16 * MIB);
    if (hole != MAP_FAILED)
        munmap(hole, 1UL << 40);
}

static void test_ranges(void)
{
    static uint64_t starts[4096], ends[4096];
    char *memory = touched(8 * MIB, MAP_PRIVATE);
    uint64_t at = (uintptr_t)memory, begin[3] = {at + 4 * MIB, at, at + 8 * MIB - 100};
    uint64_t end[3] = {at + 8 * MIB, at + MIB + 5, at + 8 * MIB - 50}, bytes[3 * PAGES_MAX_NODES];
    long found = pages_movable(getpid(), starts, ends, 4096);
    int held = 0;
    for (long i = 0; i < found; i++)
        held |= starts[i] <= at && at + 8 * MIB <= ends[i];
    assert(held && pages_movable(getpid(), starts, ends, 0) == found);
    assert(pages_locate(getpid(), begin, end, 3, PAGES_MAX_NODES, bytes) == 0);
    assert(total(bytes) == 4 * MIB && total(bytes + 2 * PAGES_MAX_NODES) == 0);
    assert(total(bytes + PAGES_MAX_NODES) <= MIB); /* less where a huge page begins before the range */
    munmap(memory, 8 * MIB);
}

static void test_written(void)
{
    char *memory = touched(8 * MIB, MAP_PRIVATE);
    uint64_t starts[2] = {(uintptr_t)memory, (uintptr_t)memory + 4 * MIB}, present[2], written[2];
    uint64_t ends[2] = {starts[1], starts[1] + 4 * MIB};
    assert(pages_clean(getpid()) == 0);
    memory[5 * MIB] = 2;
    assert(pages_written(getpid(), starts, ends, 2, present, written) == 0);
    assert(present[0] == MIB / 1024 && present[1] == MIB / 1024);
    assert(written[0] == 0 && written[1] <= 512); /* none where the kernel has no soft-dirty; a huge page at most */
    munmap(memory, 8 * MIB);
}

static void test_refused_arguments(void)
{
    struct pages_moves moves;
    uint64_t cursor = 0, ignored;
    int node = 0, far = PAGES_MAX_NODES;
    assert(pages_move(getpid(), 1, &node, 1, MIB, 0, &cursor, &moves) == -EINVAL); /* a source can't be a target */
    assert(pages_move(getpid(), 2, &far, 1, MIB, 0, &cursor, &moves) == -EINVAL);
    assert(pages_move(getpid(), 2, &node, 0, MIB, 0, &cursor, &moves) == -EINVAL);
    assert(pages_move(0, 2, &node, 1, MIB, 0, &cursor, &moves) == -EINVAL);
    assert(pages_probe(PAGES_MAX_NODES, 1, &ignored, &ignored) == -EINVAL);
}

static void test_nothing_to_move(void)
{
    struct pages_moves moves;
    uint64_t cursor = 0;
    int node = 0;
    assert(pages_move(getpid(), 1ULL << 63, &node, 1, MIB, 0, &cursor, &moves) == 0);
    assert(moves.asked == 0 && moves.landed == 0 && moves.examined > 0 && cursor == 0);
}

static void test_process_that_ended(void)
{
    struct pages_moves moves;
    uint64_t cursor = 0, bytes[PAGES_MAX_NODES];
    int node = 0;
    pid_t child = fork();
    if (child == 0)
        _exit(0);
    assert(waitpid(child, NULL, 0) == child);
    assert(pages_count(child, bytes) == -ESRCH);
    assert(pages_move(child, 2, &node, 1, MIB, 0, &cursor, &moves) == -ESRCH);
}

static int swap_is_on(void)
{
    char line[256];
    int lines = 0;
    FILE *swaps = fopen("/proc/swaps", "r");
    assert(swaps);
    while (fgets(line, sizeof line, swaps))
        lines++;
    fclose(swaps);
    return lines > 1;
}

/* A child's memory, a part of it locked in the middle: that is refused, the rest goes where there is swap. */
static void test_paging_out(uint64_t nodes)
{
    struct pages_moves moves;
    int ready[2];
    char byte, *memory = mmap(NULL, 8 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint64_t start = (uintptr_t)memory, end = start + 8 * MIB, locked = 0;
    assert(memory != MAP_FAILED && madvise(memory, 8 * MIB, MADV_NOHUGEPAGE) == 0 && pipe(ready) == 0);
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        memset(memory, 1, 8 * MIB);
        long failed = syscall(SYS_mlock, memory + 4 * MIB, 16384); /* the sanitizers' mlock(3) does nothing */
        assert(write(ready[1], failed ? "-" : "+", 1) == 1);
        pause();
    }
    assert(read(ready[0], &byte, 1) == 1);
    locked = byte == '+' ? 4 : 0;
    assert(pages_out(child, &start, &end, 1, 0, MIB, &moves) == -EINVAL);
    assert(pages_out(child, &start, &end, 1, nodes, MIB, &moves) == 0 && moves.asked == 256);
    assert(pages_out(child, &start, &end, 1, nodes, 64 * MIB, &moves) == 0);
    assert(moves.asked == moves.landed + moves.refused + moves.bounced && moves.refused == locked);
    assert(moves.locked == locked);
    if (swap_is_on())
        assert(moves.landed >= 7 * MIB / 4096 - 256);
    else
        assert(moves.landed == 0 && moves.asked == 2048);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    assert(pages_out(child, &start, &end, 1, nodes, MIB, &moves) == -ESRCH);
    munmap(memory, 8 * MIB);
}

static void test_policies(void)
{
    assert(pages_try_policy(MPOL_PREFERRED, 1) == 0);
    assert(pages_try_policy(12345, 1) == -EINVAL);
    assert(pages_live_on(1, 0) == 0);
    assert(pages_live_on(1, 0) == -EALREADY);
    struct policy ours = {0, {0}};
    assert(pages_try_policy(MPOL_BIND, 1) == 0);
    assert(policy_get(&ours) == 0 && ours.mode != MPOL_DEFAULT && ours.mode != MPOL_BIND && ours.nodes[0] == 1);
    assert(policy_set(&(struct policy){MPOL_DEFAULT, {0}}) == 0);
}

static void test_probe(void)
{
    uint64_t latency_ps = 0, bandwidth = 0;
    assert(pages_probe(0, 10, &latency_ps, &bandwidth) == 0);
    assert(latency_ps > 0 && bandwidth > 0);
    printf("node 0: %.1f ns, %.1f GB/s (with sanitizers)\n", (double)latency_ps / 1e3, (double)bandwidth / 1e9);
}

/* Moves a child's memory to the last node and back: four counts add up, the bytes are where they should be. */
static void test_move_between_nodes(int last)
{
    struct pages_moves moves;
    uint64_t cursor = 0, bytes[PAGES_MAX_NODES], sources = (1ULL << last) - 1;
    int ready[2];
    char byte;
    assert(pipe(ready) == 0);
    pid_t child = fork();
    if (child == 0) {
        touched(64 * MIB, MAP_PRIVATE);
        assert(write(ready[1], "x", 1) == 1);
        pause();
    }
    assert(read(ready[0], &byte, 1) == 1);
    assert(pages_move(child, sources, &last, 1, 16 * MIB, 0, &cursor, &moves) == 0);
    assert(moves.asked * 4096 <= 16 * MIB && cursor != 0);
    assert(moves.asked == moves.landed + moves.refused + moves.bounced);
    assert(moves.refused == moves.shared + moves.busy + moves.no_memory + moves.gone + moves.locked + moves.other);
    assert(pages_move(child, sources, &last, 1, 1UL << 40, 0, &cursor, &moves) == 0 && cursor == 0);
    assert(pages_count(child, bytes) == 0 && bytes[last] >= 63 * MIB);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
}

int main(void)
{
    int last = 0;
    char path[64];
    do
        snprintf(path, sizeof path, "/sys/devices/system/node/node%d", last + 1);
    while (access(path, F_OK) == 0 && ++last < PAGES_MAX_NODES - 1);
    test_maps();
    test_count();
    test_ranges();
    test_written();
    test_refused_arguments();
    test_nothing_to_move();
    test_process_that_ended();
    test_paging_out((2ULL << last) - 1);
    test_policies();
    test_probe();
    if (last > 0)
        test_move_between_nodes(last);
    else
        puts("one NUMA node: moves between nodes are tested in the guest");
    puts("page engine: all tests passed");
    return 0;
}
