"""`hpcdl predict`: words that are missing are named, before anything is looked for."""

import pytest


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "expected RUN and FOLDER"),
        (["k3f9"], "got 'k3f9' alone; expected RUN and FOLDER"),
        (["k3f9", ""], "FOLDER is empty (is a shell variable not set?)"),
    ],
)
def test_missing_words_are_named(cli, words, message):
    """An empty FOLDER once meant the folder in which one was."""
    answer = cli("predict", *words)

    assert answer.code == 2
    assert message in answer.err
