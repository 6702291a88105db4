#include "number.h"

bool number_is(const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if (text[i] < '0' || text[i] > '9')
			return false;
	return length > 0;
}

uint64_t number_value(const char *digits, size_t length)
{
	uint64_t value = 0;

	for (size_t i = 0; i < length; i++)
		if (__builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(digits[i] - '0'), &value))
			return UINT64_MAX;
	return value;
}

/* The power of two that a unit stands for, 0 for a character that is none. */
static unsigned unit_shift(char unit)
{
	switch (unit) {
	case 'k': case 'K': return 10;
	case 'm': case 'M': return 20;
	case 'g': case 'G': return 30;
	case 't': case 'T': return 40;
	default: return 0;
	}
}

enum size_error number_size(const char *text, size_t length, uint64_t *size)
{
	unsigned shift = length > 0 ? unit_shift(text[length - 1]) : 0;
	size_t digits = length - (shift > 0);

	if (!number_is(text, digits))
		return SIZE_BAD;
	uint64_t value = number_value(text, digits);
	if (value == 0)
		return SIZE_ZERO;
	if (value > (uint64_t)INT64_MAX >> shift)
		return SIZE_TOO_LARGE;
	*size = value << shift;
	return SIZE_VALID;
}
