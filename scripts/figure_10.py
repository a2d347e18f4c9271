from dgmpipe.job import job

with job(snakemake.log[0], snakemake.threads):
    import numpy as np

    from dgmpipe.figures.figure_10 import figure_10
    from dgmpipe.figures.style import save_figure

    rows = [np.load(path)["interpolation"] for path in snakemake.input]
    figure = figure_10(dict(zip(snakemake.params.titles, rows, strict=True)))
    save_figure(figure, snakemake.output.png, snakemake.output.pdf)
