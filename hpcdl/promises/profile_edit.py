"""What ``--fix`` changes: the user's own profile or, for a built-in one, the user's config.yaml."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpcdl.cluster import built_in_profiles
from hpcdl.cluster.layers import shown, user_file
from hpcdl.cluster.schema import Cluster
from hpcdl.errors import HpcdlError, Problem, UserError
from hpcdl.files import write_text
from hpcdl.oserrors import reason
from hpcdl.promises.profile_text import with_keys, with_keys_of_section
from hpcdl.yamlfile.reader import decode, read_yaml
from hpcdl.yamlfile.writer import plain


class Edit:
    """A change to the file that decides keys of a profile: shown first, then written.

    Args:
        cluster: the profile, as `hpcdl.cluster.load_cluster` gives it.
        changes: keys with their new values.

    Raises:
        UserError: the file cannot be read, cannot be changed line by line, or another one decides.
    """

    def __init__(self, cluster: Cluster, changes: Mapping[str, Any]) -> None:
        built_in = cluster.file in built_in_profiles()
        self.path = user_file() if built_in else Path(cluster.file)
        self._section = ["profiles", cluster.name] if built_in else []
        self._changes = changes
        _require_decides(self.path, cluster, changes)
        self._before = _text_of(self.path, may_be_missing=built_in)
        if built_in:
            self._after = with_keys_of_section(self._before, cluster.name, changes)
        else:
            self._after = with_keys(self._before, changes)
        self._check()

    def lines(self) -> list[str]:
        """The change as a diff."""
        name = shown(self.path)
        before, after = self._before.splitlines(), self._after.splitlines()
        return list(difflib.unified_diff(before, after, name, name, lineterm="", n=1))

    def write(self) -> None:
        """Write the file, as a whole.

        Raises:
            HpcdlError: it cannot be written.
        """
        target = Path(os.path.realpath(self.path))  # a link stays one
        if target.exists() and not (os.access(target, os.W_OK) and target.stat().st_mode & 0o222):
            raise HpcdlError(
                f"cannot write {shown(self.path)}: it is read-only; what helps: "
                f"{key_lines(self._changes)}"
            )
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            mode = target.stat().st_mode & 0o777 if target.exists() else 0o644
            write_text(target, self._after, mode)
        except OSError as error:
            raise HpcdlError(f"cannot write {shown(self.path)}: {reason(error)}") from error

    def _check(self) -> None:
        """Make sure that the new text says what it is to say, and nothing else is changed.

        Raises:
            UserError: it does not.
        """
        before, after = _content(self._before), _content(self._after)
        section = before
        for name in self._section:
            section = section.setdefault(name, {}) if isinstance(section, dict) else None
        if isinstance(section, dict):
            section.update(self._changes)
        if section is None or before != after:
            raise UserError(
                f"{shown(self.path)} cannot be changed line by line; write there yourself: "
                f"{key_lines(self._changes)}"
            )


def key_lines(changes: Mapping[str, Any]) -> str:
    """Keys with their values as people write them, for a sentence."""
    return ", ".join(f"{key}: {plain(value)}" for key, value in changes.items())


def _require_decides(path: Path, cluster: Cluster, changes: Mapping[str, Any]) -> None:
    """Make sure that no stronger layer sets one of the keys.

    Raises:
        UserError: one does.
    """
    for key, value in changes.items():
        place = cluster.places.get(key, "")
        file = os.path.abspath(os.path.expanduser(place.rpartition(":")[0]))
        if place and not place.startswith("profile ") and file != os.path.abspath(path):
            raise UserError(
                f"{key} is set by {place}, which goes before {shown(path)}; write there yourself: "
                f"{key}: {plain(value)}"
            )


def _text_of(path: Path, may_be_missing: bool) -> str:
    try:
        return decode(path.read_bytes())
    except FileNotFoundError as error:
        if may_be_missing:
            return ""
        raise UserError(f"cannot read {shown(path)}: {reason(error)}") from error
    except OSError as error:
        raise UserError(f"cannot read {shown(path)}: {reason(error)}") from error
    except ValueError as error:
        raise UserError(f"cannot read {shown(path)}: it {error}") from error


def _content(text: str) -> Any:
    """What a YAML text says; None if it cannot be read."""
    problems: list[Problem] = []
    if not text.strip():
        return {}
    document = read_yaml(text, "", problems)
    return None if document is None or problems else document.plain()
