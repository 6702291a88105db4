"""Breadth-first search in a graph whose vertices have no order in memory: each step waits for the one before."""

from pathlib import Path

import igraph
import numpy as np

SEARCHES = 3


def work(data: Path) -> str:
    """Vertices reached and the depths. Input: edges.npy, pairs of vertices."""
    edges = np.load(data / "edges.npy")
    count = int(edges.max()) + 1
    graph = igraph.Graph(count, edges)
    del edges
    depths = []
    for number in range(SEARCHES):
        distance = np.asarray(graph.distances(number * (count // SEARCHES))[0])
        depths.append(f"{int(distance[np.isfinite(distance)].max())}")
    return f"{count} vertices, depths {' '.join(depths)}"
