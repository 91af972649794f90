"""Kept logits."""
