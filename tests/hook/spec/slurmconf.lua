local slurmconf = require("tierwise_hook.slurmconf")
local spec = require("spec")

local folder = arg[1]

local function write(name, text)
   local file = assert(io.open(folder .. "/" .. name, "w"))
   file:write(text)
   file:close()
end

write("slurm.conf", [[
# GresTypes=commented
GresTypes=gpu,tier_dram,tier_cxl   # NodeName=comment
DefMemPerCPU = 512
SelectTypeParameters=CR_Core
NodeName=DEFAULT CPUs=8 RealMemory=64000
nodename=n[1-3] Gres=tier_dram:4000,gpu:a100:2 feature=fast,intel
NodeName=n[4-5] \
  Gres=tier_dram:2K,tier_cxl:no_consume:1M Features="slow"
PartitionName=main Nodes=n[1-5] DefMemPerNode=77 Default=YES
include nodes.conf
Include missing.conf
]])
write("nodes.conf", [[
NodeName=s[1-2] Sockets=2 CoresPerSocket=4 ThreadsPerCore=2 CPUs=16 RealMemory=128
NodeName=a1
NodeName=a2
]])

local conf = slurmconf.parse(folder .. "/slurm.conf")
spec.same("types", conf.gres_types, { gpu = true, tier_dram = true, tier_cxl = true })
spec.same("largest", conf.largest, { tier_dram = 4000, tier_cxl = 1024 * 1024, gpu = 2 })
spec.same("features", conf.features, { fast = true, intel = true, slow = true })
spec.same("memory", { conf.def_mem_per_node, conf.def_mem_per_cpu, conf.memory_is_consumed }, { 0, 512, false })
spec.same("shape", conf.nodes.n2,
   { cpus = 8, memory = 64000, gres = { tier_dram = 4000, gpu = 2 }, features = { fast = true, intel = true } })
spec.same("included", { conf.nodes.s2.cpus, conf.nodes.s2.memory }, { 16, 128 })
spec.same("alike nodes share a shape", conf.nodes.a1 == conf.nodes.a2, true)
spec.same("unknown", conf.nodes.n6, nil)

local shapes = slurmconf.shapes(conf, "n[1-5],gone")
table.sort(shapes, function(a, b) return a.count < b.count end)
spec.same("shapes", { #shapes, shapes[1].count, shapes[2].count, shapes.unknown, shapes.size }, { 2, 2, 3, 1, 6 })

-- What slurmctld has not learned before it starts again must not be offered to it.
local now = os.time
local before = slurmconf.current(folder .. "/slurm.conf")
write("slurm.conf", "GresTypes=gpu,tier_new\nNodeName=n9 CPUs=1 Gres=tier_new:5\n")
spec.same("cached", slurmconf.current(folder .. "/slurm.conf") == before, true)
os.time = function() return now() + 6 end
local after = slurmconf.current(folder .. "/slurm.conf")
spec.same("read again", { after.nodes.n9 ~= nil, after.nodes.n1 == nil }, { true, true })
spec.same("GresTypes are those of the start", after.gres_types, conf.gres_types)
os.time = function() return now() + 12 end
spec.same("unchanged text isn't parsed again", slurmconf.current(folder .. "/slurm.conf") == after, true)
spec.done()
