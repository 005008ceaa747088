"""The proofs of the studies: one module for each question, whose `prove` prints what the documentation shows."""
