"""What goes on around a training: its processes, interruptions, progress and precision."""
