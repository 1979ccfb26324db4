"""Trainings that are stopped and resumed."""

from ean_mm.launch import set_resume


def train(build_runner, cfg):
    runner = build_runner(cfg)
    runner.train()
    return runner


def resume(build_runner, cfg, checkpoint='auto'):
    set_resume(cfg, str(checkpoint))
    return train(build_runner, cfg)
