"""A long run in which jobs start and die at random and the agent is killed every minute: what is left behind?"""
