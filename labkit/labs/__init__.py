"""One folder a lab, named as its notebook; each is imported when it is first asked for."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import (  # noqa: F401
        container_history,
        container_lifetime,
        devops_and_delivery,
        engine_architecture,
        images_and_registries,
        isolation_models,
        it_does_not_work,
        limits_and_security,
        networks_and_data,
        out_of_memory,
        releases,
        start_here,
        what_docker_solves,
    )
else:

    def __getattr__(lab: str):
        if lab.startswith("_"):
            raise AttributeError(lab)
        return importlib.import_module(f".{lab}", __package__)
