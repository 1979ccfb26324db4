"""The commands of ``python -m ean_mm``, one file each."""
