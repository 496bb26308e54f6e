"""The one object that a notebook holds."""

from __future__ import annotations

import atexit
import json
import os
from contextlib import ExitStack, suppress
from functools import cached_property
from typing import TYPE_CHECKING

from . import course, files, images, labs
from . import engine as engines
from .course import card, classroom, exercises
from .course.busy import Busy
from .course.context import Context
from .course.progress import Progress
from .engine import Engine, OwnedEngine, Session
from .engine.client import LabelledClient
from .engine.dockercli import run_cli
from .engine.faults import explained
from .errors import LabError
from .observe import Observer
from .saying import listening

if TYPE_CHECKING:
    from .course.style import Picture
    from .course.terminal import Terminal
    from .course.widget_questions import PredictionWidget, QuizWidget
    from .course.widget_table import TableWidget

_open_labs: dict[str, Lab] = {}
# A process that is forked off the kernel has none: what it leaves open at its end is the kernel's.
os.register_at_fork(after_in_child=_open_labs.clear)


class Lab:
    """An open lab: an engine, a session on it, its experiments and its exercises.

    Made by :func:`open`; its making takes the engine over, and closes it where it fails. Attributes for learners: ``docker`` (a ``docker.DockerClient``),
    ``engine``, ``facts``, and one attribute per topic, such as ``oom``.
    """

    # Each made when first used, and its lab's folder imported then: a lab opens fast.
    first = cached_property(lambda lab: labs.start_here.First(lab.context))
    delivery = cached_property(lambda lab: labs.devops_and_delivery.Delivery(lab.context))
    shop = cached_property(lambda lab: labs.devops_and_delivery.Shop(lab.context))
    isolation = cached_property(lambda lab: labs.isolation_models.Isolation(lab.context))
    images = cached_property(lambda lab: labs.images_and_registries.Images(lab.context))
    registry = cached_property(lambda lab: labs.images_and_registries.Registry(lab.context))
    solves = cached_property(lambda lab: labs.what_docker_solves.Solves(lab.context))
    history = cached_property(lambda lab: labs.container_history.History(lab.context))
    parts = cached_property(lambda lab: labs.engine_architecture.Parts(lab.context))
    xray = cached_property(lambda lab: labs.engine_architecture.Xray(lab.context))
    life = cached_property(lambda lab: labs.container_lifetime.Life(lab.context))
    oom = cached_property(lambda lab: labs.out_of_memory.Oom(lab.context))
    limits = cached_property(lambda lab: labs.limits_and_security.Limits(lab.context))
    security = cached_property(lambda lab: labs.limits_and_security.Security(lab.context))
    network = cached_property(lambda lab: labs.networks_and_data.Network(lab.context))
    data = cached_property(lambda lab: labs.networks_and_data.Data(lab.context))
    incidents = cached_property(lambda lab: labs.it_does_not_work.Incidents(lab.context))
    releases = cached_property(lambda lab: labs.releases.Releases(lab.context))

    def __init__(self, name: str, engine: Engine) -> None:
        self.name = name
        self.engine = engine
        keeper = None if engine.owned else lambda: images.ensure(self.docker, images.BUSYBOX)
        with ExitStack() as undo:  # a lab that can't be made leaves neither its session nor its engine
            undo.callback(engine.close)
            self._session = Session(engine, name, keeper)
            undo.callback(self._session.close)
            self.docker: LabelledClient = self._session.docker
            self.facts = engines.read_facts(self.docker, engine)
            self.swept = self._session.sweep()
            undo.pop_all()
        self._observer = Observer(self._session)
        self.context = Context(self._session, self._observer, self.facts)
        self.content = exercises.load(name)
        self.progress = Progress()
        self.progress.tell_class()  # what a lost connection has kept back
        self._owned: Lab | None = None
        self._terminal: Terminal | None = None
        self._closed = False

    if not TYPE_CHECKING:  # a type checker knows what a lab has

        def __getattr__(self, word: str):
            topics = {name: value for name, value in vars(Lab).items() if isinstance(value, cached_property)}
            if word in topics:
                return topics[word].func(self)  # making it failed: again, for its own words
            raise AttributeError(f"A lab has no {word!r}. Experiments: {', '.join(sorted(topics))}.")

    def __repr__(self) -> str:
        return f"<lab {self.name} on the {self.engine.kind} engine>"

    def title(self) -> str:
        """The lab's number and name, as a heading."""
        titles = {entry.lab: f"Lab {entry.number} · {entry.title}" for entry in course.labs()}
        return titles.get(self.name, self.name)

    def name_for(self, word: str) -> str:
        """A name that only this session uses: ``web`` becomes ``web-1a2b3c4d``."""
        return self._session.name(word)

    def cli(self, command: str, *, show: bool = True, check: bool = False) -> str | None:
        """Run a real ``docker …`` command against this lab's engine, and show it as one would type it.

        Args:
            command: such as ``"docker ps"``; what it creates gets the lab's labels.
            show: print command and output; otherwise return the output.
            check: raise where the command fails, instead of showing its words.
        """
        with Busy():
            self.engine.cli_path()  # here: fetching it, once, takes a while
        output = run_cli(self._session, command, check=check)
        if not show:
            return output
        print(f"$ {command}" + (f"\n{output}" if output else ""))
        return None

    def terminal(self) -> None:
        """Show a button that opens a terminal in JupyterLab, on this lab's engine; elsewhere, the line to paste in one.

        What ``docker`` makes there carries the lab's labels and is removed with it; so is, labelled or not, what is
        named as :meth:`name_for` says. There, ``$SESSION`` is the ending of those names.
        """
        from .course.terminal import Terminal

        with Busy():
            self.engine.cli_path()
        self._terminal = self._terminal or Terminal(self._session, f"lab {self.name[:2]}")
        self._terminal.show()

    def own(self) -> Lab:
        """This lab on an engine that it owns and may break; started beside the host's when needed.

        One that no longer answers (its machine was killed, a daemon did not come back) is thrown away, and a
        fresh one takes its place.

        Raises:
            LabError: it can't be started here; the sentence says why.
        """
        if isinstance(self.engine, OwnedEngine) and self._answers():
            return self
        if self._owned is not None and not self._owned._answers():
            close_quietly(self._owned)
            self._owned = None
        if self._owned is None:
            status = card.Status()
            engine = engines.owned(images=images.archives)
            with listening(status.say):
                self._owned = Lab(self.name, engine)
            status.card(f"{self.title()}: an engine of its own", self._owned.facts, engine, [])
        return self._owned

    def _answers(self) -> bool:
        try:
            with explained(self.engine.endpoint):
                return bool(self.docker.ping())
        except LabError:
            return False

    # Learning: each shows a widget, or prints what is the same on every run.

    def predict(self, key: str) -> PredictionWidget:
        """Ask for a prediction before the experiment."""
        from .course.widget_questions import PredictionWidget

        return PredictionWidget(self.name, self.content.find("predictions", key), self.progress)

    def quiz(self) -> QuizWidget:
        """The lab's quiz."""
        from .course.widget_questions import QuizWidget

        return QuizWidget(self.name, self.content.quiz, self.progress)

    def map(self) -> Picture:
        """The course as a picture, with what this learner has done."""
        from .course.figures_map import course_map

        return course_map(list(course.labs()), self.progress.standings(), self.progress.next_lab())

    def glossary(self, word: str | None = None) -> TableWidget | None:
        """The searchable glossary; with a word, print the terms that match it."""
        from .course import widget_table

        if word is None:
            return widget_table.glossary(course.glossary(), course.labs())
        for entry in course.search(word):
            print(f"{entry.term}: {entry.meaning} (lab {entry.lab[:2]})")
        return None

    def notes(self) -> TableWidget:
        """Each statement of the notes with its evidence, as a searchable table."""
        from .course import widget_table

        return widget_table.notes(course.notes(), course.notes_count())

    def join(self, address: str, code: str, name: str = "") -> None:
        """Join a class: from now on its board shows your progress; prints what is sent. ``lab.leave()`` ends it.

        Args:
            address, code: as your instructor tells them.
            name: only what you type; without it the board gives you a pseudonym.
        """
        called = classroom.join(self.progress.membership, address, code, name)
        print(classroom.JOINED.format(name=called, sent=json.dumps(self.progress.hand_in(), indent=1)))
        self.progress.tell_class()

    def leave(self) -> None:
        """Leave the class: nothing more is sent, and its board forgets you."""
        print(classroom.leave(self.progress.membership))

    def check(self, key: str) -> None:
        """Look at the engine: is this exercise done? Prints the answer; offers hints when not.

        It can be asked as often as one likes: what has passed once stays passed.
        """
        exercise = self.content.find("exercises", key)
        earlier = self.progress.passed_on(self.name, key)
        with Busy():
            outcome = self._check(exercise)
        if outcome.passed:
            print(f"✓ {exercise.title}: {outcome.message}")
        if self.progress.unkept:
            print(f"  {self.progress.unkept}")
        if outcome.passed:
            return
        print(f"○ {exercise.title}: {outcome.message}")
        if earlier:
            print(f"  It passed on {earlier}, and that stands in your progress.")
        if card.in_notebook():
            from IPython.display import display

            from .course.widget_questions import HintWidget

            display(HintWidget(exercise, outcome, lambda: self._check(exercise)))

    def _check(self, exercise: exercises.Exercise) -> exercises.Outcome:
        outcome = exercise.check(self.context)
        self.progress.checked(self.name, exercise.key, outcome.passed)
        return outcome

    def close(self) -> engines.Removed:
        """Remove all that this lab made, on every engine it used, and let go of them."""
        if self._closed:
            return engines.Removed()
        self._closed = True
        # What others also use comes first: a kernel has a few seconds to end, then it is killed.
        try:
            if self._terminal:
                self._terminal.close()
            self._observer.close()
            if self.engine.owned:
                return engines.Removed()  # the engine is thrown away with everything on it
            return self._session.close()
        finally:
            self.engine.close()
            if self._owned is not None:
                self._owned.close()

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_lab(name: str, *, engine: str | None = None) -> Lab:
    """Open a lab on a live engine and show the engine card.

    A lab that is still open in this process is closed first, so a first cell can be run again.

    Args:
        name: such as ``"08-out-of-memory"``, or its number.
        engine: ``"host"``, ``"embedded"`` or an address; ``$LABKIT_ENGINE`` by default.

    Raises:
        BadInput: there's no lab of that name.
        labkit.errors.NoEngine: no engine answers, and none can be started.
    """
    name = course.resolve(name).lab
    _prepare_notebook()
    for earlier in list(_open_labs.values()):
        close_quietly(earlier)
    files.clear()
    status = card.Status()
    status.say("Looking for a container engine")
    with listening(status.say):
        lab, notes = _on_its_engine(name, engine)
        _open_labs[lab._session.id] = lab
        _prepare_notebook(lab.engine.endpoint, lab._session)
        for image in images.RECIPES:
            lab.context.image(image)  # now, with progress in sight: later cells show their own output only
    if lab.swept:
        notes.append(f"Removed what an earlier session had left behind: {lab.swept}.")
    status.card(lab.title(), lab.facts, lab.engine, notes)
    return lab


