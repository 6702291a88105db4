--- Which answers are believed, and what is written: nothing may reach a job that Slurm would reject.
local answer = require("tierwise_hook.answer")
local slurmconf = require("tierwise_hook.slurmconf")
local spec = require("spec")
local steps = require("tierwise_hook.steps")

local file = assert(io.open(arg[1] .. "/slurm.conf", "w"))
file:write([[
GresTypes=tier_dram,tier_cxl,tier_gone,gpu
NodeName=n[1-4] CPUs=8 RealMemory=64000 Gres=tier_dram:4000 Features=plain
NodeName=c[1-2] CPUs=8 RealMemory=64000 Gres=tier_dram:4000,tier_cxl:16000 Features=cxl,fast
NodeName=big CPUs=64 RealMemory=512000
]])
file:close()
local conf = slurmconf.parse(arg[1] .. "/slurm.conf")
local all = { name = "all", nodes = "n[1-4],c[1-2],big" }

local function described(changes)
   local result = { directive = "cap", partitions = { all }, nodes = 1, cpus = 1, memory = 300 * 1024 * 1024,
      memory_from = "user", whole_node = false, batch = true, user_gres = false }
   for key, value in pairs(changes or {}) do
      result[key] = value
   end
   return result
end

local function ok(changes)
   local fields = { status = "ok", token = "0123456789abcdef", gres = "tier_dram:100,tier_cxl:200" }
   for key, value in pairs(changes or {}) do
      fields[key] = value
   end
   return fields
end

local function writes(what, fields, job, description, wanted)
   local got, why = answer.check(fields, job, described(description), conf)
   spec.same(what .. " (" .. tostring(why) .. ")", got, wanted)
end

local function odd(what, fields, description)
   local got, why = answer.check(fields, {}, described(description), conf)
   spec.same("odd: " .. what, { got, type(why) }, { nil, "string" })
end

local COMMENT, GRES = "tierwise=0123456789abcdef", "tier_dram:100,tier_cxl:200"
local without_gres = { comment = COMMENT }

writes("whole", ok({ notice = "hi", prefer = "fast" }), { comment = "mine" }, {},
   { comment = "mine " .. COMMENT, gres = GRES, notice = "hi", prefer = "fast" })
writes("empty values", ok({ gres = "", prefer = "", exclude = "", notice = "" }), {}, {}, without_gres)
writes("none", { status = "none", notice = "a\27[31m\nb" }, {}, {}, { notice = "a [31m b" })
writes("none to one who asked nothing", { status = "none", notice = "x" }, {}, { directive = "" }, {})
writes("advice to one who asked nothing", { status = "none", notice = "x", advice = "less" }, {}, { directive = "" },
   { notice = "less" })
writes("refused", { status = "refused", reason = "too much" }, {}, {}, { refuse = "too much" })

-- GRES are left away where they don't suit the job.
writes("user's own GRES", ok(), {}, { user_gres = true }, without_gres)
writes("srun", ok(), {}, { batch = false }, without_gres)
writes("as many nodes", ok(), {}, { nodes = 2 }, { comment = COMMENT, gres = GRES })
writes("too few nodes", ok(), {}, { nodes = 3 }, without_gres)
writes("too many CPUs there", ok(), {}, { cpus = 9 }, without_gres)
writes("too little memory there", ok(), {}, { memory = 65 * 1024 ^ 3 }, without_gres)
writes("another partition", ok(), {}, { partitions = { all, { name = "plain", nodes = "n[1-4]" } } }, without_gres)
writes("a feature that has it", ok(), { features = "cxl" }, {}, { comment = COMMENT, gres = GRES })
writes("a feature without it", ok(), { features = "plain" }, {}, without_gres)
writes("a choice of features", ok(), { features = "cxl&fast" }, {}, without_gres)
writes("the user's nodes", ok(), { req_nodes = "n1" }, {}, without_gres)
writes("a reservation", ok(), { reservation = "r" }, {}, without_gres)
writes("the user's nodes, all of them good", ok({ gres = "tier_dram:4000" }), { exc_nodes = "n1" },
   { partitions = { { name = "p", nodes = "n[1-4],c1" } } }, { comment = COMMENT, gres = "tier_dram:4000" })
