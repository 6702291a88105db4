/* The memory clock: a QEMU plugin that counts what a guest's CPUs do to each of its memory tiers.
 *
 *     -plugin libtierclock.so,out=FILE,nodes=START-END+START-END
 *
 * Until the guest first says so (marks.h) nothing is counted and nothing is slowed down. Needs one thread for all CPUs,
 * which -icount implies: counters have no locks. Instruction fetches and DMA are not seen. */
#include <stdio.h>
#include <string.h>

#include "cache.h"
#include "counts.h"
#include "marks.h"
#include "plugin_api.h"
#include "streams.h"

enum { MAX_CPUS = 16 };

#define INTERVAL UINT64_C(4000000) /* instructions of one CPU between two lines of the file */
#define EXPORT __attribute__((visibility("default")))

EXPORT int qemu_plugin_version = PLUGIN_API_VERSION;

struct cpu {
    struct first_level first;
    struct streams streams;
    struct counts counts;
    uint64_t next_line; /* instructions at which the next interval is over */
};

static struct cpu cpus[MAX_CPUS];
static struct last_level last;
static struct span spans[MAX_NODES];
static int nodes;
static FILE *out;
static qemu_plugin_id_t self;
static bool counting;
/* From the first count on, all code calls us. It stays so: QEMU before 8.0 keeps a pointer to the callbacks of an
 * instruction that faulted, and to drop translated code frees them: the next access of a helper would call anything. */
static bool instrumented;

/* Each translation block adds to one counter, inline; what came since `charged` belongs to `running`. */
static uint64_t executed;
static uint64_t charged;
static unsigned running;

static void charge(unsigned next)
{
    cpus[running].counts.instructions += executed - charged;
    charged = executed;
    running = next;
}

static void beyond_first(struct cpu *cpu, unsigned number, qemu_plugin_meminfo_t info, uint64_t address, bool store)
{
    struct qemu_plugin_hwaddr *place = qemu_plugin_get_hwaddr(info, address);
    if (place == NULL || qemu_plugin_hwaddr_is_io(place))
        return;
    uint64_t physical = qemu_plugin_hwaddr_phys_addr(place);
    int node = node_of(spans, nodes, physical);
    if (node < 0)
        return;
    bool stream = streams_follow(&cpu->streams, address >> LINE_SHIFT);
    struct fetched done = last_access(&last, (uint32_t)(physical >> LINE_SHIFT), store);
    if (!done.hit) {
        if (stream)
            cpu->counts.node[node].stream++;
        else
            cpu->counts.node[node].demand++;
    }
    if (done.evicted != NO_LINE) {
        int home = node_of(spans, nodes, (uint64_t)done.evicted << LINE_SHIFT);
        if (home >= 0)
            cpu->counts.node[home].written++;
    }
    charge(number);
    if (cpu->counts.instructions >= cpu->next_line) {
        write_counts(out, 'i', number, &cpu->counts, nodes);
        cpu->next_line = cpu->counts.instructions + INTERVAL;
    }
}

/* One callback for both kinds: QEMU 7.2 takes the kinds asked for one off, and calls one for stores at loads. */
static void on_access(unsigned number, qemu_plugin_meminfo_t info, uint64_t address, void *data)
{
    (void)data;
    if (!counting)
        return;
    struct cpu *cpu = &cpus[number];
    bool store = qemu_plugin_mem_is_store(info);
    if (number != running)
        charge(number);
    if (store)
        cpu->counts.stores++;
    else
        cpu->counts.loads++;
    if (!(store ? first_store(&cpu->first, address) : first_load(&cpu->first, address)))
        beyond_first(cpu, number, info, address, store);
}

static void on_translation(qemu_plugin_id_t id, struct qemu_plugin_tb *tb);

static void translate_anew(qemu_plugin_id_t id)
{
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
}

static void on_mark(unsigned number, void *data)
{
    char kind = (char)(uintptr_t)data;
    if (counting)
        charge(number);
    charged = executed;
    running = number;
    if (kind == MARK_BEGIN || kind == MARK_END) {
        write_counts(out, kind, number, &cpus[number].counts, nodes);
    } else if (counting != (kind == MARK_ON)) {
        counting = kind == MARK_ON;
        for (unsigned cpu = 0; cpu < MAX_CPUS; cpu++)
            if (cpus[cpu].counts.instructions)
                write_counts(out, kind, cpu, &cpus[cpu].counts, nodes);
        if (!instrumented)
            qemu_plugin_reset(self, translate_anew); /* drops all translated code */
        instrumented = true;
    }
}

static bool is_mark(const struct qemu_plugin_insn *insn, char *kind)
{
    const char *bytes = qemu_plugin_insn_data(insn);
    if (qemu_plugin_insn_size(insn) != MARK_SIZE || memcmp(bytes, MARK_OPCODE, 4) != 0)
        return false;
    *kind = bytes[4];
    return memcmp(bytes + 5, MARK_TAIL, 3) == 0;
}

static void on_translation(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    (void)id;
    size_t count = qemu_plugin_tb_n_insns(tb);

    if (instrumented)
        qemu_plugin_register_vcpu_tb_exec_inline(tb, QEMU_PLUGIN_INLINE_ADD_U64, &executed, count);
    for (size_t i = 0; i < count; i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
        char kind;
        if (is_mark(insn, &kind))
            qemu_plugin_register_vcpu_insn_exec_cb(insn, on_mark, QEMU_PLUGIN_CB_NO_REGS, (void *)(uintptr_t)kind);
        if (instrumented)
            qemu_plugin_register_vcpu_mem_cb(insn, on_access, QEMU_PLUGIN_CB_NO_REGS, QEMU_PLUGIN_MEM_RW, NULL);
    }
}

EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv)
{
    if (!info->system_emulation || info->version.min > PLUGIN_API_VERSION || info->system.max_vcpus > MAX_CPUS) {
        fprintf(stderr, "tierclock: needs a whole machine of at most %d CPUs, and plugin interface %d\n", MAX_CPUS,
                PLUGIN_API_VERSION);
        return -1;
    }
    for (int i = 0; i < argc; i++) {
        if (strncmp(argv[i], "nodes=", 6) == 0)
            nodes = parse_spans(argv[i] + 6, spans);
        else if (strncmp(argv[i], "out=", 4) == 0)
            out = fopen(argv[i] + 4, "w");
    }
    if (nodes <= 0 || out == NULL) {
        fprintf(stderr, "tierclock: needs out=FILE that can be written and nodes=START-END+START-END…\n");
        return -1;
    }
    self = id;
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
    return 0;
}
