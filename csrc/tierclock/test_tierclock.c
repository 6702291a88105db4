/* The clock's parts without QEMU. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cache.h"
#include "counts.h"
#include "streams.h"

static void first_level_keeps_a_line_until_another_takes_its_place(void)
{
    static struct first_level cache;
    assert(!first_load(&cache, 0));
    assert(first_load(&cache, 63));
    assert(!first_load(&cache, (uint64_t)FIRST_LINES << LINE_SHIFT));
    assert(!first_load(&cache, 0));
}

static void a_stored_line_goes_on_once_and_serves_loads(void)
{
    static struct first_level cache;
    assert(!first_load(&cache, 128));
    assert(!first_store(&cache, 128));
    assert(first_store(&cache, 128));
    assert(first_load(&cache, 128));
}

static void last_level_drops_the_least_recently_used(void)
{
    static struct last_level cache;
    for (uint32_t i = 0; i < LAST_WAYS; i++)
        assert(!last_access(&cache, i * LAST_SETS, false).hit);
    assert(last_access(&cache, 0, false).hit);
    assert(!last_access(&cache, LAST_WAYS * LAST_SETS, false).hit);
    assert(last_access(&cache, 0, false).hit);
    assert(!last_access(&cache, LAST_SETS, false).hit);
}

static void only_written_lines_are_written_back(void)
{
    static struct last_level cache;
    last_access(&cache, 7, true);
    last_access(&cache, 7, false);
    for (uint32_t i = 1; i < LAST_WAYS; i++)
        assert(last_access(&cache, 7 + i * LAST_SETS, false).evicted == NO_LINE);
    assert(last_access(&cache, 7 + LAST_WAYS * LAST_SETS, false).evicted == 7);
    assert(last_access(&cache, 7 + (LAST_WAYS + 1) * LAST_SETS, false).evicted == NO_LINE);
}

static void a_run_is_a_stream_from_its_third_line(void)
{
    static struct streams streams;
    for (int step = -1; step <= 1; step += 2) {
        uint64_t line = 1u << 20;
        assert(!streams_follow(&streams, line));
        assert(!streams_follow(&streams, line += (uint64_t)step));
        for (int i = 0; i < 100; i++)
            assert(streams_follow(&streams, line += (uint64_t)step));
    }
}

static void strangers_do_not_break_a_stream(void)
{
    static struct streams streams;
    int followed = 0;
    srand(1);
    for (uint64_t line = 5000; line < 6000; line++) {
        followed += streams_follow(&streams, line);
        for (int i = 0; i < 5; i++)
            assert(!streams_follow(&streams, 100000 + 4 * (uint64_t)rand()));
    }
    assert(followed == 998);
}

static void spans_are_read_and_junk_is_refused(void)
{
    struct span spans[MAX_NODES];
    assert(parse_spans("0-10+20-30", spans) == 2);
    assert(node_of(spans, 2, 9) == 0 && node_of(spans, 2, 10) == -1 && node_of(spans, 2, 20) == 1);
    const char *junk[] = {"", "1", "1-", "5-5", "0-1+", "0-1,2-3", "0-1+0-1+0-1+0-1+0-1+0-1+0-1+0-1+0-1"};
    for (size_t i = 0; i < sizeof junk / sizeof *junk; i++)
        assert(parse_spans(junk[i], spans) == -1);
}

static void a_line_of_the_file_has_every_count(void)
{
    char text[128] = "";
    FILE *file = fmemopen(text, sizeof text, "w");
    struct counts counts = {.instructions = 5, .loads = 2, .stores = 1, .node = {{1, 2, 3}, {4, 5, 6}}};
    assert(file != NULL);
    write_counts(file, 'b', 3, &counts, 2);
    fclose(file);
    assert(strcmp(text, "b 3 5 2 1 1 2 3 4 5 6\n") == 0);
}

int main(void)
{
    first_level_keeps_a_line_until_another_takes_its_place();
    a_stored_line_goes_on_once_and_serves_loads();
    last_level_drops_the_least_recently_used();
    only_written_lines_are_written_back();
    a_run_is_a_stream_from_its_third_line();
    strangers_do_not_break_a_stream();
    spans_are_read_and_junk_is_refused();
    a_line_of_the_file_has_every_count();
    puts("tierclock: all passed");
    return 0;
}
