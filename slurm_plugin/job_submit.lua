--- An example of a site's job_submit.lua that uses Tierwise; it lies beside slurm.conf (JobSubmitPlugins=lua).
--
-- A failing `require` would keep slurmctld from starting: pcall lets jobs in without Tierwise, and says so in the log.

package.path = "/usr/share/tierwise/?.lua;" .. package.path
local found, tierwise = pcall(require, "tierwise")

if not found then
   slurm.log_error("%s", "tierwise: not loaded, jobs go in without it: " .. tostring(tierwise))
end

function slurm_job_submit(job_desc, part_list, submit_uid)
   -- The site's own rules come first: Tierwise plans for the job as they leave it.
   return found and tierwise.submit(job_desc, part_list, submit_uid) or slurm.SUCCESS
end

function slurm_job_modify(job_desc, job_rec, part_list, modify_uid)
   return found and tierwise.modify(job_desc, job_rec, part_list, modify_uid) or slurm.SUCCESS
end

return slurm.SUCCESS
