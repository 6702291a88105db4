--- Checks the service's answer against what Slurm knows, and writes it onto the job.
--
-- Slurm rejects a job with an unknown GRES, feature or node, and it would be our doing: nothing is written before all
-- of it has been checked. What is wrong in itself leaves the job unchanged; what only does not suit this job (a GRES
-- that not enough of its nodes have) is left away.

local comment = require("tierwise_hook.comment")
local environment = require("tierwise_hook.environment")
local hostlist = require("tierwise_hook.hostlist")
local sizing = require("tierwise_hook.sizing")
local slurmconf = require("tierwise_hook.slurmconf")
local steps = require("tierwise_hook.steps")

local answer = {}

local LONGEST = 1024 -- of comment and tres_per_node: Slurm rejects more (job_mgr.c, _test_job_desc_fields)
local LONGEST_TEXT = 512
local MIB = 1024 * 1024
local NO_VAL16 = 0xfffe -- slurm.h

--- `tier_dram:300,tier_cxl:36` as counts by name, or nil and what is wrong with it.
local function parse_gres(text, conf)
   local counts = {}
   for item in (text .. ","):gmatch("([^,]*),") do
      local name, digits = item:match("^(tier_[%w_]+):(%d+)$")
      local count = digits and #digits < 16 and tonumber(digits)
      if not count or count < 1 or counts[name] then
         return nil, "GRES " .. item .. " is not tier_NAME:COUNT, once"
      elseif not conf.gres_types[name] then
         return nil, "GRES " .. name .. " is not in GresTypes"
      elseif count > (conf.largest[name] or 0) then
         return nil, "no node has " .. item
      end
      counts[name] = count
   end
   return counts
end

local function holds(shape, counts, described)
   if shape.cpus < described.cpus or shape.memory * MIB < described.memory then
      return false
   end
   for name, count in pairs(counts) do
      if (shape.gres[name] or 0) < count then
         return false
      end
   end
   return true
end

--- Whether the user chose among the nodes in a way that we can't follow; a single feature we can.
local function narrowed(job)
   return job.req_nodes ~= nil or job.exc_nodes ~= nil or job.reservation ~= nil
      or (job.features ~= nil and not job.features:find("^[%w_%-%.]+$"))
end

--- Whether enough nodes of the partition hold the counts: all of them where the user's choice is not ours to follow.
local function fits(job, partition, counts, described, conf)
   local shapes = slurmconf.shapes(conf, partition.nodes or "")
   local holding, others = 0, shapes.unknown
   for _, entry in ipairs(shapes) do
      local eligible = not job.features or narrowed(job) or entry.shape.features[job.features]
      if eligible and holds(entry.shape, counts, described) then
         holding = holding + entry.count
      elseif eligible then
         others = others + entry.count
      end
   end
   return holding >= described.nodes and not (narrowed(job) and others > 0)
end

local function fits_everywhere(job, counts, described, conf)
   for _, partition in ipairs(described.partitions) do
      if not fits(job, partition, counts, described, conf) then
         return false
      end
   end
   return true
end

--- The nodes of `text` that the job must not get, as Slurm takes them, or nil and what is wrong.
local function check_exclude(text, described, conf)
   local excluded = {}
   for _, name in ipairs(hostlist.expand(text) or { "" }) do
      if not conf.nodes[name] then
         return nil, "node " .. name .. " to exclude is unknown"
      end
      excluded[name] = true
   end
   for _, partition in ipairs(described.partitions) do
      local known = slurmconf.shapes(conf, partition.nodes or "")
      local left = known.size
      for name in pairs(excluded) do
         left = left - (known.members[name] and 1 or 0)
      end
      if left <= described.nodes then
         return nil, "excluding " .. text .. " leaves " .. left .. " nodes in " .. partition.name
      end
   end
   return text
end

--- Text from the service as one line for a terminal: no escape sequence reaches it.
local function printable(text)
   return (text:gsub("%c+", " "):sub(1, LONGEST_TEXT))
end

local function present(text)
   return text ~= nil and text ~= ""
