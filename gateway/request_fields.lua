-- Refuses request bodies with a field that the route's message does not have.
--
-- The transcoder drops such fields without a word, so that a misspelt limit would be no limit. Here
-- the body is read once before it: the JSON must be well formed, no object may name a field twice (in
-- either spelling, since which one counts would be chance), and every field must be known. Whether a
-- value is of the right type is left to the transcoder.
--
-- The renderer puts a table `MESSAGES` before this file: each message by its full name, with `fields`
-- (each accepted spelling to the field's name) and `below` (a field's name to the message that it
-- holds, or to `{values = message}` for a map). A field that is not in `below` holds a scalar, or
-- something that may hold anything. Routes with a body switch the filter on and name their message.
--
-- Every byte is looked at a bounded number of times: strings are found by their closing quote, runs of
-- spaces and of numbers at once, and patterns have one repetition each, hence nothing to try again.

local byte, find, sub = string.byte, string.find, string.sub
local QUOTE, COMMA, COLON, BACKSLASH = 34, 44, 58, 92
local BRACKET, CLOSING_BRACKET, BRACE, CLOSING_BRACE = 91, 93, 123, 125
-- Deeper than any message of the contracts with a reasonable JSON Schema in it.
local MAX_DEPTH = 64
local MAX_SHOWN_BYTES = 64
local MAX_LISTED_FIELDS = 12
local ESCAPES = {b = "\b", f = "\f", n = "\n", r = "\r", t = "\t"}

-- The body that is being read and the keys that lead to where it is read. One script runs at a time
-- and reading does not suspend it.
local text, path

-- Ends the reading; the message goes to the caller.
local function refuse(message, ...)
  error({message = message:format(...)}, 0)
end

local function refuse_syntax(at)
  refuse("The body is not JSON from byte %d on.", at)
end

-- What a caller wrote, fit to be shown: short, and without what terminals or logs could choke on.
local function shown(key)
  local short = sub(key, 1, MAX_SHOWN_BYTES):gsub("[^\32-\126]", "?")
  return #key > MAX_SHOWN_BYTES and short .. "..." or short
end

