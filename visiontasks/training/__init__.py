"""What surrounds a training: processes, interruptions, progress, timing and precision."""
