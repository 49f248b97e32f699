"""Where pip gets packages at this site: the user's pip settings, for a pip inside a container."""

from __future__ import annotations

import configparser
import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

# The settings that say where packages come from; others, such as target, say where they go
_SOURCES = (
    *("index-url", "extra-index-url", "no-index", "find-links", "trusted-host", "cert"),
    *("client-cert", "proxy", "timeout", "default-timeout", "retries"),
    *("pre", "prefer-binary", "only-binary", "no-binary"),
)
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
    files: list[Path] = []
    if chosen != os.devnull:  # that switches all files off
        files += [Path("/etc/xdg/pip/pip.conf"), Path("/etc/pip.conf")]
        files += [home / ".pip/pip.conf", user / "pip/pip.conf"]
    if chosen:
        files.append(Path(chosen))
    settings = _settings(files)
    variables = {}
    for setting in _SOURCES:
        name = f"PIP_{setting.replace('-', '_').upper()}"
        if setting in settings:
            variables[name] = " ".join(settings[setting].split())
        if name in env:
            variables[name] = env[name]
    for name in (*_OF_THE_NETWORK, *map(str.upper, _OF_THE_NETWORK), *_CERTIFICATES):
        if name in env:
            variables[name] = env[name]
    return variables


def _settings(files: list[Path]) -> dict[str, str]:
    """What pip's files say about ``pip install``; a later file counts more."""
    settings: dict[str, str] = {}
    parser = configparser.RawConfigParser()
    for file in files:
        try:
            parser.read(file, encoding="utf-8")
        except (OSError, configparser.Error, UnicodeDecodeError):
            continue  # pip itself reports it
    for section in ("global", "install"):
        if parser.has_section(section):
            settings.update(parser.items(section))
    return settings


def local_paths(env: Mapping[str, str]) -> list[str]:
    """The files and folders of this machine that these variables name, where they can be read."""
    paths: dict[str, None] = {}  # in order, each once
    for name, value in env.items():
        if "proxy" in name.lower():
            continue
        for word in value.split():
            path = urlsplit(word).path if word.startswith("file:") else word
            if path.startswith("/") and not set(path) & set(":,") and os.access(path, os.R_OK):
                paths[path] = None
    return list(paths)
