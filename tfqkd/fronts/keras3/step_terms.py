"""The terms of a `Distiller`: networks with taps, weights that follow schedules, and the losses of a step."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from tfqkd.core.schedulers import TermScheduler
from tfqkd.fronts.keras3.ops import OPS
from tfqkd.fronts.keras3.second_pass import RaisedPass
from tfqkd.fronts.keras3.taps import Tapped
from tfqkd.fronts.terms import Raised, Seen, Term

_ops = keras.ops


class StepTerms:
    """What the terms of a training share: one pass of student, teacher and each peer serves them all.

    Attributes:
        terms: All of them.
        weights: The first weight of each, by the name of the setting.
        networks: All that trains beside the student, each once.
        student: The student, with the taps that any term names.
        teacher: So the teacher.

    Args:
        terms: Of different names.
        student: The model that is trained.
        teacher: What was given as teacher.

    Raises:
        ValueError: If two have one name, or a network has no layer that they name.
    """

    def __init__(self, terms: Sequence[Term], student: keras.Model, teacher: object) -> None:
        names = [term.name for term in terms]
        if len(set(names)) < len(names):
            raise ValueError(f"Terms must have different names. Received: {names}.")
        self.terms = tuple(terms)
        self.weights = {f"{term.name}_weight": term.factor for term in terms}
        self.networks = _distinct(network for term in terms for network in term.networks)
        self._peers = _distinct(term.peer for term in terms if term.peer is not None)
        settings = dict.fromkeys(term.raised for term in terms if term.raised is not None)
        self._raised = {each: RaisedPass(each, student) for each in settings}
        self.student = Tapped(student, [term.student_taps for term in terms], "student")
        self.teacher = Tapped(teacher, [term.teacher_taps for term in terms], "teacher")

    @property
    def variables(self) -> list[Any]:
        """What second passes draw from; for checkpoints."""
        return [each.state for each in self._raised.values()]

    def raised(self, inputs: Any) -> dict[Raised, Any]:
        """Returns the student's outputs in each second pass; inside of another layer's call."""
        return {settings: again(inputs) for settings, again in self._raised.items()}

    def losses(
        self,
        inputs: Any,
        labels: Any,
        outputs: tuple[Any, Sequence[Any]],
        targets: tuple[Any, Sequence[Any]],
        raised: Mapping[Raised, Any],
        hard: Callable[[Any], Any],
    ) -> dict[str, Any]:
        """Returns the unweighted mean of each term over this replica's examples, by name.

        Args:
            inputs: What the student was shown.
            labels: Of it.
            outputs: The student's, and its taps.
            targets: The teacher's, and its taps.
            raised: What `raised` returned.
            hard: The compiled loss of any outputs.
        """
        peers = [(peer, _ops.cast(peer(inputs, training=True), "float32")) for peer in self._peers]

        def loss(term: Term) -> Any:
            seen = Seen(
                inputs=inputs,
                labels=labels,
                student=outputs[0],
                teacher=targets[0],
                peer=next((out for peer, out in peers if peer is term.peer), None),
                student_taps=self.student.of(term.student_taps, outputs[1]),
                teacher_taps=self.teacher.of(term.teacher_taps, targets[1]),
                raised=None if term.raised is None else raised[term.raised],
                hard=hard,
                ops=OPS,
            )
            return _ops.mean(term.loss(seen))

        return {term.name: loss(term) for term in self.terms}

    def schedulers(self) -> list[TermScheduler]:
        """Returns what the weights follow that have a schedule."""
        return [
            TermScheduler(term.name, term.factor, term.schedule)
            for term in self.terms
            if term.schedule is not None
        ]


def _distinct(networks: Any) -> list[Any]:
    return list({id(network): network for network in networks}.values())
