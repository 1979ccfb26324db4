"""Build the runner of a config."""

from mmengine.config import Config
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from ean_mm.compat import import_toolbox
from ean_mm.errors import EANError
from ean_mm.launch.config_types import toolbox_of


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
