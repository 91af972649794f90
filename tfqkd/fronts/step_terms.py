"""The terms of a `Distiller`, in what both fronts do alike: networks with taps, and the losses of a step."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tfqkd.core.ops import Ops
from tfqkd.core.schedulers import TermScheduler
from tfqkd.fronts.terms import Raised, Seen, Term


class Tapped:
    """A network whose call also gives the outputs of some of its layers; a front says how.

    Attributes:
        names: Of the layers.

    Args:
        network: Called as it is where no layer is named; else a Functional or Sequential model.
        names: Of its layers, wrapped or not, each as often as terms name it.
        role: What an error calls it.

    Raises:
        ValueError: If it shows no layers, or has none of a name.
    """

    ops: Ops

    def __init__(self, network: Any, names: Sequence[Sequence[str]], role: str) -> None:
        self.names = list(dict.fromkeys(name for some in names for name in some))
        self._network = self._tapped(network, role) if self.names else network

    def __call__(self, inputs: Any, training: bool | None) -> tuple[Any, list[Any]]:
        """Returns the outputs, and the taps, float32."""
        returned = self._network(inputs, training=training)
        *taps, outputs = returned if self.names else [returned]
        return outputs, [self.ops.cast(tap, "float32") for tap in taps]

    def of(self, names: Sequence[str], taps: Sequence[Any]) -> tuple[Any, ...]:
        """Returns those of the taps that have these names."""
        return tuple(taps[self.names.index(name)] for name in names)

    def _tapped(self, network: Any, role: str) -> Any:
        """Returns a model `inputs → [taps…, outputs]` of the same layers."""
        raise NotImplementedError


class StepTerms:
    """What the terms of a training share: one pass of student, teacher and each peer serves them all.

    Attributes:
        terms: All of them.
        networks: All that trains beside the student, each once.
        student: The student, with the taps that any term names.
        teacher: The teacher, likewise.

    Args:
        terms: Of different names.
        student: The model that is trained.
        teacher: What was given as teacher.

    Raises:
        ValueError: If two have one name, or a network has no layer that they name.
    """

    ops: Ops
    tapped: type[Tapped]
    second_pass: Callable[..., Any]

    def __init__(self, terms: Sequence[Term], student: Any, teacher: object) -> None:
        names = [term.name for term in terms]
        if len(set(names)) < len(names):
            raise ValueError(f"Terms must have different names. Received: {names}.")
        self.terms = tuple(terms)
        self.networks = _distinct(network for term in terms for network in term.networks)
        self._peers = _distinct(term.peer for term in terms if term.peer is not None)
        settings = dict.fromkeys(term.raised for term in terms if term.raised is not None)
        self._raised = {each: self.second_pass(each, student) for each in settings}
        self.student = self.tapped(student, [term.student_taps for term in terms], "student")
        self.teacher = self.tapped(teacher, [term.teacher_taps for term in terms], "teacher")

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
            raised: The student's outputs in second passes.
            hard: The compiled loss of any outputs.
        """
        # By identity: Keras compares models by nothing else, and hashes none that is not built.
        peers = [
            (peer, self.ops.cast(peer(inputs, training=True), "float32")) for peer in self._peers
        ]

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
                ops=self.ops,
            )
            return self._mean(term.loss(seen))

        return {term.name: loss(term) for term in self.terms}

    def schedulers(self) -> list[TermScheduler]:
        """Returns what the weights follow that have a schedule."""
        return [
            TermScheduler(term.name, term.factor, term.schedule)
            for term in self.terms
            if term.schedule is not None
        ]

    def _mean(self, values: Any) -> Any:
        """Returns the mean over this replica's examples."""
        raise NotImplementedError


def _distinct(networks: Any) -> list[Any]:
    return list({id(network): network for network in networks}.values())
