"""Files and folders beside a notebook that have the name of a Python package: ``docker.py``, ``random.py``."""

import os
import sys
import warnings
from importlib.machinery import PathFinder
from pathlib import Path

from .errors import BadInput

#: Without these no lab goes on; with anything else a learner may do as they like.
_NEEDED = {*sys.stdlib_module_names, "docker", "h11", "ipywidgets", "IPython", "matplotlib", "numpy", "requests", "rich",
           "trustme", "urllib3"}  # fmt: skip


def step_aside() -> None:
    """Have Python look beside the notebook last, where what is there would be imported in a package's place.

    Only then: what a learner imports from there is still found.

    Raises:
        BadInput: it has been imported already.
    """
    try:
        here = os.getcwd()
        names = {path.stem: path for path in Path(here).iterdir() if _importable(path)}
    except OSError:
        return  # the folder is gone, or can't be read: nothing is imported from there
    others = [entry for entry in sys.path if entry not in ("", here)]
    for name in sorted(_NEEDED & set(names)):
        origin = getattr(sys.modules.get(name), "__file__", None) or ""
        if origin.startswith(here + os.sep):
            raise BadInput(
                f"{names[name].name}, beside this notebook, was imported in place of the Python package {name}.",
                next_step="Rename it, and restart the kernel.",
            )
    taken = [name for name in sorted(names) if name not in sys.modules and PathFinder.find_spec(name, others)]
    if taken and len(others) < len(sys.path):
        sys.path[:] = [*others, here]
        told = ", ".join(names[name].name for name in taken)
        warnings.warn(f"Beside this notebook are names of Python packages, which come first now: {told}", stacklevel=3)


def _importable(path: Path) -> bool:
    return path.suffix == ".py" or (path / "__init__.py").is_file()
