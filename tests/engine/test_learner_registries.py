"""Kind 4, registries say no: what a learner's first own pull hears, in a cell and typed.

The registry is a real server in the engine's own network, and the words are this engine's; those of other engines are
in ``tests/unit/test_learner_registries.py``.
"""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import docker.errors
import pytest
import trustme

from labkit import images
from labkit.engine import dockercli
from labkit.engine.client import address_in
from labkit.engine.faults import explain
from labkit.errors import BadInput, NotPossibleHere

from ..helpers import wait_until

PROGRAM = Path(__file__).with_name("refusals.py").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def places(module_context):
    """Where the registries are: ``here`` (on the engine's loopback), ``http`` and ``https`` (at another address)."""
    on, found = module_context, {}
    key = trustme.CA().issue_cert("registry.test").private_key_and_cert_chain_pem.bytes().decode()
    setup = "import os\nopen('/key', 'w').write(os.environ['KEY'])\nexec(os.environ['PROGRAM'])"
    with contextlib.ExitStack() as stack:
        for name, network, words in (("here", "host", ["127.0.0.1"]), ("http", "bridge", ["0.0.0.0"]),
                                     ("https", "bridge", ["0.0.0.0", "/key"])):  # fmt: skip
            container = stack.enter_context(
                on.container(
                    on.image(images.PYTHON), ["python3", "-c", setup, *words], network_mode=network,
                    environment={"KEY": key, "PROGRAM": PROGRAM},
                )
            )  # fmt: skip
            wait_until(lambda made=container: made.logs().strip(), 30)
            address = "127.0.0.1" if network == "host" else address_in(container, "bridge")
            found[name] = f"{address}:{container.logs().decode().strip()}"
        yield found


CASES = {
    "the rate limit": ("{here}/busy", NotPossibleHere, "counts pulls by address", "log in"),
    "unauthorized": ("{here}/locked", NotPossibleHere, "who asks", "lab.docker.login("),
    "forbidden": ("{here}/denied", NotPossibleHere, "who asks", "lab.docker.login("),
    "name unknown": ("{here}/unknown", NotPossibleHere, "no registry had it", "Check its name"),
    "tag unknown": ("{here}/tagless:9", NotPossibleHere, "no registry had it", "Check its name"),
    "no matching platform": ("{here}/foreign", NotPossibleHere, "another processor architecture", "docker manifest"),
    "plain HTTP": ("{http}/unknown", NotPossibleHere, "speaks plain HTTP", "insecure-registries"),
    "x509, an authority that is unknown": ("{https}/unknown", NotPossibleHere, "who signed", "certs.d"),
    "nothing listens": ("127.0.0.1:9/x", NotPossibleHere, "", "labkit/busybox:1|lab's own images"),
    "a name that does not resolve": ("registry.invalid/x", NotPossibleHere, "", "labkit/busybox:1|lab's own images"),
    "a name in capitals": ("Ubuntu", BadInput, "no image's name", "small letters"),
}


@pytest.mark.parametrize("name, kind, cause, next_step", CASES.values(), ids=CASES)
def test_registries_say_no_in_a_cell(module_context, places, name, kind, cause, next_step):
    with pytest.raises(docker.errors.APIError) as caught:
        module_context.docker.images.pull(name.format(**places))
    told = explain(caught.value, module_context.facts.endpoint)  # as a notebook shows it
    assert type(told) is kind and cause in told.cause and told.cause
    assert any(words in told.next_step for words in next_step.split("|")), told


@pytest.mark.parametrize("name, kind, cause, next_step", CASES.values(), ids=CASES)
def test_registries_say_no_typed(module_context, places, name, kind, cause, next_step):
    command = f"docker pull {name.format(**places)}"
    said = dockercli.run_cli(module_context.session, command, check=False)
    assert cause in said and any(words in said for words in next_step.split("|")), said
    with pytest.raises(BadInput) as caught:
        dockercli.run_cli(module_context.session, command)
    assert cause in caught.value.cause and caught.value.next_step


def test_registries_say_no_when_a_run_or_a_build_asks(module_context, places):
    with pytest.raises(docker.errors.APIError) as caught:
        module_context.docker.containers.run(f"{places['here']}/busy")
    assert "counts pulls" in explain(caught.value).cause
    text = f"FROM {places['here']}/busy\n"
    with pytest.raises((docker.errors.APIError, docker.errors.BuildError)) as caught:
        module_context.docker.images.build(fileobj=io.BytesIO(text.encode()))
    assert "counts pulls" in explain(caught.value).cause
