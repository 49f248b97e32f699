"""What of an adopted script is its site's, and stands in a profile already."""

from __future__ import annotations

import os
from dataclasses import replace

from hpcdl.adopt.model import Adopted
from hpcdl.cluster.schema import Cluster, Image
from hpcdl.yamlfile.reader import Located


def for_profile(adopted: Adopted, cluster: Cluster) -> Adopted:
    """The job without those keys of ``cluster`` that a profile has with the same values."""
    document = dict(adopted.document.value)
    own = {}
    for key, item in adopted.document.items_of("cluster").items():
        if getattr(cluster, key, None) != item.plain():
            own[key] = item
    document.pop("cluster", None)
    if own:
        document["cluster"] = Located(own, adopted.document.at("cluster").where)
    container = document.get("container")
    name = _image_name(str(container.value), cluster) if container is not None else None
    if container is not None and name is not None:
        document["container"] = Located(name, container.where, name)
    notes = list(adopted.notes)
    runtime = adopted.runtime
    if runtime is not None and runtime != cluster.runtime:
        notes.append(
            f"the script starts {runtime}, and the profile {cluster.name} {cluster.runtime}: "
            f"runtime: {runtime} in a profile of yours changes that"
        )
    changed = Located(document, adopted.document.where)
    return replace(adopted, document=changed, notes=notes)


def _image_name(path: str, cluster: Cluster) -> str | None:
    """The name of an image of the profile's; None for another one."""
    for name, image in cluster.images.items():
        if _path(image, cluster) == path:
            return name
    return None


def _path(image: Image, cluster: Cluster) -> str:
    return os.path.normpath(image.path.replace("{account}", cluster.account or "{account}"))