def _on_its_engine(name: str, choice: str | None) -> tuple[Lab, list[str]]:
    """The lab, and notes for its card. An engine that does not show all of it, and that nobody named, gives way."""
    lab = Lab(name, engines.find(choice, images=images.archives))
    differs = course.resolve(name).limits.get(lab.facts.limited, "")
    if not differs:
        return lab, []
    shows = f"This is {lab.facts.limited}, and shows not all of this lab: {differs}"
    named = choice or os.environ.get("LABKIT_ENGINE") or getattr(lab.engine, "explicit", False)
    if named:
        return lab, [shows]
    found = lab.engine.endpoint
    try:
        engine = engines.owned(images=images.archives)
    except LabError as fault:
        return lab, [shows, f"No other engine: {fault}"]
    lab.close()
    left = f"The engine at {found} ({lab.facts.limited}) is left alone: {differs}"
    return Lab(name, engine), [f"{left} To take it all the same, set LABKIT_ENGINE=host."]


def close_quietly(lab: Lab) -> None:
    """Close a lab; an engine that is gone already has nothing to clean up."""
    _open_labs.pop(lab._session.id, None)
    with suppress(LabError), explained():
        lab.close()


@atexit.register
def _close_all() -> None:
    with ExitStack() as each:  # where one can't be closed, the others are all the same
        for lab in _open_labs.values():
            each.callback(close_quietly, lab)


def _prepare_notebook(endpoint: str = "", session: Session | None = None) -> None:
    """Sentences instead of tracebacks for our own errors, and the magics ``%%solution`` and ``%%docker``."""
    if not card.in_notebook():
        return
    from .course.notebook import end_tidily, prepare

    prepare(endpoint, session)
    end_tidily(_close_all)
