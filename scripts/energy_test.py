from dgmpipe.job import job

with job(snakemake.log[0], snakemake.threads):
    from pathlib import Path

    from dgmpipe.data.batches import to_float
    from dgmpipe.data.mnist import load_mnist
    from dgmpipe.evaluation.clusters import Clusters
    from dgmpipe.evaluation.differences import save_contributions
    from dgmpipe.evaluation.energy import energy_test
    from dgmpipe.evaluation.samples import evaluated_images
    from dgmpipe.files import write_json

    seed = int(snakemake.wildcards.seed)
    folder = Path(snakemake.input.images[0]).parent
    model = snakemake.input.model
    test = to_float(load_mnist(folder, "t10k")[0])[:, 0]
    result = energy_test(
        evaluated_images(
            Path(model[0]).parent if model else None, folder, snakemake.params.num_images, seed
        ),
        test,
        num_permutations=snakemake.params.num_permutations,
        y_clusters=Clusters.in_order(len(test), **snakemake.params.clusters),
        seed=seed,
    )
    numbers = {
        "energy_distance": result.energy_distance,
        "standard_error": result.standard_error,
        "statistic": result.statistic,
        "pvalue": result.pvalue,
        "null_95": result.null_energy_distance.quantile(0.95).item(),
    }
    save_contributions(result, snakemake.output.contributions)
    write_json(numbers, snakemake.output.numbers)
