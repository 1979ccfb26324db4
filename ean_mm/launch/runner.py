"""Build the runner of a config."""

import copy
import time
from pathlib import Path
from typing import Optional, Union

from mmengine.config import Config
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from ean_mm.compat import import_toolbox
from ean_mm.config_types import toolbox_of
from ean_mm.errors import EANError


def build_runner(cfg: Config) -> Runner:
    """Build the runner that a config names in ``runner_type``, or else mmengine's.

    Raises:
        ValueError: There is none of that name.
    """
    toolbox = toolbox_of(cfg)
    if toolbox == 'mmdet':  # of what torch.compile keeps, by an environment variable
        import_toolbox('mmdet.utils').setup_cache_size_limit_of_dynamo()
    kind = cfg.get('runner_type', 'Runner')
    cls = kind
    if isinstance(kind, str):
        with RUNNERS.switch_scope_and_registry(toolbox) as registry:
            cls = registry.get(kind)
    if cls is None:
        raise EANError(
            f'runner_type={kind!r} is not registered; name the module that registers '
            "it in custom_imports=dict(imports=['...'])"
        )
    return cls.from_cfg(cfg)


def quiet_runner(
    cfg: Config, work_dir: Union[str, Path], seed: Optional[int] = None
) -> Runner:
    """Build the runner of a config beside others in this process, to log errors alone.

    Args:
        cfg: The config, which is not changed.
        work_dir: Folder for logs and checkpoints.
        seed: Seed of everything random; None for the config's.
    """
    cfg = copy.deepcopy(cfg)
    cfg.work_dir = str(work_dir)
    # mmengine keeps loggers and message hubs by this name
    cfg.experiment_name = f'{Path(work_dir).name}_{time.time_ns()}'
    cfg.log_level = 'ERROR'
    if seed is not None:
        cfg.randomness = dict(seed=seed)
    return build_runner(cfg)
