#include "printable.h"

#include <string.h>

const char *printable(char *out, unsigned size, const char *text)
{
	unsigned i;

	for (i = 0; text[i] && i < size - 1; i++)
		out[i] = text[i] >= ' ' && text[i] <= '~' ? text[i] : '?';
	out[i] = '\0';
	if (text[i])
		memcpy(out + size - 4, "...", 4);
	return out;
}
