-- What a file holds, one request after the other, until the time is up.
-- Arguments: the path of the POST, the file: for each request a line with its token and its body's length, then the body.

local path, file = "", nil

function init(arguments)
  path = arguments[1]
  file = assert(io.open(arguments[2], "rb"))
end

function request()
  local head = file:read("*l")
  if not head then
    error("everything was sent before the time was up")
  end
  local token, length = head:match("^(%S+) (%d+)$")
  return wrk.format("POST", path, {
    ["Authorization"] = "Bearer " .. token,
    ["Content-Type"] = "application/json",
  }, file:read(tonumber(length)))
end

dofile(os.getenv("WRK_RESULT"))
