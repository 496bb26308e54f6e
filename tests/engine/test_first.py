"""The first container three ways, and the preflight with the doctor around it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from labkit.commands.doctor import examine
from labkit.engine.rawhttp import request
from labkit.labs.start_here import first
from labkit.labs.start_here.preflight import preflight
from labkit.paths import COURSE


def test_three_ways_print_the_same(module_context):
    ways = first.three_ways(module_context, 2)
    assert ways.facts() == "clients: SDK, CLI, raw HTTP · same output from all: yes"
    assert set(ways.printed.values()) == {"Hello from a container"}
    assert {name: len(runs) for name, runs in ways.seconds.items()} == {"SDK": 2, "CLI": 2, "raw HTTP": 2}
    assert ways.medians()["SDK"] == sorted(ways.seconds["SDK"])[0] / 2 + sorted(ways.seconds["SDK"])[1] / 2
    assert ways.requests == [
        "POST /containers/create → 201",
        "POST /containers/<id>/start → 204",
        "POST /containers/<id>/wait → 200",
        "GET /containers/<id>/logs → 200",
        "DELETE /containers/<id> → 204",
    ]
    assert ways.plot().alt


def test_without_the_command_line_two_ways_are_left(module_context, monkeypatch):
    monkeypatch.setattr(type(module_context.session.engine), "cli_path", lambda *_: None)
    ways = first.three_ways(module_context, 1)
    assert ways.facts() == "clients: SDK, raw HTTP · same output from all: yes"


def test_none_of_them_leaves_a_container(module_context):
    on = module_context
    first.by_sdk(on), first.by_cli(on), first.by_http(on), first.timed_run(on)
    rows = on.docker.containers.list(all=True, filters={"label": f"labkit.session={on.session.id}"})
    assert [row.name for row in rows if "labkit.role" not in row.labels] == []


def test_raw_http_gets_the_engines_own_answers(module_context):
    engine = module_context.session.engine
    assert request(engine, "GET", "/_ping").body == b"OK"
    assert request(engine, "GET", "/version").json()["Version"] == module_context.facts.version
    lost = request(engine, "GET", "/containers/no-such-container/json")
    assert lost.status == 404 and "No such container" in lost.json()["message"]


def test_preflight_finds_all_in_place(module_context):
    found = preflight(module_context)
    assert found.ok, found.facts()
    assert found.facts().splitlines()[-1] == "ready: yes"
    assert [check.name for check in found.checks][:4] == [
        "the daemon answers", "client and engine agree on an API version", "the lab's images are in place",
        "a container runs",
    ]  # fmt: skip
    assert all(check.detail for check in found.checks)


def test_preflight_names_what_is_missing_and_its_remedy(module_context, monkeypatch):
    from labkit import images

    monkeypatch.setitem(images.RECIPES, "labkit/none:1", images.RECIPES[images.BUSYBOX])
    found = preflight(module_context, fix=False)
    [missing] = [check for check in found.checks if not check.ok]
    assert not found.ok
    assert (missing.name, missing.detail) == ("the lab's images are in place", "missing: labkit/none:1.")
    assert "labkit doctor --fix" in found.facts() and found.facts().endswith("ready: no")


def test_doctor_as_json(engine):
    done = subprocess.run(
        [sys.executable, "-m", "labkit", "doctor", "--json"], cwd=COURSE, capture_output=True, text=True
    )
    report = json.loads(done.stdout)
    assert done.returncode == 0 and report["ok"] is True
    assert report["engine"]["endpoint"] == engine.endpoint
    for check in report["checks"]:
        assert set(check) == {"name", "ok", "detail", "remedy", "needed"}


def test_doctor_in_words(engine):
    done = subprocess.run([sys.executable, "-m", "labkit", "doctor"], cwd=COURSE, capture_output=True, text=True)
    assert done.returncode == 0
    assert "✓ a container runs: exit status 0" in done.stdout
    assert done.stdout.rstrip().endswith("Everything is ready.")


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "unix:///no/such/engine.sock"])
def test_doctor_on_an_engine_that_is_not_there(address):
    report = examine(address)
    assert report["ok"] is False and report["engine"] is None
    [failed] = [check for check in report["checks"] if not check["ok"] and check["needed"]]
    assert failed["name"] == "a container engine answers"
    assert failed["detail"].startswith(f"{address}: Nothing answers there.") and "labkit doctor" in failed["remedy"]
