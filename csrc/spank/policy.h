/* The memory policy that a task starts with: set_mempolicy(2), without libnuma.
 *
 * Never MPOL_BIND: on a full node it ends in the OOM killer while other nodes have free memory.
 */
#ifndef TIERWISE_POLICY_H
#define TIERWISE_POLICY_H

#include <stdbool.h>

enum {
	POLICY_MAX_NODES = 1024, /* CONFIG_NODES_SHIFT is at most 10 */
	POLICY_WORDS = POLICY_MAX_NODES / (8 * sizeof(unsigned long)),
};

enum policy_kind {
	POLICY_DEFAULT,
	POLICY_PREFERRED_MANY,
	POLICY_WEIGHTED_INTERLEAVE,
};

/* What the agent wants; `nodes` is a mask as set_mempolicy(2) takes it. */
struct policy {
	enum policy_kind kind;
	unsigned long nodes[POLICY_WORDS];
	bool numa_balancing; /* promotion by the kernel's hint faults; only preferred_many can have it */
};

/* Read the agent's words: `kind` as in docs/protocol.md, `nodes` a list like "0,2", `numa_balancing` "1" or else.
 * False, with errno EPROTO, if they are not in the protocol; `default` needs no nodes. */
bool policy_parse(const char *kind, const char *nodes, const char *numa_balancing, struct policy *policy);

/* Whether the calling thread has a policy already, of Slurm's --mem-bind or inherited. False where the kernel has no
 * memory policies at all (ENOSYS), or does not say. */
bool policy_is_set(void);

/* Set `policy` for the calling thread, on those of its nodes that its cpuset allows, as well as this kernel can.
 *
 * Returns the kernel's name of the policy that was set, static ("prefer (many)", "weighted interleave", or the
 * fall-backs "prefer" and "interleave"; "default": nothing was to be set). NULL with errno: ENODEV (the cpuset allows
 * none of the nodes), or what set_mempolicy(2) said to the last fall-back; the thread's policy is then unchanged.
 */
const char *policy_apply(const struct policy *policy);

#endif
