from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING

import pytest

from agent.lua.host import LuaHost

if TYPE_CHECKING:
    from collections.abc import Iterator


OUTSIDE = (
    *("io", "debug", "package", "python", "load", "loadstring", "loadfile", "dofile", "getfenv", "setfenv"),
    *("coroutine", "jit", "newproxy", "module", "collectgarbage", "bit", "string.dump", "os.execute"),
    *("os.getenv", "os.remove", "os.exit"),
)


@pytest.fixture(scope="module")
def host() -> Iterator[LuaHost]:
    with LuaHost(seconds=60.0) as running:
        yield running


def test_a_check_sees_its_object_and_tells_status_and_message(host: LuaHost) -> None:
    script = """
    hs = {}
    if obj.status ~= nil and obj.status.conditions ~= nil then
      for i, condition in ipairs(obj.status.conditions) do
        if condition.type == "Ready" and condition.status == "False" then
          hs.status = "Degraded"
          hs.message = condition.message .. " " .. i
          return hs
        end
      end
    end
    hs.status = "Healthy"
    return hs
    """
    broken = {
        "status": {"empty": None, "conditions": [{"type": "Ready", "status": "False", "message": "no"}]}
    }
    assert host(script, broken) == ("Degraded", "no 1", "")
    assert host(script, {}) == ("Healthy", "", "")


def test_what_a_check_leaves_behind_is_not_seen_by_the_next(host: LuaHost) -> None:
    assert host("left = 'x'; string.sub = nil; return {status = 'Healthy'}", {}).status == "Healthy"
    assert host("return {status = tostring(left) .. string.sub('abc', 1, 1)}", {}).status == "nila"


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_check_reaches_nothing_outside(host: LuaHost, name: str) -> None:
    assert host(f"return {{status = type({name})}}", {}).status == "nil"


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ("while true do end", "too many instructions"),
        ("while true do pcall(function() while true do end end) end", "too many instructions"),
        ("local t = {} for i = 1, 1e9 do t[i] = ('x'):rep(1e6) .. i end", "memory"),
        ("return 3", "expect table output"),
        ("return {status = obj.a.b}", "health.lua:1"),
        ("this is no Lua", "health.lua:1"),
        ("\x1bLJ", "compiled code"),
    ],
)
def test_a_check_that_goes_wrong_is_an_answer(host: LuaHost, script: str, error: str) -> None:
    assert error in host(script, {}).error
    assert host("return {status = 'Healthy'}", {}).status == "Healthy"


def test_what_no_hook_sees_is_killed_and_not_run_again() -> None:
    script = (
        "return {status = ('a'):rep(60):find(('a?'):rep(60) .. ('a'):rep(60)) and 'Healthy' or 'Degraded'}"
    )
    with LuaHost(seconds=0.3) as host:
        host("return nil", {})
        assert "no verdict" in host(script, {}).error
        assert host("return {status = 'Healthy'}", {}).status == "Healthy"
        assert "no verdict" in host(script, {}).error
        assert "no longer run" in host(script, {}).error


def test_a_check_that_the_machine_has_no_time_for_is_waited_for() -> None:
    with LuaHost(seconds=0.3, patience=60.0) as host:
        assert host("return nil", {}).error == ""
        process = host._process
        assert process is not None
        process.send_signal(signal.SIGSTOP)
        later = threading.Timer(1.0, process.send_signal, [signal.SIGCONT])
        later.start()
        assert host("return {status = 'Healthy'}", {}).status == "Healthy"
        later.join()
        assert host._process is process, "nobody killed it"


def test_a_check_that_says_nothing_leaves_it_to_others(host: LuaHost) -> None:
    assert host("return nil", {}) == ("", "", "")
    assert host("return {}", {}) == ("", "", "")
