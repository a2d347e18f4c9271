from dgmpipe.job import job

with job(snakemake.log[0], snakemake.threads):
    import numpy as np

    from dgmpipe.figures.figure_flow import figure_flow
    from dgmpipe.figures.style import save_figure

    figure = figure_flow(dict(np.load(snakemake.input[0])), title=snakemake.params.title)
    save_figure(figure, snakemake.output.png, snakemake.output.pdf)
