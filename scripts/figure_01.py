from dgmpipe.job import job

with job(snakemake.log[0], snakemake.threads):
    import numpy as np

    from dgmpipe.figures.figure_01 import figure_01
    from dgmpipe.figures.style import save_figure

    figure = figure_01(np.load(snakemake.input[0]))
    save_figure(figure, snakemake.output.png, snakemake.output.pdf)
