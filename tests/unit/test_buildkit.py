"""What BuildKit says of a build, understood: lines as ``docker build --progress=rawjson`` writes them."""

from __future__ import annotations

import base64
import json

from labkit.labs.images_and_registries import buildkit

BEGAN, ENDED = "2026-01-01T00:00:01.25Z", "2026-01-01T00:00:03.750000001Z"


def line(name, digest="", **more):
    return json.dumps({"vertexes": [{"digest": digest or name, "name": name, "started": BEGAN, **more}]}) + "\n"


def wrote(digest, text):
    return json.dumps({"logs": [{"vertex": digest, "data": base64.b64encode(text.encode()).decode()}]}) + "\n"


def test_steps_in_the_dockerfiles_order_with_their_times_and_what_was_reused():
    account = buildkit.read(
        [
            line("[internal] load build context", completed=ENDED),
            line("[stage-1 1/2] FROM docker.io/labkit/busybox:1@sha256:6f96", completed=ENDED, cached=True),
            line("[stage-1 2/2] COPY --from=one /x /x", completed=ENDED),
            line("[one 2/2] RUN make", completed=ENDED),
            line("[one 1/2] FROM docker.io/library/other:2", completed=ENDED),
            wrote("[one 2/2] RUN make", "made\n"),
        ],
        buildkit._stages("FROM other:2 AS One\nRUN make\nFROM labkit/busybox:1\nCOPY --from=one /x /x\n"),
    )
    assert [step.instruction for step in account.steps] == [
        "FROM other:2", "RUN make", "FROM labkit/busybox:1", "COPY --from=one /x /x",
    ]  # fmt: skip
    assert account.error == "" and not any(step.cached for step in account.steps), "a base is neither"
    assert account.steps[1].output == "made\n" and abs(account.steps[1].seconds - 2.5) < 1e-6


def test_a_step_that_was_reused_took_no_time():
    account = buildkit.read([line("[ 2/10] COPY a /", completed=ENDED, cached=True)], ["stage-0"])
    assert account.steps == [buildkit.Step("COPY a /", True, 0.0)]


def test_the_step_that_failed_and_not_one_that_was_given_up_for_it():
    account = buildkit.read(
        [
            line("[a 2/2] RUN sleep 9", completed=ENDED, error="context canceled"),
            line(
                "[b 2/3] RUN false", completed=ENDED, error='process "/bin/sh -c false" did not complete: exit code: 1'
            ),
            wrote("[b 2/3] RUN false", "no\n"),
            "ERROR: failed to build: failed to solve: something longer\n",
        ],
        ["a", "b"],
    )
    assert (account.failed, account.number, account.total, account.output) == ("RUN false", 2, 3, "no\n")
    assert account.error.endswith("exit code: 1")


def test_a_failure_before_any_step_is_told_in_the_engines_words():
    words = "failed to solve: rpc error: code = Unknown desc = failed to solve with frontend dockerfile.v0: "
    words += "failed to create LLB definition: dockerfile parse error line 2: unknown instruction: RAN"
    for text in (words, "failed to solve: dockerfile parse error line 2: unknown instruction: RAN"):
        account = buildkit.read(["Dockerfile:2\n", f"ERROR: failed to build: {text}\n"], ["stage-0"])
        assert (account.failed, account.error) == ("", "dockerfile parse error line 2: unknown instruction: RAN")
