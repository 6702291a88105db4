/* CHECK: the one assertion of these tests. A test ends at its first failure, with the place, errno and the library's
 * reason. */
#ifndef TIERWISE_CHECK_H
#define TIERWISE_CHECK_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tierwise.h>

#define CHECK(condition)                                                                            \
	do {                                                                                        \
		if (!(condition)) {                                                                 \
			fprintf(stderr, "%s:%d: not so: %s (errno: %s; %s)\n", __FILE__, __LINE__,       \
				#condition, strerror(errno), tierwise_reason());                    \
			exit(1);                                                                    \
		}                                                                                   \
	} while (0)

#endif
