"""Sizey, from its paper: Bader et al., Sizey: Memory-Efficient Execution of Scientific Workflow Tasks (CLUSTER 2024,
arXiv 2407.16353). Four classes of models for each process; their estimates of the peak are weighed by a resource
allocation quality (RAQ) score, and an offset, chosen as what would have wasted least so far, is added.

As the authors ran it: alpha 0, dynamic offset, smoothed MAPE, the first failure answered by the largest peak ever seen
and then by doubling; both of their strategies, interpolation (softmax, beta 1) and argmax. Two things differ. Nothing
of a task's own peak is used before it has run: their prototype lets it into the choice of the offset. And so that a
workflow takes minutes and not days, models are fitted again when a process's history has grown by 2 % (after each task,
up to 50), and hyper-parameters searched (three folds, a smaller grid) when it has doubled, not after each task.
"""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.ensemble import RandomForestRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor

from sizing.traces import Submitted, Task

Floats = NDArray[np.float64]
Model = Callable[[Floats], Floats]
Fit = Callable[[Floats, Floats], Model]

_ALPHA = 0.0
_BETA = 1.0
_DEFAULT_OFFSET = 0.05
_FEWEST = 3
"""Runs of a process before it is estimated: below, the user's request holds."""
_SEED = 42
_FOLDS = 3
_GROWTH = 1.02


class Sizey:
    """One ensemble a process. Predicts by interpolation, and keeps what argmax would have said."""

    def __init__(self) -> None:
        self._processes: dict[str, _Process] = {}
        self.by_argmax: list[float] = []
        """The other strategy's predictions, of the same models, in the order of the tasks."""

    def predict(self, task: Submitted) -> float:
        """The estimate with its offset; the user's request until the process has run three times."""
        process = self._processes.get(task.process)
        interpolated, best = process.predict(task) if process and process.ready else (task.asked, task.asked)
        self.by_argmax.append(best)
        return interpolated

    def observe(self, task: Task) -> None:
        """Learn from a task, and fit its process's models again."""
        name = task.submitted.process
        process = self._processes.get(name)
        if process is None:
            process = self._processes[name] = _Process()
        process.observe(task)

    def retry(self, task: Submitted, failed: float) -> float:
        """The largest peak ever seen, where that is more than the attempt had (by 5 %); else double."""
        process = self._processes.get(task.process)
        return _retry(process.most if process else 0.0, failed)


class Argmax:
    """Sizey's other strategy: what it said, task by task, on a second way through the same tasks."""

    def __init__(self, models: Sizey) -> None:
        self._said = iter(models.by_argmax)
        self._most: dict[str, float] = {}

    def predict(self, task: Submitted) -> float:
        """What was said of this task."""
        return next(self._said)

    def observe(self, task: Task) -> None:
        """Only what a retry needs: the models have learned."""
        name = task.submitted.process
        self._most[name] = max(self._most.get(name, 0.0), task.peak)

    def retry(self, task: Submitted, failed: float) -> float:
        """As Sizey's."""
        return _retry(self._most.get(task.process, 0.0), failed)


def _retry(most: float, failed: float) -> float:
    return most if most >= 1.05 * failed else 2 * failed


class _Process:
    """The history and the four models of one process."""

    def __init__(self) -> None:
        self._inputs: list[float] = []
        self._peaks: list[float] = []
        self._members = [_Member(_linear), _Member(*_forests()), _Member(*_networks()), _Member(*_neighbours())]

    @property
    def ready(self) -> bool:
        return len(self._peaks) >= _FEWEST

    @property
    def most(self) -> float:
        return max(self._peaks, default=0.0)

    def predict(self, task: Submitted) -> tuple[float, float]:
        """By interpolation, and by the best model alone."""
        at = np.array([float(task.input_bytes)])
        raw = np.array([float(member.estimate(at)[0]) for member in self._members])
        efficiency = 1 - raw / raw.max() if raw.max() > 0 else np.zeros(len(raw))
        accuracy = np.array([member.accuracy for member in self._members])
        raq = (1 - _ALPHA) * accuracy + _ALPHA * efficiency
        weights = np.exp(_BETA * raq) / np.exp(_BETA * raq).sum()
        offsets = np.array([member.offset for member in self._members])
        best = int(raq.argmax())
        interpolated = float(weights @ raw) * (1 + float(weights @ offsets))
        alone = float(raw[best]) * (1 + float(offsets[best]))
        least = min(self._peaks)
        return interpolated if interpolated > 0 else least, alone if alone > 0 else least

    def observe(self, task: Task) -> None:
        at = np.array([float(task.submitted.input_bytes)])
        if self.ready:
            for member in self._members:
                member.errors.append((task.peak - float(member.estimate(at)[0])) / task.peak)
        self._inputs.append(float(task.submitted.input_bytes))
        self._peaks.append(float(task.peak))
        if self.ready:
            inputs, peaks = np.array(self._inputs), np.array(self._peaks)
            for member in self._members:
                member.learn(inputs, peaks)


