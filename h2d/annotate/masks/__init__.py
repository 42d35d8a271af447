"""Hand segmenters by name."""

SEGMENTERS = {
    "sam": "h2d.annotate.masks.sam:SamSegmenter",
    "grabcut": "h2d.annotate.masks.grabcut:GrabCutSegmenter",
    "given": "h2d.annotate.masks.given:GivenSegmenter",
    "mano": "h2d.annotate.masks.mano:ManoSegmenter",
}
