local hostlist = require("tierwise_hook.hostlist")
local spec = require("spec")

local function expands(text, wanted)
   spec.same(text, hostlist.expand(text), wanted)
end

expands("n1", { "n1" })
expands("n1,m2", { "n1", "m2" })
expands("n[1-3]", { "n1", "n2", "n3" })
expands("n[1-2,7],login", { "n1", "n2", "n7", "login" })
expands("n[08-11]", { "n08", "n09", "n10", "n11" })
expands("r[1-2]n[3-4]-ib", { "r1n3-ib", "r1n4-ib", "r2n3-ib", "r2n4-ib" })
spec.same("the largest", #hostlist.expand("n[1-65536]"), 65536)
for _, junk in ipairs({ "", ",", "n1,", "n[", "n]", "n[1", "n[]", "n[1-]", "n[a-b]", "n[3-1]", "n[1-2[3]]",
   "n[1-65537]", "n[1-999999999]", "n[1-9999999999]", "n[1-300]m[1-300]", ("n1,"):rep(70000) .. "n1" }) do
   expands(junk, nil)
end
spec.done()
