"""The process that runs Lua checks: a line of JSON in, a line of JSON out. Run by its path, never imported.

It imports nothing of the project: all that it may use is the standard library and lupa. A script sees a fresh
interpreter with the functions that Argo CD gives it, and no other. Instructions and memory are bounded here; what no
hook sees (a pattern that backtracks for ever, in C) ends with this process.
"""

import json
import resource
import signal
import sys
from typing import Any

from lupa import luajit21 as lupa

MEMORY = 64 * 1024 * 1024
"""Bytes that one script may allocate."""
PROCESS_MEMORY = 512 * 1024 * 1024
INSTRUCTIONS = 20_000_000
"""About half a second of interpreted code. Compiled code calls no hook, so that the compiler is off."""

_PRELUDE = """
local limit, step, jit, debug, raw = ..., 10000, jit, debug, {}
for _, name in ipairs({"assert", "error", "getmetatable", "ipairs", "next", "pairs", "pcall", "print", "rawequal",
    "rawget", "rawset", "select", "setmetatable", "tonumber", "tostring", "type", "unpack", "xpcall", "math",
    "string", "table", "_G", "_VERSION"}) do raw[name] = _G[name] end
local loadstring, time, date, rawget, type, error = loadstring, os.time, os.date, rawget, type, error
local pcall, xpcall, sethook = pcall, xpcall, debug.sethook
local getn = function(list) return #list end
for name in pairs(_G) do if raw[name] == nil then _G[name] = nil end end
string.dump, table.getn, print = nil, table.getn or getn, function() end
os = {time = time, date = date}
local modules = {os = os, string = string, table = table, math = math}
require = function(name) return modules[name] or error("no module " .. tostring(name), 0) end
local spent = false
local function passed(...) if spent then error("too many instructions", 0) end return ... end
_G.pcall = function(...) return passed(pcall(...)) end
_G.xpcall = function(...) return passed(xpcall(...)) end
jit.off()
return function(script, object)
  local check, problem = loadstring(script, "=health.lua")
  if not check then return nil, nil, problem end
  _G.obj, _G.actionParams = object, {}
  local left = limit
  sethook(function()
    left = left - step
    if left < 0 then spent = true error("too many instructions", 0) end
  end, "", step)
  local fine, result = pcall(check)
  sethook()
  if spent then return nil, nil, "too many instructions" end
  if not fine then return nil, nil, type(result) == "string" and result or "it failed" end
  if result == nil then return nil, nil, nil end
  if type(result) ~= "table" then return nil, nil, "expect table output, not " .. type(result) end
  return rawget(result, "status"), rawget(result, "message"), nil
end
"""


def run(script: str, obj: dict[str, Any]) -> dict[str, str]:
    """One check: `status` and `message`, or `error`."""
    runtime = lupa.LuaRuntime(
        register_eval=False, register_builtins=False, unpack_returned_tuples=True, max_memory=MEMORY
    )
    if script.startswith("\x1b"):
        return {"error": "compiled code is not taken"}
    try:
        check = runtime.execute(_PRELUDE, INSTRUCTIONS)
        status, message, error = check(script, _table(runtime, obj))
    except lupa.LuaMemoryError:
        return {"error": "too much memory"}
    except (lupa.LuaError, OverflowError, UnicodeDecodeError, RecursionError) as failure:
        return {"error": str(failure)[:200] or type(failure).__name__}
    if error is not None:
        return {"error": _text(error)[:1024]}
    return {"status": _text(status)[:64], "message": _text(message)[:4096]}


def _table(runtime: Any, value: Any) -> Any:
    """JSON as Lua tables; null is nil, as Argo CD passes it."""
    if isinstance(value, dict):
        return runtime.table_from({k: _table(runtime, v) for k, v in value.items() if v is not None})
    if isinstance(value, list):
        return runtime.table_from([_table(runtime, each) for each in value if each is not None])
    return value


def _text(value: Any) -> str:
    """Text and numbers alone: a table could bring its own `__tostring`, which no hook would count."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value) if isinstance(value, str | int | float) else ""


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (PROCESS_MEMORY, PROCESS_MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for line in sys.stdin.buffer:
        request = json.loads(line)
        # Of the processor, and not of a machine that has other things to do: the signal ends the process.
        signal.setitimer(signal.ITIMER_PROF, request["seconds"])
        try:
            answer = run(request["script"], request["object"])
        except MemoryError:
            answer = {"error": "too much memory"}
        signal.setitimer(signal.ITIMER_PROF, 0)
        sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
