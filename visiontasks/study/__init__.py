"""Answers about a dataset from the features of a frozen backbone: one module for each question.

A linear head on such features takes seconds, so each image can be judged by heads that have seen neither it nor its
near duplicates (`crossfit`).
"""
