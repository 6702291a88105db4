#include "printable.h"

#include "check.h"

static void shows(const char *text, unsigned size, const char *expected)
{
	char out[PRINTABLE_LONG];

	CHECK(strcmp(printable(out, size, text), expected) == 0);
}

int main(void)
{
	shows("", 8, "");
	shows("lat:2G", 8, "lat:2G");
	shows("1234567", 8, "1234567");
	shows("12345678", 8, "1234...");
	shows("a\x1b[2Jb\n\x7f", PRINTABLE_SHORT, "a?[2Jb??");
	shows("\xc3\xa9", PRINTABLE_SHORT, "??");
	shows("12345678", 4, "...");
	return 0;
}
