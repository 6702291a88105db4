--- Memory for --tier-scratch: what lies in it is the job's own memory, so the job's grows by its size.

local sizing = require("tierwise_hook.sizing")

local scratch = {}

local MIB = 1024 * 1024

--- MiB per node that a batch job gets with its scratch; nil where it has none, where Slurm counts no memory for it, or
-- where its nodes have no such memory: then the scratch counts against what the job asked for.
function scratch.raised(text, described, conf)
   local bytes = #text <= 16 and text:match("^%d+$") and tonumber(text)
   if not bytes or bytes < 1 or not described.batch or described.whole_node or described.memory < MIB
      or described.memory_from == "unknown" then
      return nil
   end
   local mib = math.ceil(described.memory / MIB) + math.ceil(bytes / MIB)
   return sizing.suits(mib, described, conf) and mib or nil
end

return scratch
