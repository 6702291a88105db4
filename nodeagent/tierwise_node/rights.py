"""Who may ask for what: a peer of the agent's socket against the jobs of this node."""

from tierwise_node.cgroups import Cgroups
from tierwise_node.jobs import Jobs
from tierwise_node.server import Peer


class Rights:
    """What a peer may ask about jobs."""

    def __init__(self, jobs: Jobs, cgroups: Cgroups) -> None:
        self._jobs, self._cgroups = jobs, cgroups

    def task_refusal(self, peer: Peer, job_id: int, uid: int) -> str:
        """Why this peer may not ask for that job's tasks; empty: it may. Root may ask for any job."""
        if peer.uid == 0:
            return ""
        if peer.uid != uid:
            return f"uid {peer.uid} asked as uid {uid}"
        record = self._jobs.records.get(job_id)
        if record is not None and record.uid not in (0, uid):  # a process that changed its uid is in the cgroup, too
            return f"job {job_id} is not of uid {uid}"
        its_job = self._cgroups.job_of(peer.pid)
        told_by_root = record is not None and record.prologued and record.uid == uid
        if its_job == job_id or (its_job is None and told_by_root):
            return ""
        return f"process {peer.pid} is not in a cgroup of job {job_id} on this node"
