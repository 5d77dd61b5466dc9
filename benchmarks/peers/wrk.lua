-- Posts one file again and again, with WRK_EXPLAIN=N every N-th time with explain=1; at the end prints what was measured as one line of JSON.
local file = assert(io.open(os.getenv("WRK_BODY"), "rb"))
wrk.method = "POST"
wrk.body = file:read("*a")
file:close()
wrk.headers["Content-Type"] = os.getenv("WRK_TYPE")
wrk.headers["Authorization"] = os.getenv("WRK_AUTHORIZATION")

local every, asked = tonumber(os.getenv("WRK_EXPLAIN") or "0"), 0
if every > 0 then
  function request()
    asked = asked + 1
    return wrk.format(nil, asked % every == 0 and wrk.path .. "?explain=1" or wrk.path)
  end
end

function done(summary, latency, requests)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.timeout + errors.status
  io.write(string.format('{"per_s": %.3f, "p50_ms": %.3f, "p99_ms": %.3f, "failed": %d}\n',
    summary.requests / summary.duration * 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, failed))
end
