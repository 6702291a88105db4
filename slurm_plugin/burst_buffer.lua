--- An example of a site's burst_buffer.lua that uses Tierwise; it lies beside slurm.conf
-- (BurstBufferType=burst_buffer/lua), and the hook is told: tierwise.setup({ burst_buffer = true }) in job_submit.lua.
--
-- Jobs with --tier-stage that name their nodes are staged there while they are pending. Nothing here holds a job: each
-- function returns at once, and successfully whatever happens.

package.path = "/usr/share/tierwise/?.lua;" .. package.path
local SOCKET = "/run/tierwise/hook.sock" -- the decision service's `hook_socket`

for _, name in ipairs({ "job_process", "pools", "job_teardown", "data_in", "real_size", "paths", "pre_run", "post_run",
   "data_out", "get_status" }) do
   _G["slurm_bb_" .. name] = function()
      return slurm.SUCCESS
   end
end

-- Called while the job is pending, in a process of Slurm's own, just before data_in, which in Slurm 22.05 has no uid.
function slurm_bb_setup(job_id, uid, gid, pool, size, job_script)
   local ran, told, why = pcall(function()
      return require("tierwise_hook.ahead").tell(SOCKET, job_id, uid, job_script)
   end)
   if not (ran and told) then
      slurm.log_error("%s", "tierwise: job " .. tostring(job_id) .. " is not staged ahead: " .. tostring(why or told))
   end
   return slurm.SUCCESS
end
