"""What a run leaves of its measurements: a table of samples, pictures, a report, a comparison."""
