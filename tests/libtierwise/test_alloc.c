/* Allocation without an agent: sizes, alignment, contents, growth, wrong use. */
#include "check.h"
#include "internal.h"

#include <fcntl.h>
#include <unistd.h>

static void test_classes(void)
{
	for (size_t size = 1; size <= LARGEST_SMALL; size++) {
		unsigned class = class_of(size);

		CHECK(class < CLASSES && class_size(class) >= size);
		CHECK(class == 0 || class_size(class - 1) < size);
		CHECK(class_size(class) % 16 == 0);
	}
}

static void test_every_size(void)
{
	static const size_t sizes[] = {0,	1,	   16,	      17,	    4096,	     32768,	  32769,
				       65536, 65537, 1 << 20, (1 << 20) + 1, 4 << 20, (4 << 20) + 1, 37 << 20};

	for (unsigned flags = 0; flags < 16; flags++) {
		for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
			unsigned char *memory = tierwise_alloc(sizes[i], flags);

			CHECK(memory && (uintptr_t)memory % 16 == 0 && tierwise_size(memory) >= sizes[i]);
			memset(memory, (int)i, sizes[i]);
			CHECK(tierwise_hint(memory) == (flags ? TIERWISE_NO_AGENT : TIERWISE_NO_HINT));
			tierwise_free(memory);
		}
	}
	tierwise_free(NULL);
}

static void test_growth_keeps_what_is_there(void)
{
	unsigned char *memory = tierwise_grow(NULL, 10), *other[8];

	for (size_t size = 10, have = 0; size < 64 << 20; size = size * 3 + 1) {
		memory = tierwise_grow(memory, size);
		CHECK(memory && tierwise_size(memory) >= size);
		for (size_t i = 0; i < have; i++)
			CHECK(memory[i] == i % 251);
		for (size_t i = have; i < size; i++)
			memory[i] = (unsigned char)(i % 251);
		have = size;
		other[size % 8] = tierwise_alloc(5 << 20, 0); /* something in the way */
		tierwise_free(other[size % 8]);
	}
	tierwise_free(memory);
}

/* Many pieces of many sizes, freed in another order: none overlaps another, and chunks are given back. */
static void test_many(void)
{
	enum { MANY = 20000 };
	static unsigned char *pieces[MANY];
	static size_t sizes[MANY];
	unsigned random = 1;

	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < MANY; i++) {
			random = random * 1103515245 + 12345;
			sizes[i] = 8 + (random >> 8) % (i % 100 == 0 ? 300000 : 2000);
			pieces[i] = tierwise_alloc(sizes[i], i % 3 ? TIERWISE_CAP : TIERWISE_LAT);
			CHECK(pieces[i]);
			memset(pieces[i], (int)(i % 256), sizes[i]);
		}
		for (unsigned i = 0; i < MANY; i++) {
			unsigned at = i * 7919 % MANY;

			CHECK(pieces[at][0] == at % 256 && pieces[at][sizes[at] - 1] == at % 256);
			tierwise_free(pieces[at]);
		}
	}
}

static void test_wrong_use(void)
{
	char page[4096];

	errno = 0;
	CHECK(!tierwise_alloc(1, 16) && errno == EINVAL && *tierwise_reason());
	CHECK(!tierwise_alloc_on(1, "cxl/../x") && errno == EINVAL);
	CHECK(!tierwise_alloc_on(1, NULL) && errno == EINVAL);
	CHECK(!tierwise_alloc_on(1, "a_name_that_is_too_long") && errno == EINVAL);
	CHECK(!tierwise_alloc(SIZE_MAX, TIERWISE_LAT) && errno == ENOMEM);
	CHECK(!tierwise_alloc(SIZE_MAX / 2, 0) && errno == ENOMEM);
	CHECK(tierwise_advise(page, 10, TIERWISE_LAT) == -1 && errno == EINVAL);
	CHECK(tierwise_advise(page, sizeof page, 0) == -1 && errno == EINVAL);
	CHECK(!tierwise_region_open("a/b", 1, 0, TIERWISE_CREATE) && errno == EINVAL);
	CHECK(!tierwise_region_open("", 1, 0, TIERWISE_CREATE) && errno == EINVAL);
	CHECK(!tierwise_region_open("fine", 1, 0, TIERWISE_CREATE) && errno == ENOTCONN);
	CHECK(!tierwise_region_open("fine", 1, 0, 64) && errno == EINVAL);
	CHECK(tierwise_region_drop("fine") == -1 && errno == ENOTCONN);
	CHECK(tierwise_region_close(page) == -1 && errno == EINVAL);
	CHECK(!tierwise_region_grow(page, 1) && errno == EINVAL);
	CHECK(tierwise_events() == -1 && errno == ENOTCONN);
	CHECK(strstr(tierwise_reason(), "no agent answers at /nonexistent"));
	CHECK(fcntl(STDIN_FILENO, F_GETFD) != -1); /* what isn't ours stays open */
	for (unsigned i = 0; i < 20; i++) {
		char name[8];

		snprintf(name, sizeof name, "t%u", i);
		void *memory = tierwise_alloc_on(100, name);
		CHECK(i < 8 ? memory != NULL : memory == NULL && errno == EINVAL);
		tierwise_free(memory);
	}
}

static void test_where(void)
{
	struct tierwise_share shares[4];
	char *memory = tierwise_alloc(8 << 20, TIERWISE_CAP);
	size_t touched = 0, untouched = 0;

	memset(memory, 1, 4 << 20);
	int count = tierwise_where(memory, 8 << 20, shares, 4);
	CHECK(count >= 1 && count <= 4);
	for (int i = 0; i < count; i++)
		*(*shares[i].tier ? &touched : &untouched) += shares[i].bytes;
	CHECK(touched >= 4 << 20 && touched + untouched == 8 << 20);
	tierwise_free(memory);
}

int main(void)
{
	CHECK(open("/dev/null", O_RDONLY) >= 0); /* there is a standard input */
	setenv("TIERWISE_SOCKET", "/nonexistent/agent.sock", 1);
	test_classes();
	test_every_size();
	test_growth_keeps_what_is_there();
	test_many();
	test_where();
	test_wrong_use();
	return 0;
}
