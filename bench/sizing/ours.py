"""Tierwise's own estimator, as the decision service runs it."""

from sizing.traces import Submitted, Task
from tierwise_policy.signature import Signature
from tierwise_policy.sizing import Estimator, Run


class Tierwise:
    """Each process is a signature. Until it has run, the user's request holds."""

    def __init__(self) -> None:
        self._estimator = Estimator()

    def predict(self, task: Submitted) -> float:
        """The estimate for the task's input."""
        found = self._estimator.estimate(
            Signature(task.process), input_bytes=float(task.input_bytes), asked=float(task.asked)
        )
        return found.memory if found else task.asked

    def observe(self, task: Task) -> None:
        """Learn from a task that has ended well."""
        known = task.submitted
        run = Run(
            peak=float(task.peak),
            seconds=task.seconds,
            input_bytes=float(known.input_bytes),
            asked=float(known.asked),
        )
        self._estimator.observe(Signature(known.process), run)
