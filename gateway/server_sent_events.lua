-- Completes the server-sent events of streams.
--
-- The transcoder sends each message of a stream as `data: {...}`. Here it gets the name and the id of
-- its event, by which browsers dispatch and resume, and a heartbeat becomes a comment, which keeps
-- proxies from cutting a silent stream and which no client sees as an event.
--
-- The filter is listed before the transcoder, hence it sees responses after it, and is switched on by
-- the routes of streams only. A chunk of the body holds whole messages. JSON text has no raw line
-- breaks, so that the empty line is the end of a message.

local EVENT = "data: ([^\n]*)\n\n"
-- The first fields of RunUpdate and RunEvent, in the order in which they are printed.
local UPDATE = '^{"run_id":"[^"]*","type":"([%w_]*)","sequence":(%d+)'
local RUN_EVENT = '^{"run_id":"[^"]*","sequence":(%d+),"type":"([%w_]*)"'
local NAMED = "event: %s\nid: %s\ndata: %s\n\n"

local function completed(json)
  local name, sequence = json:match(UPDATE)
  if name == nil then
    sequence, name = json:match(RUN_EVENT)
  end
  if name == nil or name == "" then return nil end
  if name == "heartbeat" then return ": heartbeat\n\n" end
  return NAMED:format(name, sequence, json)
end

function envoy_on_response(handle)
  local content_type = handle:headers():get("content-type") or ""
  if not content_type:find("text/event-stream", 1, true) then return end
  for chunk in handle:bodyChunks() do
    local length = chunk:length()
    if length > 0 then
      local text = chunk:getBytes(0, length)
      local events, count = text:gsub(EVENT, completed)
      if count > 0 then chunk:setBytes(events) end
    end
  end
end
