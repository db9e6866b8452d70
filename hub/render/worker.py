"""`python -m hub.render.worker`: expands and renders what users wrote, inside limits of its own.

Frames on stdin and stdout: four bytes of length, big endian, then JSON. Requests are answered in their order,
one at a time; the pool may send many at once. JSON and never pickle: what comes back from here is not
trusted. Imports are few on purpose, since each worker pays for them: no pydantic, no asyncio.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import struct
import sys
from typing import IO, Any

from hub.core.expand import expand
from hub.core.expansion import ExpandRequest, Expansion, ExpansionError
from hub.render.confine import Confinement, confine, system_paths
from hub.render.explain import NoSuchField, NoSuchObject, TooMuchToTell
from hub.render.explaining import Question, answered
from hub.render.pipeline import RenderRequest, Tools, render, render_sealed
from hub.render.plain import ManifestError
from hub.render.programs import Programs
from hub.render.seal import Sealing

MAX_FRAME = 64 * 1024 * 1024
HEADER = struct.Struct(">I")
READY = HEADER.pack(2) + b"{}"
"""The first frame: what came before it was no call's time."""
_OPEN_FILES = 64
_FILE_MB = 64
"""The largest file that it may write, into its own scratch folder."""
_SPARE_SECONDS = 5
_ADDRESSES_MB = 4096
"""What a Go runtime sets aside and never touches comes on top of what it may use."""


def main() -> None:
    """Serve until stdin ends. Arguments: memory in MiB, CPU seconds a request, then `Programs`."""
    memory_mb, cpu_seconds = int(sys.argv[1]), int(sys.argv[2])
    programs = Programs.from_wire(sys.argv[3])
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever prints must not get between frames
    _limit(memory_mb)
    read = [*system_paths(), *programs.read()]
    confinement = confine(read=read, write=filter(None, [programs.scratch]))
    if not (confinement.landlock and confinement.seccomp):
        sys.stderr.write(f"a render worker runs less confined than it should: {confinement}\n")
    gc.freeze()
    answers.write(READY)
    answers.flush()
    serve(requests, answers, cpu_seconds=cpu_seconds, tools=Tools(programs), confinement=confinement)


def serve(
    requests: IO[bytes], answers: IO[bytes], *, cpu_seconds: int, tools: Tools, confinement: Confinement
) -> None:
    """One frame in, one frame out."""
    while (header := requests.read(HEADER.size)) and len(header) == HEADER.size:
        body = requests.read(HEADER.unpack(header)[0])
        _limit_cpu(cpu_seconds)
        last = False
        try:
            data = json.dumps(answer(json.loads(body), tools, confinement)).encode()
            if len(data) > MAX_FRAME:
                data = _error("TooLarge", f"the result is larger than {MAX_FRAME} bytes")
        except MemoryError:
            # what is left of the heap is not worth keeping: the pool starts a new worker
            body, last = b"", True
            data = _error("OutOfMemory", "it needs more memory than a worker may use", last=True)
        answers.write(HEADER.pack(len(data)) + data)
        answers.flush()
        if last:
            return


def answer(request: dict[str, Any], tools: Tools, confinement: Confinement) -> dict[str, Any]:
    """One request's answer: `ok`, `needs` or `error`."""
    try:
        return _done(request, tools, confinement)
    except ExpansionError as error:
        failure = {"type": "expansion", **error.to_wire()}
    except ManifestError as error:
        failure = {"type": "manifest", **error.to_wire()}
    except (NoSuchObject, NoSuchField, TooMuchToTell) as error:
        failure = {"type": "answer", "reason": error.reason, "detail": str(error)[:2000]}
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - the request's boundary: one bad request ends nothing
        text = "it is nested too deep" if isinstance(error, RecursionError) else f"{error}"
        failure = {
            "type": "worker",
            "reason": "RenderFailed",
            "detail": f"{type(error).__name__}: {text[:500]}",
        }
    return {"error": failure}


def _done(request: dict[str, Any], tools: Tools, confinement: Confinement) -> dict[str, Any]:
    match request["op"]:
        case "expand":
            result = expand(ExpandRequest.from_wire(request["request"]), engine=tools.engine)
            return {"ok" if isinstance(result, Expansion) else "needs": result.to_wire()}
        case "render":
            done = render(RenderRequest.from_wire(request["request"]), tools)
            return {"ok": done.objects, "stages": [one.to_wire() for one in done.stages]}
        case "seal":
            sealing = Sealing.from_wire(request["sealing"])
            found = render_sealed(RenderRequest.from_wire(request["request"]), sealing, tools)
            return {"ok": found.objects, "masks": found.masks}
        case "explain":
            question = Question.from_wire(request["question"])
            return {"ok": answered(RenderRequest.from_wire(request["request"]), question, tools)}
        case "text":
            asked = request["request"]
            return {"ok": tools.engine.text(asked["template"], asked["params"])}
        case _:
            rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            return {"ok": {"rss": rss, "landlock": confinement.landlock, "seccomp": confinement.seccomp}}


def _error(reason: str, detail: str, *, last: bool = False) -> bytes:
    return json.dumps(
        {"error": {"type": "worker", "reason": reason, "detail": detail}, "last": last}
    ).encode()


def _limit(memory_mb: int) -> None:
    megabyte = 1024 * 1024
    memory, addresses = memory_mb * megabyte, (memory_mb + _ADDRESSES_MB) * megabyte
    if sys.platform != "darwin":  # which refuses to limit either
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
        resource.setrlimit(resource.RLIMIT_AS, (addresses, addresses))
    size = _FILE_MB * megabyte
    resource.setrlimit(resource.RLIMIT_NOFILE, (_OPEN_FILES, _OPEN_FILES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _limit_cpu(seconds: int) -> None:
    """The kernel's own stop, should the pool's clock not come: it counts a process's whole life."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(usage.ru_utime + usage.ru_stime) + seconds + _SPARE_SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.getrlimit(resource.RLIMIT_CPU)[1]))


if __name__ == "__main__":
    main()
