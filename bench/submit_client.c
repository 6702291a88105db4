/* Submits jobs through libslurm, one after another, as a portal or a workflow manager does: no process per job.
 *
 *   submit_client COUNT [DIRECTIVE]
 *
 * Prints for each submission when slurm_submit_batch_job was called and when it returned, in microseconds of
 * CLOCK_MONOTONIC, which all clients share. The jobs may start in an hour: what is measured is the submission. */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <slurm/slurm.h>
#include <slurm/slurm_errno.h>

static double now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

int main(int argc, char **argv)
{
	char *environment[] = {"PATH=/usr/bin:/bin", NULL};
	char directive[160];
	char *spank_environment[] = {directive, NULL};
	char *end;
	job_desc_msg_t job;
	long count;

	count = argc > 1 ? strtol(argv[1], &end, 10) : 0;
	if (count < 1 || *end != '\0' || argc > 3) {
		fprintf(stderr, "usage: submit_client COUNT [DIRECTIVE]\n");
		return 2;
	}
	slurm_init(NULL);
	slurm_init_job_desc_msg(&job);
	job.user_id = getuid();
	job.group_id = getgid();
	job.name = "submit_client";
	job.script = "#!/bin/sh\ntrue\n";
	job.work_dir = "/tmp";
	job.std_out = "/dev/null";
	job.environment = environment;
	job.env_size = 1;
	job.min_cpus = 1;
	job.pn_min_memory = 64;
	job.begin_time = time(NULL) + 3600;
	if (argc > 2) { /* what the SPANK plugin would set in sbatch */
		snprintf(directive, sizeof(directive), "TIER=%s", argv[2]);
		job.spank_job_env = spank_environment;
		job.spank_job_env_size = 1;
	}
	for (long number = 0; number < count; number++) {
		submit_response_msg_t *answer = NULL;
		double started = now_us();

		if (slurm_submit_batch_job(&job, &answer) != SLURM_SUCCESS) {
			fprintf(stderr, "submission %ld: %s\n", number, slurm_strerror(errno));
			return 1;
		}
		printf("%.1f %.1f\n", started, now_us());
		slurm_free_submit_response_response_msg(answer);
	}
	slurm_fini();
	return 0;
}
