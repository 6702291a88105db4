--- Keeps our GRES away from a job's steps: a step asks for all GRES of its job, so that parallel steps would run one
-- after another. srun reads SLURM_STEP_GRES; only sbatch's environment can be written.

local steps = {}

local UNSET = 0xfffffffe -- NO_VAL (slurm.h): no het job

-- Says that SLURM_STEP_GRES is ours: a job submitted from inside this one inherits both.
local MARK = "TIERWISE_STEP_GRES"
local leader_uid -- of the last het job whose first component's steps ask for no GRES

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

--- The place of a job in its het job, or nil.
local function het_offset(job)
   return job.het_job_offset and job.het_job_offset < UNSET and job.het_job_offset or nil
end

--- Whether a job is a further component of a het job whose steps ask for no GRES: its first component's script starts
-- them. Slurm submits components one after the other, the one with the script first.
function steps.follows(job)
   return (het_offset(job) or 0) > 0 and job.user_id == leader_uid
end

--- To be called for every job before all else.
function steps.begin(job)
   if het_offset(job) == 0 then
      leader_uid = nil
   end
end

--- As `free`, for any component of a het job.
function steps.free_component(job)
   if steps.follows(job) then
      return true
   end
   local freed = steps.free(job)
   if het_offset(job) == 0 and freed then
      leader_uid = job.user_id
   end
   return freed
end

--- Takes back what a job with GRES of its user's inherited from one of ours; an empty value is to srun as none at all.
function steps.restore(job)
   if job.environment[MARK] == "none" then
      job.environment["SLURM_STEP_GRES"] = ""
      job.environment[MARK] = ""
   end
end

return steps
