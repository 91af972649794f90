"""Knowledge distillation: losses, schedules, the `Distiller`, its callbacks and its teachers."""
