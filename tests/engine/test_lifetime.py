"""Lab 07's experiments."""

from __future__ import annotations

import pytest

from labkit.errors import BadInput
from labkit.labs.container_lifetime import endings, lifetime
from tests.conftest import open_context
from tests.helpers import interrupted_while_creating

from .states import start


def test_a_walk_through_all_states(module_context):
    walk = lifetime.walk(module_context)
    assert [one.status for one in walk.moments] == [
        "created", "running", "paused", "running", "exited", "running", "exited", "running", "gone",
    ]  # fmt: skip
    paused = walk.moments[2]
    assert paused.running and paused.paused
    assert [word for _, word in walk.moments[0].events] == ["create"]
    assert sorted(word for _, word in walk.moments[4].events) == ["die", "kill", "stop"]
    assert "kill, die + stop\n" in walk.facts(), "whichever of the two the engine sent first"
    assert [word for _, word in walk.moments[6].events] == ["kill", "die"]
    assert walk.moments[6].exit_code == 137


def test_an_action_that_the_state_does_not_allow_is_a_sentence(module_context):
    with lifetime.DrivenContainer(module_context) as life:
        with pytest.raises(BadInput, match="no container to start"):
            life.press("start")
        life.press("create")
        with pytest.raises(BadInput, match="refuses to pause"):
            life.press("pause")
        assert life.possible() == ["start", "restart", "remove"]


@pytest.mark.parametrize(("action", "state"), [("kill", "exited"), ("restart", "running"), ("remove", "gone")])
def test_what_the_engine_takes_of_a_paused_container(module_context, action, state):
    with lifetime.DrivenContainer(module_context) as life:
        for one in ("create", "start", "pause", action):
            assert one in life.possible()
            moment = life.press(one)
        assert moment.status == state


def test_a_container_that_is_gone_before_it_is_looked_at(module_context):
    with lifetime.DrivenContainer(module_context) as life:
        life.press("create")
        life.container.remove()
        assert life.status() == "gone"
        assert life.possible() == ["create"]


def test_the_layer_survives_everything_but_remove(module_context):
    answers = lifetime.layer(module_context).answers.values()
    assert [said[:8] for said in answers] == ["404 Coul", *["200 kept"] * 4, "404 Coul"]


@pytest.mark.parametrize("look", [lifetime.walk, lifetime.layer])
def test_after_an_interrupt_the_next_one_finds_its_name_free(module_context, look):
    with interrupted_while_creating(module_context.docker.api, 1):
        look(module_context)
    assert look(module_context).facts()


def test_seven_exit_codes(module_context):
    found = endings.exit_codes(module_context).endings
    assert [one.code for one in found] == [0, 1, 125, 126, 127, 137, 143]
    assert [one.started for one in found] == [True, True, False, False, False, True, True]


def test_who_listens_to_sigterm(module_context):
    run = endings.stop_times(module_context, n=1, grace=2)
    assert [codes[0] for codes in run.codes.values()] == [137, 0, 137, 143]
    shell, handler, _, init = (values[0] for values in run.seconds.values())
    assert shell >= 2 > max(handler, init)


def test_an_init_clears_zombies_away(module_context):
    found = endings.zombies(module_context, children=3)
    assert found.count(found.without_init) == 3
    assert found.count(found.with_init) == 0


def test_pauses_between_restarts_keep_the_rule(module_context):
    run = endings.restarts(module_context, times=3)
    assert run.count == 3 and len(run.pauses) == 3
    assert run.facts().endswith("doubled each time: yes")
    # One event on all engines, which comes when the program runs: its end is never far behind.
    assert all(0 < end - start < 5 for start, end in zip(run.starts, run.ends))


@pytest.mark.parametrize(("starts", "kept"), [([0, 0.31, 0.72], "yes"), ([0, 0.31, 0.5], "no"), ([0], "no")])
def test_a_late_word_of_the_end_is_no_short_pause(module_context, starts, kept):
    """On a loaded machine the event ``die`` comes long after the engine has set its timer."""
    run = endings.Restarts(module_context.facts, "on-failure:2", starts, [0.25, 0.6, 0.9], 2, "exited")
    assert run.facts().endswith(f"doubled each time: {kept}")


def test_a_name_that_others_bear_is_not_taken_from_them(lab_context):
    on = lab_context
    with open_context(on.session.engine) as other:
        theirs = start(other, name=on.session.name("theirs"))
        on.free(theirs.name)
        network = other.docker.networks.create(on.session.name("their-net"))
        on.drop_network(network.name)
        theirs.reload()
        assert theirs.status == "running" and other.docker.networks.get(network.id).name == network.name
