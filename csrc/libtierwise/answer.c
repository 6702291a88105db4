/* The two lists in the agent's answers: `dram:0/1,cxl:2` and `dram:BYTES:0/1,cxl:BYTES:2`. */
#include "internal.h"
#include "mempolicy.h"

#include <stdlib.h>
#include <string.h>

_Static_assert(8 * sizeof(unsigned long) >= MAX_NODES, "a mask of nodes is one word");

static bool parse_nodes(const char *text, uint64_t *nodes)
{
	unsigned long mask = 0;
	bool right = parse_node_list(text, '/', MAX_NODES, &mask);

	*nodes = mask;
	return right;
}

static bool parse_size(const char *text, size_t *size)
{
	size_t value = 0;

	if (!*text)
		return false;
	for (; *text; text++) {
		if (*text < '0' || *text > '9' || value > (SIZE_MAX - 9) / 10)
			return false;
		value = value * 10 + (size_t)(*text - '0');
	}
	*size = value;
	return true;
}

bool parse_tiers(char *text, struct tier tiers[MAX_TIERS], unsigned *count)
{
	char *rest;

	*count = 0;
	for (char *item = strtok_r(text, ",", &rest); item; item = strtok_r(NULL, ",", &rest)) {
		char *colon = strchr(item, ':');

		if (!colon || colon == item || colon - item >= TIER_NAME || *count == MAX_TIERS)
			return false;
		*colon = '\0';
		if (!parse_nodes(colon + 1, &tiers[*count].nodes))
			return false;
		strcpy(tiers[(*count)++].name, item);
	}
	return *count > 0;
}

bool parse_parts(char *text, struct grant *grant)
{
	char *rest;

	grant->count = 0;
	for (char *item = strtok_r(text, ",", &rest); item; item = strtok_r(NULL, ",", &rest)) {
		char *size = strchr(item, ':');
		char *nodes = size ? strchr(size + 1, ':') : NULL;

		if (!nodes || grant->count == MAX_TIERS)
			return false;
		*nodes++ = '\0';
		struct part *part = &grant->parts[grant->count++];
		if (!parse_size(size + 1, &part->size) || !parse_nodes(nodes, &part->nodes))
			return false;
	}
	return true;
}
