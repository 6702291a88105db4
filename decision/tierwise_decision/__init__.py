"""The decision service: what a job gets at its submission and at its start, and what became of it.

One asyncio process with three listeners (the hook's line socket, HTTP on a unix socket, HTTP on TCP), the cluster's
state in memory, and a database behind a single writer, so that no job ever waits for the database.
"""
