"""The processes of a run: how they begin and end, and how they get memory."""

import gc
import os
from datetime import timedelta

import torch
from mmengine.config import Config

from ean_mm.errors import EANError

# Read by PyTorch at its first allocation on the CPU, and used on Linux only. Without
# huge pages, large activations cost more time in page faults than some layers take: on
# one machine filling 128 MB took 91 ms without and 30 ms with them.
os.environ.setdefault('THP_MEM_ALLOC_ENABLE', '1')


def prepare_distributed(cfg: Config) -> None:
    """Make ``--launcher pytorch`` work on machines without a GPU, with gloo.

    Raises:
        ValueError: Another launcher without a GPU.
    """
    if cfg.get('launcher', 'none') == 'none' or torch.cuda.is_available():
        return
    if cfg.launcher != 'pytorch':
        raise EANError(f'--launcher {cfg.launcher} needs GPUs; without, use pytorch')
    if 'RANK' not in os.environ:
        raise EANError(
            '--launcher pytorch needs torchrun; use tools/dist_train.sh CONFIG NUM'
        )
    # mmengine would call torch.cuda.set_device; it leaves an existing group alone.
    # Where torchrun was given a port, restarted processes share the store of those
    # before them and could take a dead process's address for a living one's.
    store, rank, world_size = next(torch.distributed.rendezvous('env://'))
    attempt = os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')
    store = torch.distributed.PrefixStore(f'attempt_{attempt}', store)
    torch.distributed.init_process_group(
        'gloo',
        store=store,
        rank=rank,
        world_size=world_size,
        # A process that has no mask to train waits for those that have; torchrun ends
        # it where another one dies.
        timeout=timedelta(days=7),
    )
    cfg.model_wrapper_cfg = dict(
        type='MMDistributedDataParallel',
        device_ids=None,
        broadcast_buffers=False,
        find_unused_parameters=True,
    )


def end_distributed() -> None:
    """End the process group, if there is one."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        # A wrapped model keeps the group's threads alive, in reference cycles with its
        # Runner. One that wants the interpreter while that ends aborts.
        gc.collect()
        torch.distributed.destroy_process_group()
