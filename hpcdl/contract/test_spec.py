"""The section `test` of a run: what is asked of the trained model besides its scores."""

from dataclasses import dataclass
from typing import List, Optional

from hpcdl.contract.settings import setting

_GREY_LEVELS = 255  # from black to white, in most image files
EXPLANATIONS = (
    "auto",
    "occlusion",
    "integrated_gradients",
    "smooth_grad",
    "saliency",
    "grad_cam",
    "none",
)


@dataclass
class TestSpec:
    """What is asked of the trained model besides its scores: where it looks, what an attack does.

    The weights do not depend on it.
    """

    __test__ = False  # pytest takes a class of this name for tests

    explain: str = setting(
        "how the report finds where the model looks; auto is occlusion, and none in trials of a "
        "sweep and in folds",
        "auto",
        choices=EXPLANATIONS,
    )
    attack: List[float] = setting(
        "epsilons, ascending: the most that an attack may change a value of an image, where "
        "white is 1; the accuracy is measured at each",
        [],
        gt=0,
    )

    def method(self, among_many: bool) -> str:
        """The method of the heat maps, or none.

        Args:
            among_many: whether the training is a trial of a sweep, or a fold.
        """
        if self.explain != "auto":
            return self.explain
        return "none" if among_many else "occlusion"

    def attack_problem(self) -> Optional[str]:
        """What is expected of the epsilons where one is too large, or their order is not right."""
        largest = max(self.attack, default=0)
        if largest > 1:
            expected = "epsilons up to 1, the whole range of the images: black is 0 and white is 1"
            if largest <= _GREY_LEVELS:
                expected += "; {:g} of {} grey levels are {:.3g}".format(
                    largest, _GREY_LEVELS, largest / _GREY_LEVELS
                )
            return expected
        for smaller, larger in zip(self.attack, self.attack[1:]):
            if smaller == larger:
                return "each epsilon once"
            if smaller > larger:
                return "ascending epsilons"
        return None
