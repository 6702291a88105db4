--- Asking the decision service within one budget, and leaving it alone for a while when it does not answer.
--
-- slurmctld holds locks while we wait, and calls are serial: what one submission waits, every srun and sinfo waits.

local lines = require("tierwise_hook.lines")

local service = {}

local MAX_ANSWER = 64 * 1024
local MISSES = 3       -- in a row, before the service is left alone
local QUIET_S = 30     -- for so long; then one submission probes, with the whole budget: a busy service must be able to come back
local RETRY_SHARE = 8  -- until then a try after a miss gets this part of the budget

local misses, quiet_until = 0, 0
local kept -- the connection of the last answer: connecting costs as much as asking
local pool, used = "", 0

--- assert without the place in this file, which is no news to an admin.
local function must(value, why)
   if not value then
      error(why, 0)
   end
   return value
end

--- 16 bytes that nobody can foretell, as hex; /dev/urandom is read once for 128 of them.
local function nonce()
   if used + 16 > #pool then
      local source = must(io.open("/dev/urandom", "rb"))
      pool, used = source:read(2048), 0
      source:close()
   end
   used = used + 16
   return (pool:sub(used - 15, used):gsub(".", function(byte) return ("%02x"):format(byte:byte()) end))
end

--- Bounds each wait and their sum: lua-socket takes the smaller of the two.
local function limit(socket, seconds)
   socket:settimeout(seconds)
   socket:settimeout(seconds, "t")
end

--- Reads until the empty line. `remaining` gives the seconds left, or raises.
local function receive(socket, remaining)
   local answer = ""
   while answer:sub(-2) ~= "\n\n" do
      -- Waits for one byte, then takes what has come: receive("*l") would read a line without end.
      limit(socket, remaining())
      local first = must(socket:receive(1))
      socket:settimeout(0)
      local whole, _, part = socket:receive(8191)
      answer = answer .. first .. (whole or part)
      must(#answer <= MAX_ANSWER, "its answer has no end")
   end
   return answer
end

local function converse(socket, message, remaining)
   limit(socket, remaining())
   must(socket:send(message))
   return receive(socket, remaining)
end

local function connect(stream, path, remaining)
   local socket = must(stream())
   limit(socket, remaining())
   local connected, why = socket:connect(path)
   if not connected then
      socket:close()
   end
   must(connected, why)
   return { socket = socket, path = path }
end

local function drop()
   if kept then
      kept.socket:close()
   end
   kept = nil
end

--- The seconds that are left of a budget; raises once there are none.
local function countdown(clock, budget)
   local deadline = clock() + budget
   return function()
      local left = deadline - clock()
      must(left > 0, "timeout")
      return left
   end
end

--- Sends the message and returns the answer; raises why there is none.
local function exchange(stream, path, budget, clock, message)
   local remaining = countdown(clock, budget)
   if kept and kept.path == path then
      local came, answer = pcall(converse, kept.socket, message, remaining)
      if came then
         return answer
      end -- the service may have been started anew since: once more from the beginning
   end
   drop()
   kept = connect(stream, path, remaining)
   return converse(kept.socket, message, remaining)
end

--- The module that talks to unix sockets, and a clock. lua-socket before 3.0 gave the constructor itself.
local function library()
   local unix = require("socket.unix")
   return type(unix) == "table" and unix.stream or unix, require("socket.core").gettime
end

--- The fields of the answer to a message that is no submission, on a connection of its own; raises why there is none.
-- @param path of the hook socket  @param budget in seconds over connect, send and receive
function service.tell(path, budget, message)
   local stream, clock = library()
   local remaining = countdown(clock, budget)
   local own = connect(stream, path, remaining)
   local came, answer = pcall(converse, own.socket, message, remaining)
   own.socket:close()
   must(came, answer)
   return must(lines.decode(answer), "the answer is not a message of ours")
end

--- The part of the budget that the next try gets.
local function share()
   return (misses == 0 or misses >= MISSES) and 1 or 1 / RETRY_SHARE
end

local function miss(now)
   misses = misses + 1
   if misses >= MISSES then
      quiet_until = now + QUIET_S
   end
end

--- Why the service is not asked now, or nil: nobody need describe a submission then.
function service.resting()
   local loaded, _, clock = pcall(library)
   if not loaded then
      return nil -- asking says so
   end
   local now = clock()
   if now < quiet_until and quiet_until - now <= QUIET_S then
      return "the decision service is left alone after " .. misses .. " misses"
   end
end

--- The fields of the service's answer to `request` (an array of pairs), or nil and why there is none.
-- @param path of the hook socket  @param budget in seconds over connect, send and receive
function service.ask(path, budget, request)
   local loaded, stream, clock = pcall(library)
   if not loaded then
      return nil, "lua-socket is not installed for this Lua: " .. tostring(stream)
   end
   local why = service.resting()
   if why then
      return nil, why
   end
   local sent = nonce()
   table.insert(request, 1, { "nonce", sent })
   table.insert(request, 1, { "op", "submit" })
   local message = lines.encode(request)
   local came, answer = pcall(exchange, stream, path, budget * share(), clock, message)
   if not came then
      drop()
      miss(clock())
      return nil, "no answer from " .. path .. ": " .. tostring(answer)
   end
   misses, quiet_until = 0, 0
   local fields = lines.decode(answer)
   if not fields then
      drop()
      return nil, "the answer is not a message of ours"
   elseif fields.nonce ~= sent then
      drop()
      return nil, "the answer is not for this submission"
   end
   return fields
end

return service