writes("unknown nodes in the partition", ok(), { reservation = "r" },
   { partitions = { { name = "p", nodes = "c[1-3]" } } }, without_gres)

-- A preference and an exclusion give way to the user's.
writes("user's constraint", ok({ prefer = "fast", gres = "" }), { features = "plain" }, {}, without_gres)
writes("user's preference", ok({ prefer = "fast", gres = "" }), { prefer = "plain" }, {}, without_gres)
writes("exclusion", ok({ exclude = "n[1-2]", gres = "" }), {}, {}, { comment = COMMENT, exclude = "n[1-2]" })
writes("user's node list", ok({ exclude = "n[1-2]", gres = "" }), { req_nodes = "n3" }, {}, without_gres)

-- Who asks for retries may be requeued, unless they said otherwise.
writes("retry", ok({ gres = "" }), { requeue = 0xfffe }, { retry = 2 }, { comment = COMMENT, requeue = 1 })
writes("retry and --no-requeue", ok({ gres = "" }), { requeue = 0 }, { retry = 2 }, without_gres)

-- Memory and time: for --tier=auto alone, and where Slurm would take them.
local auto = { directive = "auto", memory = 256 * 1024 * 1024, memory_from = "default" }
local sized = ok({ mem = "734003200", time = "90", gres = "tier_dram:700" })
writes("sized", sized, {}, auto, { comment = COMMENT, memory = 700, minutes = 2, gres = "tier_dram:700" })
writes("more than a node has", ok({ mem = "1125899906842624" }), {}, auto, without_gres)
writes("as large as the largest", ok({ mem = "536870912000", gres = "" }), {}, auto,
   { comment = COMMENT, memory = 512000 })
for name, limits in pairs({
   node = { max_mem_per_node = 699 }, cpu = { max_mem_per_cpu = 699 }, time = { max_time = 1, max_mem_per_node = 699 },
}) do
   local partition = { name = name, nodes = all.nodes }
   for key, value in pairs(limits) do
      partition[key] = value
   end
   local changes = { directive = "auto", memory_from = "default", partitions = { all, partition } }
   writes("limit per " .. name, sized, {}, changes, { comment = COMMENT, minutes = name ~= "time" and 2 or nil })
end
writes("a partition without limits", sized, {}, { directive = "auto",
   partitions = { { name = "p", nodes = "n1", max_mem_per_node = 0, max_time = 4294967295 } } },
   { comment = COMMENT, memory = 700, minutes = 2, gres = "tier_dram:700" })
writes("srun with --mem", sized, {}, { directive = "auto", batch = false }, { comment = COMMENT, minutes = 2 })
for _, mem in ipairs({ "0", "1", "-5", "1e9", "700M", "99999999999999999999" }) do
   odd("mem " .. mem, ok({ mem = mem, gres = "" }), { directive = "auto" })
end
odd("time", ok({ time = "1:00" }), { directive = "auto" })
odd("mem for one who didn't say auto", ok({ mem = "734003200" }), { directive = "cap" })
odd("time for one who didn't say auto", ok({ time = "600" }), { directive = "" })

-- Variables: only those that are for this.
local variables = ok({ environment = 'TF_CONFIG={"a": ["b=c"]}\nMASTER_ADDR=n1\n', gres = "" })
writes("variables", variables, {}, {},
   { comment = COMMENT, variables = { TF_CONFIG = '{"a": ["b=c"]}', MASTER_ADDR = "n1" } })
