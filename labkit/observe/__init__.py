"""The engine's machine: processes, namespaces, cgroups, kernel log, tracepoints, events."""

from .observer import Observer, Stream

__all__ = ["Observer", "Stream"]
