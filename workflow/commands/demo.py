"""The demo: the whole loop in one go, from raw images to a fine-tuned, evaluated model.

This page is the product in order: read it from top to bottom.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from workflow import models, services, wing
from workflow.commands import reviewer as review
from workflow.errors import ConfigError, StageError
from workflow.labels import ledger
from workflow.labels.ledger.account import cost_model, decisions, look
from workflow.project.paths import Project
from workflow.project.promoted import preannotators
from workflow.project.rows import write_json
from workflow.review import ReviewTool
from workflow.running.runner import Outcome
from workflow.stages import catalog, dataset, evaluate, preannotate, pull, push, train

Summary = dict[str, Any]
# The code of the projects that come with workflow: it is run as it is, without being asked about.
SHIPPED = {
    "dbeb97b1d25bf0e11457bd4af0396e9a4880c77955970f96a1b6b1fdafac6671": "zipcodes",
    "5474b43ffaab8ca78641c70411935e76fb44e85dfc1f646b35a09c18453aa508": "photos",
}
CODE = (".py", ".pyc", ".so", ".pyd", ".dylib")


def run(project: Project, reviewer: str = "simulated", device: str = "auto", trust: bool = False) -> Summary:
    """Run every stage, print a table, and write data/summary.json, whose content is returned.

    `reviewer` is "simulated", or "me" to stop and wait for a person in Label Studio. `trust` lets the
    project's own script run. ConfigError where it may not.
    """
    if reviewer not in ("simulated", "me"):
        raise ConfigError([f"reviewer {reviewer!r} is neither simulated nor me"], "make demo REVIEWER=me")
    start = time.perf_counter()
    script = own_script(project, trust)
    outcomes: list[Outcome] = []

    def do(outcome: Outcome) -> None:
        outcomes.append(outcome)
        mark = "unchanged" if outcome.skipped else f"{outcome.seconds:.1f} s"
        print(f"{outcome.stage}: {outcome.did} [{mark}]", flush=True)

    _say_what_stands_in(project)
    with ThreadPoolExecutor(1) as pool:
        # A fresh Label Studio takes most of a minute to migrate its database: meanwhile, look at images.
        servers = pool.submit(_start_servers, project)
        do(_draw(project, script))
        do(catalog.run(project))
        do(preannotate.run(project, device))
        do(_wait_for(servers))
    tool = wing.connect(project)
    do(push.run(project, tool))
    do(review.run(project, tool) if reviewer == "simulated" else _wait_for_person(project, tool))
    do(pull.run(project, tool))
    do(dataset.run(project))
    do(train.run(project, device))
    do(evaluate.run(project, device))
    do(evaluate.publish(project))
    summary = _summarise(project, outcomes, tool.page(project))
    write_json(project.data / "summary.json", summary)
    print(_table(project, summary, time.perf_counter() - start))
    return summary


def _say_what_stands_in(project: Project) -> None:
    """Which models guess, and where each comes from: nobody should wonder whether a hub was used."""
    for spec in preannotators(project):
        family, checkpoint = models.resolve(spec, project.folder)
        where = "a local file; no model hub is used"
        if isinstance(checkpoint, str):
            here = checkpoint in models.MODELS[family].annotator.on_this_machine()
            where = "on this machine; no model hub is used" if here else "fetched from its publisher, once"
        print(f"{project.settings.title}: pre-annotating with {spec}, {where}", flush=True)


def own_script(project: Project, trust: bool = False) -> Path | None:
    """The Python file that draws the raw images, if it may run; None where there is none.

    It may where somebody said so: by `trust`, by `demo.trust`, or by installing workflow, with which it came.
    Else ConfigError. What is about to run is printed.
    """
    name = project.settings.demo.images
    if name is None:
        return None
    path = project.resolve(name)
    if not path.is_relative_to(project.folder) or not path.is_file():
        raise ConfigError([f"demo.images: {path} is no file of the project folder"], "mend project.toml")
    if trust:
        why = "--trust"
    elif project.settings.demo.trust:
        why = "demo.trust = true"
    elif code_digest(project.folder) in SHIPPED:
        why = "as it comes with workflow"
    else:
        what = f"demo.images: {path} is code of the project's, which would run with all your rights"
        raise ConfigError(
            [what], f"read it, then: workflow demo {project.name} --trust, or demo.trust = true"
        )
    print(f"{project.settings.title}: running {path} ({why})", flush=True)
    return path


def code_digest(folder: Path) -> str:
    """The SHA-256 of all that Python would take for code in a project folder, data/ apart."""
    whole = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.suffix in CODE and path.is_file()):
        name = path.relative_to(folder)
        if name.parts[0] != "data" and "__pycache__" not in name.parts:
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            whole.update(f"{content} {name.as_posix()}\n".encode())
    return whole.hexdigest()


def _draw(project: Project, script: Path | None) -> Outcome:
    """Let the project's own script draw its raw images, once."""
    if script is None:
        return Outcome("images", 0.0, f"{project.image_root}, as they are", skipped=True)
    start, before = time.perf_counter(), catalog.plan(project).inputs
    with tempfile.TemporaryDirectory() as cache:
        # What lies in a __pycache__ there is not run in place of the file beside it.
        command = [sys.executable, "-X", f"pycache_prefix={cache}", str(script), "--out", str(project.data)]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode:
        last = (made.stderr.strip().splitlines() or ["no message"])[-1]
        raise StageError(f"{script.name} failed: {last}", f"{sys.executable} {script} --out {project.data}")
    same = catalog.plan(project).inputs == before
    return Outcome("images", time.perf_counter() - start, made.stdout.strip().splitlines()[-1], same)


