"""What a device says of itself, as values: status, history, findings. Nothing here opens a file."""

from deltaseal.report.findings import Finding
from deltaseal.report.history import Entry
from deltaseal.report.processes import ImageUse, Processes, ProcessUse
from deltaseal.report.status import Applied, NextStep, Pending, Problem, Status, Underway

__all__ = [
    "Applied",
    "Entry",
    "Finding",
    "ImageUse",
    "NextStep",
    "Pending",
    "Problem",
    "ProcessUse",
    "Processes",
    "Status",
    "Underway",
]
