"""Plotly figures: they take plain numbers and give a figure; every axis has a name and a unit."""
