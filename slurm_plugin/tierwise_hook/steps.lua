--- Keeps our GRES away from a job's steps: a step asks for all GRES of its job, so that parallel steps would run one
-- after another. srun reads SLURM_STEP_GRES; only sbatch's environment can be written.

local steps = {}

-- Says that SLURM_STEP_GRES is ours: a job submitted from inside this one inherits both.
local MARK = "TIERWISE_STEP_GRES"

--- Whether the job's steps now ask for no GRES. False where the user chose otherwise, or nothing can be written.
function steps.free(job)
   local chosen = job.environment["SLURM_STEP_GRES"]
   if chosen and chosen ~= "" and chosen ~= "none" then
      return false
   end
   job.environment["SLURM_STEP_GRES"] = "none"
   job.environment[MARK] = "none"
   return job.environment["SLURM_STEP_GRES"] == "none"
end

--- Takes back what a job with GRES of its user's inherited from one of ours; an empty value is to srun as none at all.
function steps.restore(job)
   if job.environment[MARK] == "none" then
      job.environment["SLURM_STEP_GRES"] = ""
      job.environment[MARK] = ""
   end
end

return steps
