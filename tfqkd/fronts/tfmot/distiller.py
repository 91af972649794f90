"""The `Distiller`: a Keras model that trains a student on hard labels and on a teacher's soft targets."""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from tfqkd.compat import keras, tf
from tfqkd.core.soft_loss import SoftLoss
from tfqkd.core.tasks import AUTO
from tfqkd.core.teachers import LOGITS_IN_BATCH
from tfqkd.core.weights import Weight
from tfqkd.fronts.arguments import require_settings
from tfqkd.fronts.hard_loss import HardLoss
from tfqkd.fronts.logits import require_logits
from tfqkd.fronts.terms import Term
from tfqkd.fronts.tfmot.arguments import require_same_shapes, require_student
from tfqkd.fronts.tfmot.balance import Balances
from tfqkd.fronts.tfmot.hard_loss import read_losses, require_hard_loss
from tfqkd.fronts.tfmot.inspection import Inspection, looking_once
from tfqkd.fronts.tfmot.loss_scaling import with_loss_scaling
from tfqkd.fronts.tfmot.means import penalties, share_of_global_batch
from tfqkd.fronts.tfmot.scheduled import ScheduledVariable
from tfqkd.fronts.tfmot.scheduler_callback import following
from tfqkd.fronts.tfmot.shapes import require_takes
from tfqkd.fronts.tfmot.soft_term import SoftTerm
from tfqkd.fronts.tfmot.soft_terms import SoftTerms
from tfqkd.fronts.tfmot.step_terms import StepTerms
from tfqkd.fronts.tfmot.structure import answers_by_output, by_output, output_names, output_shapes
from tfqkd.fronts.tfmot.teachers import asked, unpack_logits
from tfqkd.fronts.unsaved import Unsaved

_SOFT = "soft_loss"


