/* Memory policies of the calling thread (set_mempolicy(2)). The kernel reads one bit less of a mask than it is told. */
#define _GNU_SOURCE
#include "policy.h"

#include <errno.h>
#include <linux/mempolicy.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MPOL_PREFERRED_MANY /* Linux 5.15 */
#define MPOL_PREFERRED_MANY 5
#endif

int policy_get(struct policy *policy)
{
    /* this call wants room for all nodes that the kernel may have, and says EINVAL for less: up to 1024 */
    unsigned long all[1024 / (8 * sizeof(unsigned long))] = {0};
    if (syscall(SYS_get_mempolicy, &policy->mode, all, 1024, NULL, 0) < 0)
        return -errno;
    policy->nodes[0] = all[0];
    return 0;
}

int policy_set(const struct policy *policy)
{
    const unsigned long *nodes = policy->mode == MPOL_DEFAULT ? NULL : policy->nodes;
    return syscall(SYS_set_mempolicy, policy->mode, nodes, nodes ? PAGES_MAX_NODES + 1 : 0) < 0 ? -errno : 0;
}

int pages_try_policy(int mode, uint64_t nodes)
{
    struct policy tried = {mode, {nodes}}, before = {0, {0}};
    int status = policy_get(&before);
    if (!status)
        status = policy_set(&tried);
    return status ? status : policy_set(&before);
}

int pages_live_on(uint64_t nodes, uint64_t others)
{
    struct policy before = {0, {0}}, wanted = {MPOL_PREFERRED_MANY, {nodes}};
    int status = policy_get(&before);
    if (status)
        return status;
    if (before.mode != MPOL_DEFAULT)
        return -EALREADY;
    status = policy_set(&wanted);
    if (status == -EINVAL) { /* before 5.15: one node only */
        wanted = (struct policy){MPOL_PREFERRED, {nodes & -nodes}};
        status = policy_set(&wanted);
    }
    if (status)
        return status;
    unsigned long from[2] = {others}, to[2] = {nodes};
    return syscall(SYS_migrate_pages, 0, PAGES_MAX_NODES + 1, from, to) < 0 ? -errno : 0;
}
