"""The input of the workflows: always the same, made on the host and read by the programs on the virtual node."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import numpy as np

SAMPLES, FEATURES = 6_000, 1024
PERSONS, COUNTIES = 70_000, 400
VERTICES, SHORTCUTS = 70_000, 70_000
FILES, FILE_BYTES = 6, 1 << 20


def make(folder: Path) -> None:
    """Write every input into `folder`."""
    source = np.random.default_rng(20)
    _training(folder, source)
    _census(folder / "census.csv", source)
    _graph(folder / "edges.npy", source)
    _files(folder / "files")


def _training(folder: Path, source: np.random.Generator) -> None:
    """Samples around ten centres, as pictures of ten kinds are."""
    kinds = source.integers(0, 10, SAMPLES)
    centres = source.normal(0, 1, (10, FEATURES))
    x = (centres[kinds] + source.normal(0, 2, (SAMPLES, FEATURES))).astype(np.float32)
    np.save(folder / "train-x.npy", x)
    np.save(folder / "train-y.npy", kinds)


def _census(path: Path, source: np.random.Generator) -> None:
    """Persons in households in counties; races in shares that differ by county, ages and incomes skewed."""
    household = np.sort(source.integers(0, PERSONS * 2 // 5, PERSONS))
    county = household * COUNTIES // (PERSONS * 2 // 5)
    shares = source.dirichlet((6, 2, 1, 0.7, 0.3, 0.2), COUNTIES).cumsum(axis=1)
    race = (source.random(PERSONS)[:, None] > shares[county]).sum(axis=1)
    age = source.triangular(0, 30, 95, PERSONS).astype(int)
    income = np.where(age < 16, 0, source.lognormal(10.4, 0.9, PERSONS)).astype(int)
    weight = source.integers(5, 150, PERSONS)
    order = source.permutation(PERSONS)
    table = np.column_stack([household, county, race, age, income, weight])[order]
    np.savetxt(path, table, "%d", ",", header="household,county,race,age,income,weight", comments="")


def _graph(path: Path, source: np.random.Generator) -> None:
    """A binary tree with shortcuts, its vertices numbered by chance."""
    child = np.arange(1, VERTICES)
    tree = np.column_stack([(child - 1) // 2, child])
    shortcuts = source.integers(0, VERTICES, (SHORTCUTS, 2))
    names = source.permutation(VERTICES)
    np.save(path, names[np.concatenate([tree, shortcuts])])


def _files(folder: Path) -> None:
    """The source code of this Python's own library, in files of 1 MiB."""
    folder.mkdir()
    texts = sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py"))
    rest = b"".join(path.read_bytes() for path in texts if "site-packages" not in path.parts)
    for number in range(FILES):
        piece = rest[number * FILE_BYTES : (number + 1) * FILE_BYTES]
        if piece:
            (folder / f"part-{number:02}").write_bytes(piece)
