--- Memory and time that the service estimated: for jobs that say --tier=auto alone, and only as far as Slurm would
-- take them. What is wrong in itself is said; what only doesn't suit the job's partitions is left away.

local slurmconf = require("tierwise_hook.slurmconf")

local sizing = {}

local MIB = 1024 * 1024
local UNLIMITED = { [0] = true, [0xfffffffe] = true, [0xffffffff] = true } -- none, NO_VAL, INFINITE (slurm.h)

--- A whole number of at least one, or nil.
local function counted(text)
   local number = #text <= 16 and text:match("^%d+$") and tonumber(text)
   return number and number >= 1 and number or nil
end

--- `value` as a limit; none at all is a very large one.
local function limit(value)
   return value and not UNLIMITED[value] and value or math.huge
end

--- MiB per node that a partition lets a job with `cpus` CPUs on each have (job_mgr.c: the partition's limit, else the
-- cluster's).
local function most_memory(partition, cpus, conf)
   local node, cpu = limit(partition.max_mem_per_node), limit(partition.max_mem_per_cpu)
   if node == math.huge and cpu == math.huge then
      node, cpu = limit(conf.max_mem_per_node), limit(conf.max_mem_per_cpu)
   end
   return math.min(node, cpu * cpus)
end

--- How many of a partition's nodes have `mib` of memory.
local function nodes_with(mib, partition, conf)
   local count = 0
   for _, entry in ipairs(slurmconf.shapes(conf, partition.nodes or "")) do
      count = count + (entry.shape.memory >= mib and entry.count or 0)
   end
   return count
end

--- Whether Slurm would take a job with `mib` per node, in each of its partitions.
function sizing.suits(mib, described, conf)
   for _, partition in ipairs(described.partitions) do
      if mib > most_memory(partition, described.cpus, conf) or nodes_with(mib, partition, conf) < described.nodes then
         return false
      end
   end
   return true
end

--- MiB per node to write; nil where there is nothing to write, with what is wrong where something is.
function sizing.memory(text, described, conf)
   local bytes = counted(text)
   if not bytes or bytes < MIB then
      return nil, "mem is no number of bytes"
   elseif described.directive ~= "auto" then
      return nil, "mem for a job that didn't say --tier=auto"
   elseif described.memory_from == "unknown" or (described.memory_from == "user" and not described.batch) then
      return nil -- memory per GPU; a step of srun's own, which would ask for what its user said
   end
   local mib = math.ceil(bytes / MIB)
   return sizing.suits(mib, described, conf) and mib or nil
end

--- Minutes to write; nil where there is nothing to write, with what is wrong where something is.
function sizing.minutes(text, described)
   local seconds = counted(text)
   if not seconds then
      return nil, "time is no number of seconds"
   elseif described.directive ~= "auto" then
      return nil, "time for a job that didn't say --tier=auto"
   end
   local minutes = math.ceil(seconds / 60)
   for _, partition in ipairs(described.partitions) do
      if minutes > limit(partition.max_time) then
         return nil
      end
   end
   return minutes
end

return sizing
