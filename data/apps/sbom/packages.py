"""Prints the Python packages below a folder as a CycloneDX document: what is installed, by its own records."""

import importlib.metadata
import json
import sys


def licence(about):
    """A package's licence in its own words: its expression, its field, or what its classifiers say."""
    given = about.get("License-Expression") or about.get("License") or ""
    classes = [line.split(" :: ")[-1] for line in about.get_all("Classifier") or [] if line.startswith("License ::")]
    return given if 0 < len(given) < 60 else ", ".join(classes) or "unknown"


components = [
    {
        "type": "library",
        "name": found.metadata["Name"],
        "version": found.version,
        "purl": f"pkg:pypi/{found.metadata['Name'].lower()}@{found.version}",
        "licenses": [{"license": {"name": licence(found.metadata)}}],
    }
    for found in importlib.metadata.distributions(path=sys.argv[1:])
]
components.sort(key=lambda row: row["name"].lower())
print(json.dumps({"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1, "components": components}))
