--- Slurm's hostlist notation: "n[1-4,07],m3" names n1, n2, n3, n4, n07 and m3 (slurm.conf(5), NodeName).

local hostlist = {}

-- Slurm's own MAX_RANGE: a longer list is a mistake or an attack, and would stall slurmctld.
local LIMIT = 65536

--- The items of a comma-separated list whose commas inside brackets don't separate.
local function items(text)
   local found, start, depth = {}, 1, 0
   for at, char in text:gmatch("()([%[%],])") do
      if char == "[" then
         depth = depth + 1
      elseif char == "]" then
         depth = depth - 1
      elseif depth == 0 then
         found[#found + 1] = text:sub(start, at - 1)
         start = at + 1
      end
      if depth < 0 or depth > 1 then
         return nil
      end
   end
   found[#found + 1] = text:sub(start)
   return depth == 0 and found or nil
end

--- The numbers of one bracket, as text with their leading zeros; nil when it isn't understood.
local function numbers(text)
   local found = {}
   for range in (text .. ","):gmatch("([^,]*),") do
      local first, last = range:match("^(%d+)%-(%d+)$")
      first = first or range:match("^%d+$")
      last = last or first
      local size = first and #first < 10 and #last < 10 and tonumber(last) - tonumber(first) + 1
      if not size or size < 1 or size > LIMIT - #found then
         return nil
      end
      for number = tonumber(first), tonumber(last) do
         found[#found + 1] = ("%0" .. #first .. "d"):format(number)
      end
   end
   return found
end

--- The names that one item without separating commas stands for: brackets multiply from left to right.
local function names(item)
   local prefix, inside, rest = item:match("^([^%[%]]*)%[([^%[%]]*)%](.*)$")
   if not prefix then
      return not item:find("[%[%]]") and { item } or nil
   end
   local heads, tails, found = numbers(inside), names(rest), {}
   if not heads or not tails or #heads * #tails > LIMIT then
      return nil
   end
   for _, head in ipairs(heads) do
      for _, tail in ipairs(tails) do
         found[#found + 1] = prefix .. head .. tail
      end
   end
   return found
end

--- An array of the names in `text`, or nil when it isn't a hostlist of at most 65536 names.
function hostlist.expand(text)
   local found = {}
   for _, item in ipairs(items(text) or { "[" }) do
      local expanded = item ~= "" and names(item)
      if not expanded or #found + #expanded > LIMIT then
         return nil
      end
      for _, name in ipairs(expanded) do
         found[#found + 1] = name
      end
   end
   return found
end

return hostlist
