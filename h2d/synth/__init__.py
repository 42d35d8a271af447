"""Posed people and hands, drawn with exact labels: from a seed to a scene, a drawing, and a dataset's own files."""
