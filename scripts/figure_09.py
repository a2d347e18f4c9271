from dgmpipe.job import job

with job(snakemake.log[0], snakemake.threads):
    import numpy as np

    from dgmpipe.figures.figure_09 import figure_09
    from dgmpipe.figures.style import save_figure

    samples = [np.load(path)["samples"] for path in snakemake.input.samples]
    figure = figure_09(
        np.load(snakemake.input.images)["images"],
        dict(zip(snakemake.params.titles, samples, strict=True)),
    )
    save_figure(figure, snakemake.output.png, snakemake.output.pdf)
