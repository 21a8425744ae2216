"""Imports as jobs of a real server: uploaded by the API, worked on by its children, and counted at their end."""

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from support.import_files import HASH
from support.servers import Reply, Server

PATH = "/v1/user/import/jobs"
LONGEST_SECONDS = 60
HEADER = "email,first_name,password,password_hash\n"
Rows = Callable[[str], Sequence[Any]]


def staff(domain: str, count: int) -> bytes:
    """Return a file of `count` rows, a multiple of 100. Of each hundred two are bad, and one has a plain password."""
    secrets = {9: "correct horse battery staple,"}
    emails = {7: "no email", 8: f"JO0@{domain}"}  # the second is the address of the first row
    lines = (
        f"{emails.get(number % 100, f'jo{number}@{domain}')},Jo,{secrets.get(number % 100, ',' + HASH)}\n"
        for number in range(count)
    )
    return (HEADER + "".join(lines)).encode()


def upload(
    server: Server, key: str, content: bytes | Iterable[bytes], *, query: str = "start=always", **headers: str
) -> Reply:
    """Send a file: of bytes with its length, of pieces in chunks."""
    begin = time.monotonic()
    with contextlib.closing(server.keep()) as connection:
        sent = {"X-API-Key": key, "Content-Type": "text/csv", **headers}
        connection.request("POST", f"{PATH}?{query}", content, sent)
        answer = connection.getresponse()
        return Reply(answer.status, answer.headers, answer.read(), time.monotonic() - begin)


def created(reply: Reply) -> str:
    """Return the id of the import that an upload was answered with."""
    assert reply.status == 202, reply.body
    return str(reply.json["id"])


def wait(server: Server, key: str, job_id: str) -> dict[str, Any]:
    """Return the import when it has ended."""
    limit = time.monotonic() + LONGEST_SECONDS
    while time.monotonic() < limit:
        job: dict[str, Any] = server.call("GET", f"{PATH}/{job_id}", key=key).json
        if job["ended_at"]:
            return job
        time.sleep(0.1)
    raise AssertionError(f"{json.dumps(job)}\n{server.log()}")


def wait_until(is_so: Callable[[], object], seconds: float = LONGEST_SECONDS) -> None:
    """Return when it is so."""
    limit = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < limit, "it never was"
        time.sleep(0.02)


def children(folder: Path) -> list[int]:
    """Return the ids of the processes that work on jobs of the installation in `folder`, also without their server."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended, or is another user's
            is_here = os.readlink(process / "cwd") == str(folder)
            if is_here and b"jobs\0work\0" in (process / "cmdline").read_bytes():
                found.append(int(process.name))
    return found


def zombies(server: Server) -> list[str]:
    """Return the processes that have ended and that a process of the server has not collected."""
    stats = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            stats[int(path.parent.name)] = path.read_text(errors="replace").rpartition(")")[2].split()
    ours = {pid for pid, stat in stats.items() if int(stat[2]) == server.process.pid}
    return [f"{pid} of {stat[1]}" for pid, stat in stats.items() if stat[0] == "Z" and int(stat[1]) in ours]


def complaints(rows: Rows, job_id: str, domain: str, count: int) -> Iterator[str]:
    """Yield all that is wrong after an import of `staff` has ended."""
    bad = count // 50
    wanted = ("finished", count, count, count - bad, 0, bad)
    columns = "state, rows_total, rows_done, created, existing, rejected"
    (job,) = rows(f"SELECT {columns} FROM imports WHERE id = '{job_id}'")
    if tuple(job) != wanted:
        yield f"the import says {tuple(job)}, and should {wanted}"
    there = [one for (one,) in rows(f"SELECT id FROM users WHERE email LIKE '%@{domain}' ORDER BY id")]
    if len(there) != count - bad:
        yield f"{len(there)} users, and should be {count - bad}"
    made = f"request_id = '{job_id}' AND action = 'user.create'"
    events = rows(f"SELECT target_id FROM audit_events WHERE {made} ORDER BY target_id")
    if [one for (one,) in events] != there:
        yield f"{len(events)} events of {len({one for (one,) in events})} users"
