"""What the command line tools do around a run: read its config, check it, end it."""

from ean_mm.launch.checks import check
from ean_mm.launch.config import (
    add_arguments,
    add_hook,
    enable_amp,
    enable_auto_scale_lr,
    load_config,
    read_config,
    use_safe_checkpoints,
)
from ean_mm.launch.exit_codes import explain_errors
from ean_mm.launch.option_action import OptionAction
from ean_mm.launch.processes import prepare_distributed
from ean_mm.launch.resuming import set_resume
from ean_mm.launch.runner import build_runner, quiet_runner

__all__ = [
    'OptionAction',
    'add_arguments',
    'add_hook',
    'build_runner',
    'check',
    'enable_amp',
    'enable_auto_scale_lr',
    'explain_errors',
    'load_config',
    'prepare_distributed',
    'quiet_runner',
    'read_config',
    'set_resume',
    'use_safe_checkpoints',
]
