--- Variables that the service gives a batch job that asked for them (`--tier-env`, `--tier-net`): `NAME=value` lines.
-- Only names that are for this, and never instead of what the user has set.

local environment = {}

local LONGEST = 16 * 1024
local NAMES = { TF_CONFIG = true, MASTER_ADDR = true, MASTER_PORT = true, WORLD_SIZE = true }

--- The variables of `text` by name, or nil and what is wrong with it.
function environment.check(text)
   local found = {}
   if #text > LONGEST then
      return nil, "environment of " .. #text .. " bytes"
   end
   for line in text:gmatch("[^\n]+") do
      local name, value = line:match("^([A-Z][A-Z0-9_]*)=(.*)$")
      if not name or found[name] or value:find("%c") then
         return nil, "environment is not NAME=value lines, each name once"
      elseif not NAMES[name] and not name:find("^TIERWISE_%w") then
         return nil, "environment sets " .. name
      end
      found[name] = value
   end
   return found
end

--- Writes what `check` returned onto a batch job.
function environment.write(variables, job)
   for name, value in pairs(variables) do
      if (job.environment[name] or "") == "" then
         job.environment[name] = value
      end
   end
end

return environment
