--- What slurm.conf says about nodes, GRES, features and memory: Lua in slurmctld sees no node table.
--
-- The file and its Includes are looked at every few seconds and parsed again when their text has changed.

local hostlist = require("tierwise_hook.hostlist")

local slurmconf = {}

local LOOK_AGAIN_S = 5
local SUFFIX = { [""] = 1, k = 1024, m = 1024 ^ 2, g = 1024 ^ 3, t = 1024 ^ 4 }

--- The text of `path`, or nil.
local function read(path)
   local file = io.open(path, "rb")
   if not file then
      return nil
   end
   local text = file:read("*a")
   file:close()
   return text
end

--- Calls `take(line)` for each line of `text` that says something.
local function each_line(text, take)
   text = text:gsub("\r", ""):gsub("\\[ \t]*\n", " ")
   for line in text:gmatch("[^\n]+") do
      if line:find("#", 1, true) then
         line = line:gsub("\\#", "\1"):gsub("#.*", ""):gsub("\1", "#")
      end
      if line:find("%S") then
         take(line)
      end
   end
end

--- `Key=value Key="va lue"` as a table with lower-case keys.
local function pairs_of(line)
   local found = {}
   if line:find('"', 1, true) then
      line = line:gsub('="([^"]*)"', function(quoted) return "=" .. quoted:gsub(" ", "\2") end)
   end
   for key, value in line:gmatch("([%a_]+)%s*=%s*(%S+)") do
      found[key:lower()] = value:find("\2", 1, true) and value:gsub("\2", " ") or value
   end
   return found
end

--- "tier_dram:4000,gpu:a100:2,lustre:no_consume:4G" as counts by name.
local function gres_counts(text)
   local counts = {}
   for item in text:gmatch("[^,]+") do
      local name = item:match("^[^:]+")
      local digits, suffix = item:match(":(%d+)([kKmMgGtT]?)$")
      counts[name] = (counts[name] or 0) + (digits and tonumber(digits) * SUFFIX[suffix:lower()] or 1)
   end
   return counts
end

local function cpus_of(node)
   local sockets = tonumber(node.sockets)
      or (tonumber(node.boards) or 1) * (tonumber(node.socketsperboard) or 1)
   return tonumber(node.cpus) or tonumber(node.procs)
      or sockets * (tonumber(node.corespersocket) or 1) * (tonumber(node.threadspercore) or 1)
end

--- What Slurm can hand out of a node: { cpus, memory (MiB), gres, features }.
local function shape_of(node)
   local features = {}
   for name in (node.features or node.feature or ""):gmatch("[^,]+") do
      features[name] = true
   end
   return {
      cpus = cpus_of(node),
      memory = tonumber(node.realmemory) or 1,
      gres = gres_counts(node.gres or ""),
      features = features,
   }
end

local function add_nodes(conf, node)
   local defaults = conf.node_defaults
   for key, value in pairs(defaults) do
      if node[key] == nil then
         node[key] = value
      end
   end
   if node.nodename:upper() == "DEFAULT" then
      conf.node_defaults = node
      return
   end
   -- One shape for all nodes that are alike: some sites have a line per node.
   local key = table.concat({ node.gres or "", node.features or node.feature or "", node.realmemory or "",
      cpus_of(node) }, "\n")
   local shape = conf.shapes[key] or shape_of(node)
   conf.shapes[key] = shape
   for name, count in pairs(shape.gres) do
      conf.largest[name] = math.max(conf.largest[name] or 0, count)
   end
   for name in pairs(shape.features) do
      conf.features[name] = true
   end
   for _, name in ipairs(hostlist.expand(node.nodename) or {}) do
      conf.nodes[name] = shape
   end
end

local function mib(value)
   return tonumber(value) or 0 -- "UNLIMITED" too is no default
end

local function add_line(conf, line)
   local found = pairs_of(line)
   if found.partitionname then
      return -- Slurm passes its partitions to the hook
   elseif found.nodename then
      add_nodes(conf, found)
   elseif found.grestypes then
      for name in found.grestypes:gmatch("[^,]+") do
         conf.gres_types[name] = true
      end
   elseif found.selecttypeparameters then
      conf.memory_is_consumed = found.selecttypeparameters:lower():find("_memory") ~= nil
   elseif found.defmempernode then
      conf.def_mem_per_node = mib(found.defmempernode)
   elseif found.defmempercpu then
      conf.def_mem_per_cpu = mib(found.defmempercpu)
   elseif found.maxmempernode then
      conf.max_mem_per_node = mib(found.maxmempernode)
   elseif found.maxmempercpu then
      conf.max_mem_per_cpu = mib(found.maxmempercpu)
   end
end

--- Reads `path` into `conf.texts`, its Includes where they stand.
local function add_file(conf, path, depth)
   local text = read(path)
   conf.texts[path] = text or false
   if not text or depth > 8 then -- Slurm itself would not have started with such a file
      return
   end
   each_line(text, function(line)
      local included = line:match("^%s*[Ii][Nn][Cc][Ll][Uu][Dd][Ee]%s+(%S+)")
      if included then
         add_file(conf, included:sub(1, 1) == "/" and included or (path:match("^(.*/)") or "") .. included, depth + 1)
      else
         add_line(conf, line)
      end
   end)
end

--- slurm.conf at `path`, parsed: `gres_types`, `largest` (count of a GRES on any node), `features`, `nodes` (shape by
-- name), `def_mem_per_node`, `def_mem_per_cpu`, `max_mem_per_node`, `max_mem_per_cpu` (MiB, 0: none),
-- `memory_is_consumed`.
function slurmconf.parse(path)
   local conf = {
      texts = {}, node_defaults = {}, shapes = {}, partitions = {},
      gres_types = {}, largest = {}, features = {}, nodes = {},
      def_mem_per_node = 0, def_mem_per_cpu = 0, max_mem_per_node = 0, max_mem_per_cpu = 0, memory_is_consumed = true,
   }
   add_file(conf, path, 0)
   return conf
end

local function changed(conf)
   for path, text in pairs(conf.texts) do
      if (read(path) or false) ~= text then
         return true
      end
   end
   return false
end

local cached, cached_path, looked = nil, nil, 0
local first_gres_types

--- The configuration as it is now. GresTypes stay those of the first look: slurmctld learns them only when it starts.
function slurmconf.current(path)
   local now = os.time()
   if cached_path ~= path or math.abs(now - looked) >= LOOK_AGAIN_S then
      looked = now
      if cached_path ~= path or changed(cached) then
         cached, cached_path = slurmconf.parse(path), path
         first_gres_types = first_gres_types or cached.gres_types
         cached.gres_types = first_gres_types
      end
   end
   return cached
end

--- The shapes of a partition's nodes and how many nodes have each: { { shape, count }, … }; how many nodes are
-- `unknown`; and `members`, the set of their names, `size` of them.
function slurmconf.shapes(conf, nodes)
   local known = conf.partitions[nodes]
   if not known then
      local counts, unknown, members = {}, 0, {}
      local names = hostlist.expand(nodes) or { "" }
      for _, name in ipairs(names) do
         members[name] = true
         local shape = conf.nodes[name]
         if shape then
            counts[shape] = (counts[shape] or 0) + 1
         else
            unknown = unknown + 1
         end
      end
      known = { unknown = unknown, members = members, size = #names }
      for shape, count in pairs(counts) do
         known[#known + 1] = { shape = shape, count = count }
      end
      conf.partitions[nodes] = known
   end
   return known
end

return slurmconf
