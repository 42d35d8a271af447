"""The known defects of each dataset, planted on purpose by `--hard`."""

DEFECTS: dict[str, str] = {
    "hagrid": "h2d.synth.defects.hagrid:DEFECTS",
    "interhand": "h2d.synth.defects.interhand:DEFECTS",
    "laion-human": "h2d.synth.defects.laion_human:DEFECTS",
    "manifest": "h2d.synth.defects.base:NONE",
    "reinterhand": "h2d.synth.defects.reinterhand:DEFECTS",
}
