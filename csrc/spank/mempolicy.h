/* The kernel's memory policies in its own numbers, and NUMA nodes in the agent's words: what the SPANK plugin and the
 * user library both need. */
#ifndef TIERWISE_MEMPOLICY_H
#define TIERWISE_MEMPOLICY_H

#include <errno.h>
#include <stdbool.h>

/* From the kernel's include/uapi/linux/mempolicy.h: older headers lack what newer kernels have. */
enum {
	PREFERRED = 1,
	INTERLEAVE = 3,
	PREFERRED_MANY = 5,      /* Linux 5.15 */
	WEIGHTED_INTERLEAVE = 6, /* Linux 6.9 */
	STATIC_NODES = 1 << 15,
	NUMA_BALANCING = 1 << 13, /* with PREFERRED_MANY since Linux 6.9: 133d04b1eee9 */
	MEMS_ALLOWED = 1 << 2,    /* of get_mempolicy */
	MOVE = 2,                 /* of mbind */
};

/* Whether the kernel doesn't know the policy that it has just refused. */
static inline bool is_unknown_policy(void)
{
	return errno == EINVAL || errno == ENOSYS;
}

/* Read a list of nodes below `most`, with `separator` between them, into the `mask`, which is all zeros. */
static inline bool parse_node_list(const char *text, char separator, unsigned most, unsigned long *mask)
{
	enum { BITS = 8 * sizeof *mask };

	for (;;) {
		unsigned node = 0;

		if (*text < '0' || *text > '9')
			return false;
		while (*text >= '0' && *text <= '9') {
			node = node * 10 + (unsigned)(*text++ - '0');
			if (node >= most)
				return false;
		}
		mask[node / BITS] |= 1UL << node % BITS;
		if (*text == '\0')
			return true;
		if (*text++ != separator)
			return false;
	}
}

#endif
