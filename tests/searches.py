"""What searches have written into their work dirs."""

import json
from pathlib import Path


def history(work_dir):
    """The steps of a search."""
    lines = Path(work_dir, 'search/history.jsonl').read_text().splitlines()
    return [json.loads(line) for line in lines]


def judged_masks(work_dir):
    """The entries of all masks of all steps."""
    return [entry for step in history(work_dir) for entry in step['masks']]
