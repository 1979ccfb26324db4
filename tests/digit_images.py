"""Folders of images: scikit-learn's digits, a folder for each class."""

import cv2
import numpy as np
from sklearn.datasets import load_digits


def write_digits(folder, number, classes=10, size=32, higher=8):
    """Write digits as images, some of each class, and every second one higher."""
    digits = load_digits()
    for label in range(classes):
        (folder / f'digit {label}').mkdir(parents=True)
        for i in np.flatnonzero(digits.target == label)[:number]:
            image = np.round(digits.images[i] * (255 / 16)).astype(np.uint8)
            image = cv2.resize(image, (size, size + higher * (i % 2)))
            cv2.imwrite(str(folder / f'digit {label}/{i}.png'), image)
    return folder
