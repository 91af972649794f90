"""The `Distiller`: a Keras model that trains a student on hard labels and on a teacher's soft targets."""

import inspect
from collections.abc import Callable
from typing import Any

from tfqkd.compat import is_keras3, keras, tf
from tfqkd.distillation import losses
from tfqkd.distillation.answers import Answers
from tfqkd.distillation.scheduled import ScheduledVariable
from tfqkd.distillation.teachers import LOGITS_IN_BATCH, as_teacher, require_logits


class Distiller(keras.Model):
    """Trains a student with `loss = (1-λ)·hard + λ·soft` (arXiv 1909.01688) plus its regularisers.

    `hard` is the compiled loss on the labels, `soft` the loss between the softened outputs of teacher and
    student (`losses.soft_loss`), λ the coefficient. Both are means over the global batch, with sample and
    class weights. `evaluate`, `predict` and calling it are the student's; quantize the student before it is
    bound here. The teacher is frozen, runs in inference mode and is in no checkpoint of the distiller.

    `fit` logs loss, hard_loss, soft_loss, agreement (share of examples on which student and teacher choose
    the same class), coefficient, temperature and the compiled metrics; without a teacher's answers neither
    soft_loss nor agreement.

    `coefficient` and `temperature` are variables: assign to them at any time, or let a callback do it
    (`callbacks.CoefficientScheduler`); nothing is traced or compiled again.

    Example:
        ```python
        distiller = tfqkd.Distiller(student=quantized, teacher=teacher, temperature=2.0, coefficient=0.5)
        distiller.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), ["accuracy"])
        distiller.fit(train, validation_data=test, epochs=10)
        ```

    Args:
        student: A tf_keras model that returns logits `[batch, classes]`.
        teacher: What `teachers.as_teacher` takes: any callable from the same batch to logits. Or
            `LOGITS_IN_BATCH`: training batches are `((x, teacher_logits), y)`, of any float type, such as a
            `TeacherCache` gives; those of `evaluate` and `predict` stay `x`.
        temperature: `T > 0`, finite, that divides both logits in the soft loss.
        coefficient: λ in [0, 1], the weight of the soft loss.
        soft_loss: "cross_entropy" (default, as in the paper), "kl", which has the same gradient and is zero
            at a match, or "none": the control, which scales the hard loss by 1-λ and asks no teacher.
        scale_by_temperature_squared: Whether the soft loss is multiplied by `T²` (default, as in arXiv
            1503.02531), so that λ weighs the same at every temperature. The paper does not say.

    Raises:
        TypeError: If student or teacher are of no usable kind.
        ValueError: If a setting is out of range, a model ends in softmax, or the numbers of classes differ;
            in `fit`, after the first step, if a teacher that shows no layers answers in probabilities.
    """

    train_function: Any

    def __init__(
        self,
        student: keras.Model,
        teacher: object,
        temperature: float = 2.0,
        coefficient: float = 0.5,
        soft_loss: str = "cross_entropy",
        scale_by_temperature_squared: bool = True,
        **kwargs: Any,
    ) -> None:
        _require_settings(temperature, coefficient, soft_loss)
        _require_student(student)
        _require_same_classes(student, teacher)
        super().__init__(**kwargs)
        # Every replica returns the same logs; by default Keras would add them up.
        self.distribute_reduction_method = "first"
        self.student = student
        self._logits_in_batch = teacher is LOGITS_IN_BATCH
        # A plain function: Keras would track a model, save it and count its weights.
        asks = soft_loss != "none" and not self._logits_in_batch
        self._teacher = as_teacher(teacher) if asks else None
        self.soft_loss = soft_loss
        self.scale_by_temperature_squared = scale_by_temperature_squared
        self._scheduled = {
            "coefficient": ScheduledVariable("coefficient", coefficient),
            "temperature": ScheduledVariable("temperature", temperature),
        }
        self.coefficient = self._scheduled["coefficient"].value
        self.temperature = self._scheduled["temperature"].value
        self._answers = Answers()
        names = ["loss", "hard_loss", *(["soft_loss", "agreement"] if soft_loss != "none" else [])]
        self._trackers = [keras.metrics.Mean(name=name) for name in names]

    def compile(self, optimizer: Any = "sgd", loss: Any = None, *args: Any, **kwargs: Any) -> None:
        """Configures training as `keras.Model.compile` does.

        Args:
            optimizer: Keras optimizer; with a float16 student it gets loss scaling.
            loss: The hard loss: a Keras loss with `from_logits=True` that averages over the batch.
            *args: As for `keras.Model.compile`.
            **kwargs: As for `keras.Model.compile`.

        Raises:
            ValueError: If the loss expects probabilities, or sums over the batch.
        """
        _require_loss_of_logits(loss)
        if _computes_in_float16(self.student):
            optimizer = keras.optimizers.get(optimizer)
            if not isinstance(optimizer, keras.mixed_precision.LossScaleOptimizer):
                optimizer = keras.mixed_precision.LossScaleOptimizer(optimizer)
        super().compile(optimizer, loss, *args, **kwargs)

    def fit(self, *args: Any, **kwargs: Any) -> keras.callbacks.History:
        """Trains the student as `keras.Model.fit` does; a schedule ends with it, its last value stays."""
        try:
            return super().fit(*args, **kwargs)
        finally:
            # Keras calls no callback when a fit is interrupted.
            for scheduled in self._scheduled.values():
                scheduled.hold()

    def make_train_function(self, force: bool = False) -> Callable[[Any], Any]:
        """Returns what Keras does; its first call also looks at what the teacher answered.

        Raises:
            ValueError: In that call, if they are probabilities.
        """
        if self.train_function is None or force:
            execute = super().make_train_function(force)

            def look_once(iterator: Any) -> Any:
                logs = execute(iterator)
                if self.train_function is look_once:
                    self.train_function = execute
                    self._answers.require_logits()
                return logs

            self.train_function = look_once
        return self.train_function

    def call(self, inputs: Any, training: bool | None = None) -> tf.Tensor:
        """Returns the student's logits."""
        return self.student(inputs, training=training)

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The metrics that are reset at the start of every epoch."""
        return [*self._trackers, *(self.compiled_metrics.metrics if self.compiled_metrics else [])]

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Makes one step on a batch `(x, y)` or `(x, y, sample_weight)`; for x, see `LOGITS_IN_BATCH`."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        x, teacher_logits = self._asked(x)
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        step = self.optimizer.iterations
        coefficient = self._scheduled["coefficient"].advance(step)
        temperature = self._scheduled["temperature"].advance(step)

        with tf.GradientTape() as tape:
            logits = tf.cast(self.student(x, training=True), tf.float32)
            # Keras divides the mean over this replica's part of the batch by the number of replicas.
            hard = self.compiled_loss(y, logits, sample_weight) * replicas
            distillation = (1 - coefficient) * hard
            if teacher_logits is not None:
                soft = self._mean_soft_loss(teacher_logits, logits, temperature, sample_weight)
                distillation += coefficient * soft
            regularization = tf.add_n([0.0, *(tf.cast(r, tf.float32) for r in self.student.losses)])
            batch = tf.shape(logits)[0]
            loss = distillation * _share_of_global_batch(batch) + regularization / replicas
        self.optimizer.minimize(loss, self.student.trainable_variables, tape=tape)

        values = [distillation + regularization, hard]
        if teacher_logits is not None:
            self._answers.note(teacher_logits)
            values += [soft, _mean(losses.agreement(teacher_logits, logits))]
        for tracker, value in zip(self._trackers, values, strict=True):
            tracker.update_state(value, sample_weight=batch)
        self.compiled_metrics.update_state(y, logits, sample_weight)
        return {
            **{tracker.name: tracker.result() for tracker in self._trackers},
            **self._compiled_results(),
            "coefficient": coefficient,
            "temperature": temperature,
        }

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Evaluates the student on a batch: the hard loss with regularisers, and the compiled metrics."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        logits = tf.cast(self.student(x, training=False), tf.float32)
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        loss = self.compiled_loss(y, logits, sample_weight) * replicas
        loss += tf.add_n([0.0, *(tf.cast(r, tf.float32) for r in self.student.losses)])
        self._trackers[0].update_state(loss, sample_weight=tf.shape(logits)[0])
        self.compiled_metrics.update_state(y, logits, sample_weight)
        return {"loss": self._trackers[0].result(), **self._compiled_results()}

    def schedule(self, name: str) -> ScheduledVariable:
        """Returns what drives "coefficient" or "temperature"; for callbacks."""
        return self._scheduled[name]

    def _asked(self, x: Any) -> tuple[Any, tf.Tensor | None]:
        """Returns the student's inputs and the teacher's logits for them."""
        if not self._logits_in_batch:
            return x, None if self._teacher is None else self._teacher(x)
        if not (isinstance(x, tuple) and len(x) == 2):
            raise ValueError(
                "With LOGITS_IN_BATCH every training batch must be ((x, teacher_logits), y). "
                f"Received: {tf.nest.map_structure(lambda t: t.shape, x)} for x. "
                "Train on TeacherCache.batches(...), or give the Distiller a teacher to ask."
            )
        x, logits = x
        return x, None if self.soft_loss == "none" else tf.cast(logits, tf.float32)

    def _mean_soft_loss(
        self,
        teacher_logits: tf.Tensor,
        logits: tf.Tensor,
        temperature: tf.Tensor,
        sample_weight: tf.Tensor | None,
    ) -> tf.Tensor:
        if not teacher_logits.shape.is_compatible_with(logits.shape):
            raise ValueError(
                "Teacher and student must return logits of one shape. Received: teacher "
                f"{teacher_logits.shape}, student {logits.shape}. Train both on the same classes."
            )
        soft = losses.soft_loss(
            teacher_logits,
            logits,
            temperature,
            self.soft_loss,
            self.scale_by_temperature_squared,
        )
        if sample_weight is not None:
            soft *= tf.reshape(tf.cast(sample_weight, tf.float32), tf.shape(soft))
        return _mean(soft)

    def _compiled_results(self) -> dict[str, tf.Tensor]:
        return {metric.name: metric.result() for metric in self.compiled_metrics.metrics}


def _mean(values: tf.Tensor) -> tf.Tensor:
    """The mean, or zero where a replica gets no example of a small last batch."""
    return tf.math.divide_no_nan(tf.reduce_sum(values), tf.cast(tf.size(values), tf.float32))


def _share_of_global_batch(batch: tf.Tensor) -> tf.Tensor | float:
    """What part of the global batch this replica has: a mean over it times this, summed, is the mean."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return 1.0
    batch = tf.cast(batch, tf.float32)
    return batch / context.all_reduce(tf.distribute.ReduceOp.SUM, batch)


