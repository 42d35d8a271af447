"""Measures of generated people (the paper's IV-C to IV-E): pose accuracy, picture quality, agreement with the text."""
