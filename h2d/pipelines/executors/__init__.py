"""Where jobs run, by name. Jobs do not know."""

EXECUTORS = {
    "inline": "h2d.pipelines.executors.inline:InlineExecutor",
    "ray": "h2d.pipelines.executors.ray:RayExecutor",
}
