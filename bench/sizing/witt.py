"""The user's own request, and the two online methods of Witt, Wagner and Leser: Feedback-Based Resource Allocation for
Batch Scheduling of Scientific Workflows (HPCS 2019). Until a process has run, all of them take the user's request."""

from collections import defaultdict

import numpy as np

from sizing.traces import Submitted, Task


class Asked:
    """What the user asked for."""

    def predict(self, task: Submitted) -> float:
        """The request."""
        return task.asked

    def observe(self, task: Task) -> None:
        """Nothing to learn."""


class WittPercentile:
    """The 95th percentile of the peaks that the process has had."""

    def __init__(self) -> None:
        self._peaks: defaultdict[str, list[int]] = defaultdict(list)

    def predict(self, task: Submitted) -> float:
        """The percentile, interpolated."""
        peaks = self._peaks[task.process]
        return float(np.percentile(peaks, 95)) if peaks else task.asked

    def observe(self, task: Task) -> None:
        """Keep the peak."""
        self._peaks[task.submitted.process].append(task.peak)


class WittRegression:
    """Least squares of the peak over the input's size, and the standard deviation of its past errors on top.

    The errors are those of the predictions made before the peaks were known, relative to the peaks.
    """

    def __init__(self) -> None:
        self._seen: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
        self._errors: defaultdict[str, list[float]] = defaultdict(list)

    def predict(self, task: Submitted) -> float:
        """The line at the input's size, with the offset."""
        if len(self._seen[task.process]) < 2:
            return task.asked
        fitted = self._line(task)
        offset = float(np.std(self._errors[task.process])) if self._errors[task.process] else 0.0
        most = max(peak for _, peak in self._seen[task.process])
        return fitted * (1 + offset) if fitted > 0 else most

    def observe(self, task: Task) -> None:
        """Keep the point, and the error of what the line said about it."""
        process = task.submitted.process
        if len(self._seen[process]) >= 2:
            self._errors[process].append((task.peak - self._line(task.submitted)) / task.peak)
        self._seen[process].append((float(task.submitted.input_bytes), float(task.peak)))

    def _line(self, task: Submitted) -> float:
        inputs, peaks = np.array(self._seen[task.process]).T
        spread = inputs - inputs.mean()
        variance = float(spread @ spread)
        slope = float(spread @ (peaks - peaks.mean())) / variance if variance else 0.0
        return float(peaks.mean() + slope * (task.input_bytes - inputs.mean()))
