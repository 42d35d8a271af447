"""Captioners by name."""

CAPTIONERS = {
    "llava": "h2d.annotate.captions.llava:LlavaCaptioner",
    "endpoint": "h2d.annotate.captions.endpoint:EndpointCaptioner",
    "sequence": "h2d.annotate.captions.sequence:SequenceCaptioner",
    "template": "h2d.annotate.captions.template:TemplateCaptioner",
}