def _computes_in_float16(model: keras.Model) -> bool:
    return any(layer.compute_dtype == "float16" for layer in model.layers)


def _require_settings(temperature: float, coefficient: float, soft_loss: str) -> None:
    if not 0 < temperature < float("inf"):
        raise ValueError(
            f"`temperature` must be above 0 and finite. Received: temperature={temperature}. "
            "1 leaves the logits as they are; more softens them."
        )
    if not 0 <= coefficient <= 1:
        raise ValueError(
            f"`coefficient` must be in [0, 1]. Received: coefficient={coefficient}. "
            "It weighs the soft loss; the hard loss gets 1 - coefficient."
        )
    if soft_loss not in (*losses.SOFT_LOSSES, "none"):
        raise ValueError(
            f"`soft_loss` must be one of {', '.join(losses.SOFT_LOSSES)}, none. "
            f"Received: soft_loss={soft_loss!r}."
        )


def _require_student(student: object) -> None:
    if not isinstance(student, keras.Model):
        hint = " It is a Keras 3 model." if is_keras3(student) else ""
        raise TypeError(
            f"The student must be a tf_keras model. Received: {type(student)}.{hint} "
            "Build it with `from tfqkd.compat import keras`."
        )
    require_logits(student, "student")


def _require_same_classes(student: keras.Model, teacher: object) -> None:
    shapes = [getattr(model, "output_shape", None) for model in (student, teacher)]
    classes = [shape[-1] for shape in shapes if isinstance(shape, tuple) and shape[-1]]
    if len(set(classes)) > 1:
        raise ValueError(
            "Teacher and student must know the same classes. "
            f"Received: a student with {classes[0]} and a teacher with {classes[1]}. "
            "Train the teacher on the student's data set."
        )


def _require_loss_of_logits(compiled: Any) -> None:
    for loss in map(keras.losses.get, tf.nest.flatten(compiled)):
        if loss is None:
            continue
        if not _takes_logits(loss):
            raise ValueError(
                "The hard loss must take logits: the student returns them. "
                f"Received: loss={compiled!r}. "
                "Pass e.g. keras.losses.SparseCategoricalCrossentropy(from_logits=True)."
            )
        averages = (keras.losses.Reduction.AUTO, keras.losses.Reduction.SUM_OVER_BATCH_SIZE)
        if getattr(loss, "reduction", averages[0]) not in averages:
            raise ValueError(
                "The hard loss must average over the batch, as the soft loss does. "
                f"Received: reduction={loss.reduction!r}. Leave `reduction` at its default."
            )


def _takes_logits(loss: Any) -> bool:
    if isinstance(loss, keras.losses.Loss):
        return loss.get_config().get("from_logits", True)
    parameter = inspect.signature(loss).parameters.get("from_logits")
    return parameter is None or parameter.default
