/* Tries the clock: `probe chase|stream NODE` walks through 32 MiB of one NUMA node, by pointers in a random order or from
 * one end to the other, between the clock's marks. */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

void tier_clock_on(void);
void tier_clock_off(void);
void tier_begin(void);
void tier_end(void);

enum { LINES = 1 << 19, ROUNDS = 4, MPOL_BIND = 2 };

struct line {
    struct line *next;
    char rest[56];
};

/* One cycle through all lines, in a random order (Sattolo). */
static void link_lines(struct line *lines)
{
    uint32_t *order = malloc(LINES * sizeof *order);
    for (uint32_t i = 0; i < LINES; i++)
        order[i] = i;
    srandom(1);
    for (uint32_t i = LINES - 1; i > 0; i--) {
        uint32_t other = (uint32_t)random() % i, kept = order[i];
        order[i] = order[other];
        order[other] = kept;
    }
    for (uint32_t i = 0; i < LINES; i++)
        lines[order[i]].next = &lines[order[(i + 1) % LINES]];
    free(order);
}

static uintptr_t chase(struct line *lines)
{
    struct line *at = lines;
    for (long i = 0; i < (long)ROUNDS * LINES; i++)
        at = at->next;
    return (uintptr_t)at;
}

static uintptr_t stream(struct line *lines)
{
    uintptr_t sum = 0;
    for (int round = 0; round < ROUNDS; round++)
        for (long i = 0; i < LINES; i++)
            sum += (uintptr_t)lines[i].next;
    return sum;
}

int main(int argc, char **argv)
{
    unsigned long mask = argc == 3 ? 1UL << atoi(argv[2]) : 0;
    if (mask == 0 || syscall(SYS_set_mempolicy, MPOL_BIND, &mask, 65) != 0) {
        fprintf(stderr, "probe chase|stream NODE: a node of this machine\n");
        return 1;
    }
    struct line *lines = mmap(0, LINES * sizeof *lines, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (lines == MAP_FAILED)
        return perror("mmap"), 1;
    link_lines(lines);
    tier_clock_on();
    tier_begin();
    uintptr_t result = strcmp(argv[1], "chase") == 0 ? chase(lines) : stream(lines);
    tier_end();
    tier_clock_off();
    printf("%lx\n", result);
    return 0;
}
