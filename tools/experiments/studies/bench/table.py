"""The trainings of a bench, each of which is a row."""

import copy
import time
from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, Optional

import numpy as np
import torch
from mmengine.config import Config

from ean_mm.launch import check
from ean_mm.models import count_parameters
from ean_mm.profiling import time_alternately
from ean_mm.search.space import Bits
from studies.bench.order import Job
from studies.bench.training import BenchTraining
from studies.fidelity import FidelityTable
from studies.results import Row
from studies.run import hash_of_config, where_and_when
from studies.table import read_mask

COLUMNS: Dict[str, Callable[[str], Any]] = dict(
    protocol=str,  # hash of all that an accuracy depends on but mask and seed
    attention=str,
    mask=str,
    seed=int,
    accuracy=float,  # of the trained network on the test images, in percent
    test_accuracies=str,  # after each epoch
    reward_accuracies=str,  # the same on the reward images
    reward_losses=str,  # the mean losses on them
    train_losses=str,  # mean of each epoch
    parameters=int,  # without those of attention that is not plugged in
    # Time in ms that a thread of the processor works on an image in the deployed
    # network: that other processes make it wait is not counted.
    latency=float,
    plain_latency=float,  # of the network without attention, timed alternately
    seconds=float,  # of the training and what is measured in it
    cpu_seconds=float,
    date=str,
    machine=str,
    threads=int,
    torch=str,
)

REPEATS = 30
"""images that a network is timed on"""


class Bench:
    """The trainings of one attention: the mask and the seed are what differs.

    With one seed all masks have the same initial weights, batches and augmentation, as
    in a search by training. They train on the images that a search trains on; neither
    the reward images nor the test images are among them.

    Args:
        protocol: Name of the protocol.
        attention: Name of the attention.
        work_dir: Folder for logs.
        network: Name of the network, of nine blocks.
        options: What to override in the config.
        data_root: Folder to read every data set from; None for the config's.

    Raises:
        ValueError: The protocol has no such attention, or its data are not there.
    """

    def __init__(
        self,
        protocol: str,
        attention: str,
        work_dir: Path,
        network: str = 'ResNet-20',
        options: Optional[Dict[str, Any]] = None,
        data_root: Optional[str] = None,
    ) -> None:
        self.attention = attention
        self._table = partial(
            FidelityTable,
            protocol,
            network,
            attention,
            options=options,
            data_root=data_root,
        )
        self._work_dir = work_dir
        self._trainings: Dict[int, BenchTraining] = {}
        cfg = self.config(0)
        check(cfg, ('train_dataloader', 'val_dataloader', 'test_dataloader'))
        self.hash = hash_of_config(cfg)
        """hash of all that a row depends on, mask and seed excepted"""

    def config(self, seed: int) -> Config:
        """Return the config of a seed's trainings."""
        cfg = self._table(seed=seed).config()
        cfg.work_dir = str(self._work_dir)
        return cfg

    def train(self, job: Job) -> Row:
        """Train a mask; return its row."""
        training = self._training(job.seed)
        bits = read_mask(job.mask).bits
        started, cpu_started = time.perf_counter(), time.process_time()
        measured = training.measure(bits)
        seconds = time.perf_counter() - started
        cpu_seconds = time.process_time() - cpu_started
        training.space.apply(bits)
        return dict(
            protocol=self.hash,
            attention=self.attention,
            mask=job.mask,
            seed=job.seed,
            **measured,
            parameters=count_parameters(training.model),
            **_latencies(training, bits),
            seconds=round(seconds, 2),
            cpu_seconds=round(cpu_seconds, 2),
            **where_and_when(),
        )

    def _training(self, seed: int) -> BenchTraining:
        if seed not in self._trainings:
            others = iter(self._trainings.values())
            images = next((other.images for other in others), None)
            self._trainings[seed] = BenchTraining(self.config(seed), seed, images)
        return self._trainings[seed]


@torch.no_grad()
def _latencies(training: BenchTraining, bits: Bits) -> Row:
    """Time the deployed network with a mask and without attention, alternately."""
    image = training.images.measured['test'][0][0][:1].cpu()
    networks = []
    for chosen in (bits, (0,) * len(bits)):
        network = copy.deepcopy(training.model).cpu()
        network.eval()
        training.space.like(network).apply(chosen)
        network.backbone.switch_to_deploy()
        networks.append(network)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    seconds = time_alternately(
        [partial(network, image, mode='tensor') for network in networks],
        REPEATS,
        clock=time.thread_time,
    )
    torch.set_num_threads(threads)
    masked, plain = np.median(1000 * seconds, axis=1).round(4).tolist()
    return dict(latency=masked, plain_latency=plain)