writes("variables without a script", variables, {}, { batch = false }, without_gres)
for _, text in ipairs({ "LD_PRELOAD=x", "SLURM_STEP_GRES=gpu", "PATH=/", "TIERWISE_=x", "MASTER_ADDR", "A b=c", "=x",
   "MASTER_ADDR=a\nMASTER_ADDR=b", "MASTER_ADDR=a\27[31m", ("MASTER_ADDR=") .. ("x"):rep(17000) }) do
   odd("environment " .. text:sub(1, 40), ok({ environment = text }))
end

odd("no status", { nonce = "1" })
odd("unknown status", ok({ status = "maybe" }))
odd("error", { status = "error", reason = "x" })
odd("refused without a directive", { status = "refused", reason = "x" }, { directive = "" })
odd("refused without a memory of the user's", { status = "refused", reason = "x" }, { memory_from = "default" })
for _, token in ipairs({ "", "0123456789ABCDEF", "0123456789abcde", "0123456789abcdef0", "0123456789abcde\n" }) do
   odd("token " .. token, ok({ token = token }))
end
for _, gres in ipairs({ "gpu:1", "tier_new:1", "tier_gone:1", "tier_dram", "tier_dram:", "tier_dram:0", "tier_dram:-1",
   "tier_dram:1.5", "tier_dram:1e3", "tier_dram:4001", "tier_dram:99999999999999999999", "tier_dram:1,", ",tier_dram:1",
   "tier_dram:1,tier_dram:1", "tier_dram:1 ", "tier_dram:a:1", "tier_dram=1", "tier_dram:1;x" }) do
   odd("GRES " .. gres, ok({ gres = gres }))
end
odd("feature", ok({ prefer = "warp" }))
odd("features", ok({ prefer = "fast&cxl" }))
odd("node", ok({ exclude = "n9" }))
odd("junk nodes", ok({ exclude = "n[1-" }))
odd("all nodes", ok({ exclude = "n[1-4],c[1-2],big" }))
odd("all nodes but as many as the job wants", ok({ exclude = "n[1-4],c[1-2]" }))
local got = answer.check(ok(), { comment = ("x"):rep(1000) }, described(), conf)
spec.same("a comment without room", got, nil)

-- Writing: the environment first, since our GRES without it would make steps wait for each other.
local function job(environment)
   return { environment = environment }
end
local written = job({})
answer.write({ gres = GRES, comment = COMMENT, prefer = "fast", exclude = "n1" }, written)
spec.same("written", written, { gres = GRES, comment = COMMENT, prefer = "fast", exc_nodes = "n1",
   environment = { SLURM_STEP_GRES = "none", TIERWISE_STEP_GRES = "none" } })
written = job({ MASTER_ADDR = "mine" })
answer.write({ memory = 700, minutes = 2, variables = { MASTER_ADDR = "n1", WORLD_SIZE = "4" } }, written)
spec.same("limits and variables", written,
   { min_mem_per_node = 700, time_limit = 2, environment = { MASTER_ADDR = "mine", WORLD_SIZE = "4" } })
written = job({ SLURM_STEP_GRES = "gpu:1" })
answer.write({ gres = GRES, comment = COMMENT }, written)
spec.same("the user's own for steps", written, { comment = COMMENT, environment = { SLURM_STEP_GRES = "gpu:1" } })
written = job(setmetatable({}, { __newindex = function() end }))
answer.write({ gres = GRES, comment = COMMENT }, written)
spec.same("no environment to write", written.gres, nil)
-- A het job: its components follow the one with the script.
local first = job({})
first.het_job_offset, first.user_id = 0, 7
local second, stranger = { het_job_offset = 1, user_id = 7 }, { het_job_offset = 1, user_id = 8 }
answer.write({ gres = GRES, comment = COMMENT }, first)
spec.same("a further component", { steps.follows(second), steps.follows(stranger) }, { true, false })
answer.write({ gres = GRES, comment = COMMENT }, second)
spec.same("its GRES", second.gres, GRES)
steps.begin(job({}))
spec.same("after another job", steps.follows(second), true)
steps.begin(first)
spec.same("after the next het job began", steps.follows(second), false)
spec.done()
