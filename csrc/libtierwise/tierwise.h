/* libtierwise: memory where the program says that it belongs.
 *
 *     #include <tierwise.h>                      cc program.c -ltierwise
 *
 *     double *grid  = tierwise_alloc(bytes, TIERWISE_LAT);
 *     char   *trace = tierwise_alloc(bytes, TIERWISE_CAP);
 *     tierwise_free(grid);
 *
 * The node's agent grants memory on its tiers within the job's memory limit. Without an agent, or where it refuses,
 * memory comes from wherever the kernel has some, and tierwise_hint() says so: no call fails because a hint could not
 * be taken. All functions may be called from any thread. After fork(2) a child may use and free what it inherited.
 *
 * Sizes are bytes. Functions that return a pointer return NULL with errno set, those that return int -1 with errno set.
 */
#ifndef TIERWISE_H
#define TIERWISE_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What the memory is like; they combine by `|`, 0 is no hint at all.
 * LAT and SHL fill the tiers from the fastest on, CAP from the slowest. BW spreads over tiers by their bandwidth.
 * Together, CAP leaves out the fastest tier, LAT or SHL the slowest, and BW spreads over what is left. */
#define TIERWISE_LAT 1u /* latency-sensitive */
#define TIERWISE_BW 2u  /* bandwidth-intensive */
#define TIERWISE_CAP 4u /* large and rarely used */
#define TIERWISE_SHL 8u /* short-lived */

/* Whether a hint was taken. */
#define TIERWISE_TAKEN 0     /* all of it was granted where it should be */
#define TIERWISE_PARTLY 1    /* granted, but a part is on another tier: tierwise_reason() says which */
#define TIERWISE_NO_AGENT 2  /* nobody could be asked: the kernel places it */
#define TIERWISE_REFUSED 3   /* the agent said no (no job, a limit is reached): the kernel places it */
#define TIERWISE_IMPOSSIBLE 4 /* granted, but this kernel would not set the policy */
#define TIERWISE_NO_HINT 5   /* none was given */

/* Memory for `size` bytes, aligned for any type; 0 bytes are one. ENOMEM, or EINVAL for unknown flags. */
void *tierwise_alloc(size_t size, unsigned flags);

/* The same on one tier by its name, "dram", "pmem" or "cxl". EINVAL for a name that no tier can have. */
void *tierwise_alloc_on(size_t size, const char *tier);

/* `memory` with room for `size` bytes, perhaps at another address (then the old one is gone); its hint stays. NULL:
 * nothing has changed. */
void *tierwise_grow(void *memory, size_t size);

/* Give memory of this library back; NULL is nothing. What is not this library's ends the program. */
void tierwise_free(void *memory);

/* How many bytes `memory`, of this library, has room for. */
size_t tierwise_size(const void *memory);

/* Say what an existing range is like: pages that are there move, and new ones follow. Whole pages within the range
 * count. Returns one of TIERWISE_TAKEN to TIERWISE_IMPOSSIBLE, or -1: EINVAL for a range without a whole page. */
int tierwise_advise(void *start, size_t size, unsigned flags);
int tierwise_advise_on(void *start, size_t size, const char *tier);

/* Whether the hint for memory or a region of this library was taken (TIERWISE_TAKEN to TIERWISE_NO_HINT); EINVAL for
 * other memory. */
int tierwise_hint(const void *memory);

/* Why the calling thread's last hint was not, or only partly, taken, or why its last call failed; "" where there is
 * nothing to say. Good until this thread's next call. */
const char *tierwise_reason(void);

/* Bytes of a range on one tier. */
struct tierwise_share {
	char tier[16]; /* "dram", "pmem", "cxl"; "node3" where no agent named the node; "" for what was never touched */
	size_t bytes;
};

/* Where the pages of a range are: the number of shares, of which at most `room` are written. */
int tierwise_where(const void *start, size_t size, struct tierwise_share *shares, int room);

/* Named regions: memory that all processes of one user on this node may map, in any of their jobs. A region lives as
 * long as anybody holds it. These do need an agent: ENOTCONN without one.
 * Names are letters, digits, '.', '_' and '-', at most 64, beginning with a letter or a digit. */
#define TIERWISE_CREATE 1u /* create it if it is not there */
#define TIERWISE_EXCL 2u   /* with CREATE: EEXIST if it is there */
#define TIERWISE_RETAIN 4u /* with CREATE: keep its data, when nobody holds it, on the node's persistent tier; ENOTSUP
			    * where there is none. tierwise_region_drop() ends it. */

/* Map region `name`, of at least `size` bytes (0: as large as it is). `flags` or `tier` count for a new one.
 * ENOENT, EEXIST, EINVAL for a name, EDQUOT beyond the quota, EACCES where the agent refuses. */
void *tierwise_region_open(const char *name, size_t size, unsigned flags, unsigned options);
void *tierwise_region_open_on(const char *name, size_t size, const char *tier, unsigned options);

/* How many bytes of the region are mapped at `region`. */
size_t tierwise_region_size(const void *region);

/* Make the region at least `size` bytes and map all of it, perhaps at another address. Other holders see the new part
 * when they call this too. */
void *tierwise_region_grow(void *region, size_t size);

/* Stop holding a region. */
int tierwise_region_close(void *region);

/* Take the name away: it ends, retained or not, when the last holder is gone. */
int tierwise_region_drop(const char *name);

/* A tier is short of memory, and the agent is taking back what it granted there. */
struct tierwise_event {
	char tier[16];
	size_t bytes; /* how much of this process's memory on that tier */
};

/* A descriptor that can be read (poll(2)) while there are events, the same one each time; never close it. ENOTCONN
 * without an agent; poll says POLLHUP when the agent has gone, and the next call returns a new one. */
int tierwise_events(void);

/* The next event: 1, or 0 if there is none now. */
int tierwise_next_event(struct tierwise_event *event);

#ifdef __cplusplus
}
#endif

#endif
