from dgmpipe.job import job

with job(snakemake.log[0], snakemake.threads):
    from dgmpipe.figures.figure_04 import figure_04
    from dgmpipe.figures.style import save_figure

    save_figure(figure_04(), snakemake.output.png, snakemake.output.pdf)