end

--- Adds `memory` (MiB per node), `minutes` and `variables` to `writes`; returns what is wrong with them.
local function check_limits(fields, described, conf, writes)
   local wrong, wrong_time, wrong_environment
   if present(fields.mem) then
      writes.memory, wrong = sizing.memory(fields.mem, described, conf)
   end
   if present(fields.time) then
      writes.minutes, wrong_time = sizing.minutes(fields.time, described)
   end
   if present(fields.environment) and described.batch then
      writes.variables, wrong_environment = environment.check(fields.environment)
   end
   return wrong or wrong_time or wrong_environment
end

--- `described` as it will be with `memory` MiB per node.
local function with_memory(described, memory)
   return memory and setmetatable({ memory = memory * MIB }, { __index = described }) or described
end

--- What to write onto the job, or nil and why the answer is not to be believed. Writes nothing.
-- @return a table with some of `refuse`, `notice`, `comment`, `gres`, `prefer`, `exclude`, `memory`, `minutes`,
-- `variables`
function answer.check(fields, job, described, conf)
   local writes = {}
   if present(fields.notice) and described.directive ~= "" then -- who asked for nothing is told nothing
      writes.notice = printable(fields.notice)
   elseif present(fields.advice) then -- but who asks for far too much is
      writes.notice = printable(fields.advice)
   end
   if fields.status == "none" then
      return writes
   elseif fields.status == "refused" then
      if described.directive == "" or described.memory_from ~= "user" then
         return nil, "refused a job that has no sizes beyond an explicit --mem"
      end
      return { refuse = printable(fields.reason or "refused by the decision service") }
   elseif fields.status ~= "ok" then
      return nil, "status " .. printable(fields.status or "missing") .. ": " .. printable(fields.reason or "")
   elseif not comment.is_token(fields.token or "") then
      return nil, "it has no token"
   end
   writes.comment = comment.append(job.comment or "", fields.token)
   if (described.retry or 0) > 0 and job.requeue == NO_VAL16 then
      writes.requeue = 1 -- who asks for retries may be requeued, whatever JobRequeue says, unless they say --no-requeue
   end
   if #writes.comment > LONGEST then
      return nil, "the job's comment has no room for a token"
   end
   local wrong = check_limits(fields, described, conf, writes)
   if wrong then
      return nil, wrong
   end
   -- GRES add up to the job's memory: where that can't be written, neither can they.
   if present(fields.gres) and (writes.memory or not present(fields.mem)) then
      local counts
      counts, wrong = parse_gres(fields.gres, conf)
      if not counts then
         return nil, wrong
      elseif described.batch and not described.user_gres and #fields.gres * 2 < LONGEST
          and fits_everywhere(job, counts, with_memory(described, writes.memory), conf) then
         writes.gres = fields.gres
      end
   end
   if present(fields.prefer) then
      if not conf.features[fields.prefer] then
         return nil, "feature " .. printable(fields.prefer) .. " is unknown"
      elseif not job.features and not job.prefer then -- --prefer replaces --constraint where it can be met
         writes.prefer = fields.prefer
      end
   end
   if present(fields.exclude) then
      local exclude
      exclude, wrong = check_exclude(fields.exclude, described, conf)
      if not exclude then
         return nil, wrong
      elseif not narrowed(job) and not job.features then -- what is left must be what the job can get
         writes.exclude = exclude
      end
   end
   return writes
end

--- Writes what `check` returned.
function answer.write(writes, job)
   if writes.gres and steps.free_component(job) then
      job.gres = writes.gres -- Slurm puts "gres:" or "gres/" before it, as the release has it
   end
   for name, value in pairs({
      comment = writes.comment,
      prefer = writes.prefer,
      exc_nodes = writes.exclude,
      min_mem_per_node = writes.memory, -- instead of memory per CPU, too: Slurm keeps both in one field
      time_limit = writes.minutes,
      requeue = writes.requeue,
   }) do
      job[name] = value
   end
   if writes.variables then
      environment.write(writes.variables, job)
   end
end

return answer
