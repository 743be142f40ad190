"""What a device says of itself, as values: status, history, findings. Nothing here opens a file."""

from deltaseal.report.audit import Audited, AuditSummary, audit_lines, check_audit
from deltaseal.report.exports import (
    KnownFix,
    apple,
    intune_files,
    intune_rule,
    intune_scripts,
    intune_values,
    jamf,
    openvex,
    openvex_document,
)
from deltaseal.report.findings import Finding
from deltaseal.report.history import Entry
from deltaseal.report.page import status_page
from deltaseal.report.processes import ImageUse, Processes, ProcessUse
from deltaseal.report.signed import (
    BATCH_BYTES,
    BATCH_REPORTS,
    Blocked,
    Enrolment,
    Held,
    Report,
    Timings,
    read_enrolment,
    split_documents,
    verify_report,
)
from deltaseal.report.status import Applied, NextStep, Pending, Problem, Status, Underway

__all__ = [
    "BATCH_BYTES",
    "BATCH_REPORTS",
    "Applied",
    "AuditSummary",
    "Audited",
    "Blocked",
    "Enrolment",
    "Entry",
    "Finding",
    "Held",
    "ImageUse",
    "KnownFix",
    "NextStep",
    "Pending",
    "Problem",
    "ProcessUse",
    "Processes",
    "Report",
    "Status",
    "Timings",
    "Underway",
    "apple",
    "audit_lines",
    "check_audit",
    "intune_files",
    "intune_rule",
    "intune_scripts",
    "intune_values",
    "jamf",
    "openvex",
    "openvex_document",
    "read_enrolment",
    "split_documents",
    "status_page",
    "verify_report",
]
