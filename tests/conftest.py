"""For all rooms: why a test was given a second try is told, not only that it was."""

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """A first try's failure, which pytest-rerunfailures keeps to itself."""
    for report in terminalreporter.getreports("rerun"):
        terminalreporter.section(f"the first try of {report.nodeid}")
        terminalreporter.write_line(report.longreprtext)
