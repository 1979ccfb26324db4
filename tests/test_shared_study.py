"""Workers that share an Optuna study: who may join, and who died."""

import ast
import os
import time

import pytest
from searches import history

from ean_mm import EANError
from ean_mm.search import OptunaSearcher

optuna = pytest.importorskip('optuna')
FINGERPRINT = dict(weights='a', reward_set='b', searcher='any')


@pytest.fixture
def shared(tmp_path):
    """Build searchers that share a study of 6 bits."""

    def build(num_bits=6, **options):
        options = dict(
            dict(storage=f'sqlite:///{tmp_path}/search.db', study_name='s'), **options
        )
        return OptunaSearcher(num_bits, **options)

    return build


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(sampler='nsgaii'), "study 's' .* another search: it is to maximize; "),
        (dict(sampler='cmaes'), "sampler 'tpe' there, 'cmaes' here; give another stu"),
        (dict(num_bits=7), 'num bits 6 there, 7 here'),
    ],
)
def test_a_study_of_another_search_is_not_joined(shared, options, message):
    shared().ask()
    with pytest.raises(EANError, match=message):
        shared(**options)


def test_a_study_of_another_program_is_not_joined(shared, tmp_path):
    study = optuna.create_study(
        storage=f'sqlite:///{tmp_path}/search.db', study_name='s', direction='maximize'
    )
    study.tell(study.ask(), 1.0)
    with pytest.raises(EANError, match='its trials are no masks of EAN-MM'):
        shared()


def test_workers_must_search_the_same_supernet(shared):
    shared().join(FINGERPRINT)
    shared().join(dict(FINGERPRINT, searcher='of more steps'))
    with pytest.raises(EANError, match='its weights, reward set differ; give another'):
        shared().join(dict(FINGERPRINT, weights='A', reward_set='B'))


def test_another_supernet_is_refused_in_a_run(digits_config, build_runner, tmp_path):
    digits_config.custom_hooks[2].searcher = dict(
        type='OptunaSearcher', num_steps=1, study_name='s',
        storage=f'sqlite:///{tmp_path}/search.db',
    )  # fmt: skip
    build_runner(digits_config).train()
    assert len(history(digits_config.work_dir)) == 2
    digits_config.work_dir += '_2'
    digits_config.randomness.seed = 1
    with pytest.raises(EANError, match="'s' in the storage .* its weights differ"):
        build_runner(digits_config).train()


@pytest.mark.parametrize(
    'storage, reason',
    [
        ('sqlite:////no/such/folder/search.db', 'unable to open database file'),
        ('mysql://me:secret@host/search', 'No module named'),
        ('nonsense', 'Could not parse'),
        ('oracle+none://me:secret@host/x', 'load plugin: .*oracle.none'),
    ],
)
def test_a_storage_that_cannot_be_used_is_one_line(shared, storage, reason):
    with pytest.raises(EANError, match=f'cannot be used: .*{reason}') as error:
        shared(storage=storage)
    assert '\n' not in str(error.value) and 'secret' not in str(error.value)


def test_a_mask_of_other_distributions_is_one_line(shared):
    worker = shared(masks_per_step=1)
    numbers = optuna.distributions.IntDistribution(0, 1)
    waiting = optuna.create_trial(
        state=optuna.trial.TrialState.WAITING,
        params=dict(bit_0=1),
        distributions=dict(bit_0=numbers),
    )
    worker.study.add_trial(waiting)
    with pytest.raises(
        EANError, match='cannot be used: .*distribution kind.*give another study'
    ):
        worker.ask()


@pytest.mark.parametrize('sampler', ['tpe', 'cmaes'])
def test_masks_of_a_worker_that_died_are_asked_for_by_others(shared, tmp_path, sampler):
    """It asks in a process of its own, which is killed before it can tell."""
    options = dict(heartbeat=1, masks_per_step=2, sampler=sampler)
    process = os.fork()
    if process == 0:
        try:
            asked = shared(**options).ask()
            (tmp_path / 'asked').write_text(repr(asked))
        finally:
            os._exit(9)
    os.waitpid(process, 0)
    of_the_dead = ast.literal_eval((tmp_path / 'asked').read_text())
    slow, other = shared(**options), shared(**options)
    of_the_slow = slow.ask()
    assert other.study.get_trials(states=[optuna.trial.TrialState.WAITING]) == []
    time.sleep(4)
    assert other.ask() == of_the_dead
    other.tell(of_the_dead, [1.0, 2.0])
    slow.tell(of_the_slow, [3.0, 4.0])
    states = [trial.state.name for trial in other.study.trials]
    assert states == ['FAIL', 'FAIL', *['COMPLETE'] * 4]
