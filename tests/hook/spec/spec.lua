--- A test in Lua: `same(what, got, wanted)` compares deeply, prints what differs, and the process exits with 1 then.

local failed = 0

local function show(value)
   if type(value) == "number" then
      return ("%.14g"):format(value) -- 1 and 1.0 are the same, also where Lua tells them apart
   elseif type(value) ~= "table" then
      return type(value) == "string" and ("%q"):format(value) or tostring(value)
   end
   local keys, parts = {}, {}
   for key in pairs(value) do
      keys[#keys + 1] = key
   end
   table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
   for _, key in ipairs(keys) do
      parts[#parts + 1] = tostring(key) .. "=" .. show(value[key])
   end
   return "{" .. table.concat(parts, ", ") .. "}"
end

local spec = {}

function spec.same(what, got, wanted)
   local is, should = show(got), show(wanted)
   if is ~= should and not (got == wanted) then
      failed = failed + 1
      print(("%s:\n   got    %s\n   wanted %s"):format(what, is, should))
   end
end

function spec.done()
   os.exit(failed == 0 and 0 or 1)
end

return spec
