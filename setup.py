"""One distribution, `tierwise`: every room of the layout, each in the folder that DESIGN's map names.

The page engine (csrc/pages) is a cffi API-mode extension for the limited API, so that one wheel serves every
Python from 3.11 on. tierwise-exec is a program in C (csrc/exec). The SPANK plugin is not part of it: it belongs to a
Slurm release, not to a Python (`make -C csrc/spank`).
"""

import os
import subprocess
from pathlib import Path

from setuptools import Command, find_packages, setup

ROOMS = {
    "tierwise": "library",
    "tierwise_policy": "policy",
    "tierwise_decision": "decision",
    "tierwise_node": "nodeagent",
    "tierwise_cli": "cli",
    "tierwise_sim": "sim",
    "tierwise_slurm": "slurm_plugin",
}
HERE = Path(__file__).parent


class MakeScripts(Command):
    """`build_scripts` for scripts that are made from their sources: setuptools' own would read them as text."""

    description = "make the programs that are no Python"
    user_options = [("build-dir=", "d", "where to")]  # noqa: RUF012  as setuptools has it

    def initialize_options(self) -> None:
        self.build_dir, self.executable, self.force = "", "", False  # bdist_wheel sets the last two

    def finalize_options(self) -> None:
        self.build_dir = self.get_finalized_command("build").build_scripts

    def get_source_files(self) -> list[str]:
        return list(self.distribution.scripts)

    def run(self) -> None:
        subprocess.run(["make", "-s", "-C", HERE / "csrc/exec", f"BUILD={os.path.abspath(self.build_dir)}"], check=True)


decision = [
    "alembic>=1.13,<2",
    "litestar>=2.12,<3",
    "numpy>=1.26,<3",
    "prometheus-client>=0.20,<1",
    "sqlalchemy>=2.0,<2.2",
    "uvicorn>=0.30,<1",
]
agent = ["numpy>=1.26,<3", "prometheus-client>=0.20,<1", "psutil>=5.9,<8"]
cli = ["click>=8.1,<9", "rich>=13.7,<16"]
plot = ["matplotlib>=3.8,<4"]
dev = [
    *decision,
    *agent,
    *cli,
    *plot,
    "build>=1.2,<2",
    "hypothesis>=6.100,<7",
    "mypy>=1.11,<3",
    "psycopg[binary]>=3.2,<4",
    "pytest>=8.2,<10",
    "pytest-rerunfailures>=15,<17",
    "pytest-benchmark>=4,<6",
    "ruff>=0.6,<1",
    "simpy>=4.1,<5",
    "scikit-learn>=1.4,<2",
]

setup(
    name="tierwise",
    version="0.1.0",
    description="Makes a Slurm cluster aware of what its memory tiers and nodes can really do",
    long_description=(HERE / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=[name for room in ROOMS.values() for name in find_packages(room)],
    package_dir={package: f"{room}/{package}" for package, room in ROOMS.items()},
    package_data={"*": ["py.typed", "*.ini", "*.mako"]},
    install_requires=["cffi>=1.17,<3", "httpx>=0.27,<1", "msgspec>=0.18,<1"],
    extras_require={
        "decision": decision,
        "agent": agent,
        "cli": cli,
        "memory": ["numpy>=1.26,<3"],
        "plot": plot,
        "pyslurm": ["pyslurm>=25.11"],
        "postgresql": ["psycopg[binary]>=3.2,<4"],
        "gpu": ["nvidia-ml-py>=12,<14"],
        "sim": ["simpy>=4.1,<5"],
        "dev": dev,
    },
    cffi_modules=["csrc/pages/build_pages.py:ffibuilder", "csrc/libtierwise/build_memory.py:ffibuilder"],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
    scripts=["csrc/exec/exec.c"],
    cmdclass={"build_scripts": MakeScripts},
    entry_points={
        "console_scripts": [
            "tierctl = tierwise_cli.main:main",
            "tierwise-decision = tierwise_decision.main:main",
            "tierwise-agent = tierwise_node.main:main",
        ],
        "tierwise.slurm": ["client = tierwise_slurm.opening:open_client"],
        "tierwise.slurm_nodes": ["client = tierwise_slurm.nodes:NodeCommands"],
    },
    zip_safe=False,
)
