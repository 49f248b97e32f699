"""What the figures of several sizes say: which pays, what is lost to what, and what to change."""

from __future__ import annotations

import pytest

from hpcdl.scaling.parts import (
    ALL_REDUCE,
    INPUT,
    PARTS,
    REST,
    START,
    USEFUL,
    seconds_of_parts,
)
from hpcdl.scaling.sentences import Setting
from hpcdl.scaling.sizes import Measured, Whole, best_of, sizes_of
from hpcdl.scaling.verdict import judge

WHOLE = Whole(rows=60_000, passes=10, save_every_s=300.0)


def measured(gpus: int, rate: float, **values) -> Measured:
    """A size whose three epochs were equally fast."""
    values.setdefault("rates", [rate, rate, rate])
    return Measured(gpus=gpus, **{"batch_rows": 128, **values})


@pytest.mark.parametrize(
    ("rates", "best"),
    [
        ({1: 100}, 1),
        ({1: 100, 2: 200, 4: 400}, 4),
        ({1: 100, 2: 190, 4: 340}, 4),
        ({1: 100, 2: 150}, 2),  # exactly half of what the second one would bring
        ({1: 100, 2: 149}, 1),
        ({1: 100, 2: 190, 4: 200}, 2),
        ({1: 100, 2: 90, 4: 80}, 1),
        ({1: 100, 2: 140, 4: 300}, 4),  # two do not pay, four do
        ({2: 100, 8: 260}, 8),
        ({4: 340, 1: 100, 2: 190}, 4),  # in any order
    ],
)
def test_largest_size_that_pays(rates, best):
    sizes = sizes_of([measured(gpus, rate) for gpus, rate in rates.items()])

    assert best_of(sizes).measured.gpus == best
    assert [size.measured.gpus for size in sizes] == sorted(rates)


def test_speed_up_and_efficiency():
    one, two, four = sizes_of([measured(1, 100), measured(2, 180), measured(4, 300)])

    assert (one.speed_up, one.efficiency, one.gain) == (1, 1, None)
    assert (two.speed_up, two.efficiency) == pytest.approx((1.8, 0.9))
    assert two.gain == pytest.approx(0.8)
    assert (four.speed_up, four.efficiency) == pytest.approx((3.0, 0.75))
    assert four.gain == pytest.approx(300 / 180 - 1), "against two, which pay"


def test_nodes_count_as_gpus():
    sizes = sizes_of([measured(4, 400), measured(4, 700, nodes=2), measured(8, 720)])

    assert [size.measured.all_gpus for size in sizes] == [4, 8, 8]
    assert sizes[1].efficiency == pytest.approx(0.9)
    assert sizes[2].pays is False, "as many on two nodes are slower"
    headline = judge([size.measured for size in sizes], None, Setting()).sentences[0]
    assert headline.endswith("2 nodes with 4 GPUs each are not faster, with as many GPUs.")


@pytest.mark.parametrize(
    ("use", "input_lost", "other_lost"),
    [
        ((80, 60), 0.25, 0.15),
        ((80, 80), 0.0, 0.4),
        ((80, 90), 0.0, 0.4),  # NCCL's kernels keep it busy
        ((90, 30), 0.4, 0.0),  # no more than is lost at all
        ((None, 60), None, 0.4),
        ((80, None), None, 0.4),
        ((0, 0), None, 0.4),
    ],
)
def test_loss_is_told_by_idle_gpus(use, input_lost, other_lost):
    _, four = sizes_of(
        [
            measured(1, 100, gpu_use_percent=use[0]),
            measured(4, 240, gpu_use_percent=use[1]),
        ]
    )

    assert four.input_lost == (None if input_lost is None else pytest.approx(input_lost))
    assert four.other_lost == pytest.approx(other_lost), "the rest is what is left"


@pytest.mark.parametrize(
    ("input_rate", "input_lost", "other_lost"),
    [(800, 0.0, 0.4), (400, 0.0, 0.4), (300, 0.25, 0.15), (240, 0.4, 0.0), (230, 0.4, 0.0)],
)
def test_loss_is_told_by_input_alone(input_rate, input_lost, other_lost):
    """At four GPUs 400 images/s would be needed, and 240 came. What idle GPUs say does not count."""
    one = measured(1, 100, gpu_use_percent=90)
    _, four = sizes_of([one, measured(4, 240, gpu_use_percent=20, input_rate=input_rate)])

    assert four.input_lost == pytest.approx(input_lost)
    assert four.other_lost == pytest.approx(other_lost)


