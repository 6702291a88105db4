"""Clusters larger, or busier, than any here: an event simulation (SimPy) in which the real policies decide."""
