-- Gives every error of a service the REST error shape.
--
-- The transcoder answers a failed call with the JSON of its google.rpc.Status. A service packs an
-- ErrorBody into the status's details, and that is what a REST client gets; a status without one
-- (of gRPC's own making) is given the same shape here. Replies that Envoy makes itself get theirs
-- from `local_reply_config` and pass through here unchanged.
--
-- The filter is listed before the transcoder, hence it sees responses after it.

local QUOTE, OPENING_BRACE = 34, 123
local ERROR_BODY = '{"@type":"type.googleapis.com/agent_executor.api.error.v1.ErrorBody",'
local RETRY_DELAY = '{"@type":"type%.googleapis%.com/google%.rpc%.RetryInfo","retry_?[dD]elay":"([%d.]+)s"'
local ERROR_SHAPE = '{"success":false,"error":%s,"tool_name":"","code":"%s","timestamp":"%s"}'

-- The reason, a name of ErrorReason, that a bare gRPC code stands for.
local REASONS = {
  [1] = "RUN_CANCELLED",
  [2] = "INTERNAL",
  [3] = "INVALID_ARGUMENT",
  [4] = "DEADLINE_EXCEEDED",
  [5] = "NOT_FOUND",
  [6] = "CONFLICT",
  [7] = "PERMISSION_DENIED",
  [8] = "LIMIT_EXCEEDED",
  [9] = "FAILED_PRECONDITION",
  [10] = "CONFLICT",
  [11] = "INVALID_ARGUMENT",
  [12] = "NOT_FOUND",
  [13] = "INTERNAL",
  [14] = "UNAVAILABLE",
  [15] = "INTERNAL",
  [16] = "UNAUTHENTICATED",
}

-- Index of the quote that closes the JSON string opened at `start`; nil if none does.
local function string_end(json, start)
  local at = start + 1
  while true do
    at = json:find('["\\]', at)
    if at == nil or json:byte(at) == QUOTE then return at end
    at = at + 2 -- past the escaped character, which may be a quote
  end
end

-- Index of the brace that closes the JSON object opened at `start`; nil if none does.
local function object_end(json, start)
  local depth, at = 1, start
  while depth > 0 do
    at = json:find('["{}]', at + 1)
    if at == nil then return nil end
    local character = json:byte(at)
    if character == QUOTE then
      at = string_end(json, at)
      if at == nil then return nil end
    elseif character == OPENING_BRACE then
      depth = depth + 1
    else
      depth = depth - 1
    end
  end
  return at
end

-- The ErrorBody among the status's details, as JSON; nil if there is none. The plain search is
-- safe because an unescaped quote cannot stand inside a JSON string.
local function packed_error_body(status)
  local start = status:find(ERROR_BODY, 1, true)
  local stop = start and object_end(status, start)
  return stop and "{" .. status:sub(start + #ERROR_BODY, stop)
end

-- The same shape for a status without an ErrorBody; nil if the JSON is no status. The text of an
-- internal error may be an exception's, which is not for callers.
local function error_body_of_status(status)
  local code, message_start = status:match('^{"code":(%d+),"message":()"')
  if code == nil then return nil end
  local reason = REASONS[tonumber(code)] or "INTERNAL"
  local message = '"Something broke inside the platform."'
  if reason ~= "INTERNAL" then
    message = status:sub(message_start, string_end(status, message_start))
  end
  return ERROR_SHAPE:format(message, reason, os.date("!%Y-%m-%dT%H:%M:%SZ"))
end

function envoy_on_response(handle)
  local headers = handle:headers()
  local content_type = headers:get("content-type") or ""
  if content_type:find("application/grpc", 1, true) then return end
  headers:remove("grpc-status")
  headers:remove("grpc-message")
  headers:remove("grpc-accept-encoding")
  if tonumber(headers:get(":status")) < 400 or content_type ~= "application/json" then return end

  local body = handle:body(true)
  if body == nil or body:length() == 0 then return end
  local status = body:getBytes(0, body:length())
  local shaped = packed_error_body(status) or error_body_of_status(status)
  if shaped == nil then return end
  body:setBytes(shaped)
  -- The first `headers` is no longer valid: body() may have suspended the script.
  headers = handle:headers()
  headers:replace("content-length", tostring(#shaped))
  local retry_delay_seconds = status:match(RETRY_DELAY)
  if retry_delay_seconds then
    headers:replace("retry-after", tostring(math.ceil(tonumber(retry_delay_seconds))))
  end
end
