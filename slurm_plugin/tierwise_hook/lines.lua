--- The line protocol (docs/protocol.md): `key=value` lines, values percent-encoded, then an empty line.

local lines = {}

local MAX_KEYS = 64

-- What a byte sequence must look like to be UTF-8 (RFC 3629, table 3-7 of Unicode): no Lua before 5.3 knows.
local UTF8 = {
   "[\194-\223][\128-\191]",
   "\224[\160-\191][\128-\191]",
   "[\225-\236\238\239][\128-\191][\128-\191]",
   "\237[\128-\159][\128-\191]",
   "\240[\144-\191][\128-\191][\128-\191]",
   "[\241-\243][\128-\191][\128-\191][\128-\191]",
   "\244[\128-\143][\128-\191][\128-\191]",
}

local function escape(char)
   return ("%%%02X"):format(char:byte())
end

local function unescape(digits)
   return string.char(tonumber(digits, 16))
end

--- `text` as it is when it is UTF-8, else with every byte beyond ASCII replaced: the service reads only UTF-8.
function lines.utf8(text)
   if not text:find("[\128-\255]") then
      return text
   end
   local rest = text
   for _, sequence in ipairs(UTF8) do
      rest = rest:gsub(sequence, ".")
   end
   return rest:find("[\128-\255]") and text:gsub("[\128-\255]", "?") or text
end

--- The message for an array of { key, value } pairs; numbers must be whole.
function lines.encode(pairs_)
   local message = {}
   for _, pair in ipairs(pairs_) do
      local key, value = pair[1], pair[2]
      -- "%.0f": Lua 5.1 would write a terabyte as 1.09e+12, Lua 5.3 a megabyte as 1048576.0
      local text = type(value) == "number" and ("%.0f"):format(value) or lines.utf8(value)
      -- Only what must be: a script of 16 KiB passes through here while slurmctld waits.
      message[#message + 1] = key .. "=" .. text:gsub("[\1-\31%%\127-\255]", escape)
   end
   return table.concat(message, "\n") .. "\n\n"
end

--- The fields of a whole message, or nil when it isn't one.
function lines.decode(message)
   local fields, count = {}, 0
   if message:find("[^\n -~]") then
      return nil
   end
   for line in message:gmatch("([^\n]+)\n") do
      local key, value = line:match("^([a-z][a-z0-9_]*)=(.*)$")
      count = count + 1
      if not key or fields[key] or count > MAX_KEYS then
         return nil
      end
      fields[key] = value:gsub("%%(%x%x)", unescape)
   end
   return fields
end

return lines
