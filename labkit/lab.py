"""The one object that a notebook holds."""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib
import inspect
from collections.abc import Callable, Iterator

from . import card, course, exercises, images
from . import engine as engines
from .busy import Busy
from .engine import Engine, OwnedEngine, Session
from .engine.dockercli import run_cli
from .engine.faults import explained
from .errors import LabError
from .experiments.context import Context
from .observe import Observer

#: What ``lab.oom`` and its like are made of: modules whose public functions take a context first.
TOPICS: dict[str, tuple[str, ...]] = {
    "oom": ("experiments.oom", "experiments.oom_cases", "experiments.oom_machine", "widgets.oom"),
    "xray": ("experiments.xray", "widgets.xray"),
    "parts": ("experiments.parts", "experiments.parts_owned", "figures.architecture"),
    "life": ("experiments.lifetime", "experiments.endings", "widgets.lifetime"),
    "images": (
        "experiments.building",
        "experiments.samples",
        "experiments.anatomy",
        "experiments.writable",
        "experiments.layering",
        "widgets.images",
    ),
    "delivery": ("experiments.pipeline", "widgets.delivery"),
    "shop": ("experiments.shop",),
    "solves": ("experiments.promises", "experiments.machines", "widgets.solves"),
    "registry": ("experiments.registry", "experiments.pushes", "experiments.platforms"),
    "isolation": (
        "experiments.visibility",
        "experiments.isolation",
        "experiments.isolation_work",
        "experiments.isolation_disk",
        "experiments.gvisor",
        "experiments.two_engines",
        "figures.isolation",
        "widgets.isolation",
    ),
    "history": (
        "experiments.timeline",
        "experiments.history",
        "experiments.own_container",
        "experiments.runtimes",
        "experiments.lxc",
        "figures.history",
        "widgets.history",
    ),
    "first": ("experiments.first", "experiments.preflight"),
}

_open_labs: dict[str, Lab] = {}


class Topic:
    """The experiments of one topic, bound to this lab: ``lab.oom.grow(limit="32m")``."""

    def __init__(self, name: str, on: Context):
        self._name = name
        for part in TOPICS[name]:
            module = importlib.import_module(f".{part}", __package__)
            for word in module.__all__:
                thing = getattr(module, word)
                setattr(self, word, _bound(thing, on) if inspect.isfunction(thing) else thing)

    def __repr__(self) -> str:
        words = ", ".join(word for word in vars(self) if not word.startswith("_"))
        return f"<experiments on {self._name}: {words}>"


def _bound(function: Callable, on: Context) -> Callable:
    parameters = list(inspect.signature(function).parameters.values())
    if not parameters or parameters[0].name != "on":
        return function
    told = "progress" in (parameter.name for parameter in parameters)

    @functools.wraps(function)
    def bound(*values, **named):
        with _busy(on) as busy:
            if told:
                named.setdefault("progress", busy.share)
            return function(on, *values, **named)

    bound.__signature__ = inspect.Signature(parameters[1:])
    return bound


@contextlib.contextmanager
def _busy(on: Context) -> Iterator[Busy]:
    """What takes long shows what it does, below its cell, as long as it takes."""
    with Busy() as busy:
        on.progress = busy.say
        try:
            yield busy
        finally:
            on.progress = None


