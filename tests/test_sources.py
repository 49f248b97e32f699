"""A user's source is decoded as Python decodes it."""

from __future__ import annotations

import tokenize

import pytest

from hpcdl.usercode.source import read_source, why_undecodable


@pytest.mark.cases("C9")
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xef\xbb\xbfx = 1\n",
        b"# -*- coding: latin-1 -*-\nx = '\xe9'\r\ny = 1\r\n",
        b"#!/bin/sh\n# vim: set fileencoding=cp1252 :\nx = '\x80'",
        "x = 'é'\f\n".encode(),
    ],
)
def test_source_text_equals_tokenize(tmp_path, content):
    """The text is that of `tokenize.open`."""
    path = tmp_path / "t.py"
    path.write_bytes(content)

    with tokenize.open(path) as stream:
        assert read_source(path) == stream.read()
    assert why_undecodable(path) == ""
