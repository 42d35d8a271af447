"""The datasets whose own files can be drawn, and our own manifest."""

LAYOUTS: dict[str, str] = {
    "hagrid": "h2d.synth.layouts.hagrid:HagridLayout",
    "interhand": "h2d.synth.layouts.interhand:InterhandLayout",
    "laion-human": "h2d.synth.layouts.laion_human:LaionHumanLayout",
    "manifest": "h2d.synth.layouts.manifest:ManifestLayout",
    "reinterhand": "h2d.synth.layouts.reinterhand:ReinterhandLayout",
}