def test_input_alone_is_in_sentences():
    weak = Setting(per_gpu=128)
    large = {"batch_rows": 512, "all_reduce_s": 0.16}  # of a step that takes 2.13 s
    slow = judge([measured(1, 100), measured(4, 240, input_rate=260, **large)], WHOLE, weak)
    fast = judge([measured(1, 100), measured(4, 240, input_rate=900, **large)], WHOLE, weak)
    waits = judge([measured(1, 100, input_rate=105), measured(2, 190)], WHOLE, Setting())

    text = " ".join(slow.sentences).replace("\xa0", " ")
    assert "brings 260 images/s there, but 400 would be needed without a loss" in text
    assert (
        "at least 35 % are lost to input (measured). Adding up the gradients takes 160 ms" in text
    )
    assert "alone (measured) of a step of 2,133 ms: at most 5 %. The rest, 0 %, goes to" in text
    assert [change.options for change in slow.changes] == [""], "they are in memory already"
    assert slow.changes[0].text.startswith("Feed the GPUs faster")
    text = " ".join(fast.sentences).replace("\xa0", " ")
    assert "nothing needs to be lost to it (measured)" in text
    assert "at most 8 %. The rest, 32 %, goes to waiting for the slowest GPU" in text
    assert [change.options for change in fast.changes] == ["--set train.batch_size_per_gpu=256"]
    assert "1 GPU, the smallest size, waits for its input already" in " ".join(waits.sentences)


def test_whole_job_in_time_and_gpu_hours():
    ones = [measured(1, 100, start_s=60), measured(4, 400, start_s=90, save_s=300.0)]
    one, four, eight = sizes_of([*ones, measured(8, 400)], WHOLE)

    assert one.whole_s == 60 + 6000
    assert four.save_lost == 0.5, "half of the time it saves"
    assert four.whole_s == 90 + 1500 / 0.5
    assert four.whole_gpu_hours == pytest.approx(4 * 3090 / 3600)
    assert (eight.whole_s, eight.whole_gpu_hours) == (None, None), "its start is not known"


def test_parts_add_up_to_the_whole_job():
    values = {"input_rate": 260, "all_reduce_s": 0.02, "save_s": 30.0, "start_s": 50.0}
    sizes = sizes_of([measured(1, 100, start_s=60), measured(4, 240, **values)], WHOLE)

    for size in sizes:
        parts_s = [part_s or 0.0 for part_s in seconds_of_parts(size).values()]
        assert sum(parts_s) == pytest.approx(size.whole_s)
    assert seconds_of_parts(sizes[0]) == {**dict.fromkeys(PARTS), USEFUL: 6000, START: 60}
    parts = seconds_of_parts(sizes[1])
    assert parts[USEFUL] == pytest.approx(1500), "a quarter of the smallest size's"
    assert parts[INPUT] == pytest.approx(2500 * 0.35)
    assert parts[ALL_REDUCE] == pytest.approx(2500 * 0.02 * 240 / 128)
    assert parts[REST] == pytest.approx(2500 * (0.4 - 0.35 - 0.02 * 240 / 128))


def test_sureness_follows_from_the_epochs():
    def how_sure(one: Measured, two: Measured, steps: int = 200) -> str:
        sentences = judge([one, two], WHOLE, Setting(steps=steps)).sentences
        return sentences[1].replace("\xa0", " ")

    wide = how_sure(measured(1, 100), measured(2, 0, rates=[120, 160, 190]))
    single = how_sure(measured(1, 100), measured(2, 180, rates=[180]), steps=800)
    short = how_sure(measured(1, 100, epoch_s=0.5), measured(2, 190, epoch_s=3))
    too_fast = how_sure(measured(1, 100), measured(2, 250))
    uneven = how_sure(measured(1, 100), measured(2, 0, rates=[195, 190, 155]))
    clear = how_sure(measured(1, 100), measured(2, 190))
    all_rows = how_sure(measured(1, 100, epoch_s=0.5), measured(2, 190), steps=1876)

    assert wide.startswith("Whether 2 GPUs pay is not clear: the epochs of a run differ by up to")
    assert "44 %. Measure longer: --steps 1000." in wide
    assert single.startswith("How sure this is cannot be told: one epoch of 2 GPUs counts.")
    assert "--steps 1876." in single, "all rows four times"
    assert short.startswith("This is clear, as far as one run of each size tells")
    assert "But an epoch of 1 GPU took only 0.50 s, too short to rely on. Measure longer" in short
    assert all_rows.endswith("too short to rely on. Measure again.")
    assert too_fast.startswith("This is not to be relied on: 2 GPUs are faster than without a loss")
    assert "but those of 2 GPUs differ by up to 21 %: something else" in uneven
    assert clear.endswith("the advice is the same.")


