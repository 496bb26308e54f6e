"""Looking at an engine from outside of any session."""

from __future__ import annotations

import docker

from labkit.engine.session import SESSION


def left_behind(engine, session: str) -> list[str]:
    """All that still carries a session's label or name on an engine, as text."""
    client = docker.DockerClient(**engine.client_options(), version="auto")
    try:
        api = client.api

        def ours(labels: dict | None, *names: str) -> bool:
            return (labels or {}).get(SESSION) == session or any(session in name for name in names)

        rows = [f"container {row['Names']}" for row in api.containers(all=True) if ours(row["Labels"], *row["Names"])]
        rows += [f"network {row['Name']}" for row in api.networks() if ours(row["Labels"], row["Name"])]
        volumes = api.volumes()["Volumes"] or []
        rows += [f"volume {row['Name']}" for row in volumes if ours(row["Labels"], row["Name"])]
        pictures = api.images(all=True)
        return rows + [f"image {r['Id']}" for r in pictures if ours(r["Labels"], *(r["RepoTags"] or []))]
    finally:
        client.close()
