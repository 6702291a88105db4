--- The question about each submission that was recorded from a real slurmctld (record.py).
local request = require("tierwise_hook.request")
local slurmconf = require("tierwise_hook.slurmconf")
local spec = require("spec")

local folder, fixture = arg[1], dofile(arg[2])
local file = assert(io.open(folder .. "/slurm.conf", "w"))
file:write(fixture.conf)
file:close()
local conf = slurmconf.parse(folder .. "/slurm.conf")

-- nodes, CPUs on each, MiB on each, who said so, whether it is the whole node
local WANTED = {
   plain = { 1, 1, 256, "default", false },
   tier = { 1, 1, 300, "user", false },
   mem = { 1, 1, 300, "user", false },
   ["mem-zero"] = { 1, 1, 0, "user", true },
   ["mem-large"] = { 1, 1, 3 * 1024 * 1024, "user", false },
   ["mem-per-cpu"] = { 2, 4, 400, "user", false },
   ["mem-per-cpu-zero"] = { 1, 1, 0, "user", true },
   ["tasks-per-node"] = { 2, 6, 600, "user", false },
   ["open-nodes"] = { 3, 2, 200, "user", false },
   mincpus = { 1, 2, 200, "user", false },
   exclusive = { 1, 1, 256, "default", false },
   ["exclusive-per-cpu"] = { 1, 1, 200, "user", false },
   ["exclusive-user"] = { 1, 1, 100, "user", false },
   range = { 2, 1, 100, "user", false },
   ["mem-per-gpu"] = { 1, 1, 0, "unknown", false },
   cpus = { 1, 2, 100, "user", false },
   partition = { 1, 1, 100, "default", false },
   partitions = { 1, 1, 100, "user", false },
   het = nil, -- two of one name: below
}
local USER_GRES = { gres = true, gpus = true, ["gpus-per-task"] = true, ["mem-per-gpu"] = true }
local DIRECTIVE = { tier = "lat:67108864,cap", srun = "cap", salloc = "cap" }

local seen, het = 0, {}
for _, job in ipairs(fixture) do
   local described = request.describe(job, fixture.partitions, conf)
   if WANTED[job.name] then
      seen = seen + 1
      spec.same(job.name, { described.nodes, described.cpus, described.memory / 1024 / 1024, described.memory_from,
         described.whole_node }, WANTED[job.name])
   end
   if job.name == "het" then
      het[#het + 1] = described.memory
   end
   spec.same(job.name .. ": GRES", described.user_gres, USER_GRES[job.name] or false)
   spec.same(job.name .. ": directive", described.directive, DIRECTIVE[job.name] or "")
   spec.same(job.name .. ": partitions", #described.partitions, job.name == "partitions" and 2 or 1)
   spec.same(job.name .. ": batch", described.batch,
      job.name ~= "srun" and job.name ~= "salloc" and job.het_job_offset ~= 1)
end
spec.same("all were there", seen, 18)
spec.same("het components", het, { 100 * 1024 * 1024, 50 * 1024 * 1024 })

-- Without any default a job gets all of the node where memory is consumed.
local plain = fixture[1]
conf.def_mem_per_node = 0
local described = request.describe(plain, fixture.partitions, conf)
spec.same("no default", { described.memory, described.memory_from, described.whole_node }, { 0, "default", true })
conf.memory_is_consumed = false
described = request.describe(plain, fixture.partitions, conf)
spec.same("no limit", { described.memory, described.memory_from, described.whole_node }, { 0, "unknown", false })

local fields = {}
for _, pair in ipairs(request.fields(fixture[2], request.describe(fixture[2], fixture.partitions, conf))) do
   fields[pair[1]] = pair[2]
end
fields.uid = nil
spec.same("fields", fields, { partition = "main", nodes = 1, tier = "lat:67108864,cap", mem = 300 * 1024 * 1024,
   mem_from = "user", whole_node = 0, user_gres = 0, launch = "sbatch", job_name = "tier", account = "" })
local nobody, why = request.describe({ partition = "closed" }, fixture.partitions, conf)
spec.same("no partition", { nobody, type(why) }, { nil, "string" })
spec.done()
