local comment = require("tierwise_hook.comment")
local spec = require("spec")

local TOKEN, OTHER = "0123456789abcdef", "fedcba9876543210"

spec.same("to nothing", comment.append("", TOKEN), "tierwise=" .. TOKEN)
spec.same("after the user's text", comment.append("my run", TOKEN), "my run tierwise=" .. TOKEN)
spec.same("instead of another", comment.append("a tierwise=" .. OTHER .. " b", TOKEN), "a b tierwise=" .. TOKEN)
spec.same("again", comment.append(comment.append("a", TOKEN), TOKEN), "a tierwise=" .. TOKEN)
spec.same("all of them go", comment.strip("tierwise=1 tierwise=2\ttierwise= x"), "x")
spec.same("a part of a word stays", comment.strip("nottierwise=1 x"), "nottierwise=1 x")
spec.same("found", comment.token("my run tierwise=" .. TOKEN), TOKEN)
spec.same("found alone", comment.token("tierwise=" .. TOKEN), TOKEN)
spec.same("only at the end", comment.token("tierwise=" .. TOKEN .. " x"), nil)
spec.same("only whole", comment.token("tierwise=0123456789abcde"), nil)
spec.same("only hex", comment.token("tierwise=0123456789abcdeg"), nil)
spec.same("only a word", comment.token("xtierwise=" .. TOKEN), nil)
spec.done()
