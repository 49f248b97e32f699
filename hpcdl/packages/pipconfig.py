"""Where pip gets packages at this site: the user's own pip settings, for a pip that sees nothing of this machine."""

from __future__ import annotations

import configparser
import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

# The settings that say where packages come from; one such as target or user would change where they go
_TAKEN = (
    "index-url", "extra-index-url", "no-index", "find-links", "trusted-host", "cert", "client-cert", "proxy",
    "timeout", "default-timeout", "retries", "pre", "prefer-binary", "only-binary", "no-binary",
)  # fmt: skip
_OF_THE_NETWORK = ("http_proxy", "https_proxy", "no_proxy", "all_proxy")
_CERTIFICATES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")


def pip_environment(env: Mapping[str, str], home: Path) -> dict[str, str]:
    """The variables that make another pip look where the user's does, from pip.conf and PIP_*.

    They may hold a token: they go to pip's environment, through a pipe, and nowhere else.
    Source: https://pip.pypa.io/en/stable/topics/configuration

    Args:
        env: the user's variables.
        home: the user's home.
    """
    chosen = env.get("PIP_CONFIG_FILE")
    user = Path(env.get("XDG_CONFIG_HOME") or home / ".config")
    files = [
        Path("/etc/xdg/pip/pip.conf"),
        Path("/etc/pip.conf"),
        home / ".pip/pip.conf",
        user / "pip/pip.conf",
    ]
    files = [] if chosen == os.devnull else [*files, Path(chosen or os.devnull)]
    settings: dict[str, str] = {}
    parser = configparser.RawConfigParser()
    for file in files:
        try:
            parser.read(file, encoding="utf-8")
        except (OSError, configparser.Error, UnicodeDecodeError):
            continue  # pip itself would say so; what it finds without is what this one finds
    for section in ("global", "install"):
        settings.update(parser.items(section) if parser.has_section(section) else ())
    found = {
        f"PIP_{k.replace('-', '_').upper()}": " ".join(v.split())
        for k, v in settings.items()
        if k in _TAKEN
    }
    named = {f"PIP_{name.replace('-', '_').upper()}" for name in _TAKEN}
    wanted = {*named, *_OF_THE_NETWORK, *(name.upper() for name in _OF_THE_NETWORK), *_CERTIFICATES}
    return {**found, **{name: value for name, value in env.items() if name in wanted}}


def local_paths(env: Mapping[str, str]) -> list[str]:
    """The files and folders of this machine that these variables name, where they can be read."""
    words = [
        word for name, value in env.items() if "proxy" not in name.lower() for word in value.split()
    ]
    paths = [urlsplit(word).path if word.startswith("file:") else word for word in words]
    bindable = [
        path for path in dict.fromkeys(paths) if path.startswith("/") and not set(path) & set(":,")
    ]
    return [path for path in bindable if os.access(path, os.R_OK)]
