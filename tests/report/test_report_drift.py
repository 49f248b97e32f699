"""Drift: no alarm without a change, each change of real digits is seen, p as scipy's."""

from __future__ import annotations

import json

import numpy as np
import pytest

from hpcdl.errors import RunError
from hpcdl.report.drift import LEVEL, Drift, Sample, drift, fails, read_sample
from hpcdl.report.outside import find_outside
from hpcdl.report.two_samples import chi_square_p, chi_square_tail, exceedance_p, ks_p, psi
from hpcdl.report.verdicts import changed, sentence, worse
from hpcdl.trainer.dataset.looks import looks

NAMES = [str(digit) for digit in range(10)]
DRAWS = 100


@pytest.fixture(scope="module")
def digits():
    """1,797 real digits of 8x8 pixels as uint8 images, and their classes."""
    datasets = pytest.importorskip("sklearn.datasets")
    read = datasets.load_digits()
    order = np.random.default_rng(0).permutation(len(read.target))  # they are sorted by writer
    images = (read.images / 16 * 255).round().astype(np.uint8)[..., None]
    return images[order], read.target[order]


@pytest.fixture(scope="module")
def sample(digits):
    """A function that gives images to a classifier, which was trained on the first 597 digits."""
    linear_model = pytest.importorskip("sklearn.linear_model")
    images, labels = digits
    model = linear_model.LogisticRegression(C=0.5, max_iter=500)
    model.fit(flat(images[:597]), labels[:597])
    return lambda images: Sample(model.predict_proba(flat(images)), looks(images))


def flat(images):
    return images.reshape(len(images), -1) / 255.0


@pytest.mark.parametrize("size", [5, 50, 500])
def test_no_alarm_without_change(digits, sample, size):
    """A hundred times, 600 images are the test and others are new."""
    every = sample(digits[0][597:])
    random = np.random.default_rng(1)
    alarms = 0
    for _ in range(DRAWS):
        order = random.permutation(1200)
        test, new = rows_of(every, order[:600]), rows_of(every, order[600 : 600 + size])
        verdict = drift(test, new, NAMES)
        alarms += verdict.changed or verdict.likely_worse is not False
    assert alarms <= 1


def rows_of(sample, rows):
    return Sample(sample.probabilities[rows], sample.looks[rows])


