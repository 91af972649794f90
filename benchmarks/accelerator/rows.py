"""The rows of the table as stages: what each starts from and who teaches it, in the order of the tiers."""

import argparse
import functools
import re
from typing import NamedTuple


class Stage(NamedTuple):
    """A training; `start` and `teacher` name the stages that it needs."""

    name: str
    network: str
    epochs: int
    rate: float
    seed: int
    part: tuple[int, int] = (2, 1)  # Role and stage, as in tfqkd.training.plans.
    start: str = ""
    teacher: str = ""
    ternary: bool = False
    coefficient: tuple[float, float] = (0.0, 0.0)  # λ in the first and in the last epoch.
    soft: str = "kd"
    smoothed: bool = False  # Labels smoothed to the teacher's entropy stand for the teacher.
    control: bool = False  # (1 - λ)·hard is kept, the soft loss left out.


def plan(o: argparse.Namespace) -> list[Stage]:
    """Returns the stages that `o.rows` matches, and those that they need.

    T1 are whole pipelines: nothing that leads to `ternary` ever saw the teacher, `taught` and all that starts
    from it did. T2 are several seeds of the last stage of one pipeline, from `taught.0`.
    """
    first = functools.partial(Stage, network=o.student, epochs=o.epochs, rate=o.rate)
    last = functools.partial(first, epochs=o.last_epochs, part=(2, 2))
    taught = {"teacher": "teacher", "coefficient": (o.coefficient, 0.0)}
    chosen, low = {**taught, "soft": o.soft[0]}, {**taught, "ternary": True}
    stages = [Stage("teacher", o.teacher, o.epochs, o.rate, 0, (1, 1))]
    stages += [first(f"float.{p}", seed=p) for p in range(o.seeds)]
    stages += [first(f"taught.{p}", seed=p, **chosen) for p in range(o.seeds)]
    for p in range(o.seeds):
        after, plain = ({"seed": p, "start": f"{name}.{p}"} for name in ("taught", "float"))
        stages += [last(f"annealed_{soft}.{p}", soft=soft, **after, **low) for soft in o.soft]
        stages += [last(f"ternary.{p}", ternary=True, **plain), last(f"float_longer.{p}", **plain)]
        stages += [last(f"float_taught.{p}", **after, **chosen)]
    for p in range(o.seeds):
        one = functools.partial(last, seed=p, start="taught.0", **low)
        stages += [one(f"t2_control.{p}", control=True, teacher="")]
        stages += [one(f"t2_fixed_{value}.{p}", coefficient=(value, value)) for value in o.fixed]
        stages += [one(f"t2_annealed.{p}"), one(f"t2_smoothed.{p}", smoothed=True)]
    wanted: set[str] = set()
    for stage in reversed(stages):
        if stage.name in wanted or re.fullmatch(o.rows, stage.name):
            wanted |= {stage.name, stage.start, stage.teacher}
    return [stage for stage in stages if stage.name in wanted]