-- The path of the object that is read at `depth`, for example `custom_tools.add`.
local function shown_path(depth)
  local parts = {}
  for level = 1, depth - 1 do
    local part = path[level]
    if type(part) == "number" then
      parts[#parts] = (parts[#parts] or "") .. "[" .. part .. "]"
    else
      parts[#parts + 1] = shown(part)
    end
  end
  return table.concat(parts, ".")
end

-- The Levenshtein distance of two short strings.
local function distance(left, right)
  local row = {}
  for column = 0, #right do row[column] = column end
  for line = 1, #left do
    local diagonal = row[0]
    row[0] = line
    for column = 1, #right do
      local above = row[column]
      local replaced = diagonal + (byte(left, line) == byte(right, column) and 0 or 1)
      row[column] = math.min(replaced, above + 1, row[column - 1] + 1)
      diagonal = above
    end
  end
  return row[#right]
end

local function hint(key, fields)
  local names, nearest, least = {}, nil, math.max(2, math.floor(#key / 3))
  for spelling, name in pairs(fields) do
    if spelling == name then names[#names + 1] = name end
  end
  table.sort(names)
  if #key <= MAX_SHOWN_BYTES then
    for _, name in ipairs(names) do
      local apart = math.min(distance(key, name), distance(key:lower(), name))
      if apart < least or (apart == least and nearest == nil) then
        nearest, least = name, apart
      end
    end
  end
  if nearest then return ('; did you mean "%s"?'):format(nearest) end
  if #names == 0 then return "; there are none." end
  if #names > MAX_LISTED_FIELDS then return "." end
  return ("; there are: %s."):format(table.concat(names, ", "))
end

local function refuse_unknown(key, fields, depth)
  local place = depth > 1 and (' in "%s"'):format(shown_path(depth)) or ""
  refuse('There is no field "%s"%s%s', shown(key), place, hint(key, fields))
end

-- The UTF-8 bytes of a code point.
local function utf8_of(point)
  local char, floor = string.char, math.floor
  if point < 0x80 then return char(point) end
  if point < 0x800 then return char(0xC0 + floor(point / 0x40), 0x80 + point % 0x40) end
  local last = char(0x80 + floor(point / 0x40) % 0x40, 0x80 + point % 0x40)
  if point < 0x10000 then return char(0xE0 + floor(point / 0x1000)) .. last end
  return char(0xF0 + floor(point / 0x40000), 0x80 + floor(point / 0x1000) % 0x40) .. last
end

local function of_pair(high, low)
  high, low = tonumber(high, 16), tonumber(low, 16)
  return utf8_of(0x10000 + (high - 0xD800) * 0x400 + low - 0xDC00)
end

-- A key without its escapes, so that a field is known however it is written.
local function unescaped(key)
  -- An escaped backslash would make what follows it look like an escape: it is hidden meanwhile.
  key = key:gsub("\\\\", "\\0")
  key = key:gsub("\\u([dD][89abAB]%x%x)\\u([dD][c-fC-F]%x%x)", of_pair)
  key = key:gsub("\\u(%x%x%x%x)", function(digits) return utf8_of(tonumber(digits, 16)) end)
  key = key:gsub('\\([bfnrt"/])', function(escape) return ESCAPES[escape] or escape end)
  return (key:gsub("\\0", "\\"))
end

local function skip_space(at)
  local character = byte(text, at)
  if character and character > 32 then return at end
  return find(text, "[^ \t\r\n]", at) or #text + 1
end

-- Index of the quote that closes the string opened at `start`.
local function string_end(start)
  local at = start
  while true do
    at = find(text, '"', at + 1, true)
    if at == nil then refuse_syntax(start) end
    local before = at - 1
    while byte(text, before) == BACKSLASH do before = before - 1 end
    if (at - before) % 2 == 1 then return at end
  end
end

local scan_value

-- The functions below take the index at which something begins and return the one after its end.
local function scan_object(at, message, depth)
  local fields, below, values = message and message.fields, message and message.below, message and message.values
  local seen = {}
  at = skip_space(at + 1)
  if byte(text, at) == CLOSING_BRACE then return at + 1 end
  while true do
    if byte(text, at) ~= QUOTE then refuse_syntax(at) end
    local stop = string_end(at)
    local key = sub(text, at + 1, stop - 1)
    if find(key, "\\", 1, true) then key = unescaped(key) end
    local name = key
    if fields then
      name = fields[key]
      if name == nil then refuse_unknown(key, fields, depth) end
    end
    path[depth] = key
    if seen[name] then
      refuse('The field "%s" is there twice.', shown_path(depth + 1))
    end
    seen[name] = true
    at = skip_space(stop + 1)
    if byte(text, at) ~= COLON then refuse_syntax(at) end
    at = scan_value(skip_space(at + 1), fields and below[name] or values, depth + 1)
    at = skip_space(at)
    local character = byte(text, at)
    if character == CLOSING_BRACE then return at + 1 end
    if character ~= COMMA then refuse_syntax(at) end
    at = skip_space(at + 1)
  end
end

local function scan_array(at, message, depth)
  local index = 0
  at = skip_space(at + 1)
  if byte(text, at) == CLOSING_BRACKET then return at + 1 end
  while true do
    path[depth] = index
    at = skip_space(scan_value(at, message, depth + 1))
    local character = byte(text, at)
    if character == CLOSING_BRACKET then return at + 1 end
    if character ~= COMMA then refuse_syntax(at) end
    index = index + 1
    at = skip_space(at + 1)
  end
end

function scan_value(at, message, depth)
  local character = byte(text, at)
  if character == QUOTE then return string_end(at) + 1 end
  if character == BRACE or character == BRACKET then
    if depth > MAX_DEPTH then refuse("The body is nested more than %d deep.", MAX_DEPTH) end
    return (character == BRACE and scan_object or scan_array)(at, message, depth)
  end
  -- A number, true, false or null. Whether it is one is the transcoder's to say; it is only made sure
  -- that both see it end at the same place.
  local _, stop = find(text, "^[%w.+-]+", at)
  if stop == nil then refuse_syntax(at) end
  return stop + 1
end

-- What is wrong with a body; nil if nothing is.
local function complaint(body, message)
  text, path = body, {}
  local is_good, failure = pcall(function()
    local start = skip_space(1)
    if byte(text, start) ~= BRACE then refuse("The body is not a JSON object.") end
    local at = skip_space(scan_object(start, message, 1))
    if at <= #text then refuse_syntax(at) end
  end)
  text, path = nil, nil
  if is_good then return nil end
  if type(failure) == "table" then return failure.message end
  error(failure, 0)
end

-- Replaces the names of messages by the messages.
for _, message in pairs(MESSAGES) do
  for name, below in pairs(message.below) do
    message.below[name] = type(below) == "table" and {values = MESSAGES[below.values]} or MESSAGES[below]
  end
end

function envoy_on_request(handle)
  local message = MESSAGES[handle:filterContext():get("message")]
  local body = handle:body()
  if body == nil or body:length() == 0 then return end
  local failure = complaint(body:getBytes(0, body:length()), message)
  if failure then handle:respond({[":status"] = "400"}, failure) end
end
