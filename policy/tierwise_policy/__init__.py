"""Pure decisions: no I/O, no clock, no globals. The service, the agent and the simulator run the same code."""
