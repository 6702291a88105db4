--- Encodes what the test wrote (hex, a line each) so that the test can decode it: `lines.lua encode|decode FILE`.
local lines = require("tierwise_hook.lines")

local function unhex(text)
   return (text:gsub("%x%x", function(digits) return string.char(tonumber(digits, 16)) end))
end

for text in io.lines(arg[2]) do
   if arg[1] == "encode" then
      io.write((lines.encode({ { "text", unhex(text) }, { "n", 2 ^ 52 } }):gsub("\n", "\\n")), "\n")
   else
      local fields = lines.decode(unhex(text))
      local text = fields and (fields.text or ""):gsub(".", function(char) return ("%02x"):format(char:byte()) end)
      io.write(text or "nil", "\n")
   end
end
