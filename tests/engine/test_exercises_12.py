"""Lab 12's exercises: states that learners leave, each with its hint, and right ways."""

from __future__ import annotations

import time

import pytest

from labkit import images
from labkit.labs.images_and_registries.building import build
from labkit.labs.releases import customers, kiosk, shipping

from .states import FOREVER, States, start, typed

STATES = States("12-releases")
wrong, right = STATES.wrong, STATES.right

SERVE = ["sh", "-c", "mkdir /www && echo hello > /www/index.html && exec httpd -f -p 80 -h /www"]
ASK = "wget -q -O - http://127.0.0.1/"


def checked(on, test, command=FOREVER, **options):
    return start(on, command, healthcheck={"test": test, "interval": 10**9, "retries": 2}, **options)


@wrong("truthful", 0)
@wrong("lean", 0)
def nothing(on):
    pass


@wrong("truthful", 1)
def without_a_check(on):
    start(on, SERVE)


@wrong("truthful", 2)
def a_check_of_another_port(on):
    checked(on, f"{ASK}:8080/", SERVE)


@wrong("truthful", 3)
def a_check_that_asks_nobody(on):
    checked(on, "exit 0", SERVE)


@wrong("truthful", 3)
def a_check_that_only_looks_for_its_program(on):
    checked(on, ["CMD", "test", "-x", "/bin/sh"], SERVE)


@right("truthful")
def a_check_that_asks(on):
    checked(on, ASK, SERVE)


@right("truthful")
def a_check_that_came_with_the_image(on):
    tag = f"{on.session.name('own')}:1"
    check = (
        "HEALTHCHECK --interval=1s CMD python3 -c 'import urllib.request as u; u.urlopen(\"http://127.0.0.1:8000/\")'"
    )
    build(on, tag, {"Dockerfile": f'FROM {images.PYTHON}\n{check}\nCMD ["python3", "-m", "http.server"]\n'})
    start(on, None, image=tag)


def opened(on):
    """Customers at a kiosk, and one answer at least."""
    customers.customers(on)
    return kiosk.open_kiosk(on)


def other(shop):
    return "2" if shop.release == "1" else "1"


@wrong("unnoticed", 0)
def nobody_asks(on):
    customers.home(on)


@wrong("unnoticed", 1)
def nothing_has_changed(on):
    opened(on)
    time.sleep(1)


@wrong("unnoticed", 2)
def stopped_and_started(on):
    shop = opened(on)
    shop.replace("stop and start", other(shop))
    time.sleep(2)


@wrong("unnoticed", 2)
def taken_from_the_door_too_late(on):
    shop = opened(on)
    name = next(iter(shop.servers))
    shop.servers[name].kill()
    time.sleep(1)
    shop.lead_to(*[one for one in shop.servers if one != name])


@wrong("unnoticed", 1)
def one_of_two_is_renewed(on):
    shop = opened(on)
    one, two = shop.servers
    shop.lead_to(two)
    shop._renew(one, other(shop), shop.await_health)
    shop.lead_to(one, two)
    time.sleep(2)


def served(on, seconds=4):
    """Customers go on for a while."""
    time.sleep(seconds)


@right("unnoticed", pytest.mark.alone)
def by_rolling(on):
    shop = opened(on)
    shop.replace("rolling", other(shop))
    served(on)


@right("unnoticed", pytest.mark.alone)
def typed_in_a_terminal(on):
    shop = opened(on)
    tag, name = other(shop), on.session.name("fresh")
    start(on, None, image=f"{on.session.name('kiosk')}:{tag}", name=name, network=shop.network, network_mode=None,
          hostname="fresh")  # fmt: skip
    while typed(on, f"inspect -f '{{{{.State.Health.Status}}}}' {name}").strip() != "healthy":
        time.sleep(0.3)
    typed(on, f"exec door-{{name}} sh -c 'echo {name} > /new && mv /new /servers'")
    served(on)


def lean_image(on, dockerfile, **files):
    folder = {**shipping.folder(), "Dockerfile": f"FROM {images.PYTHON}\nWORKDIR /app\n{dockerfile}", **files}
    build(on, f"{on.session.name('lean')}:latest", folder)


@wrong("lean", 1)
def without_the_app(on):
    lean_image(on, "COPY test_app.py .\n")


@wrong("lean", 2)
def all_of_it(on):
    lean_image(on, "COPY . .\n")


@wrong("lean", 2)
def with_its_tests(on):
    lean_image(on, "COPY . .\n", **{".dockerignore": "password.txt\n*.md\nrecordings\n"})


@wrong("lean", 3)
def removed_by_a_later_step(on):
    lean_image(on, "COPY . .\nRUN rm -r test_app.py password.txt notes.md recordings\n")


@right("lean")
def only_the_app_is_copied(on):
    lean_image(on, "COPY app.py .\n")


@right("lean")
def in_two_stages(on):
    lean_image(on, f"COPY . .\nRUN python3 -m unittest\nFROM {images.PYTHON}\nCOPY --from=0 /app/app.py /app/\n")


@STATES.each()
def test_state(module_context, state):
    state.holds(module_context)