def _start_servers(project: Project) -> Outcome:
    start = time.perf_counter()
    state = services.state_folder(project.workspace)
    before = {s.name for s in services.status(state) if s.state == "running"}
    quiet: Callable[[str], None] = lambda line: None  # noqa: E731 - the table says it once
    urls = services.up(state, services.SERVICES, quiet, services.served_root(state), warn=print)
    did = ", ".join(f"{name} at {url}" for name, url in urls.items() if name != "mongod")
    return Outcome("servers", time.perf_counter() - start, did, skipped=before >= set(urls))


def _wait_for(servers: Future[Outcome]) -> Outcome:
    if not servers.done():
        print("waiting for Label Studio, which sets up its database the first time", flush=True)
    return servers.result()


def _wait_for_person(project: Project, tool: ReviewTool) -> Outcome:
    """Wait until a person in Label Studio has dealt with every task; a message now and then says how many."""
    start = time.perf_counter()
    access = services.label_studio_access(services.state_folder(project.workspace))
    print(f"\nReview the images at {tool.page(project, to_review=True)}", flush=True)
    if access.managed:
        print(f"  login {access.email}  password {access.password}")
    print("  this goes on by itself when no task is left; Ctrl-C stops, make demo REVIEWER=me goes on\n")
    before = -1
    while True:
        waiting, tasks = tool.waiting(project)
        if waiting <= 0:
            return Outcome("review", time.perf_counter() - start, f"{tasks} tasks reviewed by you")
        if waiting != before:
            print(f"  {waiting} tasks wait", flush=True)
        before = waiting
        time.sleep(5)


def _summarise(project: Project, outcomes: list[Outcome], review_at: str) -> Summary:
    state = services.state_folder(project.workspace)
    urls = {s.name: s.url for s in services.status(state) if s.url}
    urls["label-studio"] = review_at
    if "fiftyone-app" in urls:
        urls["fiftyone-app"] = evaluate.app_url(project, urls["fiftyone-app"])
    people = ledger.summarise(decisions(project), cost_model(project.settings.review))
    account = look(project)
    result = evaluate.result(project)
    stages = [
        {"name": o.stage, "seconds": round(o.seconds, 2), "did": o.did, "skipped": o.skipped}
        for o in outcomes
    ]
    return {
        "stages": stages,
        "ledger": people,
        "simulated": account.figures.simulated_part if account else "",
        "base": result.base and evaluate.summary_of(result.base),
        "tuned": evaluate.summary_of(result.tuned),
        "urls": urls,
        "report": str(result.report),
    }


def _table(project: Project, summary: Summary, seconds: float) -> str:
    """What `make demo` leaves on the screen. The password goes here and into no file."""
    access = services.label_studio_access(services.state_folder(project.workspace))
    people = summary["ledger"]
    lines = ["", f"{'stage':<12} {'seconds':>8}  did"]
    for row in summary["stages"]:
        shown = "unchanged" if row["skipped"] else f"{row['seconds']:.1f}"
        lines.append(f"{row['name']:<12} {shown:>9} {row['did']}")
    simulated = summary["simulated"]
    who = simulated if simulated == "simulated" else "people"
    part = f" ({simulated})" if simulated not in ("", who) else ""
    lines += ["", f"{who:<12} {', '.join(f'{people[a]} {a}' for a in ledger.ACTIONS)}{part}"]
    spent, spared_from = people["reviewer_seconds"], people["seconds_from_nothing"]
    reviewing = "simulated reviewing" if simulated == "simulated" else f"reviewing{part}"
    lines.append(
        f"             {spent:.0f} s of {reviewing} against {spared_from:.0f} s of labeling from nothing,"
    )
    lines.append("             by the cost model of project.toml ([review])")
    for name, after in summary["tuned"]["headlines"].items():
        before = summary["base"]["headlines"].get(name) if summary["base"] else None
        numbers = [
            f"{value:.3f} {when}"
            for value, when in ((before, "before"), (after, "after"))
            if value is not None
        ]
        lines.append(f"{name:<12} {', '.join(numbers)}")
    lines.append("")
    login = f"   login {access.email}  password {access.password}" if access.managed else ""
    lines.append(f"Label Studio {summary['urls']['label-studio']}{login}")
    lines.append(f"FiftyOne     {summary['urls'].get('fiftyone-app', 'not running: make up')}")
    lines.append(f"report       {summary['report']}")
    lines.append(f"\n{seconds:.0f} s in all; make down stops the servers")
    return "\n".join(lines)
