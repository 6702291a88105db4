#define _GNU_SOURCE
#include "policy.h"
#include "mempolicy.h"

#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The kernel reads one bit less than it is told. */
#define MAX_NODE ((unsigned long)POLICY_MAX_NODES + 1)

bool policy_parse(const char *kind, const char *nodes, const char *numa_balancing, struct policy *policy)
{
	*policy = (struct policy){.numa_balancing = strcmp(numa_balancing, "1") == 0};
	if (strcmp(kind, "default") == 0)
		return true;
	if (strcmp(kind, "preferred_many") == 0)
		policy->kind = POLICY_PREFERRED_MANY;
	else if (strcmp(kind, "weighted_interleave") == 0)
		policy->kind = POLICY_WEIGHTED_INTERLEAVE;
	if (policy->kind != POLICY_DEFAULT && parse_node_list(nodes, ',', POLICY_MAX_NODES, policy->nodes))
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

static const char *prefer(unsigned long nodes[POLICY_WORDS], bool numa_balancing)
{
	if (numa_balancing) {
		if (set(PREFERRED_MANY | NUMA_BALANCING, nodes))
			return "prefer (many)";
		if (!is_unknown_policy())
			return NULL;
	}
	if (set(PREFERRED_MANY, nodes))
		return "prefer (many)";
	if (!is_unknown_policy())
		return NULL;
	keep_first(nodes);
	return set(PREFERRED, nodes) ? "prefer" : NULL;
}

static const char *interleave(const unsigned long nodes[POLICY_WORDS])
{
	if (set(WEIGHTED_INTERLEAVE, nodes))
		return "weighted interleave";
	if (!is_unknown_policy())
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
