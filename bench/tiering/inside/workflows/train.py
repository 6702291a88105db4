"""Training: a network with one hidden layer, by mini-batches that are shuffled anew each epoch. Data and bandwidth."""

from pathlib import Path

import numpy as np

HIDDEN, CLASSES, BATCH, EPOCHS, RATE = 4, 10, 512, 2, 0.05


def work(data: Path) -> str:
    """The loss at the end. Input: train-x.npy, one row of 32-bit floats a sample, and train-y.npy."""
    x, y = np.load(data / "train-x.npy"), np.load(data / "train-y.npy")
    source = np.random.default_rng(1)
    first = source.normal(0, 0.05, (x.shape[1], HIDDEN)).astype(np.float32)
    second = source.normal(0, 0.3, (HIDDEN, CLASSES)).astype(np.float32)
    loss = 0.0
    for _ in range(EPOCHS):
        order = source.permutation(len(x))
        loss = 0.0
        for start in range(0, len(x), BATCH):
            rows = order[start : start + BATCH]
            inputs, wanted = x[rows], y[rows]
            hidden = np.maximum(inputs @ first, 0)
            scores = hidden @ second
            scores -= scores.max(axis=1, keepdims=True)
            shares = np.exp(scores)
            shares /= shares.sum(axis=1, keepdims=True)
            loss -= float(np.log(shares[np.arange(len(rows)), wanted] + 1e-9).sum())
            shares[np.arange(len(rows)), wanted] -= 1
            shares /= len(rows)
            back = (shares @ second.T) * (hidden > 0)
            second -= RATE * (hidden.T @ shares)
            first -= RATE * (inputs.T @ back)
    return f"loss {loss / len(x):.3f}"
