/* The calling thread's memory policy, to be set for a while and put back. */
#ifndef TIERWISE_POLICY_H
#define TIERWISE_POLICY_H

#include "pages.h"

struct policy {
    int mode; /* set_mempolicy(2), flags included */
    unsigned long nodes[PAGES_MAX_NODES / (8 * sizeof(unsigned long)) + 1];
};

/* Both: 0 or a negative errno. */
int policy_get(struct policy *policy);
int policy_set(const struct policy *policy);

#endif
