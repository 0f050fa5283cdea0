"""The product's tables in the local Log Analytics, there before the first row as in Azure."""

from __future__ import annotations

from keydrift.tables import TABLES
from keydrift_local.azure.log_analytics import LogAnalytics


def declare_tables(logs: LogAnalytics) -> None:
    """Make every table of the product's."""
    for table, columns in TABLES.items():
        logs.declare(table, columns)
