from dgmpipe.jobs.job import job

with job(snakemake.log[0], snakemake.threads):
    from dgmpipe.files import load_function, write_results

    files = {
        name: [paths] if isinstance(paths, str) else list(paths)
        for name, paths in snakemake.input.items()
    }
    made = load_function(snakemake.params.function)(files, **snakemake.params.arguments)
    if hasattr(snakemake.output, "csv"):
        write_results({"csv": made}, dict(snakemake.output.items()))
    else:
        from dgmpipe.figures.style import save_figure

        save_figure(made, snakemake.output.png, snakemake.output.pdf)
