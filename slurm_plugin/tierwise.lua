--- Tierwise's part of job_submit.lua (docs/protocol.md, *submit*). A site's own script calls it:
--
--    package.path = "/usr/share/tierwise/?.lua;" .. package.path
--    local found, tierwise = pcall(require, "tierwise")
--
-- and returns `found and tierwise.submit(job_desc, part_list, submit_uid) or slurm.SUCCESS` from slurm_job_submit,
-- `found and tierwise.modify(job_desc, job_rec, part_list, modify_uid) or slurm.SUCCESS` from slurm_job_modify.
--
-- Whatever goes wrong in here, the job goes in as its user wrote it: each body runs in pcall, since Slurm 26.05 rejects
-- a job whose hook raises an error. For Lua 5.1 to 5.4.

local ahead = require("tierwise_hook.ahead")
local answer = require("tierwise_hook.answer")
local comment = require("tierwise_hook.comment")
local request = require("tierwise_hook.request")
local scratch = require("tierwise_hook.scratch")
local service = require("tierwise_hook.service")
local slurmconf = require("tierwise_hook.slurmconf")
local steps = require("tierwise_hook.steps")

local tierwise = {}

local LOG_EVERY_S = 60
local MIB = 1024 * 1024
-- ESLURM_INVALID_TASK_MEMORY: sbatch prints "Memory required by task is not available" below our own words, where
-- slurm.ERROR would be an "Unspecified error".
local REFUSED = 2044

local settings = {
   socket = "/run/tierwise/hook.sock", -- the service's `hook_socket`
   budget_ms = 200,                    -- over connecting, asking and waiting
   slurm_conf = os.getenv("SLURM_CONF") or "/etc/slurm/slurm.conf", -- slurmctld sets SLURM_CONF itself
   burst_buffer = false,               -- whether burst_buffer.lua stages for pending jobs
}
local unchanged, logged = 0, nil

--- Replaces some of the settings: `socket`, `budget_ms`, `slurm_conf`, `burst_buffer`.
function tierwise.setup(changes)
   for key, value in pairs(changes) do
      if type(value) == type(settings[key]) then
         settings[key] = value
      else
         slurm.log_error("%s", "tierwise.setup: no such setting, or not of its type: " .. tostring(key))
      end
   end
end

--- Counts a job that went in as if we were not installed, and says so at most once a minute.
local function failed_open(why)
   unchanged = unchanged + 1
   local now = os.time()
   if not logged or math.abs(now - logged) >= LOG_EVERY_S then
      logged = now
      slurm.log_error("%s", ("tierwise: %d submissions went in unchanged since slurmctld loaded the hook; the last: %s")
         :format(unchanged, why:sub(1, 512)))
   end
end

--- A job submitted from inside one of ours inherits its environment and often its comment: takes out what is ours.
local function disown(job)
   steps.begin(job)
   if job.comment and job.comment:find("tierwise=", 1, true) then
      job.comment = comment.strip(job.comment)
   end
   if job.script and request.has_gres(job) then
      steps.restore(job)
   end
end

--- Lets Slurm tell of what the job stages while it is pending. Slurm refuses root burst buffers, and an array's tasks
-- would each have one.
local function stage_ahead(job)
   if settings.burst_buffer and job.script and not job.burst_buffer and not job.array_inx and job.user_id ~= 0 then
      local line = ahead.directive(request.spank(job, "TIER_STAGE"), job.req_nodes)
      if line then
         job.burst_buffer = line
      end
   end
end

local function submit(job, part_list)
   disown(job)
   local resting = service.resting()
   if resting then
      return nil, resting
   end
   local conf = slurmconf.current(settings.slurm_conf)
   local described, why = request.describe(job, part_list, conf)
   if not described then
      return nil, why
   end
   local raised = scratch.raised(request.spank(job, "TIER_SCRATCH"), described, conf)
   if raised then
      described.memory = raised * MIB
   end
   local fields
   fields, why = service.ask(settings.socket, settings.budget_ms / 1000, request.fields(job, described))
   if not fields then
      return nil, why
   end
   local writes
   writes, why = answer.check(fields, job, described, conf)
   if writes and not writes.refuse then
      writes.memory = writes.memory or raised
      answer.write(writes, job)
      stage_ahead(job)
   end
   return writes, why
end

--- Plans a submission. Refused only where the directive asks for more than the job's own --mem.
function tierwise.submit(job_desc, part_list, submit_uid)
   local ran, writes, why = pcall(submit, job_desc, part_list)
   if not ran or not writes then
      failed_open(tostring(why or writes))
      return slurm.SUCCESS
   end
   local text = writes.refuse or writes.notice
   if text then
      slurm.log_user("%s", "tierwise: " .. text)
   end
   return writes.refuse and REFUSED or slurm.SUCCESS
end

--- Keeps the plan's token when somebody changes the comment of a job.
function tierwise.modify(job_desc, job_rec, part_list, modify_uid)
   local ran, why = pcall(function()
      local changed = job_desc.comment
      if changed then
         local token = comment.token(job_rec.comment or "")
         job_desc.comment = token and comment.append(changed, token) or comment.strip(changed)
      end
   end)
   if not ran then
      failed_open(tostring(why))
   end
   return slurm.SUCCESS
end

return tierwise
