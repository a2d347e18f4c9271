from dgmpipe.jobs.forks import run

files = {
    name: [paths] if isinstance(paths, str) else list(paths)
    for name, paths in snakemake.input.items()
}
outputs = dict(snakemake.output.items())
backends = [f"matplotlib.backends.backend_{name}" for name in ("agg", "pdf")]
run(
    snakemake.config.get("tier", ""),  # of another workflow that uses this as a module
    "dgmpipe.figures.exhibit:make_exhibit",
    {
        "function": snakemake.params.function,
        "files": files,
        "arguments": snakemake.params.arguments,
        "outputs": outputs,
    },
    imports=[snakemake.params.function.split(":")[0], *(backends if "png" in outputs else [])],
    log=snakemake.log[0],
    threads=snakemake.threads,
)
