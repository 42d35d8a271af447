"""The 133-point whole-body pose: its layout, and how it is drawn."""