class Distiller(Unsaved, keras.Model):
    """Trains a student with `loss = (1-λ)·hard + λ·soft` (arXiv 1909.01688) plus its regularisers.

    `hard` is the compiled loss on the labels, `soft` the loss between the outputs of teacher and student, λ
    the coefficient. Both are means over the global batch, with sample and class weights. What the outputs
    are, the compiled loss tells, or `task`:

    - "softmax", of a categorical cross-entropy: the logits of classes, `[batch, classes]`, at least two.
      `soft` is `losses.soft_loss` at the temperature, of the logits or of `losses.standardized` ones,
      `losses.decoupled_soft_loss`, `losses.correlation_soft_loss` or `losses.cosine_soft_loss`; they agree
      where both choose the same class.
    - "sigmoid", of a binary cross-entropy: a logit for each label, `[batch, labels]`. `soft` is
      `losses.sigmoid_soft_loss`, the mean over labels; they agree on a label where both say yes or both no.
    - "regression", of a squared, absolute or like error: values, `[batch, values]`. `soft` is
      `losses.squared_error`; the temperature has no part in it, and nothing is there to agree on.

    Methods add `terms`, `Σ weight·s(t)·loss`, each logged by its name; what they train beside the student
    lies in `beside`, and among the weights of the distiller.

    Several outputs have a loss each, and a task: `(1-λ)·hard + λ·soft` is the sum over them, with the
    `loss_weights` of `compile`; the teacher returns them in the student's order, or in a dict by name.
    Outputs may have more axes, of time or of pixels: a decision for each. What a mask leaves out counts in
    neither loss.

    `evaluate`, `predict` and calling it are the student's; quantize the student before it is bound here. The
    teacher is frozen, runs in inference mode and is in no checkpoint of the distiller.

    `fit` logs loss, hard_loss, soft_loss, agreement (share of examples or labels on which student and teacher
    agree), coefficient, temperature and the compiled metrics; without a teacher's answers neither soft_loss
    nor agreement, and of a regression neither agreement nor temperature. Of several outputs it logs
    `NAME_loss`, `NAME_soft_loss` and `NAME_agreement` too.

    `coefficient` and `temperature` are variables: assign to them at any time, or let a callback do it
    (`core.schedulers.CoefficientScheduler`); nothing is traced or compiled again.

    Example:
        ```python
        distiller = tfqkd.Distiller(student=quantized, teacher=teacher, temperature=2.0, coefficient=0.5)
        distiller.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), ["accuracy"])
        distiller.fit(train, validation_data=test, epochs=10)
        ```

    Args:
        student: A tf_keras model that returns `[batch, ..., outputs]`: logits or values, or several such. By
            keyword, as the teacher: Keras' own Distiller has them the other way round.
        teacher: What `teachers.as_teacher` takes: any callable from the same batch to the same outputs. Or
            `LOGITS_IN_BATCH`: training batches are `((x, teacher_logits), y)`, of any float type, such as a
            `TeacherCache` gives; those of `evaluate` and `predict` stay `x`.
        temperature: `T > 0`, finite, that divides both logits in the soft loss.
        coefficient: λ in [0, 1], the weight of the soft loss.
        soft_loss: "cross_entropy" (default, as in the paper), "kl", which has the same gradient and is zero
            at a match, or "none": the control, which scales the hard loss by 1-λ and asks no teacher. The
            squared error of a regression is both. For classes also "standardized", the KL of logits whose
            mean and deviation are taken out (arXiv 2403.01427), "dkd", decoupled distillation (arXiv
            2203.08679), "dist", correlations within examples and within classes (arXiv 2205.10536; several
            replicas correlate their own examples alone), and "cosine", the angle between the probabilities
            (after the abstract of arXiv 2009.14502).
        soft_weight: Multiplies the soft loss besides λ, 0 or more: the small gradient of standardized logits
            has 10 in its paper's recipe. `balanced:R` finds it once, at the first step: the gradient of the
            soft loss is then R times that of the hard loss; it is logged as soft_loss_weight.
        dkd_beta: β of "dkd", 0 or more.
        scale_by_temperature_squared: Whether the soft loss is multiplied by `T²` (default, as in arXiv
            1503.02531), so that λ weighs the same at every temperature. The paper does not say.
        task: "softmax", "sigmoid" or "regression"; "auto" (default) reads it off the compiled loss. A loss
            of your own, a hinge and the like do not tell it. Of several outputs one for all, a list, or a
            dict by name.
        terms: What methods add to the loss of a student with one output (`fronts.terms.Term`). One that reads
            layers of the teacher needs a Functional or Sequential tf_keras model, live.

    Raises:
        TypeError: If student or teacher are of no usable kind.
        ValueError: If a setting is out of range, a model ends in softmax, or teacher and student take other
            batches or have other numbers of outputs.
    """

    train_function: Any

    def __init__(
        self,
        *,
        student: keras.Model,
        teacher: object,
        temperature: float = 2.0,
        coefficient: float = 0.5,
        soft_loss: str = "cross_entropy",
        soft_weight: Weight = 1.0,
        dkd_beta: float = 8.0,
        scale_by_temperature_squared: bool = True,
        task: Any = AUTO,
        terms: Sequence[Term] = (),
        **kwargs: Any,
    ) -> None:
        require_student(student)
        names = _names(student)
        tasks = [AUTO if each is None else each for each in by_output(task, names)]
        for each in tasks:
            require_settings(temperature, coefficient, soft_weight, each)
        if terms and len(names) > 1:
            raise ValueError(
                "Methods add terms to the loss of a student with one output. Received: "
                f"{len(terms)} terms for the outputs {', '.join(names)}. Leave the methods out."
            )
        # None is the control: no teacher is asked.
        compared = (
            None
            if soft_loss == "none"
            else SoftLoss(soft_loss, dkd_beta, scale_by_temperature_squared)
        )
        require_logits(student, "student", dict(zip(names, tasks, strict=True)))
        asks = compared is not None and teacher is not LOGITS_IN_BATCH
        if asks:
            require_same_shapes(student, teacher)
        super().__init__(**kwargs)
        # Every replica returns the same logs; by default Keras would add them up.
        self.distribute_reduction_method = "first"
        self.student = student
        self._terms = StepTerms(terms, student, teacher)
        self.beside = self._terms.networks
        if len(names) > 1 and not isinstance(student.output, dict):
            # Keras finds losses and metrics of several outputs by them; of a dict it knows the keys.
            self.output_names = names
        self._names = names
        self._logits_in_batch = teacher is LOGITS_IN_BATCH
        # A plain function: Keras would track a model, save it and count its weights.
        self._teacher = asked(teacher, tasks, names) if asks else None
        self._require_teacher = functools.partial(require_logits, teacher, "teacher")
        self._compared = compared
        self.soft_weight = soft_weight
        weights = {_SOFT: soft_weight if compared else 0.0}
        weights |= {term.name: term.weight for term in self._terms.terms}
        self.balances = Balances(weights)
        self._scheduled = {
            "coefficient": ScheduledVariable("coefficient", coefficient),
            "temperature": ScheduledVariable("temperature", temperature),
            **self._terms.weights,
        }
        self.coefficient = self._scheduled["coefficient"].value
        self.temperature = self._scheduled["temperature"].value
        self._given_tasks = tasks
        self._hard: list[HardLoss | None] = []
        self._soft: SoftTerms | None = None
        self._inspection = Inspection(len(names))
        self._trackers: list[keras.metrics.Metric] = []

    def compile(self, optimizer: Any = "sgd", loss: Any = None, *args: Any, **kwargs: Any) -> None:
        """Configures training as `keras.Model.compile` does.

        Args:
            optimizer: Keras optimizer; with a float16 student it gets loss scaling.
            loss: The hard loss: a Keras loss that averages over the batch; a cross-entropy with
                `from_logits=True`.
            *args: As for `keras.Model.compile`.
            **kwargs: As for `keras.Model.compile`.

        Raises:
            ValueError: If the loss expects probabilities, sums over the batch, or does not tell what the
                outputs are while `task` is "auto"; or if a model ends in what the loss applies itself.
        """
        self._hard = read_losses(loss, self._names)
        self._soft = None
        optimizer = with_loss_scaling(optimizer, self.student)
        super().compile(optimizer, loss, *args, **kwargs)
        if any(self._hard) and self._compared:
            self._soft = self._soft_terms(self._compared)
        self._inspection.forget()
        logged = ["loss", "hard_loss", *(self._soft.logged if self._soft else [])]
        logged += [term.name for term in self._terms.terms]
        with self.distribute_strategy.scope():
            self._trackers = [keras.metrics.Mean(name=name) for name in logged]

    def fit(self, *args: Any, **kwargs: Any) -> keras.callbacks.History:
        """Trains the student as `keras.Model.fit` does; a schedule ends with it, its last value stays.

        Args:
            *args: As for `keras.Model.fit`.
            **kwargs: As for `keras.Model.fit`; `callbacks` may hold schedulers (`core.schedulers`).

        Raises:
            ValueError: If there is no loss or no labels, the batches are not what student and teacher take,
                labels are out of range of the student's classes, or a teacher that shows no layers answers
                in probabilities: before the first step, or after it where a step must tell. Labels of later
                steps at once on a CPU, else at the end.
        """
        self._inspection.forget()
        arguments = inspect.signature(super().fit).bind(*args, **kwargs).arguments
        callbacks = arguments.get("callbacks") or []
        arguments["callbacks"] = following([callbacks, self._terms.schedulers()])
        try:
            with self._inspection.labels_explained():
                history = super().fit(**arguments)
            self._require_answers()
            return history
        finally:
            # Keras calls no callback when a fit is interrupted.
            for scheduled in self._scheduled.values():
                scheduled.hold()

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """Evaluates the student as `keras.Model.evaluate` does.

        Raises:
            ValueError: If labels are out of range of the student's classes.
        """
        with self._inspection.labels_explained():
            return super().evaluate(*args, **kwargs)

    def make_train_function(self, force: bool = False) -> Callable[[Any], Any]:
        """Returns what Keras does; its first call also looks at the labels and the teacher's answers.

        Raises:
            ValueError: In that call, if they are out of range or probabilities.
        """
        if self.train_function is None or force:
            execute = super().make_train_function(force)
            self.train_function = looking_once(
                self, execute, self._inspection, self._require_answers
            )
        return self.train_function

    def call(self, inputs: Any, training: bool | None = None) -> tf.Tensor:
        """Returns the student's outputs."""
        return self.student(inputs, training=training)

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The metrics that are reset at the start of every epoch."""
        compiled = self.compiled_metrics.metrics if self.compiled_metrics else []
        return [*self._trackers, *self._losses_of_outputs, *compiled]

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Makes one step on a batch `(x, y)` or `(x, y, sample_weight)`; for x, see `LOGITS_IN_BATCH`."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        x, answers, teacher_taps = self._asked(x)
        step = self.optimizer.iterations
        scheduled = {name: each.advance(step) for name, each in self._scheduled.items()}
        coefficient, temperature = scheduled["coefficient"], scheduled["temperature"]

        with tf.GradientTape(persistent=bool(self.balances)) as tape:
            found, taps = self._terms.student(x, training=True)
            # A second pass would put its own in their place.
            penalized = self.student.losses
            outputs = self._answered(found)
            hard = self._mean_hard_loss(y, outputs, sample_weight)
            soft: list[tf.Tensor] = []
            if self._soft and answers is not None:
                soft = self._soft.means(
                    answers,
                    outputs,
                    self._by_output(y),
                    temperature,
                    self._by_output(sample_weight),
                )
            terms = self._terms.losses(
                x,
                y,
                (outputs[0], taps),
                (answers and answers[0], teacher_taps),
                lambda output: self._mean_hard_loss(y, [output], sample_weight),
                step,
            )
            balanced = self.balances.find(tape, hard, {_SOFT: soft, **terms}, self.student)
            distillation = (1 - coefficient) * hard
            if soft:
                distillation += coefficient * balanced.get(_SOFT, self.soft_weight) * soft[0]
            for name, value in terms.items():
                weight = scheduled[f"{name}_weight"]
                distillation += (balanced[name] * weight if name in balanced else weight) * value
            regularization = penalties([*penalized, *self._terms.penalties])
            batch = tf.shape(outputs[0])[0]
            replicas = tf.distribute.get_strategy().num_replicas_in_sync
            loss = distillation * share_of_global_batch(batch) + regularization / replicas
        trained = [*self.student.trainable_variables, *self._terms.trainable_variables]
        self.optimizer.minimize(loss, trained, tape=tape)

        values = [distillation + regularization, hard]
        if soft and self._soft and answers is not None:
            self._inspection.note_answers(answers, self._soft.tasks)
            values += [*soft, *self._soft.agreements(answers, outputs)]
        values += terms.values()
        for tracker, value in zip(self._trackers, values, strict=True):
            tracker.update_state(value, sample_weight=batch)
        self.compiled_metrics.update_state(y, self._packed(outputs), sample_weight)
        return {
            **{tracker.name: tracker.result() for tracker in self._trackers},
            **self._compiled_results(),
            "coefficient": coefficient,
            **({"temperature": temperature} if not self._soft or self._soft.softens else {}),
            **{f"{name}_weight": weight for name, weight in balanced.items()},
        }

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Evaluates the student on a batch: the hard loss with regularisers, and the compiled metrics."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        require_takes(self.student, "student", x)
        outputs = self._answered(self.student(x, training=False))
        loss = self._mean_hard_loss(y, outputs, sample_weight)
        loss += penalties(self.student.losses)
        self._trackers[0].update_state(loss, sample_weight=tf.shape(outputs[0])[0])
        self.compiled_metrics.update_state(y, self._packed(outputs), sample_weight)
        return {"loss": self._trackers[0].result(), **self._compiled_results()}

    def schedule(self, name: str) -> ScheduledVariable:
        """Returns what drives "coefficient" or "temperature"; for callbacks."""
        return self._scheduled[name]

    def _soft_terms(self, compared: SoftLoss) -> SoftTerms:
        given = zip(self._hard, self._given_tasks, strict=True)
        tasks = [None if hard is None else hard.task(task) for hard, task in given]
        names = ["" if task is None else task.name for task in tasks]
        # Export looks for it: the student's file says what its outputs are.
        self.student.distilled_task = names[0] if len(names) == 1 else tuple(names)
        known = {key: name or AUTO for key, name in zip(self._names, names, strict=True)}
        require_logits(self.student, "student", known)
        self._require_teacher(known)
        terms = [None if task is None else SoftTerm(task, compared) for task in tasks]
        for term, shape in zip(terms, output_shapes(self.student, self._names), strict=True):
            if term is not None:
                term.require_shape(shape)
        weights = by_output(self.compiled_loss._user_loss_weights, self._names)
        return SoftTerms(terms, self._names, weights)

    def _answered(self, outputs: Any) -> list[tf.Tensor]:
        """The student's outputs, float32, in the order of their names."""
        return answers_by_output(outputs, self._names, "student")

    def _packed(self, outputs: list[tf.Tensor]) -> Any:
        """Outputs in the form in which Keras gets them from the student."""
        if len(outputs) == 1:
            return outputs[0]
        is_named = isinstance(self.student.output, dict)
        return dict(zip(self._names, outputs, strict=True)) if is_named else outputs

    def _by_output(self, given: Any) -> list[Any]:
        return by_output(given, self._names) if len(self._names) > 1 else [given]

    def _asked(self, x: Any) -> tuple[Any, list[tf.Tensor] | None, list[tf.Tensor]]:
        """Returns the student's inputs, and the teacher's answers and taps for them."""
        answers: list[tf.Tensor] | None = None
        taps: list[tf.Tensor] = []
        if self._logits_in_batch:
            x, given = unpack_logits(x)
            answers = answers_by_output(given, self._names, "teacher")
        require_takes(self.student, "student", x)
        if self._terms.teacher.names:
            given, taps = self._terms.teacher(x, training=False)
            found = answers_by_output(given, self._names, "teacher")
            answers = [tf.stop_gradient(each) for each in found]
        elif self._teacher is not None:
            answers = self._teacher(x)
        return x, answers, [tf.stop_gradient(tap) for tap in taps]

    def _mean_hard_loss(self, y: Any, outputs: list[tf.Tensor], sample_weight: Any) -> tf.Tensor:
        require_hard_loss(self._hard, y)
        labels = self._inspection.note_labels(self._by_output(y), outputs, self._hard)
        # Keras divides the mean over this replica's part of the batch by the number of replicas.
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        if len(outputs) == 1:
            return self.compiled_loss(labels[0], outputs[0], sample_weight) * replicas
        weights = self._packed(self._by_output(sample_weight))
        return self.compiled_loss(self._packed(labels), self._packed(outputs), weights) * replicas

    def _require_answers(self) -> None:
        if self._soft:
            self._inspection.require_logits(self._soft.tasks)

    def _compiled_results(self) -> dict[str, tf.Tensor]:
        metrics = [*self._losses_of_outputs, *self.compiled_metrics.metrics]
        return {metric.name: metric.result() for metric in metrics}

    @property
    def _losses_of_outputs(self) -> list[keras.metrics.Metric]:
        # The first is Keras' sum of all.
        return self.compiled_loss.metrics[1:] if self.compiled_loss else []


def _names(student: keras.Model) -> list[str]:
    """The names of a student's outputs; of a subclassed one, which shows none, that of one."""
    return output_names(student) if getattr(student, "outputs", None) else ["output"]
