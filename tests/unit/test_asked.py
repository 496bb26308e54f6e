"""What two clients ask is one where it means the same, and another one where a number differs; and which calls lack a
command beside them."""

from __future__ import annotations

import json
from types import SimpleNamespace

import docker
import pytest

from labkit.observe.wiretap import Exchange

from ..beside import bare_actions
from ..engine.asked import Ears, missing

API = docker.APIClient(base_url="unix:///nowhere.sock", version="1.41")


def exchange(method: str, path: str, asked: dict, answer: dict, status: int = 201) -> Exchange:
    bodies = bytearray(json.dumps(asked).encode()), bytearray(json.dumps(answer).encode())
    return Exchange(method, f"/v1.41/{path}", 0.0, status, 0.1, 0.2, False, *bodies)


def heard(*exchanges: Exchange) -> list[dict]:
    return Ears(SimpleNamespace(exchanges=list(exchanges))).since(0, "0a1b2c3d", "4e5f6a7b")


def created(image: str, command: list[str], **settings) -> dict:
    """As docker-py asks for it."""
    config = API.create_container_config(image, command, host_config=API.create_host_config(**settings))
    return {**config, "NetworkingConfig": None}


#: As ``docker`` asks for it, where docker-py writes it in another way.
WAYS = [
    ({"mem_limit": "32m", "nano_cpus": 5 * 10**8, "network_mode": "none"},
     {"Memory": 33554432, "NanoCpus": 500000000, "NetworkMode": "none", "MemorySwappiness": -1}),
    ({"cap_drop": ["ALL"], "cap_add": ["SYS_CHROOT", "CHOWN"]},
     {"CapDrop": ["ALL"], "CapAdd": ["CAP_CHOWN", "CAP_SYS_CHROOT"], "NetworkMode": "default"}),
    ({"binds": {"kept-0a1b2c3d": {"bind": "/kept", "mode": "rw"}}},
     {"Mounts": [{"Type": "volume", "Source": "kept-4e5f6a7b", "Target": "/kept"}]}),
    ({"port_bindings": {"80/tcp": ("127.0.0.1", None)}}, {"PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]}}),
    ({"restart_policy": {"Name": "on-failure", "MaximumRetryCount": 3}},
     {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3}}),
    ({"cpu_quota": 50000, "cpu_period": 100000}, {"NanoCpus": 500000000}),
    ({"security_opt": ['seccomp={"b": 1, "a": 2}']}, {"SecurityOpt": ['seccomp={"a":2,"b":1}']}),
]  # fmt: skip


@pytest.mark.parametrize("options, host", WAYS)
def test_one_container_in_two_ways(options, host):
    image, command = "labkit/busybox:1", ["sleep", "600"]
    called = heard(exchange("POST", "containers/create?name=x", created(image, command, **options), {"Id": "1"}))
    body = {
        "Image": image,
        "Cmd": command,
        "Env": None,
        "Hostname": "",
        "HostConfig": {"RestartPolicy": {"Name": "no"}, **host},
    }
    typed = heard(exchange("POST", "containers/create", body, {"Id": "2"}))
    assert len(typed) == len(called) == 1 and missing(typed, called) == []
    other = {**body, "Cmd": ["sleep", "60"]}
    assert missing(heard(exchange("POST", "containers/create", other, {"Id": "2"})), called)


def test_verbs_helpers_and_refusals():
    helper = {"Image": "labkit/python:1", "Labels": {"labkit.role": "observer"}}
    facts = heard(
        exchange("POST", "containers/create?name=watcher", helper, {"Id": "a" * 64}),
        exchange("POST", f"containers/{'a' * 64}/start", {}, {}, 204),
        exchange("DELETE", "containers/watcher?force=1", {}, {}, 204),
        exchange("POST", "networks/create", {"Name": "net-0a1b2c3d", "Driver": "bridge"}, {"Id": "n1"}),
        exchange("POST", "networks/n1/connect", {"Container": "x", "EndpointConfig": {"Aliases": ["db"]}}, {}, 200),
        exchange("POST", "containers/x/kill?signal=SIGKILL", {}, {}, 204),
        exchange("POST", "containers/x/start", {}, {}, 404),
        exchange("GET", "containers/json", {}, {}, 200),
        exchange("POST", "images/127.0.0.1:5001/shop/push?tag=1", {}, {}, 200),
    )
    assert [fact["do"] for fact in facts] == [
        "create network",
        "connect network",
        "kill container",
        "start container",
        "push image",
    ]
    assert facts[1]["name"] == "net-$SESSION" and facts[1]["aliases"] == ["db"] and facts[2]["signal"] == "KILL"
    assert facts[3]["refused"] and facts[4] == {"do": "push image", "image": "$REGISTRY/shop:1"}


@pytest.mark.parametrize(
    "short, full", [("shop", "docker.io/library/shop:latest"), ("team/shop:2", "docker.io/team/shop:2")]
)
def test_a_name_and_its_full_form_are_one(short, full):
    one, other = (heard(exchange("DELETE", f"images/{name}", {}, {}, 200)) for name in (short, full))
    assert one == other and one != heard(exchange("DELETE", "images/registry.example/shop:2", {}, {}, 200))


RUN, STOP = "# docker run -d --name x-$SESSION labkit/busybox:1", "# docker stop x-$SESSION"
ACTS = "x = lab.docker.containers.run('labkit/busybox:1')\nx.stop()"


@pytest.mark.parametrize("source, bare", [
    ("found = lab.oom.grow()\nprint(found)", ["lab.oom.grow"]),
    (f"{RUN}\nfound = lab.oom.grow()", []),
    (f"# docker runs it\n{ACTS}", ["lab.docker.containers.run", "x.stop"]),
    (f"{RUN}\n{ACTS}", ["lab.docker.containers.run", "x.stop"]),
    (f"{RUN}\n{STOP}\n{ACTS}", []),
    (f"{RUN}; {STOP[2:]}\n{ACTS}", []),
    ("run = lab.docker.containers.run\nrun('labkit/busybox:1').pause()", [".pause", "run"]),
    ("%%solution key\nlab.docker.networks.create('x')", ["lab.docker.networks.create"]),
    ("lab.quiz()\nprint(lab.docker.df())", []), ("%%docker\ndocker run labkit/busybox:1 true", []),
])  # fmt: skip
def test_an_action_without_a_command_is_found(source, bare):
    assert bare_actions(source) == bare
