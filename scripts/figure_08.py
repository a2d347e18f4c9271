from dgmpipe.job import job

with job(snakemake.log[0], snakemake.threads):
    import numpy as np

    from dgmpipe.figures.figure_08 import figure_08
    from dgmpipe.figures.style import save_figure

    arrays = dict(np.load(snakemake.input[0]))
    save_figure(figure_08(arrays), snakemake.output.png, snakemake.output.pdf)
