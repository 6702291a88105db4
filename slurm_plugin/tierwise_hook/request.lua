--- A submission as the decision service is asked about it: memory per node in bytes, nodes, CPUs, directive.

local slurmconf = require("tierwise_hook.slurmconf")
local steps = require("tierwise_hook.steps")

local request = {}

local MIB = 1024 * 1024
-- Bytes of these that are told: with every one of them escaped the question still fits into a message.
local LONGEST = { word = 256, argument = 1024, path = 1024, script = 16 * 1024 }
-- NO_VAL16, INFINITE16, NO_VAL, INFINITE (slurm.h): the user said nothing. No count of theirs is as large.
local UNSET = { [0xfffe] = true, [0xffff] = true, [0xfffffffe] = true, [0xffffffff] = true }

--- `value` when it is a number that somebody gave, else nil.
local function given(value)
   return value and not UNSET[value] and value or nil
end

--- The value of a SPANK option: job_desc.spank_job_env holds "NAME=value" strings, counted from 0.
function request.spank(job, name)
   for _, text in pairs(job.spank_job_env or {}) do
      local value = text:match("^" .. name .. "=(.*)$") or text:match("^SPANK_" .. name .. "=(.*)$")
      if value then
         return value
      end
   end
   return ""
end

--- The partitions that the job asks for, as Slurm's records; the default one where it names none.
function request.partitions(job, part_list)
   local found = {}
   for name in (job.partition or ""):gmatch("[^,]+") do
      found[#found + 1] = part_list[name]
   end
   if not job.partition then
      for _, partition in pairs(part_list) do
         if partition.flag_default == 1 then
            found[1] = partition
         end
      end
   end
   return found
end

--- How many nodes, and CPUs on each. A job that leaves the number of nodes open gets as few as can hold its CPUs.
function request.size(job, largest_node)
   local per_task = given(job.cpus_per_task) or 1
   local all = math.max(given(job.min_cpus) or 1, (given(job.num_tasks) or 1) * per_task)
   local nodes = math.max(given(job.min_nodes) or 1, 1)
   if given(job.max_nodes) ~= nodes and largest_node > 0 then
      nodes = math.max(nodes, math.ceil(all / largest_node))
   end
   local cpus = math.max(math.ceil(all / nodes), (given(job.ntasks_per_node) or 1) * per_task,
      given(job.pn_min_cpus) or 1)
   return nodes, cpus
end

--- The CPUs of every node that the job may get, when all have the same number, else nil.
local function equal_cpus(shapes)
   local cpus
   for _, entry in ipairs(shapes) do
      if cpus and cpus ~= entry.shape.cpus then
         return nil
      end
      cpus = entry.shape.cpus
   end
   return cpus
end

--- What Slurm gives a job that names no memory: MiB per node and per CPU, 0 for none (job_mgr.c: the partition's, else
-- the cluster's).
local function default_memory(partition, conf)
   local per_node, per_cpu = partition.def_mem_per_node or 0, partition.def_mem_per_cpu or 0
   if per_node == 0 and per_cpu == 0 then
      per_node, per_cpu = conf.def_mem_per_node, conf.def_mem_per_cpu
   end
   return per_node, per_cpu
end

--- Bytes per node, who said so, and whether it is all that the node has.
function request.memory(job, cpus, partition, shapes, conf)
   local per_node, per_cpu = job.min_mem_per_node, job.min_mem_per_cpu
   local from = "user"
   if job.mem_per_tres then
      return 0, "unknown", false -- so much per GPU, of which there may be any number
   elseif not per_node and not per_cpu then
      from = "default"
      per_node, per_cpu = default_memory(partition, conf)
      if per_node == 0 and per_cpu == 0 then
         return 0, conf.memory_is_consumed and "default" or "unknown", conf.memory_is_consumed
      end
   end
   if (per_cpu or 0) > 0 then
      if job.shared == 0 then -- --exclusive: all CPUs of the node, each with its memory
         cpus = equal_cpus(shapes)
      end
      return cpus and per_cpu * cpus * MIB or 0, cpus and from or "unknown", false
   end
   return (per_node or 0) * MIB, from, (per_node or 0) == 0
end

--- Whether the user asked for GRES: then ours are left away, because --gres=none for steps would take theirs.
function request.has_gres(job)
   for _, name in ipairs({ "tres_per_node", "tres_per_job", "tres_per_socket", "tres_per_task" }) do
      if (job[name] or ""):find("gres") then -- tres_per_task may also be "cpu=2" (24.11)
         return true
      end
   end
   return job.cpus_per_tres ~= nil or job.mem_per_tres ~= nil
end

--- `text` without what exceeds `most` bytes; UTF-8 is cut between two characters.
local function cut(text, most)
   text = text or ""
   local head = text:sub(1, most)
   return text:find("^[\128-\191]", most + 1) and head:gsub("[\192-\247][\128-\191]*$", "") or head
end

--- The job's time limit in seconds, 0 where the user gave none or no end.
local function seconds(job)
   return (given(job.time_limit) or 0) * 60
end

--- The arguments of the batch script as one line.
local function arguments(job)
   local found = {}
   for index, text in pairs(job.argv or {}) do
      found[#found + 1] = { tonumber(index) or 0, text }
   end
   table.sort(found, function(a, b) return a[1] < b[1] end)
   for index, pair in ipairs(found) do
      found[index] = pair[2]
   end
   return cut(table.concat(found, " ", 2), LONGEST.argument) -- the first is the script's own path
end

--- Everything that the checks and the question need, or nil and why there is nothing to ask.
function request.describe(job, part_list, conf)
   local partitions = request.partitions(job, part_list)
   local partition = partitions[1]
   if not partition then
      return nil, "the job has no partition that its user may use"
   end
   local shapes, largest = slurmconf.shapes(conf, partition.nodes or ""), 0
   for _, entry in ipairs(shapes) do
      largest = math.max(largest, entry.shape.cpus)
   end
   local nodes, cpus = request.size(job, largest)
   local memory, from, whole = request.memory(job, cpus, partition, shapes, conf)
   return {
      directive = request.spank(job, "TIER"),
      partitions = partitions,
      nodes = nodes,
      cpus = cpus,
      memory = memory,
      memory_from = from,
      whole_node = whole,
      batch = job.script ~= nil or steps.follows(job),
      user_gres = request.has_gres(job),
      retry = tonumber(request.spank(job, "TIER_RETRY"):match("^%d$") or 0),
   }
end

--- The question's fields, in the order of docs/protocol.md.
function request.fields(job, described)
   return {
      { "uid", job.user_id },
      { "partition", described.partitions[1].name },
      { "nodes", described.nodes },
      { "cpus", described.cpus },
      { "tier", described.directive },
      { "mem", described.memory },
      { "mem_from", described.memory_from },
      { "whole_node", described.whole_node and 1 or 0 },
      { "user_gres", described.user_gres and 1 or 0 },
      { "launch", described.batch and "sbatch" or "other" },
      { "job_name", cut(job.name, LONGEST.word) },
      { "account", cut(job.account or job.default_account, LONGEST.word) },
      { "time", seconds(job) },
      { "array", job.array_inx and 1 or 0 },
      { "dependency", job.dependency and 1 or 0 },
      { "work_dir", cut(job.work_dir, LONGEST.path) },
      { "image", cut(job.container, LONGEST.path) },
      { "args", arguments(job) },
      { "net", cut(request.spank(job, "TIER_NET"), LONGEST.word) },
      { "latency", cut(request.spank(job, "TIER_LATENCY"), LONGEST.word) },
      { "retry", described.retry },
      { "env", cut(request.spank(job, "TIER_ENV"), LONGEST.word) },
      { "scratch", cut(request.spank(job, "TIER_SCRATCH"), LONGEST.word) },
      { "script", cut(job.script, LONGEST.script) },
   }
end

return request
