"""The commands of `visiontasks`, one file each."""
