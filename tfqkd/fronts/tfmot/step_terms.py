"""The terms of a `Distiller`: networks with taps, weights that follow schedules, and the losses of a step."""

from collections.abc import Callable, Sequence
from typing import Any

from tfqkd.compat import keras, tf
from tfqkd.core.schedulers import TermScheduler
from tfqkd.fronts.terms import Seen, Term
from tfqkd.fronts.tfmot.means import mean
from tfqkd.fronts.tfmot.ops import OPS
from tfqkd.fronts.tfmot.scheduled import ScheduledVariable
from tfqkd.fronts.tfmot.second_pass import RaisedPass
from tfqkd.fronts.tfmot.taps import tapped


class StepTerms:
    """What the terms of a training share: one pass of student, teacher and each peer serves them all.

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
        self.weights = {f"{term.name}_weight": _weight(term) for term in terms}
        self.networks = _distinct(network for term in terms for network in term.networks)
        self._peers = _distinct(term.peer for term in terms if term.peer is not None)
        settings = dict.fromkeys(term.raised for term in terms if term.raised is not None)
        self._raised = {each: RaisedPass(each, student) for each in settings}
        self.student = Tapped(student, [term.student_taps for term in terms], "student")
        self.teacher = Tapped(teacher, [term.teacher_taps for term in terms], "teacher")

    def losses(
        self,
        inputs: Any,
        labels: Any,
        outputs: tuple[tf.Tensor, list[tf.Tensor]],
        targets: tuple[tf.Tensor | None, list[tf.Tensor]],
        hard: Callable[[tf.Tensor], tf.Tensor],
        step: tf.Tensor,
    ) -> dict[str, tf.Tensor]:
        """Returns the unweighted mean of each term over this replica's examples, by name.

        Args:
            inputs: What the student was shown.
            labels: Of it.
            outputs: The student's, and its taps.
            targets: The teacher's, and its taps.
            hard: The compiled loss of any outputs.
            step: Number of the training step.
        """
        # By identity: Keras compares models by nothing else, and hashes none that is not built.
        peers = [(peer, tf.cast(peer(inputs, training=True), tf.float32)) for peer in self._peers]
        raised = {each: again(inputs, step) for each, again in self._raised.items()}

        def loss(term: Term) -> tf.Tensor:
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
            return mean(term.loss(seen))

        return {term.name: loss(term) for term in self.terms}

    def schedulers(self) -> list[TermScheduler]:
        """Returns what the weights follow that have a schedule."""
        return [
            TermScheduler(term.name, term.factor, term.schedule)
            for term in self.terms
            if term.schedule is not None
        ]

    @property
    def penalties(self) -> list[tf.Tensor]:
        """The regularisers of the networks that train beside the student."""
        return [loss for network in self.networks for loss in network.losses]

    @property
    def trainable_variables(self) -> list[tf.Variable]:
        """Those of the networks that train beside the student."""
        return [variable for network in self.networks for variable in network.trainable_variables]


class Tapped:
    """A network whose call also gives the taps that any term names."""

    def __init__(self, network: Any, names: Sequence[Sequence[str]], role: str) -> None:
        self.names = list(dict.fromkeys(name for some in names for name in some))
        self._network = tapped(network, self.names, role) if self.names else network

    def __call__(self, inputs: Any, training: bool) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Returns the outputs, and the taps."""
        returned = self._network(inputs, training=training)
        *taps, outputs = returned if self.names else [returned]
        return outputs, [tf.cast(tap, tf.float32) for tap in taps]

    def of(self, names: Sequence[str], taps: Sequence[tf.Tensor]) -> tuple[tf.Tensor, ...]:
        """Returns those of the taps that have these names."""
        return tuple(taps[self.names.index(name)] for name in names)


def _weight(term: Term) -> ScheduledVariable:
    return ScheduledVariable(f"{term.name}_weight", term.factor)


def _distinct(networks: Any) -> list[Any]:
    return list({id(network): network for network in networks}.values())
