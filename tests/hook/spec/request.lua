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
local WITHOUT_MORE = { partition = "main", nodes = 1, cpus = 1, tier = "lat:67108864,cap", mem = 300 * 1024 * 1024,
   mem_from = "user", whole_node = 0, user_gres = 0, launch = "sbatch", job_name = "tier", account = "",
   time = 0, array = 0, dependency = 0, work_dir = "", image = "", args = "", net = "", latency = "", retry = 0,
   env = "", scratch = "", script = "#!/bin/sh" }
spec.same("fields", fields, WITHOUT_MORE)

-- What a job may say beyond that, and how much of it is told.
local rich = { user_id = 7, name = ("é"):rep(300), script = "#!/bin/sh" .. ("é"):rep(10000), time_limit = 90,
   array_inx = "1-3", dependency = "afterok:1", work_dir = "/home", container = "/images/a", min_mem_per_node = 100,
   argv = { [0] = "job.sh", [1] = "--in", [2] = "x y" },
   spank_job_env = { [0] = "TIER_NET=1000000", [1] = "TIER_LATENCY=0.0002", [2] = "TIER_RETRY=2", [3] = "TIER_ENV=tf",
      [4] = "TIER_SCRATCH=1048576" } }
local told = {}
for _, pair in ipairs(request.fields(rich, request.describe(rich, fixture.partitions, conf))) do
   told[pair[1]] = pair[2]
end
for key, wanted in pairs({ time = 5400, array = 1, dependency = 1, work_dir = "/home", image = "/images/a",
   args = "--in x y", net = "1000000", latency = "0.0002", retry = 2, env = "tf", scratch = "1048576", tier = "",
   job_name = ("é"):rep(128), script = "#!/bin/sh" .. ("é"):rep(8187) }) do
   spec.same("told: " .. key, told[key], wanted)
end
local nobody, why = request.describe({ partition = "closed" }, fixture.partitions, conf)
spec.same("no partition", { nobody, type(why) }, { nil, "string" })
spec.done()
