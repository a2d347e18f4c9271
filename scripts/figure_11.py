from dgmpipe.job import job

with job(snakemake.log[0], snakemake.threads):
    import numpy as np
    import pandas as pd

    from dgmpipe.figures.figure_11 import Curves, figure_11
    from dgmpipe.figures.style import save_figure

    histories = iter(map(pd.read_csv, snakemake.input.histories))
    curves = []
    for model, title in zip(snakemake.params.models, snakemake.params.titles, strict=True):
        of_seeds = [next(histories) for _ in snakemake.params.seeds]
        distances = np.stack([history["energy_distance"] for history in of_seeds])
        curves.append(Curves(model, title, of_seeds[0]["step"], distances))
    figure = figure_11(curves, np.load(snakemake.input.floor)["energy_distances"])
    save_figure(figure, snakemake.output.png, snakemake.output.pdf)
