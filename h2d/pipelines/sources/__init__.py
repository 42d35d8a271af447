"""Datasets by name."""

SOURCES = {
    "hagrid": "h2d.pipelines.sources.hagrid:HagridSource",
    "interhand": "h2d.pipelines.sources.interhand:InterhandSource",
    "reinterhand": "h2d.pipelines.sources.reinterhand:ReinterhandSource",
    "folder": "h2d.pipelines.sources.folder:FolderSource",
    "laion-human": "h2d.pipelines.sources.laion_human:LaionHumanSource",
}
