"""An Optuna study in a database, which workers share."""

import hashlib
import inspect
import threading
import time
import warnings
import weakref
from contextlib import contextmanager
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence

from ean_mm.errors import EANError, one_line

WHAT, SEARCH = 'ean_mm', 'ean_mm_search'
"""attributes of a study: what it searches, and for which rewards"""

LOOK = (
    "look at the URL (as 'sqlite:////shared/folder/search.db'), at the folder or "
    "server, and whether the database's driver is installed"
)


class SharedStudy:
    """Opens a study, or joins it if it is of the same search.

    A worker that has asked for masks gives a sign of life (Optuna's heartbeat) until it
    tells their rewards. Masks of one that has given none for twice the interval are
    asked for by others.

    Args:
        optuna: The module.
        url: URL of the database.
        name: Name of the study.
        directions: ``'maximize'`` or ``'minimize'`` for each value of a mask.
        sampler: Optuna's sampler.
        facts: What workers must have in common, beside the directions.
        heartbeat: Seconds between two signs of life.

    Raises:
        ValueError: The database cannot be used, or the study is another search's.
    """

    def __init__(
        self,
        optuna: Any,
        url: str,
        name: str,
        directions: Sequence[str],
        sampler: Any,
        facts: Mapping[str, Any],
        heartbeat: int,
    ) -> None:
        if not heartbeat > 0:
            raise EANError(f'heartbeat={heartbeat} must be above 0')
        self._optuna = optuna
        self._url = url
        self._name = name
        self._heartbeat = heartbeat
        self._asked: List[int] = []  # trials to give signs of life for
        self._thread: Optional[threading.Thread] = None
        self._end = threading.Event()
        weakref.finalize(self, self._end.set)  # what no one will tell is for others
        with self.one_line_errors(), _quiet():
            self._storage = _open(optuna, url, heartbeat)
            self.study = optuna.create_study(
                directions=directions,
                sampler=sampler,
                storage=self._storage,
                study_name=name,
                load_if_exists=True,
            )
            found = [each.name.lower() for each in self.study.directions]
            if found != list(directions):
                self._refuse(f'it is to {" and ".join(found)}')
            known = self.study.user_attrs.get(WHAT)
            if known is None and self.study.get_trials(deepcopy=False):
                self._refuse('its trials are no masks of EAN-MM')
        self._agree(WHAT, dict(facts))

    def join(self, fingerprint: Mapping[str, str]) -> None:
        """Compare what rewards depend on with that of the workers before.

        Raises:
            ValueError: They search something else, as another supernet.
        """
        hashes = {
            part: hashlib.sha256(text.encode()).hexdigest()[:16]
            for part, text in fingerprint.items()
            if part != 'searcher'  # whose steps each worker counts for itself
        }
        self._agree(SEARCH, hashes)

    def _agree(self, key: str, own: Dict[str, Any]) -> None:
        """Write what is the same for all workers, or compare it."""
        with self.one_line_errors():
            if key not in self.study.user_attrs:
                self.study.set_user_attr(key, own)
            found = self.study.user_attrs[key]
        differing = [part for part in own if found.get(part) != own[part]]
        if differing:
            values = [
                f'{part.replace("_", " ")} {found.get(part)!r:.40} there, '
                f'{own[part]!r:.40} here'
                for part in differing
            ]
            names = ', '.join(differing).replace('_', ' ')
            self._refuse('; '.join(values) if key == WHAT else f'its {names} differ')

    def _refuse(self, why: str) -> None:
        raise EANError(
            f'the study {self._name!r} in the storage is of another search: '
            f'{one_line(why)}; give another study_name'
        )

    def ask(self, number: int) -> List[Any]:
        """Ask for trials, first for those of workers that have died."""
        with self.one_line_errors(), _quiet():
            self._optuna.storages.fail_stale_trials(self.study)
            trials = [self.study.ask() for _ in range(number)]
            self._asked[:] = [trial._trial_id for trial in trials]
            for trial_id in self._asked:
                self._storage.record_heartbeat(trial_id)
        if self._thread is None:
            self._thread = threading.Thread(
                target=_beat,
                args=(self._storage, self._asked, self._heartbeat, self._end),
                daemon=True,
            )
            self._thread.start()
        return trials

    def tell(self, trial: Any, values: Sequence[float]) -> None:
        """Tell what a trial's mask is worth, unless others took it for dead and did."""
        if trial._trial_id in self._asked:
            self._asked.remove(trial._trial_id)
        with self.one_line_errors():
            self.study.tell(trial, list(values), skip_if_finished=True)

    @contextmanager
    def one_line_errors(self, mend: str = LOOK) -> Iterator[None]:
        """Raise what goes wrong in the database as one line, without a password."""
        try:
            yield
        except EANError:
            raise
        except Exception as error:  # of any driver
            reason = str(error.__cause__ or error).strip().partition('\n')[0]
            raise EANError(
                'the Optuna storage cannot be used: '
                f'{one_line(reason.replace(self._url, "..."), 200)}; {mend}'
            ) from error


def _open(optuna: Any, url: str, heartbeat: int) -> Any:
    storages = optuna.storages
    new = 'heartbeat_stale_trial_callback'  # so called since Optuna 4.9
    if new in inspect.signature(storages.RDBStorage).parameters:
        callback = {new: storages.RetryHeartbeatStaleTrialCallback()}
    else:
        callback = dict(failed_trial_callback=storages.RetryFailedTrialCallback())
    for attempt in range(10):
        try:
            return storages.RDBStorage(url, heartbeat_interval=heartbeat, **callback)
        except Exception as error:
            if attempt == 9 or 'already exists' not in str(error):
                raise
            time.sleep(0.2)  # another worker makes the tables just now


def _beat(
    storage: Any, trials: Sequence[int], interval: int, end: threading.Event
) -> None:
    while not end.wait(interval):
        for trial in list(trials):
            try:
                storage.record_heartbeat(trial)
            except Exception:  # if it lasts, telling the reward says so
                break


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what Optuna says of experiments, and of heartbeats without optimize()."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        yield
