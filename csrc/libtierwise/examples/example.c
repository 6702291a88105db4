/* A grid that is used all the time, and a trace that is written once. */
#include <stdio.h>
#include <tierwise.h>

int main(void)
{
	size_t n = 1 << 20;
	double *grid = tierwise_alloc(n * sizeof *grid, TIERWISE_LAT);
	double *trace = tierwise_alloc(n * sizeof *trace, TIERWISE_CAP);

	if (!grid || !trace)
		return 1;
	for (size_t i = 0; i < n; i++)
		trace[i] = grid[i] = (double)i;

	struct tierwise_share shares[8];
	int count = tierwise_where(grid, n * sizeof *grid, shares, 8);
	for (int i = 0; i < count && i < 8; i++)
		printf("grid: %zu bytes on %s\n", shares[i].bytes, shares[i].tier);
	if (tierwise_hint(grid) != TIERWISE_TAKEN)
		printf("grid: %s\n", tierwise_reason());
	tierwise_free(trace);
	tierwise_free(grid);
	return 0;
}
