--- By how much --tier-scratch raises a job's memory.
local scratch = require("tierwise_hook.scratch")
local slurmconf = require("tierwise_hook.slurmconf")
local spec = require("spec")

local MIB = 1024 * 1024
local file = assert(io.open(arg[1] .. "/slurm.conf", "w"))
file:write("NodeName=n[1-2] CPUs=8 RealMemory=64000\n")
file:close()
local conf = slurmconf.parse(arg[1] .. "/slurm.conf")
local partition = { name = "main", nodes = "n[1-2]", max_mem_per_node = 1000 }

local function raised(text, changes)
   local described = { batch = true, memory = 200 * MIB, memory_from = "user", nodes = 1, cpus = 1,
      partitions = { partition } }
   for name, value in pairs(changes or {}) do
      described[name] = value
   end
   return scratch.raised(text, described, conf)
end

spec.same("added", raised("8388608"), 208)
spec.same("rounded up", raised("8388609"), 209)
spec.same("default memory", raised("1048576", { memory_from = "default" }), 201)
spec.same("no scratch", raised(""), nil)
spec.same("junk", raised("8M"), nil)
spec.same("negative", raised("-1"), nil)
spec.same("far too long", raised(("9"):rep(400)), nil)
spec.same("more than the partition lets", raised(tostring(801 * MIB)), nil)
spec.same("more nodes than there are", raised("8388608", { nodes = 3 }), nil)
spec.same("all of the node", raised("8388608", { whole_node = true }), nil)
spec.same("memory per GPU", raised("8388608", { memory_from = "unknown" }), nil)
spec.same("srun and salloc", raised("8388608", { batch = false }), nil)
