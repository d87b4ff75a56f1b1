"""Who tries to reach another computer, or looks a name up: told by Python, by the kernel, by the browser.

Run as a program, it is the demo, with the servers it starts: `python -m tests.outside PROJECT HOOK`.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

# In a process of its own, before all else: Python itself tells of each attempt, whatever library makes it.
HOOK = """
import os, sys
def _note(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"):
        where = arguments[0] if event in ("socket.getaddrinfo", "socket.gethostbyname") else arguments[1]
        where = where[0] if isinstance(where, tuple) else where
        here = (None, "127.0.0.1", "::1", "localhost", "0.0.0.0", "")
        if where not in here and not str(where).startswith("/"):
            with open({log!r}, "a") as file:
                print(os.path.basename(sys.argv[0] if sys.argv else ""), event, where, file=file)
sys.addaudithook(_note)
"""
STRACE = (
    "strace",
    "-f",
    "--seccomp-bpf",
    "--decode-pids=comm",
    "-e",
    "trace=connect,sendto,sendmsg,sendmmsg",
)
_CALL = re.compile(r"^\d+<(.+?)> (connect|sendto|sendmsg|sendmmsg)\((.*)$")
_ADDRESS = re.compile(r'(?:inet_addr\(|inet_pton\(AF_INET6, )"([^"]+)"')
# Names are looked up by a message to port 53 of whatever computer, this one too, or by systemd's socket.
_LOOK_UP = re.compile(r"htons\(53\)|/systemd/resolve/")


def write_hook(folder: Path, log: Path) -> None:
    """What Python imports first where PYTHONPATH names the folder: the hook, then our guard."""
    from workflow.services import label_studio

    folder.mkdir()
    log.touch()
    guard = (label_studio._GUARD / "sitecustomize.py").read_text()
    (folder / "sitecustomize.py").write_text(HOOK.format(log=str(log)) + guard)


def calls_outside(lines: Iterable[str]) -> list[str]:
    """Of strace's lines those to another computer, and those that look names up: program, call, address."""
    outside = []
    for line in lines:
        if not (call := _CALL.match(line)):
            continue
        addresses = _ADDRESS.findall(call[3]) or re.findall(r'sun_path="([^"]+)"', call[3])
        look_up = _LOOK_UP.search(call[3])
        away = [
            a
            for a in addresses
            if look_up or not a.startswith(("127.", "::ffff:127.", "/", "@")) and a != "::1"
        ]
        outside += [f"{call[1]} {call[2]} {address}" for address in away]
    return outside


def hosts_of_pages(path: Path) -> set[str]:
    """By the browser's own log: the hosts, but 127.0.0.1, that pages of 127.0.0.1 asked for.

    What the browser does for its maker (updates, accounts, forms) has no page for its initiator.
    """
    hosts = set()
    for event in json.loads(path.read_text())["events"]:
        request = event.get("params", {})
        if "url" in request and str(request.get("initiator")).startswith("http://127.0.0.1"):
            hosts.add(urlsplit(request["url"]).hostname)
    return hosts - {"127.0.0.1"}


def main(folder: Path, hook: Path) -> None:
    from workflow.commands import demo
    from workflow.project.paths import load_project
    from workflow.services import label_studio, service

    # The servers get the hook as well, Label Studio together with its guard.
    label_studio._GUARD = hook
    service._INHERITED = (*service._INHERITED, "PYTHONPATH")
    demo.run(load_project(folder), device="cpu")


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]))
    finally:
        print("\nFINISHED", flush=True)
