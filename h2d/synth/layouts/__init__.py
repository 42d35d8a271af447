"""The datasets whose own files can be drawn."""

LAYOUTS: dict[str, str] = {
    "hagrid": "h2d.synth.layouts.hagrid:HagridLayout",
    "interhand": "h2d.synth.layouts.interhand:InterhandLayout",
    "laion-human": "h2d.synth.layouts.laion_human:LaionHumanLayout",
    "reinterhand": "h2d.synth.layouts.reinterhand:ReinterhandLayout",
}
