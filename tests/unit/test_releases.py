"""Lab 12 without an engine: requests are counted, archives searched, policies held."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys
import tarfile
from types import SimpleNamespace

import pytest

from labkit.images.archive import layer_from_files
from labkit.labs.images_and_registries import buildkit
from labkit.labs.releases import health, kiosk, rollouts, sbom, shipping
from labkit.observe.visitor import Visit
from labkit.paths import data_file


class Engine:
    name, version, kind, kernel, cgroup_version, emulated, cpus, memory = "Docker", "1", "host", "6", 2, False, 2, 2**30


def visits(*servers):
    return [Visit(place * 0.05, 0.01, 502 if name == "door" else 200, name) for place, name in enumerate(servers)]


def rolled(way, *servers, found=""):
    return rollouts.Rollout(Engine(), way, "1", "2", "1" if found else "2", visits(*servers), 0.05, 0.2, 0.05, found)


def test_requests_are_counted_by_release_and_lost_ones_apart():
    run = rolled("rolling", "blue-1 1", "door", "blue-2 1", "blue-1 2")
    assert len(run.lost) == 1 and [rollouts.release_of(visit) for visit in run.visits] == ["1", "", "1", "2"]
    assert run.answers() == "200 from blue-1 1: 1 · 200 from blue-1 2: 1 · 200 from blue-2 1: 1 · 502 from door: 1"
    assert run.facts() == "rolling: release 2 serves · requests lost: some"
    assert "given up, release 1 serves" in rolled("rolling", "blue-1 1", found="it is unhealthy").facts()


def test_a_comparison_tells_which_way_lost_by_its_rollouts():
    good, bad = rolled("x", "a 1", "a 2"), rolled("x", "a 1", "door", "a 2")
    run = rollouts.Comparison(Engine(), {"one": [bad, bad, bad], "two": [good, bad, good], "three": [good] * 3}, {})
    assert [line.split("  ")[0] for line in run.facts().splitlines()[1:]] == ["one", "two", "three"]
    assert ["every one" in line for line in run.facts().splitlines()[1:]] == [True, False, False]
    assert "1 of 3" in run.facts() and run.table()[0][:4] == ("one", 1, 1, 1)
    assert run.plot().png.startswith(b"\x89PNG") and "one: some requests are lost" in run.plot().alt


@pytest.mark.parametrize(
    ("emulated", "takes", "asked", "n"),
    [(True, 4, None, 3), (True, 25, None, 1), (True, 25, 2, 2), (False, 25, None, 5)],
)
def test_a_slow_machine_begins_no_other_round_after_half_a_minute_unless_asked(monkeypatch, emulated, takes, asked, n):
    past = []
    monkeypatch.setattr(rollouts, "rollout", lambda on, way: past.append(takes) or rolled(way, "a 1"))
    monkeypatch.setattr(rollouts.time, "monotonic", lambda: sum(past))
    on = SimpleNamespace(facts=SimpleNamespace(emulated=emulated), say=lambda *_: None)
    assert rollouts.compare(on, asked).n == n


def test_failures_in_a_row_until_it_was_unhealthy():
    probes = [health.Probe(at, 0.1, code) for at, code in enumerate([0, 1, 0, 1, 1, 1, 1])]
    states = [(0.0, "starting"), (0.1, "healthy"), (5.1, "unhealthy")]
    run = health.Health(Engine(), states, probes, 3, "always", 0, True, 500)
    assert run.failed_in_a_row() == 3 and "--retries says: yes" in run.facts()


def saved(config: bytes, *layers: bytes) -> SimpleNamespace:
    """A context whose engine saves this image."""
    names = [f"{number}/layer.tar" for number in range(len(layers))]
    manifest = json.dumps([{"Config": "c.json", "Layers": names}])
    archive = layer_from_files({"manifest.json": manifest, "c.json": config, **dict(zip(names, layers))})
    api = SimpleNamespace(get_image=lambda tag: [archive[:100], archive[100:]])
    return SimpleNamespace(
        docker=SimpleNamespace(api=api), session=SimpleNamespace(engine=SimpleNamespace(endpoint="here"))
    )


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_token_is_found_in_history_and_layers_packed_or_not(pack):
    one, two = layer_from_files({"token": "my 4711\n"}), layer_from_files({"app/.wh.token": ""})
    image = saved(b'{"history": "TOKEN=4711"}', pack(one), pack(two))
    assert shipping.holders(image, "x:1", b"4711") == ["the configuration's history", "layer 1: /token"]
    assert shipping.holders(image, "x:1", b"4712") == []


def test_the_bytes_of_a_context_are_read_from_the_builders_account():
    lines = [json.dumps({"statuses": [{"id": f"transferring {what}", "vertex": "v", "current": size}]}) + "\n"
             for what, size in (("context:", 10), ("context:", 3200), ("dockerfile:", 9999))]  # fmt: skip
    assert buildkit.read(lines, []).context == 3200


def test_a_release_is_its_number_and_the_bad_one_can_not_sell():
    assert 'RELEASE = "7"' in kiosk.files("7")["app.py"]
    for release, fails in (("1", False), (kiosk.BAD, True)):
        code = f"{kiosk.files(release)['app.py'].partition('if __name__')[0]}\nprint(sell())"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert (done.returncode != 0) is fails and (fails or done.stdout == "4\n")


def test_packages_are_listed_with_their_licences(tmp_path):
    for name, fields in {"a": "License-Expression: MIT", "b": "Classifier: License :: OSI Approved :: BSD License",
                         "c": f"License: {'a whole text ' * 9}"}.items():  # fmt: skip
        folder = tmp_path / f"{name}-1.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n{fields}\n")
    program = data_file("apps", "sbom", "packages.py")
    done = subprocess.run([sys.executable, program, tmp_path], capture_output=True, text=True, check=True)
    bill = sbom.Bill(Engine(), json.loads(done.stdout))
    assert bill.licences() == {"a": "MIT", "b": "BSD License", "c": "unknown"}
    assert bill.document["components"][0]["purl"] == "pkg:pypi/a@1"
    gate = bill.gate(["mit", "bsd"])
    assert gate.verdicts == {"a": True, "b": True, "c": False} and gate.facts().endswith("the gate is shut")


def test_a_member_that_is_a_link_to_an_earlier_layer_is_read():
    """As Engine 24 and older save a layer that comes twice."""
    buffer = io.BytesIO()
    layer = layer_from_files({"token": "4711"})
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        files = {"manifest.json": json.dumps([{"Config": "c", "Layers": ["a/layer.tar", "b/layer.tar"]}]).encode(),
                 "c": b"{}", "a/layer.tar": layer}  # fmt: skip
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo("b/layer.tar")
        link.type, link.linkname = tarfile.SYMTYPE, "../a/layer.tar"
        tar.addfile(link)
    image = saved(b"")
    image.docker.api.get_image = lambda tag: [buffer.getvalue()]
    assert shipping.holders(image, "x", b"4711") == ["layer 1: /token", "layer 2: /token"]
