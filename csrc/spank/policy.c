#define _GNU_SOURCE
#include "policy.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* From the kernel's include/uapi/linux/mempolicy.h: older headers lack what newer kernels have. */
enum {
	PREFERRED = 1,
	INTERLEAVE = 3,
	PREFERRED_MANY = 5,      /* Linux 5.15 */
	WEIGHTED_INTERLEAVE = 6, /* Linux 6.9 */
	STATIC_NODES = 1 << 15,
	NUMA_BALANCING = 1 << 13, /* with PREFERRED_MANY since Linux 6.9: 133d04b1eee9 */
	MEMS_ALLOWED = 1 << 2,    /* of get_mempolicy */
};

enum { BITS = 8 * sizeof(unsigned long) };

/* The kernel reads one bit less than it is told. */
#define MAX_NODE ((unsigned long)POLICY_MAX_NODES + 1)

static bool parse_nodes(const char *text, unsigned long nodes[POLICY_WORDS])
{
	for (;;) {
		unsigned node = 0;

		if (*text < '0' || *text > '9')
			return false;
		while (*text >= '0' && *text <= '9') {
			node = node * 10 + (unsigned)(*text++ - '0');
			if (node >= POLICY_MAX_NODES)
				return false;
		}
		nodes[node / BITS] |= 1UL << node % BITS;
		if (*text == '\0')
			return true;
		if (*text++ != ',')
			return false;
	}
}

bool policy_parse(const char *kind, const char *nodes, const char *numa_balancing, struct policy *policy)
{
	*policy = (struct policy){.numa_balancing = strcmp(numa_balancing, "1") == 0};
	if (strcmp(kind, "default") == 0)
		return true;
	if (strcmp(kind, "preferred_many") == 0)
		policy->kind = POLICY_PREFERRED_MANY;
	else if (strcmp(kind, "weighted_interleave") == 0)
		policy->kind = POLICY_WEIGHTED_INTERLEAVE;
	if (policy->kind != POLICY_DEFAULT && parse_nodes(nodes, policy->nodes))
		return true;
	errno = EPROTO;
	return false;
}

bool policy_is_set(void)
{
	int mode = 0;

	return syscall(SYS_get_mempolicy, &mode, NULL, 0UL, NULL, 0UL) == 0 && mode != 0;
}

/* Keep those `nodes` that the cpuset allows; false if none is left. A kernel that doesn't say is not asked again:
 * set_mempolicy intersects too, and only an empty intersection is an error there. */
static bool keep_allowed(unsigned long nodes[POLICY_WORDS])
{
	unsigned long allowed[POLICY_WORDS] = {0};
	bool any = false;

	if (syscall(SYS_get_mempolicy, NULL, allowed, MAX_NODE, NULL, (unsigned long)MEMS_ALLOWED) != 0)
		return true;
	for (unsigned word = 0; word < POLICY_WORDS; word++) {
		nodes[word] &= allowed[word];
		any = any || nodes[word];
	}
	return any;
}

static void keep_first(unsigned long nodes[POLICY_WORDS])
{
	bool found = false;

	for (unsigned word = 0; word < POLICY_WORDS; word++) {
		nodes[word] = found ? 0 : nodes[word] & -nodes[word];
		found = found || nodes[word];
	}
}

/* True once `mode` is set; false with errno. */
static bool set(int mode, const unsigned long nodes[POLICY_WORDS])
{
	return syscall(SYS_set_mempolicy, mode | STATIC_NODES, nodes, MAX_NODE) == 0;
}

/* Whether the last set() failed because the kernel doesn't know what it was asked. */
static bool unknown(void)
{
	return errno == EINVAL || errno == ENOSYS;
}

static const char *prefer(unsigned long nodes[POLICY_WORDS], bool numa_balancing)
{
	if (numa_balancing) {
		if (set(PREFERRED_MANY | NUMA_BALANCING, nodes))
			return "prefer (many)";
		if (!unknown())
			return NULL;
	}
	if (set(PREFERRED_MANY, nodes))
		return "prefer (many)";
	if (!unknown())
		return NULL;
	keep_first(nodes);
	return set(PREFERRED, nodes) ? "prefer" : NULL;
}

static const char *interleave(const unsigned long nodes[POLICY_WORDS])
{
	if (set(WEIGHTED_INTERLEAVE, nodes))
		return "weighted interleave";
	if (!unknown())
		return NULL;
	return set(INTERLEAVE, nodes) ? "interleave" : NULL;
}

const char *policy_apply(const struct policy *policy)
{
	unsigned long nodes[POLICY_WORDS];

	if (policy->kind == POLICY_DEFAULT)
		return "default";
	memcpy(nodes, policy->nodes, sizeof nodes);
	if (!keep_allowed(nodes)) {
		errno = ENODEV;
		return NULL;
	}
	return policy->kind == POLICY_PREFERRED_MANY ? prefer(nodes, policy->numa_balancing) : interleave(nodes);
}