CHANGES = {
    "darker": (lambda images: (images * 0.5).astype(np.uint8), True),
    "slightly darker": (lambda images: (images * 0.8).astype(np.uint8), False),
    "brighter": (lambda images: np.minimum(images.astype(int) + 20, 255).astype(np.uint8), False),
    "inverted": (lambda images: 255 - images, True),
    "noise": (
        lambda images: np.clip(
            images + np.random.default_rng(1).normal(0, 120, images.shape), 0, 255
        ).astype(np.uint8),
        True,
    ),
    "shifted": (lambda images: np.roll(images, 2, axis=2), True),
    "blurred": (lambda images: sum(np.roll(images // 3, n, axis=1) for n in (-1, 0, 1)), True),
}


@pytest.mark.parametrize("name", CHANGES)
def test_change_of_images_is_seen(digits, sample, name):
    change, worse = CHANGES[name]
    images = digits[0]

    verdict = drift(sample(images[597:1197]), sample(change(images[1197:1247])), NAMES)

    assert verdict.changed
    assert verdict.p < LEVEL
    if worse:
        assert verdict.likely_worse, verdict


def test_missing_classes_harm_not(digits, sample):
    images, labels = digits
    new = images[1197:][labels[1197:] < 8]

    verdict = drift(sample(images[597:1197]), sample(new), NAMES)

    assert verdict.changed
    assert {"class 8", "class 9", "classes"} & set(verdict.what)
    assert verdict.psi > 0.25
    assert not verdict.likely_worse


def test_old_run_is_held_against_predictions_alone(digits, sample):
    images = digits[0]
    test, new = sample(images[597:1197]), sample(255 - images[1197:])

    verdict = drift(Sample(test.probabilities), new, NAMES)

    assert verdict.changed
    assert not {"brightness", "contrast", "sharpness", "black", "white"} & set(verdict.what)
    assert verdict.outside is None
    same = drift(Sample(test.probabilities), sample(images[1197:]), NAMES)
    assert "the images themselves could not be compared" in changed(same)


def sure_of_all(images):
    """A model that is sure of whatever it sees: only what the images look like can tell."""
    return Sample(np.tile([0.95, 0.05], (len(images), 1)), looks(images))


@pytest.mark.parametrize("count", [2, 5, 50, 500])
def test_sure_model_cannot_judge_negatives(digits, count):
    """It was right 500 of 500 times in its test; of negatives nobody knows."""
    images = digits[0]

    verdict = drift(sure_of_all(images[:500]), sure_of_all(255 - images[500 : 500 + count]), "ab")

    assert verdict.changed
    assert verdict.likely_worse is None
    assert fails(verdict)
    assert verdict.outside == pytest.approx(1, abs=0.01)
    assert "brightness" in verdict.what
    assert "nobody can tell whether the model is worse: " in sentence(verdict)
    assert "look unlike any in the test, and a model can be sure and wrong" in worse(verdict)


def test_few_images_outside_are_no_verdict(digits):
    """1 of 50 negatives: the model can be judged by the others."""
    images = digits[0]
    new = images[500:550].copy()
    new[0] = 255 - new[0]

    verdict = drift(sure_of_all(images[:500]), sure_of_all(new), "ab")

    assert verdict.outside == 0.02
    assert verdict.likely_worse is False


def test_tiny_test_knows_no_range(digits):
    """Ten test images have a narrow range: one image outside of it proves nothing."""
    images = digits[0]

    one = drift(sure_of_all(images[:10]), sure_of_all(255 - images[10:11]), "ab")
    many = drift(sure_of_all(images[:10]), sure_of_all(255 - images[10:60]), "ab")

    assert one.outside == 1
    assert not one.changed
    assert one.likely_worse is False
    assert many.likely_worse is None


def test_constant_images_have_no_width():
    """All test images are grey: another grey is outside, the same one is not."""
    grey = np.full((60, 8, 8, 1), 90, np.uint8)

    same = drift(sure_of_all(grey), sure_of_all(grey[:30]), "ab")
    other = drift(sure_of_all(grey), sure_of_all(grey[:30] + 1), "ab")

    assert (same.changed, same.likely_worse, same.outside, same.p) == (False, False, 0.0, 1.0)
    assert (other.changed, other.likely_worse, other.outside) == (True, None, 1.0)


def test_unclear_fall_is_not_called_fine(digits):
    """50 images of which something has changed cannot show whether the confidence fell a little."""
    images = digits[0]
    random = np.random.default_rng(2)

    def answers(rows, confidence):
        sure = np.clip(random.normal(confidence, 0.1, rows), 0.5, 1)
        return np.stack([sure, 1 - sure], axis=1)

    test = Sample(answers(500, 0.85), looks(images[:500]))
    darker = (images[500:1500] * 0.8).astype(np.uint8)
    few = drift(test, Sample(answers(50, 0.83), looks(darker[:50])), "ab")
    many = drift(test, Sample(answers(1000, 0.85), looks(darker)), "ab")

    assert (few.changed, few.likely_worse) == (True, False)
    assert worse(few).startswith("not clear: 50 images are too few to tell; mean confidence 0.8")
    assert "whether the model is worse is not clear" in sentence(few)
    assert not fails(few)
    assert worse(many).startswith("not likely, as far as its confidence tells: ")
    assert "; mean confidence 0.8" in worse(many)
    assert "the model is about as sure as in the test (mean confidence 0.8" in sentence(many)
    assert sentence(many).endswith("; a model can be sure and wrong, so label some images")


def test_one_class_is_compared(digits):
    """A model of one class is always sure: only its images can change."""
    images = digits[0]

    def ones(rows):
        return Sample(np.ones((len(rows), 1)), looks(rows))

    same = drift(ones(images[:500]), ones(images[500:600]), ["digit"])
    darker = drift(ones(images[:500]), ones(images[500:600] // 2), ["digit"])

    assert (same.changed, same.psi) == (False, 0)
    assert darker.changed


NONE = np.empty((0, 2))
NAN = np.full((3, 2), np.nan)


@pytest.mark.parametrize(
    ("new", "message"),
    [
        (Sample(NONE), "the new images: there is no image to compare"),
        (Sample(NAN), "the new images: there are answers that are no number"),
        (Sample(np.eye(2), NAN), "the new images: there are looks of images that are no number"),
        (Sample(np.eye(3)), r"the new images: answers \(3, 3\) where \(images, 2 classes\)"),
    ],
)
def test_odd_samples_are_refused(new, message):
    with pytest.raises(RunError, match=message):
        drift(Sample(np.eye(2)), new, "ab")


@pytest.mark.filterwarnings("error")
def test_one_image_is_too_few(digits, sample):
    images = digits[0]

    verdict = drift(sample(images[597:1197]), sample(255 - images[1197:1198]), NAMES)

    assert not verdict.changed
    assert verdict.outside == 1
    assert "; 1 image can only show a large change" in sentence(verdict)


def test_many_classes_do_not_hide_change():
    random = np.random.default_rng(3)
    test = random.dirichlet(np.full(1000, 0.01), 2000)
    same = random.dirichlet(np.full(1000, 0.01), 200)
    unsure = random.dirichlet(np.full(1000, 0.05), 200)
    names = [f"{label}" for label in range(1000)]

    assert not drift(Sample(test), Sample(same), names).changed
    assert drift(Sample(test), Sample(unsure), names).likely_worse


def test_many_rows_find_no_trifle():
    """Of a hundred thousand images, a change in the third digit is no change."""
    random = np.random.default_rng(4)
    test = random.dirichlet([8, 1, 1], 100_000)
    new = random.dirichlet([8.03, 1, 1], 100_000)

    verdict = drift(Sample(test), Sample(new), ["a", "b", "c"])

    assert verdict.rows == {"new": 10_000, "test": 10_000}
    assert not verdict.changed


def test_verdict_as_json_and_words():
    verdict = Drift(
        changed=True,
        what=["sharpness"],
        p=1e-9,
        psi=0.01234,
        confidence={"new": 0.81111, "test": 0.95, "spread": 0.1},
        likely_worse=True,
        rows={"new": 50, "test": 5000},
    )

    assert json.loads(json.dumps(verdict.to_json())) == {
        "changed": True,
        "what": ["sharpness"],
        "p": 1e-9,
        "psi": 0.0123,
        "confidence": {"new": 0.8111, "test": 0.95, "spread": 0.1},
        "likely_worse": True,
        "rows": {"new": 50, "test": 5000},
        "outside": None,
    }
    assert sentence(verdict) == (
        "changed: sharpness; the model is likely worse (mean confidence 0.811, in the test 0.950)"
    )
    assert worse(verdict) == "likely: mean confidence 0.811, in the test 0.950"
    assert fails(verdict)
    assert not fails(None)


def test_json_of_drift_is_plain(digits, sample):
    images = digits[0]

    verdict = drift(sample(images[597:1197]), sample(images[1197:]), NAMES)

    assert json.loads(json.dumps(verdict.to_json())) == verdict.to_json()


def save(path, labels, probabilities, **arrays):
    np.savez(path, labels=labels, probabilities=probabilities, **arrays)
    return path


def test_several_runs_are_one_test(tmp_path):
    labels = np.array([0, 1])
    first = save(tmp_path / "a.npz", labels, np.array([[1.0, 0], [0, 1]]), looks=np.ones((2, 5)))
    second = save(tmp_path / "b.npz", labels, np.array([[0.5, 0.5], [0, 1]]))
    other = save(tmp_path / "c.npz", labels[::-1], np.array([[1.0, 0], [0, 1]]))

    mean = read_sample([first, second])

    assert mean.probabilities.tolist() == [[0.75, 0.25], [0, 1]]
    assert mean.looks is not None
    assert read_sample([second]).looks is None
    with pytest.raises(RunError, match="different test images"):
        read_sample([first, other])


def test_damaged_looks_are_refused(tmp_path):
    path = save(tmp_path / "a.npz", np.array([0, 1]), np.eye(2), looks=np.ones((3, 5)))

    with pytest.raises(RunError, match=r"looks .* do not fit 2 rows"):
        read_sample([path])


def test_exceedance_p_by_hand():
    """Of 3 and 2 values, the 2 largest are both of the second sample in 1 of C(5, 2) = 10 cases."""
    assert exceedance_p(3, 2, 0) == 1
    assert exceedance_p(3, 2, 1) == pytest.approx(2 / 5)
    assert exceedance_p(3, 2, 2) == pytest.approx(1 / 10)
    assert exceedance_p(10_000, 10_000, 10_000) == 0


def test_share_outside_by_hand():
    """The test's range is 0 to 1, so that -0.5 and 1.5 are its last values that are not far out."""
    test = np.array([[0.0] * 5, [1.0] * 5])
    new = np.tile([0.5] * 5, (4, 1))
    new[0, 0], new[1, 1], new[2, 1], new[3, 4] = 1.5, 1.6, 1.7, -0.6

    outside = find_outside(test, new)

    assert outside.share == 3 / 4
    expected = {"brightness": 1, "sharpness": 1, "black": 1, "contrast": 2 * 4 / 6 * 3 / 5}
    assert {name: outside.ps[name] for name in expected} == pytest.approx(expected)
    assert outside.ps["white"] == 1


def test_ks_p_is_that_of_scipy():
    stats = pytest.importorskip("scipy.stats")
    random = np.random.default_rng(0)
    for rows in (20, 50, 300):
        for shift in (0, 0.2, 0.6):
            first, second = random.normal(size=2000), random.normal(size=rows) + shift
            assert ks_p(first, second) == pytest.approx(
                stats.ks_2samp(first, second).pvalue, abs=0.02
            )
    assert ks_p(first, first) == 1
    assert ks_p(np.zeros(50), np.ones(50)) < 1e-12


def test_chi_square_p_is_that_of_scipy():
    stats = pytest.importorskip("scipy.stats")
    random = np.random.default_rng(0)
    for classes in (2, 3, 10, 41):
        shares = np.full(classes, 1 / classes)
        first, second = random.multinomial(9000, shares), random.multinomial(900, shares)
        expected = stats.chi2_contingency([first, second], correction=False).pvalue
        assert chi_square_p(first, second) == pytest.approx(expected)
    for freedom in (1, 2, 7, 100, 999):
        for statistic in (0.1, 5, 90, 1000):
            tail = stats.chi2.sf(statistic, freedom)
            assert chi_square_tail(statistic, freedom) == pytest.approx(tail, abs=1e-12)


@pytest.mark.filterwarnings("error")
def test_rare_classes_are_taken_together():
    few = np.array([1, 0, 0, 0])

    assert chi_square_p(np.array([100, 1, 1, 0]), few) == 1
    assert chi_square_p(np.array([900, 30, 30, 40]), np.array([20, 20, 20, 40])) < 1e-6
    assert psi(np.array([50, 50]), np.array([100, 0])) > 0.25
    assert psi(np.array([50, 50]), np.array([5, 5])) == 0
