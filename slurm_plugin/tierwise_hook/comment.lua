--- The plan's token in a job's comment: `tierwise=` and 16 hex digits, after the user's own text and a blank.

local comment = {}

--- A user's text without anything that looks like our token: nobody may claim a plan by writing its key.
function comment.strip(text)
   return ((" " .. text):gsub("%s+tierwise=%S*", ""):gsub("^%s+", ""))
end

--- Whether `token` has the form of one.
function comment.is_token(token)
   return #token == 16 and not token:find("[^0-9a-f]")
end

--- `text` with `token` behind it, instead of whatever token it held.
function comment.append(text, token)
   local own = comment.strip(text)
   return (own == "" and "" or own .. " ") .. "tierwise=" .. token
end

--- The token at the end of a comment that we wrote, or nil.
function comment.token(text)
   local token = (" " .. text):match("%stierwise=(%S+)$")
   return token and comment.is_token(token) and token or nil
end

return comment
