--- Asks the socket of arg[1] with a budget of arg[2] seconds, arg[3] times, and prints what came of each.
local service = require("tierwise_hook.service")

for _ = 1, tonumber(arg[3]) do
   local fields, why = service.ask(arg[1], tonumber(arg[2]), { { "uid", 7 }, { "job_name", "a b" } })
   print(fields and "token=" .. tostring(fields.token) or why)
end
