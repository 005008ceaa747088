"""From files to batches: reading, geometry, augmentation, memory, sampling, loading."""
