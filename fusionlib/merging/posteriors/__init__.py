"""Kinds of posterior, one file each: how networks are drawn from what lies beside their mean."""
