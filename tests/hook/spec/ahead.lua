--- The line that tells of what a pending job stages: what is written is read again, and nothing else is.
local ahead = require("tierwise_hook.ahead")
local spec = require("spec")

local LINE = "#BB_LUA tierwise stage=/data/a b nodes=n1"

local function read(text)
   return { ahead.read(text) }
end

spec.same("a line", ahead.directive("/data/a,/b", "n[1-3,7]"), "#BB_LUA tierwise stage=/data/a,/b nodes=n[1-3,7]")
spec.same("read again", read("#!/bin/sh\n" .. ahead.directive("/data/a,/b", "n[1-2]") .. "\necho\n"),
   { "/data/a,/b", "n[1-2]" })
spec.same("in the first line", read(ahead.directive("/a", "n1")), { "/a", "n1" })
spec.same("no nodes", ahead.directive("/a", nil), nil)
spec.same("no paths", ahead.directive("", "n1"), nil)
for _, path in ipairs({ "/a b", "/a\nb", "/a%j", "/a\\", "/ä", "/a;b", "/a'b" }) do
   spec.same("left to the prolog: " .. path, ahead.directive(path, "n1"), nil)
end
spec.same("nodes of no kind", ahead.directive("/a", "n1 op=submit"), nil)
for _, text in ipairs({ "", "#!/bin/sh\n", LINE, "#BB_LUA tierwise stage=/a", "#BB_LUA pool=x capacity=1",
   "echo #BB_LUA tierwise stage=/a nodes=n1", "#BB_LUA tierwise stage=/a;b nodes=n1" }) do
   spec.same("not read: " .. text, read(text), {})
end
spec.done()