class _Member:
    """A class of models: the best of its hyper-parameters, its accuracy, and its offset."""

    def __init__(self, *choices: Fit) -> None:
        self._choices = choices
        self._fit = choices[0]
        self._searched = self._fitted = 0
        self._model: Model | None = None
        self.accuracy = 0.0
        self.offset = _DEFAULT_OFFSET
        self.errors: list[float] = []
        """(peak − estimate) / peak of each estimate made before its peak was known."""

    def estimate(self, inputs: Floats) -> Floats:
        """Peaks in bytes for inputs in bytes."""
        assert self._model is not None
        return self._model(inputs)

    def learn(self, inputs: Floats, peaks: Floats) -> None:
        """Fit again when the history has grown by 2 %; search, and score accuracy, when it has doubled."""
        if len(peaks) < _GROWTH * self._fitted:
            return
        self._fitted = len(peaks)
        scale_x, scale_y = _Scale(inputs), _Scale(peaks)
        if len(peaks) >= 2 * self._searched:
            self._searched = len(peaks)
            scores = [_validated(fit, inputs, peaks) for fit in self._choices]
            self._fit, self.accuracy = self._choices[int(np.argmax(scores))], max(scores)
        fitted = self._fit(scale_x.down(inputs), scale_y.down(peaks))
        self._model = lambda at: scale_y.up(fitted(scale_x.down(at)))
        self.offset = _offset(self.errors, self.estimate(inputs), peaks)


class _Scale:
    """To [0, 1] and back, as the paper scales its features and targets."""

    def __init__(self, values: Floats) -> None:
        self._low = float(values.min())
        self._width = float(np.ptp(values)) or 1.0

    def down(self, values: Floats) -> Floats:
        return np.asarray((values - self._low) / self._width)

    def up(self, values: Floats) -> Floats:
        return np.asarray(values * self._width + self._low)


def _validated(fit: Fit, inputs: Floats, peaks: Floats) -> float:
    """Cross-validated accuracy: 1 less the mean absolute percentage error, each error at most 100 %."""
    count = min(_FOLDS, len(peaks))
    errors: list[float] = []
    for fold in range(count):
        held = np.arange(len(peaks)) % count == fold
        scale_x, scale_y = _Scale(inputs[~held]), _Scale(peaks[~held])
        model = fit(scale_x.down(inputs[~held]), scale_y.down(peaks[~held]))
        guess = scale_y.up(model(scale_x.down(inputs[held])))
        errors.extend(np.minimum(np.abs(guess - peaks[held]) / peaks[held], 1.0))
    return 1.0 - float(np.mean(errors))


def _offset(errors: list[float], fitted: Floats, peaks: Floats) -> float:
    """Of four offsets the one with which the present model would have wasted least over its own history."""
    if not errors:
        return _DEFAULT_OFFSET
    every = np.abs(np.array(errors))
    under = np.array([error for error in errors if error > 0])
    low, high = np.percentile(every, (10, 90))
    reach = 1.5 * (high - low)
    candidates = [
        float(np.std(every[(every >= low - reach) & (every <= high + reach)])) if len(every) > 1 else _DEFAULT_OFFSET,
        float(np.median(under)) if len(under) else _DEFAULT_OFFSET,
        float(np.median(every)),
        float(np.std(under)) if len(under) else _DEFAULT_OFFSET,
    ]
    positive = np.where(fitted > 0, fitted, fitted[fitted > 0].min() if (fitted > 0).any() else peaks.min())
    return min(candidates, key=lambda offset: _waste(positive * (1 + offset), peaks))


def _waste(allocated: Floats, peaks: Floats) -> float:
    """Bytes wasted with doubling until it fits."""
    doublings = np.maximum(np.ceil(np.log2(peaks / allocated)), 0)
    return float((allocated * (2**doublings - 1) + allocated * 2**doublings - peaks).sum())


def _linear(inputs: Floats, peaks: Floats) -> Model:
    spread = inputs - inputs.mean()
    variance = float(spread @ spread)
    slope = float(spread @ (peaks - peaks.mean())) / variance if variance else 0.0
    middle, level = float(inputs.mean()), float(peaks.mean())
    return lambda at: level + slope * (at - middle)


def _neighbours() -> list[Fit]:
    return [_nearest(count, by_distance) for count in (2, 3, 5, 7, 9) for by_distance in (False, True)]


def _nearest(count: int, by_distance: bool) -> Fit:
    def fit(inputs: Floats, peaks: Floats) -> Model:
        def at_one(point: float) -> float:
            distances = np.abs(inputs - point)
            near = np.argsort(distances, kind="stable")[:count]
            if not by_distance:
                return float(peaks[near].mean())
            if (distances[near] == 0).any():
                return float(peaks[near][distances[near] == 0].mean())
            return float(np.average(peaks[near], weights=1 / distances[near]))

        return lambda at: np.array([at_one(float(point)) for point in at])

    return fit


def _forests() -> list[Fit]:
    return [
        _learned(RandomForestRegressor(n_estimators=10, max_depth=depth, random_state=_SEED)) for depth in (3, 5, 7)
    ]


def _networks() -> list[Fit]:
    """With L-BFGS alone: scikit-learn's own advice for histories as short as these; Adam takes far longer."""
    return [
        _learned(MLPRegressor(hidden_layer_sizes=(width, width), solver="lbfgs", max_iter=500, random_state=_SEED))
        for width in (5, 9)
    ]


def _learned(regressor: Any) -> Fit:
    """A regressor of scikit-learn's as a fit, a fresh copy each time."""

    def fit(inputs: Floats, peaks: Floats) -> Model:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model = clone(regressor).fit(inputs.reshape(-1, 1), peaks)
        return lambda at: np.asarray(model.predict(at.reshape(-1, 1)))

    return fit
