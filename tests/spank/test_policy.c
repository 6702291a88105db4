/* policy_apply() on the kernel that runs the test. What an older kernel lacks is taken away by a seccomp filter: the
 * system call then really fails, with the errno of such a kernel. */
#define _GNU_SOURCE
#include "policy.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

enum { BALANCING = 1 << 13, STATIC = 1 << 15, PREFER = 1, INTERLEAVE = 3, PREFER_MANY = 5, WEIGHTED = 6 };

static struct policy reads(const char *kind, const char *nodes, const char *balancing)
{
	struct policy policy;

	CHECK(policy_parse(kind, nodes, balancing, &policy));
	return policy;
}

static void words(void)
{
	static const char *const bad_nodes[] = {"", ",", "0,", ",0", "-1", "0-1", "1024", "99999999999999999999", "0 ", "x"};
	struct policy policy = reads("preferred_many", "0,65,1023", "1");

	CHECK(policy.kind == POLICY_PREFERRED_MANY && policy.numa_balancing);
	CHECK(policy.nodes[0] == 1 && policy.nodes[1] == 2 && policy.nodes[15] == 1UL << 63);
	CHECK(reads("weighted_interleave", "0", "").kind == POLICY_WEIGHTED_INTERLEAVE);
	CHECK(reads("default", "", "").kind == POLICY_DEFAULT);
	for (size_t i = 0; i < sizeof bad_nodes / sizeof *bad_nodes; i++)
		CHECK(!policy_parse("preferred_many", bad_nodes[i], "0", &policy) && errno == EPROTO);
	CHECK(!policy_parse("bind", "0", "0", &policy) && errno == EPROTO);
	CHECK(!policy_parse("", "0", "0", &policy) && errno == EPROTO);
}

/* From now on set_mempolicy fails with `error` for this mode, its flags included; 0 for the flags: whatever they are. */
static void take_away(unsigned mode, unsigned flags, int error)
{
	unsigned mask = flags ? 0xffff : 0x1fff;
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_set_mempolicy, 0, 4),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, mask),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, mode | flags, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof filter / sizeof *filter, filter};

	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

static int mode_now(unsigned long nodes[POLICY_WORDS])
{
	int mode = 0;

	CHECK(syscall(SYS_get_mempolicy, &mode, nodes, (unsigned long)POLICY_MAX_NODES + 1, NULL, 0UL) == 0);
	return mode;
}

/* Policy and filters stay: each case runs in a child of its own. */
static void in_child(void (*body)(void))
{
	int status;
	pid_t child = fork();

	if (child == 0) {
		body();
		exit(0);
	}
	CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* Node 0 is always allowed here, node 1023 never: what is set must be node 0 alone. */
static void expect(const char *kind, const char *name, int mode)
{
	struct policy policy = reads(kind, "0,1023", "1");
	unsigned long nodes[POLICY_WORDS] = {0};
	const char *set = policy_apply(&policy);

	CHECK(set && strcmp(set, name) == 0);
	CHECK(mode_now(nodes) == mode && nodes[0] == 1 && nodes[15] == 0);
	CHECK(policy_is_set());
}

static void preferred_without_balancing(void)
{
	take_away(PREFER_MANY, STATIC | BALANCING, EINVAL);
	expect("preferred_many", "prefer (many)", PREFER_MANY | STATIC);
}

static void preferred_without_many(void)
{
	take_away(PREFER_MANY, 0, EINVAL);
	expect("preferred_many", "prefer", PREFER | STATIC);
}

static void interleaved_without_weights(void)
{
	take_away(WEIGHTED, 0, EINVAL);
	expect("weighted_interleave", "interleave", INTERLEAVE | STATIC);
}

static void nothing_works(void)
{
	struct policy policy = reads("preferred_many", "0", "1");
	unsigned long nodes[POLICY_WORDS] = {0};

	take_away(PREFER_MANY, 0, ENOSYS);
	take_away(PREFER, 0, ENOSYS);
	CHECK(!policy_apply(&policy) && errno == ENOSYS);
	CHECK(mode_now(nodes) == 0 && !policy_is_set());
}

static void forbidden(void)
{
	struct policy policy = reads("preferred_many", "0", "1");

	take_away(PREFER_MANY, 0, EPERM);
	CHECK(!policy_apply(&policy) && errno == EPERM);
}

static void no_node_allowed(void)
{
	struct policy policy = reads("weighted_interleave", "1022,1023", "0");

	CHECK(!policy_apply(&policy) && errno == ENODEV);
	CHECK(!policy_is_set());
}

static void default_is_left(void)
{
	struct policy policy = reads("default", "", "");

	CHECK(strcmp(policy_apply(&policy), "default") == 0 && !policy_is_set());
}

/* Whatever this kernel has, it is one of the two, and never a bind. */
static void as_this_kernel_can(void)
{
	static const char *const kinds[] = {"preferred_many", "weighted_interleave"};

	for (int i = 0; i < 2; i++) {
		struct policy policy = reads(kinds[i], "0", "1");
		unsigned long nodes[POLICY_WORDS] = {0};

		CHECK(policy_apply(&policy));
		int mode = mode_now(nodes) & ~(STATIC | BALANCING);
		CHECK(mode == PREFER_MANY || mode == PREFER || mode == WEIGHTED || mode == INTERLEAVE);
		CHECK(nodes[0] == 1);
	}
}

int main(void)
{
	words();
	in_child(as_this_kernel_can);
	in_child(preferred_without_balancing);
	in_child(preferred_without_many);
	in_child(interleaved_without_weights);
	in_child(nothing_works);
	in_child(forbidden);
	in_child(no_node_allowed);
	in_child(default_is_left);
	return 0;
}
