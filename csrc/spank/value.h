/* What may stand behind each of the further options, --tier-stage=… and so on (further.c holds their table). */
#ifndef TIERWISE_VALUE_H
#define TIERWISE_VALUE_H

enum {
	VALUE_SIZE = 2048 + 1, /* of a canonical value; --tier-stage is the longest */
	VALUE_MAX_PATHS = 16,
};

/* Each checks `text` and writes its canonical form. NULL: it is good; else why it isn't, for people, static. */
typedef const char *value_check(const char *text, char canonical[VALUE_SIZE]);

value_check value_paths;   /* absolute paths with commas between them, as they were typed */
value_check value_seconds; /* whole seconds, 0 to 3600 */
value_check value_size;    /* bytes */
value_check value_rate;    /* bytes per second */
value_check value_latency; /* nanoseconds */
value_check value_retry;   /* 0 to 9 */
value_check value_env;     /* tf or torch */

#endif
