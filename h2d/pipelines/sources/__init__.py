"""Datasets by name."""

SOURCES = {
    "hagrid": "h2d.pipelines.sources.hagrid:HagridSource",
    "folder": "h2d.pipelines.sources.folder:FolderSource",
    "laion-human": "h2d.pipelines.sources.laion_human:LaionHumanSource",
}
