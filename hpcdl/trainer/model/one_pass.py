"""One pass of all images through a network, which goes on where an earlier attempt stopped."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Iterator, Sequence

from hpcdl.contract.errors import Stopped
from hpcdl.trainer.model.feature_files import FeatureFiles
from hpcdl.trainer.runtime.log import say
from hpcdl.trainer.session import Session

if TYPE_CHECKING:
    from numpy.typing import NDArray


class OnePass:
    """Computes what a network gives for each image, and saves it on the way.

    Args:
        session: the training.
        files: where the values are kept.
        what: what the values are, for the log: ``features``.
        network: what they come from, for the log.
    """

    def __init__(self, session: Session, files: FeatureFiles, what: str, network: str) -> None:
        self._session = session
        self._run_dir = session.run_dir.home  # all folds share the values
        self._files = files
        self._what = what
        self._network = network

    def fill(self, values: NDArray[Any], sources: Sequence[Any]) -> None:
        """Fill `values` with those on disk, then with those of the other images.

        Args:
            values: float32, a row for each image of all sources.
            sources: `Features` of the images, whose ``batches`` give the values.

        Raises:
            Stopped: the stop file appeared; what was computed is saved.
        """
        done = self._files.read(values)
        if done < len(values):
            self._compute(values, done, sources)
            self._files.write(values, len(values))

    def _compute(self, values: NDArray[Any], done: int, sources: Sequence[Any]) -> None:
        """Fill the rows of `values` from `done` on."""
        run_dir, saving = self._run_dir, self._session.run.saving
        run_dir.heartbeat(phase="features", images=done, of_images=len(values), saved_images=done)
        started = saved_at = time.perf_counter()
        first = saved_rows = done
        for batch in self._batches(sources, done):
            values[done : done + len(batch)] = batch
            done += len(batch)
            run_dir.heartbeat(images=done)
            if run_dir.stop_requested():
                self._stop(values, done, saved_rows)
            if time.perf_counter() - saved_at >= saving.every_s:
                if self._files.write(values, done):
                    saved_rows = done
                    run_dir.heartbeat(saved_images=done)
                saved_at = time.perf_counter()
        seconds = time.perf_counter() - started
        say(
            "{}: {:,} images through {} in {:.1f} s ({:,.0f} images/s), "
            "{} values each, {:,.0f} MB".format(
                self._what,
                done - first,
                self._network,
                seconds,
                (done - first) / seconds,
                "x".join(str(length) for length in values.shape[1:]),
                values.nbytes / 1e6,
            )
        )

    def _batches(self, sources: Sequence[Any], first: int) -> Iterator[NDArray[Any]]:
        """The values of all rows of the sources from `first` on, a batch at a time."""
        for source in sources:
            yield from source.batches(first, self._session.scoring_rows)
            first = max(0, first - source.rows)

    def _stop(self, values: NDArray[Any], done: int, saved_rows: int) -> None:
        """Save what was computed and end."""
        run_dir = self._run_dir
        message = "stopped on request with the {} of {:,} of {:,} images".format(
            self._what, done, len(values)
        )
        if self._files.write(values, done):
            run_dir.heartbeat(phase="stopped", saved_images=done)
            raise Stopped("{}; they are saved, run me again to go on".format(message))
        run_dir.heartbeat(phase="stopped", saved_images=saved_rows)
        remedy = "they could not be saved, as said above: run again, I go on from {:,}"
        raise Stopped("{}; {}".format(message, remedy.format(saved_rows)))
