-- One reading a request, each with a time of its own, from the devices in turn.
-- Arguments: a file with a token on each line, the path of the POST, the first minute in Unix seconds.

local tokens, path, first = {}, "", 0
local sent = 0

function init(arguments)
  for line in io.lines(arguments[1]) do
    tokens[#tokens + 1] = line
  end
  path = arguments[2]
  first = tonumber(arguments[3])
end

function request()
  sent = sent + 1
  local seconds = first + math.floor(sent / 1000)
  local body = string.format(
    '{"telemetry_type":"climate","payload":{"t":%.2f,"h":%.1f},"recorded_at":"%s.%03dZ"}',
    15 + sent % 1000 / 100, 40 + sent % 97 / 10,
    os.date("!%Y-%m-%dT%H:%M:%S", seconds), sent % 1000)
  return wrk.format("POST", path, {
    ["Authorization"] = "Bearer " .. tokens[sent % #tokens + 1],
    ["Content-Type"] = "application/json",
  }, body)
end

dofile(os.getenv("WRK_RESULT"))
