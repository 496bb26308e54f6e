"""Widgets for predictions, exercise hints and the quiz."""

from collections.abc import Callable

import ipywidgets as w

from .exercises import Exercise, Outcome, Question
from .progress import Progress
from .widget_base import LabWidget, button, told, words


def choice_buttons(question: Question, progress: Progress) -> w.RadioButtons:
    """A question's choices in this learner's order, none of them chosen, each on a line as wide as it needs."""
    layout = w.Layout(width="auto", max_width="900px")
    return w.RadioButtons(options=question.shuffled(progress.seed()), index=None, layout=layout)


class PredictionWidget(LabWidget):
    """Commit to an answer, run the experiment, then compare."""

    def __init__(self, lab: str, question: Question, progress: Progress) -> None:
        self._lab, self._question, self._progress = lab, question, progress
        self.choices = choice_buttons(question, progress)
        self.commit = button("Commit", "Keep this prediction; it can't be changed afterwards")
        self.compare = button("Compare", "Show the answer, once you have run the experiment", disabled=True)
        self.says = w.HTML()
        self.commit.on_click(self._commit)
        self.compare.on_click(self._compare)
        super().__init__(
            "Predict: " + question.asks,
            [self.choices, w.HBox([self.commit, self.compare]), self.says],
            "Prediction\n" + question.as_text(),
        )
        earlier = progress.prediction(lab, question)
        if earlier is not None:
            self.choices.value = earlier
            self._committed()

    def _commit(self, _: w.Button) -> None:
        if self.choices.value is None:
            self.says.value = words("Choose one first.", "note")
            return
        right = self.choices.value == self._question.right
        self._progress.predicted(self._lab, self._question.key, self.choices.value, right)
        self._committed()

    def _committed(self) -> None:
        self.choices.disabled = self.commit.disabled = True
        self.compare.disabled = False
        self.says.value = words("Noted. Now run the next cell, then compare.", "note")

    def _compare(self, _: w.Button) -> None:
        right = self.choices.value == self._question.right
        verdict = words("As predicted. ", "good") if right else words("The engine says otherwise. ", "bad")
        answer = "" if right else words(f"It is: {self._question.right}. ")
        self.says.value = verdict + answer + words(self._question.why)


class QuizWidget(LabWidget):
    """All questions of a lab's quiz, each answered and explained on its own."""

    def __init__(self, lab: str, questions: list[Question], progress: Progress) -> None:
        self._lab, self._progress = lab, progress
        self.rows = [self._row(number, question) for number, question in enumerate(questions, 1)]
        text = "\n".join(f"{n}. {q.as_text()}" for n, q in enumerate(questions, 1))
        super().__init__("Quiz", self.rows, "Quiz\n" + text)

    def _row(self, number: int, question: Question) -> w.VBox:
        choices = choice_buttons(question, self._progress)
        says = w.HTML()

        def answered(change: dict[str, str | None]) -> None:
            if change["new"] is None:
                return
            right = change["new"] == question.right
            self._progress.answered(self._lab, question.key, right)
            says.value = words("Right. " if right else "Not quite. ", "good" if right else "bad") + words(question.why)

        choices.observe(answered, names="value")
        row = w.VBox([w.HTML(words(f"{number}. {question.asks}", "title")), choices, says])
        row.add_class("labkit-question")
        return row


class HintWidget(LabWidget):
    """Hints for an exercise, one at a time, beginning with the one that fits what is wrong."""

    def __init__(self, exercise: Exercise, outcome: Outcome, check_again: Callable[[], Outcome]) -> None:
        self._exercise, self._check_again = exercise, check_again
        self._next = outcome.hint
        self.says = w.HTML()  # the first look's words stand above it
        self.hints = w.HTML()
        self.more = button("Hint", "Show a hint; each press shows a stronger one")
        self.again = button("Check again", "Look at the engine once more")
        self.more.on_click(self._hint)
        self.again.on_click(self._again)
        super().__init__(
            f"Exercise: {exercise.title}",
            [self.says, self.hints, w.HBox([self.more, self.again])],
            f"Exercise: {exercise.title}",
        )

    def _hint(self, _: w.Button) -> None:
        hints = self._exercise.hints
        if self._next < len(hints):
            self.hints.value += (
                "<div>" + words(f"Hint {self._next + 1}: ", "note") + words(hints[self._next]) + "</div>"
            )
            self._next += 1
        if self._next >= len(hints):
            self.more.disabled = True

    def _again(self, _: w.Button) -> None:
        with told(self.says):
            outcome = self._check_again()
            self.says.value = words(_sentence(outcome.message), "good" if outcome.passed else "")
            self.more.disabled = outcome.passed or self._next >= len(self._exercise.hints)


def _sentence(message: str) -> str:
    """A check's message by itself: it was written to stand behind a title and a colon."""
    return message[:1].upper() + message[1:]
