"""``hpcdl cluster list``: the built-in profiles by country and GPU."""

from __future__ import annotations

import json
import re

import pytest

from hpcdl.cluster import built_in_profiles
from hpcdl.cluster.catalogue import sites
from tests.sites import SITES


def names(country: str | None = None, gpu: str | None = None) -> list[str]:
    return [site.name for site in sites(country, gpu)]


def test_all_without_a_filter():
    assert names() == list(built_in_profiles())
    assert [site.name for site in sites() if site.country and site.gpus] == SITES


@pytest.mark.parametrize("country", ["Norway", "norway", " NORWAY "])
def test_country_in_any_case(country):
    assert names(country) == ["betzy", "olivia", "saga"]


@pytest.mark.parametrize(
    ("gpu", "some", "none"),
    [("amd", "lumi", "leonardo"), ("MI250", "frontier", "saga"), ("p100", "saga", "betzy")],
)
def test_gpu_by_a_part(gpu, some, none):
    """Those of other partitions count, too: Saga has P100."""
    assert some in names(gpu=gpu)
    assert none not in names(gpu=gpu)


def test_both_filters_together():
    assert names("Norway", "gh200") == ["olivia"]


@pytest.mark.parametrize(
    ("country", "gpu", "words"),
    [
        ("Norwy", None, r"--country Norwy; did you mean Norway\?; there are Belgium, Canada, "),
        ("Atlantis", None, r"--country Atlantis; there are Belgium, "),
        (None, "h9000", r"--gpu h9000; there are AMD MI250X, NVIDIA A100, "),
        ("Norway", "h9000", r"--country Norway; .* and --gpu h9000; "),
    ],
)
def test_no_match_says_what_there_is(cli, country, gpu, words):
    options = [*(("--country", country) if country else ()), *(("--gpu", gpu) if gpu else ())]

    answer = cli("cluster", "list", *options)

    assert answer.code == 2
    assert answer.out == ""
    assert re.search(words, answer.err)


def test_list_as_json(cli):
    listed = json.loads(cli("cluster", "list", "--gpu", "p100", "--json").out)

    (saga,) = listed
    assert saga["name"] == "saga"
    assert saga["country"] == "Norway"
    assert saga["gpus"] == ["4 x NVIDIA A100", "4 x NVIDIA P100"]


def test_list_has_countries(cli):
    lines = cli("cluster", "list", "--country", "finland").out.splitlines()

    assert lines[0].split() == ["PROFILE", "COUNTRY", "GPUS", "WHAT"]
    assert [line.split()[:2] for line in lines[1:]] == [["lumi", "Finland"], ["roihu", "Finland"]]
