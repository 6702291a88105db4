"""Distributed training as chapter 3 runs it: synchronous, so that each iteration takes as long as its slowest worker.

An iteration on a worker: the CPUs prepare a batch while the GPU computes on the last one; then the gradients go round.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tierwise.telemetry import Utilisation
from tierwise_sim.cluster import Node

CPU_PER_IMAGE = 4e-4
"""Core-seconds to decode and augment an image of 224 × 224; CIFAR's are CIFAR_SHARE of that."""
CIFAR_SHARE = 0.15
ROUND_TRIPS = 4
"""Exchanges with a peer in an iteration that wait for an answer: parameters and gradients, asked for and sent."""
BASE_LATENCY = 0.0002


@dataclass(frozen=True)
class Model:
    """A network: parameters (4 bytes each), GPU seconds for an image on a P100, share of an ImageNet image's CPU work.

    Parameter counts are the papers' (He 2016, Szegedy 2015, Howard 2017); GPU times are from 3 × the forward FLOPs at 3
    TFLOP/s, about a third of a P100's peak.
    """

    name: str
    parameters: float
    gpu_per_image: float
    cpu_share: float = 1.0


MODELS = (
    Model("ResNet32", 0.46e6, 3 * 0.14e9 / 3e12, CIFAR_SHARE),
    Model("ResNet56", 0.85e6, 3 * 0.25e9 / 3e12, CIFAR_SHARE),
    Model("Inception-V1", 6.6e6, 3 * 3.0e9 / 3e12),
    Model("MobileNet", 4.2e6, 3 * 1.1e9 / 3e12),
)
BATCHES = (64, 128, 256, 512)


@dataclass(frozen=True)
class Training:
    """One job: `batch` images on each of `workers` nodes in each of `iterations`."""

    name: str
    model: Model
    batch: int
    workers: int
    iterations: int
    arrival: float

    @property
    def signature(self) -> str:
        """What makes two of them the same kind."""
        return f"{self.model.name}/{self.batch}/{self.workers}"

    def iteration(self, nodes: Sequence[Node]) -> float:
        """Seconds of one iteration on these nodes as they are now."""
        compute = max(self._compute(node) for node in nodes)
        if len(nodes) == 1:
            return compute
        # A ring: each link carries 2 (w − 1) / w of the gradients, and the ring is as slow as its slowest link.
        size = 4 * self.model.parameters * 2 * (len(nodes) - 1) / len(nodes)
        transfer = size / min(node.bandwidth() for node in nodes)
        waiting = ROUND_TRIPS * (BASE_LATENCY + max(node.added_latency for node in nodes))
        return compute + transfer + waiting

    def use(self, node: Node, iteration: float) -> Utilisation:
        """What the job itself uses of a node."""
        cpu = self._cpu_seconds() / iteration / node.hardware.cpus
        gpu = self.model.gpu_per_image * self.batch / iteration / len(node.hardware.gpus)
        network = 8 * self.model.parameters / iteration / node.hardware.network if self.workers > 1 else 0.0
        return Utilisation(min(cpu, 1.0), 0.05, min(network, 1.0), min(gpu, 1.0), 0.2)

    def _compute(self, node: Node) -> float:
        return max(self.model.gpu_per_image * self.batch / node.gpu(), self._cpu_seconds() / node.cores())

    def _cpu_seconds(self) -> float:
        return CPU_PER_IMAGE * self.model.cpu_share * self.batch
