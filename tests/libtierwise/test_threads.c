/* Threads that allocate, free what others allocated, and fork meanwhile. */
#include "check.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

/* In a forked child, tsan takes the parent's threads for its own, which never end. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
	return "report_thread_leaks=0";
}

enum { THREADS = 4, ROUNDS = 4000, SLOTS = 64 };

static _Atomic(unsigned char *) slots[SLOTS];

/* Put a piece into a slot, and free whose was there: most pieces are freed by another thread than made them. */
static void *exchange(void *argument)
{
	unsigned random = (unsigned)(uintptr_t)argument;

	for (unsigned i = 0; i < ROUNDS; i++) {
		random = random * 1103515245 + 12345;
		size_t size = 16 + (random >> 8) % (i % 512 == 0 ? 3 << 20 : i % 64 == 0 ? 100000 : 1000);
		unsigned char *memory = tierwise_alloc(size, random >> 16 & 7);

		CHECK(memory);
		if (i % 128 == 0)
			tierwise_events();
		memory[0] = memory[size - 1] = 0x5a;
		unsigned char *other = atomic_exchange(&slots[(random >> 4) % SLOTS], memory);
		CHECK(!other || other[0] == 0x5a);
		if (i % 16 == 0 && other)
			other = tierwise_grow(other, tierwise_size(other) + 100);
		tierwise_free(other);
	}
	return NULL;
}

/* Another thread may have held a lock of the sanitizer's own allocator when the child was made (gcc 12, seen in
 * asan's): there it ends at once, and our handlers have run. The build without one (make: undefined/) goes on. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { CHILD_ALLOCATES = 0 };
#else
enum { CHILD_ALLOCATES = 1 };
#endif

static void child(void)
{
	if (!CHILD_ALLOCATES)
		_exit(0);
	for (unsigned i = 0; i < 200; i++) {
		char *memory = tierwise_alloc(100 + i * 1000, i % 16);

		if (!memory)
			_exit(1);
		memory[0] = 1;
		tierwise_free(memory);
	}
	tierwise_events(); /* a session of its own, where there is an agent */
	_exit(0);
}

static void forks(unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		pid_t pid = fork();
		int status;

		CHECK(pid >= 0);
		if (pid == 0)
			child();
		CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	}
}

int main(void)
{
	pthread_t threads[THREADS];

	setenv("TIERWISE_SOCKET", "/nonexistent/agent.sock", 0); /* tests/nodeagent has an agent */
	for (uintptr_t i = 0; i < THREADS; i++)
		CHECK(pthread_create(&threads[i], NULL, exchange, (void *)(i + 1)) == 0);
	forks(20);
	for (unsigned i = 0; i < THREADS; i++)
		CHECK(pthread_join(threads[i], NULL) == 0);
	for (unsigned i = 0; i < SLOTS; i++)
		tierwise_free(atomic_load(&slots[i]));
	return 0;
}
