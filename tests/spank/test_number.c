#include "number.h"

#include "check.h"

static enum size_error reads(const char *text, uint64_t *size)
{
	return number_size(text, strlen(text), size);
}

int main(void)
{
	uint64_t size = 7;

	CHECK(reads("", &size) == SIZE_BAD && reads("k", &size) == SIZE_BAD && reads("1x", &size) == SIZE_BAD);
	CHECK(reads("-1", &size) == SIZE_BAD && reads(" 1", &size) == SIZE_BAD && reads("1.5G", &size) == SIZE_BAD);
	CHECK(reads("0", &size) == SIZE_ZERO && reads("00T", &size) == SIZE_ZERO);
	CHECK(reads("9223372036854775808", &size) == SIZE_TOO_LARGE && reads("8388608T", &size) == SIZE_TOO_LARGE);
	CHECK(reads("99999999999999999999999999", &size) == SIZE_TOO_LARGE && size == 7);
	CHECK(reads("9223372036854775807", &size) == SIZE_VALID && size == INT64_MAX);
	CHECK(reads("3k", &size) == SIZE_VALID && size == 3 << 10);
	CHECK(reads("2G", &size) == SIZE_VALID && size == 2ull << 30);
	CHECK(number_is("10", 2) && !number_is("", 0) && !number_is("1k", 2) && number_is("1k", 1));
	return 0;
}
