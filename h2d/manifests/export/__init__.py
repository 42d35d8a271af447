"""Manifests in the forms that other programs read."""

EXPORTS = {
    "coco": "h2d.manifests.export.coco:CocoExport",
    "hf": "h2d.manifests.export.hugging_face:HuggingFaceExport",
    "webdataset": "h2d.manifests.export.web_dataset:WebDatasetExport",
    "yolo": "h2d.manifests.export.yolo:YoloExport",
}
