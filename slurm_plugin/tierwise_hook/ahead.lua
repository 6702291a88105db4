--- Staging while a job still waits: burst_buffer/lua tells the decision service of it, which hands it to the agents of
-- the nodes that the job named itself. Which others it gets nobody knows yet: there its prolog stages, as it always does.
--
-- The job carries it in a line of its script: `#BB_LUA tierwise stage=PATH,… nodes=HOSTLIST`.

local lines = require("tierwise_hook.lines")
local service = require("tierwise_hook.service")

local ahead = {}

local PATIENCE_S = 2
local LONGEST = 16 * 1024 -- of a script: where its directives are
-- What needs no escape in such a line; Slurm replaces what begins with `%` in it. Other paths are left to the prolog.
local PATHS, NODES = "^[%w/._,+=:@~-]+$", "^[%w._,%[%]-]+$"
local LINE = "\n#BB_LUA +tierwise +stage=(%S+) +nodes=(%S+)"

--- The line for a job, or nil where nothing can be staged before it has its nodes.
function ahead.directive(paths, nodes)
   if paths and nodes and paths:find(PATHS) and nodes:find(NODES) then
      return "#BB_LUA tierwise stage=" .. paths .. " nodes=" .. nodes
   end
end

--- The paths and the nodes that a script's text names, or nil.
function ahead.read(text)
   local paths, nodes = ("\n" .. text):match(LINE)
   if paths and ahead.directive(paths, nodes) then
      return paths, nodes
   end
end

--- Tells the service what a pending job will read. Raises, or returns whether it took it, and what it said.
-- @param path of the hook socket  @param script the job's, a file
function ahead.tell(path, job_id, uid, script)
   local file = assert(io.open(script, "rb"))
   local paths, nodes = ahead.read(file:read(LONGEST) or "")
   file:close()
   if not paths then
      return true
   end
   local answer = service.tell(path, PATIENCE_S, lines.encode({ { "op", "ahead" }, { "job_id", tostring(job_id) },
      { "uid", tostring(uid) }, { "stage", paths }, { "nodes", nodes } }))
   return answer.status == "ok", answer.reason
end

return ahead