def test_unlike_batches_are_not_compared():
    ones = [measured(1, 100), measured(2, 300, batch_rows=512)]
    verdict = judge(ones, WHOLE, Setting())

    assert (verdict.best, verdict.options, verdict.changes) == (None, "", [])
    assert "(rows: 128 with 1 GPU, 512 with 2 GPUs)" in verdict.sentences[0]


def test_uneven_epochs_leave_it_open():
    verdict = judge([measured(1, 100), measured(2, 0, rates=[120, 160, 190])], WHOLE, Setting())

    assert verdict.best is not None
    assert not verdict.sizes[1].is_clear
    assert any("Whether 2 GPUs pay is not clear" in text for text in verdict.sentences)


@pytest.mark.parametrize(
    ("ones", "setting", "options"),
    [
        # the fixed batch is cut into small parts
        ([measured(1, 100), measured(4, 160)], Setting(), ["--set train.batch_size_per_gpu=128"]),
        (
            [measured(1, 100, batch_rows=16), measured(4, 160, batch_rows=64)],
            Setting(per_gpu=16),
            ["--set train.batch_size_per_gpu=32"],
        ),
        # all is lost to input: a larger batch would not help
        (
            [
                measured(1, 100, gpu_use_percent=90.0),
                measured(4, 160, gpu_use_percent=36.0, batch_rows=512),
            ],
            Setting(per_gpu=128, reads_again=True),
            ["", "--set data.cache=memory"],
        ),
        ([measured(1, 100), measured(4, 390)], Setting(), []),
        (
            [measured(1, 100), measured(2, 195, save_s=20.0)],
            Setting(),
            ["--set cluster.save_every_s=1800"],
        ),
    ],
)
def test_changes_fit_the_loss(ones, setting, options):
    verdict = judge(ones, WHOLE, setting)

    assert [change.options for change in verdict.changes] == options


def test_sentences_tell_measured_from_inferred():
    ones = [measured(1, 100, gpu_use_percent=80.0), measured(4, 160, gpu_use_percent=60.0)]
    strong = judge(ones, WHOLE, Setting())
    grown = [ones[0], measured(4, 160, gpu_use_percent=60.0, batch_rows=512)]
    weak = judge(grown, WHOLE, Setting(per_gpu=128, sets=["model.dense=[8, 4]"]))
    unknown = judge([measured(1, 100), measured(4, 160)], WHOLE, Setting(is_emulated=True))

    text = " ".join(strong.sentences).replace("\xa0", " ")
    assert strong.options == "--set resources.gpus=1"
    assert text.startswith("Take 1 GPU. 4 GPUs do not pay: the added GPUs bring 20 % of")
    assert "128 rows (strong scaling)" in text
    assert "4 GPUs lose 60 % (measured)" in text
    assert "about 25 % go to waiting for input or the host (inferred)" in text
    assert "The rest, 35 %, goes to adding up the gradients, steps that are too small" in text
    assert "(inferred)" in text
    assert weak.options == "--set 'model.dense=[8, 4]' --set resources.gpus=1"
    assert "weak scaling" in weak.sentences[2]
    assert "CPU devices stood in" in unknown.sentences[0]
    assert "What of it is lost to input is not known" in " ".join(unknown.sentences)


def test_sizes_that_measured_nothing_are_named():
    failed = Measured(4, problem="its run is failed, oom")
    one = judge([measured(1, 100), failed], WHOLE, Setting())
    none = judge([failed], None, Setting())

    assert (one.best, one.options) == (None, "")
    assert one.missing == ["4 GPUs: its run is failed, oom"]
    assert one.sentences == ["Only one size measured something: there is nothing to compare yet."]
    assert none.sentences == ["No size has measured anything yet."]
