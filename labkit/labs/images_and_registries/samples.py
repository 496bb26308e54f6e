"""The sample apps of ``data/apps``: source files that a learner may read, change and build."""

from ...errors import BadInput
from ...paths import data_file


def source(app: str, **changed: str) -> dict[str, str]:
    """An app's files, path to text.

    Args:
        app: a folder of ``data/apps``.
        changed: other text for a file; write the dot of its name as two underscores
            (``app__sh="…"``), ``None`` leaves the file out.

    Raises:
        BadInput: there's no app of that name.
    """
    folder = data_file("apps", app)
    if not folder.is_dir():
        known = ", ".join(sorted(path.name for path in data_file("apps").iterdir() if path.is_dir()))
        raise BadInput(f"There is no sample app {app!r}.", next_step=f"There are: {known}.")
    files = {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
    for key, text in changed.items():
        name = key.replace("__", ".")
        if text is None:
            files.pop(name, None)
        else:
            files[name] = text
    return files