class Lab:
    """An open lab: an engine, a session on it, its experiments and its exercises.

    Made by :func:`open`. Attributes for learners: ``docker`` (a ``docker.DockerClient``),
    ``engine``, ``facts``, and one attribute per topic, such as ``oom``.
    """

    def __init__(self, name: str, engine: Engine, *, progress: Callable[[str], None] | None = None):
        self.name = name
        self.engine = engine
        keeper = None if engine.owned else lambda: images.ensure(self.docker, images.BUSYBOX, progress=progress)
        self._session = Session(engine, name, keeper)
        self.docker = self._session.docker
        self.facts = engines.read_facts(self.docker, engine)
        self.swept = self._session.sweep()
        self._observer = Observer(self._session)
        self.context = Context(self._session, self._observer, self.facts, progress)
        self.content = exercises.load(name)
        self.progress = exercises.Progress()
        self._owned: Lab | None = None
        self._closed = False

    def __getattr__(self, word: str):
        if word in TOPICS:
            # Imported when first used: a lab opens fast, and needs only its own figures.
            importlib.import_module(".figures", __package__)
            topic = Topic(word, self.context)
            setattr(self, word, topic)
            return topic
        raise AttributeError(f"A lab has no {word!r}. Experiments: {', '.join(sorted(TOPICS))}.")

    def __dir__(self):
        return [*super().__dir__(), *TOPICS]

    def __repr__(self) -> str:
        return f"<lab {self.name} on the {self.engine.kind} engine>"

    def title(self) -> str:
        """The lab's number and name, as a heading."""
        number, _, words = self.name.partition("-")
        titles = {entry.lab: entry.title for entry in course.labs()}
        words = titles.get(self.name, words.replace("-", " ").capitalize())
        return f"Lab {number} · {words}" if number.isdigit() else self.name

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
        with _busy(self.context) as busy:
            self.engine.cli_path(busy.say)  # here: fetching it, once, takes a while
        output = run_cli(self.engine, command, self.docker.lab_labels, check=check)
        if not show:
            return output
        print(f"$ {command}" + (f"\n{output}" if output else ""))
        return None

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
            engine = engines.owned(progress=status.say, images=images.archives)
            self._owned = Lab(self.name, engine, progress=status.say)
            self._owned.context.progress = None  # its images are on it
            status.card(f"{self.title()}: an engine of its own", self._owned.facts, engine, [])
        return self._owned

    def _answers(self) -> bool:
        try:
            with explained(self.engine.endpoint):
                return self.docker.ping()
        except LabError:
            return False

    # Learning: each shows a widget, or prints what is the same on every run.

    def predict(self, key: str):
        """Ask for a prediction before the experiment."""
        from .widgets.questions import PredictionWidget

        return PredictionWidget(self.name, self.content.find("predictions", key), self.progress)

    def quiz(self):
        """The lab's quiz."""
        from .widgets.questions import QuizWidget

        return QuizWidget(self.name, self.content.quiz, self.progress)

    def map(self):
        """The course as a picture, with what this learner has done."""
        from .course import labs
        from .figures.course import course_map

        return course_map(list(labs()), self.progress.standings(), self.progress.next_lab())

    def glossary(self, word: str | None = None):
        """The searchable glossary; with a word, print the terms that match it."""
        from .course import glossary, labs, search
        from .widgets.course import GlossaryWidget

        if word is None:
            return GlossaryWidget(list(glossary()), list(labs()))
        for entry in search(word):
            print(f"{entry.term}: {entry.meaning} (lab {entry.lab[:2]})")
        return None

    def check(self, key: str) -> None:
        """Look at the engine: is this exercise done? Prints the answer; offers hints when not.

        It can be asked as often as one likes: what has passed once stays passed.
        """
        exercise = self.content.find("exercises", key)
        earlier = self.progress.passed_on(self.name, key)
        with _busy(self.context):
            outcome = self._check(exercise)
        if outcome.passed:
            print(f"✓ {exercise.title}: {outcome.message}")
            return
        print(f"○ {exercise.title}: {outcome.message}")
        if earlier:
            print(f"  It passed on {earlier}, and that stands in your progress.")
        if card.in_notebook():
            from IPython.display import display

            from .widgets.questions import HintWidget

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

    def __exit__(self, *_) -> None:
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
    status = card.Status()
    status.say("Looking for a container engine")
    found = engines.find(engine, progress=status.say, images=images.archives)
    try:
        lab = Lab(name, found, progress=status.say)
    except BaseException:
        found.close()
        raise
    _open_labs[lab._session.id] = lab
    _prepare_notebook(found.endpoint)
    for image in images.RECIPES:
        lab.context.image(image)  # now, with progress in sight: later cells show their own output only
    lab.context.progress = None
    notes = [f"Removed what an earlier session had left behind: {lab.swept}."] if lab.swept else []
    status.card(lab.title(), lab.facts, found, notes)
    return lab


def close_quietly(lab: Lab) -> None:
    """Close a lab; an engine that is gone already has nothing to clean up."""
    _open_labs.pop(lab._session.id, None)
    try:
        lab.close()
    except LabError:
        pass
    except Exception as fault:
        if not isinstance(engines.explain(fault), LabError):
            raise


@atexit.register
def _close_all() -> None:
    for lab in list(_open_labs.values()):
        close_quietly(lab)


def _prepare_notebook(endpoint: str = "") -> None:
    """Sentences instead of tracebacks for our own errors, and the ``%%solution`` magic."""
    if not card.in_notebook():
        return
    from .notebook import prepare

    prepare(endpoint)
