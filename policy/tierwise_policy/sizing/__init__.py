"""Sizing: how much memory and time a job will need, learned online from ended jobs of its kind (chapter 4).

`estimator` keeps one learner a signature, `learner` chooses among models and margins by what each would have wasted,
`experience` is what all signatures together have taught, `models` are the models, `waste` is what a wrong size costs,
`limits` is what becomes of a job's request.
"""

from tierwise_policy.sizing.estimator import Estimate, Estimator, Run
from tierwise_policy.sizing.limits import Asked, Limits, Policy, limits_for

__all__ = ["Asked", "Estimate", "Estimator", "Limits", "Policy", "Run", "limits_for"]
