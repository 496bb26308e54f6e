"""The engine's machine: processes, namespaces, cgroups, kernel log, tracepoints, events."""

from .observer import Observer

__all__ = ["Observer"]
