"""The part of the HTTP interface that is about estimates (docs/protocol.md)."""

import msgspec
from litestar import post

from tierwise.messages import EstimateAnswer, EstimateQuery
from tierwise_decision.guards import Asked, core_of, known_only, uid_of


class _Job(msgspec.Struct, frozen=True):
    """A job that was not submitted: a Kind for sizing."""

    uid: int
    script: str
    job_name: str
    partition: str
    array: bool
    image: str


@post("/v1/estimates", guards=[known_only], status_code=200, summary="What a job will need, by its history")
async def estimate(request: Asked, data: EstimateQuery) -> EstimateAnswer:
    """For anybody authenticated, from their own history alone. Changes nothing."""
    job = _Job(uid_of(request), data.script, data.job_name, data.partition, data.array, data.image)
    found = core_of(request).estimates.find(job)
    if found is None:
        return EstimateAnswer()
    return EstimateAnswer(
        runs=found.runs,
        peak=found.memory,
        memory=found.limit,
        hot=found.hot,
        seconds=found.seconds,
        directive=str(found.request) if found.request else "",
        basis=found.basis,
        time_basis=found.time_basis,
    )


ROUTES = [estimate]
