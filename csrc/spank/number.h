/* Numbers and sizes as people type them, locale-free. */
#ifndef TIERWISE_NUMBER_H
#define TIERWISE_NUMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum size_error {
	SIZE_VALID,
	SIZE_BAD,       /* not digits with an optional K, M, G or T in either case */
	SIZE_ZERO,
	SIZE_TOO_LARGE, /* more than 8 EiB - 1: a signed 64-bit integer holds it in SQL, C and Lua */
};

/* Whether `length` bytes at `text` are digits, and not none. */
bool number_is(const char *text, size_t length);

/* The number that `length` digits say, UINT64_MAX where it is larger. */
uint64_t number_value(const char *digits, size_t length);

/* The bytes that a size says: K, M, G and T are powers of 1024. `size` is set only where it is valid. */
enum size_error number_size(const char *text, size_t length, uint64_t *size);

#endif
